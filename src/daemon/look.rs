//! What has to be looked at from time to time because nobody tells: counters, for rates; certificates that expire; how
//! much of the disk is taken.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::opening::blocking;
use super::view::Watched;
use crate::metrics::SAMPLE_PERIOD;

/// Samples between two looks at files: a minute.
const FILES_EVERY: u64 = 12;

/// Looks at what `watched` gives, until it is stopped.
pub(super) async fn look_on(watched: impl Fn() -> Arc<Watched>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SAMPLE_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round: u64 = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let watched = watched();
        watched.sample();
        if round.is_multiple_of(FILES_EVERY) {
            // The disk may hang.
            blocking(move || watched.look_at_files()).await;
        }
        round += 1;
    }
}
