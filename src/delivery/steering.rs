//! What an operator asks of a sink while it runs: the worker follows it.

use tokio::sync::watch;

/// What is asked for at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Nothing may leave.
    pub(super) paused: bool,
    /// How often the next attempt was asked for at once.
    pub(super) retries: u64,
}

/// The operator's end.
#[derive(Debug, Default)]
pub(super) struct Steering(watch::Sender<Wishes>);

impl Steering {
    pub(super) fn set_paused(&self, paused: bool) {
        self.0.send_modify(|wishes| wishes.paused = paused);
    }

    pub(super) fn retry_now(&self) {
        self.0.send_modify(|wishes| wishes.retries = wishes.retries.wrapping_add(1));
    }

    /// The worker's end.
    pub(super) fn wishes(&self) -> watch::Receiver<Wishes> {
        self.0.subscribe()
    }
}
