//! Messages of one connection that wait for room in the intake.
//!
//! Polling must not stop for them, because pings and acknowledgements leave only when the connection is polled. A broker that
//! keeps to its window stops sending long before the bound; one that does not is no longer polled, and after a keep-alive
//! the connection is given up.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::Event;
use crate::source::{Custody, Intake, IntakeClosed};

/// Bytes that wait before polling stops: a window of 1000 messages of 4 KiB.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events in the order received. Dropping it refuses them.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Event, Custody)>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    pub(super) fn push(&self, event: Event, custody: Custody) {
        let mut state = self.lock();
        state.bytes += event.memory_bytes();
        state.waiting.push_back((event, custody));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits while the bound is exceeded. Cancel safe.
    pub(super) async fn within_bound(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lock().bytes <= BYTES_MAX {
                return;
            }
            changed.await;
        }
    }

    /// Hands over what waits, as there is room, until the intake is closed. Cancel safe.
    pub(super) async fn forward(&self, intake: &Intake) -> IntakeClosed {
        loop {
            let changed = self.changed.notified();
            let Some(memory_bytes) = self.front_bytes() else {
                changed.await;
                continue;
            };
            let room = match intake.reserve(memory_bytes).await {
                Ok(room) => room,
                Err(closed) => return closed,
            };
            // Nobody else takes from the front.
            if let Some((event, custody)) = self.pop() {
                room.submit(event, custody);
            }
            self.changed.notify_waiters();
        }
    }

    fn front_bytes(&self) -> Option<usize> {
        self.lock().waiting.front().map(|(event, _)| event.memory_bytes())
    }

    fn pop(&self) -> Option<(Event, Custody)> {
        let mut state = self.lock();
        let (event, custody) = state.waiting.pop_front()?;
        state.bytes -= event.memory_bytes();
        Some((event, custody))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
