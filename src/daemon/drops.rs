//! Tells those who look on what leaves queues without having been sent: every second, in sums. What the queues count is
//! looked at, so that a storm of drops costs no more than a single one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::view::Watched;
use crate::config::WhenFull;
use crate::name::{RuleName, SinkName};
use crate::store::DeadLetterReason;
use crate::tail::{About, Audience, Happening, Tail};

const PERIOD: Duration = Duration::from_secs(1);

/// Why records have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Dropped, for this reason.
    Dropped(&'static str),
    /// A full queue made dead letters of them.
    Overflowed,
    /// They were dead letters, for which there is no room.
    LettersFull,
}

/// How many, since the start.
type Counts = BTreeMap<(SinkName, Cause), u64>;

/// Looks and tells until it is stopped.
pub(super) async fn tell_drops(
    watched: impl Fn() -> Arc<Watched>,
    tail: Tail,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Counts::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let watched = watched();
        let counts = counts(&watched);
        if let Some(audience) = tail.audience() {
            for (of, count) in &counts {
                let more = count.saturating_sub(known.get(of).copied().unwrap_or(0));
                if more > 0 {
                    tell(&audience, &watched, of, more);
                }
            }
        }
        known = counts;
    }
}

fn counts(watched: &Watched) -> Counts {
    let letters = watched.store.dead_letters().snapshot().sinks;
    let mut counts = Counts::new();
    for (sink, queue) in &watched.queues {
        let snapshot = queue.snapshot();
        for (reason, count) in snapshot.dropped {
            counts.insert((sink.clone(), Cause::Dropped(reason)), count);
        }
        let overflowed = snapshot.dead_lettered.get(DeadLetterReason::QueueFull.label());
        counts.insert((sink.clone(), Cause::Overflowed), overflowed.copied().unwrap_or(0));
        let dropped = letters.get(sink).map_or(0, |letters| letters.dropped);
        counts.insert((sink.clone(), Cause::LettersFull), dropped);
    }
    counts
}

fn tell(audience: &Audience, watched: &Watched, (sink, cause): &(SinkName, Cause), count: u64) {
    let sends_there = |rule: &&RuleName| {
        watched.config.rules.get(*rule).is_some_and(|rule| rule.sinks.contains(sink))
    };
    let rules: Vec<RuleName> = watched.config.rules.keys().filter(sends_there).cloned().collect();
    let about = About { sinks: std::slice::from_ref(sink), rules: &rules };
    audience.tell(about, || {
        let records = usize::try_from(count).unwrap_or(usize::MAX);
        let policy = watched.config.sinks.get(sink).map(|sink| sink.queue.when_full);
        happening(sink.to_string(), *cause, records, policy.unwrap_or_default())
    });
}

fn happening(sink: String, cause: Cause, records: usize, policy: WhenFull) -> Happening {
    let policy = policy.word();
    let (reason, why) = match cause {
        Cause::Overflowed => {
            let reason = DeadLetterReason::QueueFull.label().to_owned();
            let why = format!("the queue is full (when_full = \"{policy}\")");
            return Happening::DeadLettered { sink, records, first: None, reason, why };
        }
        Cause::LettersFull => (
            "dead_letters_full",
            "the oldest dead letters: they take what they may (dead_letters.max_bytes)".to_owned(),
        ),
        Cause::Dropped(reason) => {
            let why = match reason {
                "queue_full" => format!("the queue is full (when_full = \"{policy}\")"),
                "disk_full" => format!("the disk is full (when_full = \"{policy}\")"),
                "operator" => "by hand".to_owned(),
                _ => "damaged or missing on the disk".to_owned(),
            };
            (reason, why)
        }
    };
    Happening::Dropped { sink, records, reason: reason.to_owned(), why }
}
