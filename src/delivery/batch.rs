//! One request's records, and when there are enough of them.

use std::sync::Arc;
use std::time::Duration;

use super::lot::Lot;
use super::request::{Message, Renderer};
use super::window::Window;
use crate::config;
use crate::store::RecordNumber;

/// One request: the same records, id and body on every attempt.
#[derive(Debug)]
pub(super) struct Batch {
    /// The records, in order. Not empty.
    pub(super) numbers: Vec<RecordNumber>,
    /// What is sent.
    pub(super) message: Message,
}

impl Batch {
    /// The oldest of its records.
    pub(super) fn first(&self) -> RecordNumber {
        *self.numbers.first().expect("a batch has a record")
    }
}

/// When a batch is full or has waited long enough, and how much is read ahead for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    /// Records of one request.
    pub(super) records_max: usize,
    /// Bytes of one body.
    pub(super) bytes_max: usize,
    /// How long a batch that is not full waits.
    pub(super) linger: Duration,
}

impl BatchLimits {
    pub(super) fn new(batch: &config::Batch) -> Self {
        Self {
            records_max: batch.records_max.get(),
            bytes_max: batch.bytes_max.get(),
            // A record that goes alone has nobody to wait for.
            linger: if batch.records_max.get() == 1 { Duration::ZERO } else { batch.linger },
        }
    }
}

/// Takes the oldest records that may go, up to `records_max`, and renders them; `None` when there are none.
pub(super) fn form(
    window: &mut Window,
    records_max: usize,
    renderer: &mut Renderer,
) -> Option<Lot> {
    let taken = window.take(records_max, |record| renderer.add(record));
    if taken.records.is_empty() {
        return None;
    }
    let numbers: Vec<_> = taken.records.iter().map(|record| record.number).collect();
    let message = renderer.finish(&numbers);
    let request = Arc::new(Batch { numbers, message });
    Some(Lot::new(taken.records, taken.lanes, Some(request)))
}
