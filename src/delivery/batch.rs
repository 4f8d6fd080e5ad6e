//! The records of one request and what is left to know of them once it is rendered.

use std::sync::Arc;
use std::time::Duration;

use super::request::{Message, Renderer};
use super::window::{LaneId, Window};
use crate::clock::UnixMillis;
use crate::config;
use crate::store::RecordNumber;

/// One request: the same records, id and body on every attempt.
#[derive(Debug)]
pub(super) struct Batch {
    /// The records, in order. Not empty.
    pub(super) numbers: Vec<RecordNumber>,
    /// When each was accepted.
    pub(super) accepted_at: Vec<UnixMillis>,
    /// What no other request may carry until this one is settled.
    pub(super) lanes: Vec<LaneId>,
    /// What is sent.
    pub(super) message: Message,
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

impl Batch {
    /// Takes the oldest records that may go and renders them; `None` when there are none.
    pub(super) fn form(
        window: &mut Window,
        limits: &BatchLimits,
        renderer: &mut Renderer,
    ) -> Option<Arc<Self>> {
        let taken = window.take(limits.records_max, |record| renderer.add(record));
        if taken.records.is_empty() {
            return None;
        }
        let numbers: Vec<_> = taken.records.iter().map(|record| record.number).collect();
        let accepted_at = taken.records.iter().map(|record| record.accepted_at).collect();
        let message = renderer.finish(&numbers);
        Some(Arc::new(Self { numbers, accepted_at, lanes: taken.lanes, message }))
    }

    /// The oldest of its records.
    pub(super) fn first(&self) -> RecordNumber {
        *self.numbers.first().expect("a batch has a record")
    }
}
