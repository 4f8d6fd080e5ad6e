//! A sign of life for systemd, given only when all that events depend on has gone round: ingest, the thread of each queue,
//! and the keeper of the dead letters.
//!
//! A thread that hangs in a disk that does not answer goes round no more; then there is no sign, and systemd starts the
//! process again. What only waits is no reason: an uplink that is down, a disk that is full, a service that hangs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::notifier::Notifier;
use super::view::Watched;
use crate::ingest::Helm;
use crate::store::{Beat, DeadLetters};

/// Opening or mending a database goes round when it is done; longer than this it hangs, too.
const LONG_WORK_MAX: Duration = Duration::from_mins(15);
/// Looks within the period that systemd waits.
const LOOKS: u32 = 4;
/// Least time between two lines for `systemctl status`.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// What is looked at.
#[derive(Debug)]
pub(super) struct Watchdog {
    pub(super) notifier: Notifier,
    pub(super) helm: Helm,
    pub(super) live: watch::Receiver<Arc<Watched>>,
    pub(super) dead_letters: DeadLetters,
}

/// The rounds that were seen when the last sign was given, by who made them.
type Seen = BTreeMap<String, u64>;

impl Watchdog {
    /// Looks until it is stopped; gives signs where somebody waits for them every `period`.
    pub(super) async fn run(self, period: Option<Duration>, stop: CancellationToken) {
        let look_every = period.map_or(STATUS_PERIOD, |period| period / LOOKS);
        let mut seen = Seen::new();
        let mut silent_for = Vec::new();
        let mut told = String::new();
        let mut status_due = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(look_every) => {}
            }
            if period.is_some() {
                let silent = tokio::select! {
                    () = stop.cancelled() => return,
                    silent = self.look(&mut seen, look_every) => silent,
                };
                if silent.is_empty() {
                    self.notifier.watchdog();
                } else if silent != silent_for {
                    warn!(?silent, "no sign of life for the watchdog: these do not go round");
                }
                silent_for = silent;
            }
            let now = tokio::time::Instant::now();
            let line = self.live.borrow().line();
            if line != told && now >= status_due {
                self.notifier.status(&line);
                told = line;
                status_due = now + STATUS_PERIOD;
            }
        }
    }

    /// Who has not gone round since the last sign. When all have, they are seen.
    async fn look(&self, seen: &mut Seen, patience: Duration) -> Vec<String> {
        let queues = self.live.borrow().queues.clone();
        let queues = queues.iter().map(|(sink, queue)| (format!("queue {sink}"), queue.beat()));
        let letters = ("dead letters".to_owned(), self.dead_letters.beat());
        let beats: Vec<(String, Beat)> = queues.chain([letters]).collect();
        let mut silent: Vec<String> = beats
            .iter()
            .filter(|(who, beat)| !is_alive(beat, seen.get(who)))
            .map(|(who, _)| who.clone())
            .collect();
        let ingest = tokio::time::timeout(patience, self.helm.answer()).await;
        if !matches!(ingest, Ok(Ok(()))) {
            silent.push("ingest".to_owned());
        }
        if silent.is_empty() {
            *seen = beats.into_iter().map(|(who, beat)| (who, beat.rounds)).collect();
        }
        silent
    }
}

/// Whether it has gone round since `seen`, or is at something that may take long.
fn is_alive(beat: &Beat, seen: Option<&u64>) -> bool {
    let has_gone_round = seen.is_none_or(|seen| beat.rounds > *seen);
    has_gone_round || beat.long_for.is_some_and(|long| long < LONG_WORK_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_round_or_is_at_something_long_is_alive() {
        let beat = |rounds, long_for| Beat { rounds, long_for };
        let minutes = |minutes| Some(Duration::from_mins(minutes));
        for (beat, seen, expected) in [
            (beat(0, None), None, true),
            (beat(8, None), Some(7), true),
            (beat(7, None), Some(7), false),
            (beat(7, minutes(1)), Some(7), true),
            (beat(7, minutes(16)), Some(7), false),
        ] {
            assert_eq!(is_alive(&beat, seen.as_ref()), expected, "{beat:?} after {seen:?}");
        }
    }
}
