//! The event `gateway.status`: how this gateway is, from time to time, for services where no Prometheus reaches. It goes
//! through rules and queues as any other.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::admin::{NoteLevel, SinkStatus, SourceStatus, Status};
use crate::clock::UnixMillis;
use crate::event::{Event, EventKind, Occurrence};
use crate::name::SourceName;
use crate::source::{Custody, Intake};

/// What the events call their source: the gateway itself.
const SOURCE: &str = "gateway";

/// Hands an event to the intake every `interval`, first after one, until it is stopped. No status: no event.
pub(super) async fn tell_status(
    status: impl Fn() -> Option<Status>,
    interval: Duration,
    intake: Intake,
    stop: CancellationToken,
) {
    let source = SourceName::new(SOURCE).expect("the name is one");
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = async {
            ticks.tick().await;
            let Some(status) = status() else { return Ok(()) };
            let event = Event::of(source.clone(), UnixMillis::now(), occurrence(&status));
            intake.submit(event, Custody::none()).await
        };
        // What is dropped was not taken yet; the next one says more.
        tokio::select! {
            () = stop.cancelled() => return,
            told = told => if told.is_err() {
                // Everything stops, and this in its turn.
                stop.cancelled().await;
                return;
            },
        }
    }
}

fn occurrence(status: &Status) -> Occurrence {
    let started_at = UnixMillis::now().0.saturating_sub(status.uptime_seconds * 1000);
    let sources: Map<_, _> =
        status.sources.iter().map(|(name, it)| (name.clone(), source(it))).collect();
    let sinks: Map<_, _> = status.sinks.iter().map(|(name, it)| (name.clone(), sink(it))).collect();
    let wrong = status.notes.iter().filter(|note| note.level == NoteLevel::Wrong);
    let problems: Vec<String> =
        wrong.map(|note| format!("{}: {}", note.about, note.what)).collect();
    Occurrence::new(EventKind::GatewayStatus)
        .with("version", status.version.as_str())
        .with("started_at", started_at)
        .with("sources", sources)
        .with("sinks", sinks)
        .with("problems", problems)
}

fn source(source: &SourceStatus) -> Value {
    json!({
        "state": source.state,
        "received": source.received,
        "quiet_seconds": source.quiet_seconds,
    })
}

fn sink(sink: &SinkStatus) -> Value {
    json!({
        "state": sink.state,
        "queued": sink.queued,
        "bytes": sink.bytes,
        "bytes_max": sink.bytes_max,
        "oldest_age_seconds": sink.oldest_age_seconds,
        "delivered": sink.delivered,
        "dropped": sink.dropped.values().sum::<u64>(),
        "dead_letters": sink.dead_letters.values().sum::<u64>(),
    })
}
