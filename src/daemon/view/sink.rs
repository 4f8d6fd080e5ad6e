//! The status of a sink.

use std::collections::BTreeMap;

use super::{Watched, rate, seconds_since};
use crate::admin::SinkStatus;
use crate::config::{Durability, Sink};
use crate::daemon::rates::Counted;
use crate::delivery::SinkHealth;
use crate::metrics::DeadLetterCounts;
use crate::name::SinkName;
use crate::store::Queue;

/// One sink and what is known of it.
pub(super) struct SinkView<'a> {
    pub(super) name: &'a SinkName,
    pub(super) config: &'a Sink,
    pub(super) health: &'a SinkHealth,
    pub(super) queue: &'a Queue,
    pub(super) letters: DeadLetterCounts,
}

impl SinkView<'_> {
    pub(super) fn status(&self, watched: &Watched) -> SinkStatus {
        let Self { name, config: sink, health, queue, letters } = self;
        let delivery = health.status();
        let counts = queue.snapshot();
        let durability = match sink.queue.durability {
            Durability::Power => "power",
            Durability::Process => "process",
        };
        SinkStatus {
            url: shown(&sink.request.url),
            state: delivery.word().to_owned(),
            paused_seconds: delivery.paused_since.map(seconds_since),
            since_seconds: seconds_since(delivery.since),
            failed_attempts: delivery.attempts,
            next_attempt_in_seconds: delivery.next_attempt_in().map(|wait| wait.as_secs_f64()),
            last_error: delivery.last_error,
            dead_letters_error: delivery.letters_error,
            suspects: u64::try_from(health.metrics.suspects.get()).unwrap_or_default(),
            durability: durability.to_owned(),
            when_full: sink.queue.when_full.word().to_owned(),
            queue_unavailable: queue.unavailable(),
            recovered: counts.recovered,
            enqueued: counts.enqueued,
            delivered: counts.delivered,
            dead_lettered: owned(&counts.dead_lettered),
            dead_letters: owned(&letters.letters),
            dead_letter_bytes: letters.bytes,
            enqueued_rate: rate(
                &watched.rates,
                &Counted::Enqueued((*name).clone()),
                counts.enqueued,
            ),
            delivered_rate: rate(
                &watched.rates,
                &Counted::Delivered((*name).clone()),
                counts.delivered,
            ),
            dropped: owned(&counts.dropped),
            queued: counts.queued,
            bytes: counts.bytes,
            bytes_max: counts.bytes_max,
            oldest_age_seconds: counts.oldest_age_seconds,
        }
    }
}

fn owned(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
}

/// A URL without its query, which may hold a key.
fn shown(url: &url::Url) -> String {
    let mut shown = url.clone();
    if shown.query().is_some() {
        shown.set_query(Some("***"));
    }
    shown.to_string()
}
