//! What an operator asks for.

use super::{Core, Instant};

impl Core {
    /// Whether nothing may leave. What waits goes back to the queue meanwhile, so that its overload policy may work; what
    /// is in flight ends as it ends, and what failed is tried first afterwards. Nothing grows too old for its sink while
    /// it is paused: that is looked at when it goes on.
    pub(in crate::delivery) fn set_paused(&mut self, is_paused: bool) {
        if is_paused && !self.is_paused {
            self.give_back_waiting();
        }
        self.is_paused = is_paused;
    }

    /// Ends every wait for a next attempt, of the sink and of its suspects, and for the queue.
    pub(in crate::delivery) fn retry_now(&mut self, now: Instant) {
        self.pace.retry_now(now);
        for suspect in self.suspects.values_mut() {
            suspect.watch.not_before = suspect.watch.not_before.min(now);
        }
        self.read_again_at = None;
    }
}
