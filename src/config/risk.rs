//! What works in a sink and can lose records, or never drain.

use std::time::Duration;

use url::Host;

use super::bodies;
use super::lint::{OUTAGE, records_per_second_max};
use super::reader::Reader;
use super::{Durability, Order, Retry, Sink, WhenFull};
use crate::event::json::PayloadAs;
use crate::units::{period_text, size_text};

/// A round trip of a mobile uplink on a good day.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// The same on a bad day, or by satellite.
const ROUND_TRIP_LONG: Duration = Duration::from_millis(200);
/// Under this a sink that sends one request at a time and cannot be told otherwise is worth a word, in records/s.
const SLOW: u64 = 100;
/// Under this, over a long round trip, a sink whose operator has not said how many at once is.
const SLOW_OVER_LONG: u64 = 50;
/// Under this a queue holds minutes rather than hours.
const QUEUE_BYTES_SMALL: u64 = 64 << 20;
/// Over a slow uplink an answer takes longer than this now and then.
const REQUEST_TIMEOUT_SHORT: Duration = Duration::from_secs(2);

/// Tells of each; `key` is the table of the sink.
pub(super) fn warn_of_sink(reader: &Reader<'_>, key: &str, sink: &Sink) {
    let warn = |part: &str, message: &str| reader.warn_of(&format!("{key}.{part}"), message);
    warn_of_queue(sink, &warn);
    if sink.request.payload_as == PayloadAs::Text {
        warn(
            "payload_as",
            "with `text` a payload that is not UTF-8 is damaged for good, as in EMQX",
        );
    }
    warn_of_giving_up(&sink.retry, &warn);
    if sink.timeouts.request < REQUEST_TIMEOUT_SHORT {
        warn(
            "timeouts.request",
            "is short: over a slow uplink an answer takes longer now and then, and the same records are sent again and again",
        );
    }
    if sink.order == Order::Sink && reader.has(&format!("{key}.concurrency")) {
        warn("concurrency", "has no effect with `order = \"sink\"`");
    }
    let said = ["batch.max_records", "concurrency"]
        .iter()
        .any(|part| reader.has(&format!("{key}.{part}")));
    warn_of_speed(sink, said, &warn);
    bodies::check(reader, key, sink);
}

fn warn_of_queue(sink: &Sink, warn: &impl Fn(&str, &str)) {
    let then = match sink.queue.when_full {
        WhenFull::DropOldest => "the oldest are dropped",
        WhenFull::DropNewest => "what comes is dropped",
        WhenFull::DeadLetter => {
            "the oldest become dead letters, as long as there is room for those"
        }
        WhenFull::Block => "nothing is acknowledged any more",
    };
    if sink.queue.when_full == WhenFull::Block {
        warn(
            "queue.when_full",
            "with `block` a full queue stops acknowledging to the sources it is fed from, for every sink: brokers then \
             drop messages by their own limits (Mosquitto after 1000 for a client), uncounted here",
        );
    }
    let bytes = sink.queue.bytes_max.get();
    if bytes < QUEUE_BYTES_SMALL {
        let message = format!(
            "{} is little for a queue: at 100 records of 256 bytes a second it is full in {} minutes, and then {then}",
            size_text(bytes),
            bytes / (100 * 256 * 60)
        );
        warn("queue.max_bytes", &message);
    }
    if sink.queue.durability == Durability::Process {
        warn(
            "queue.durability",
            "with `process` a power cut loses messages that were acknowledged",
        );
    }
}

fn warn_of_giving_up(retry: &Retry, warn: &impl Fn(&str, &str)) {
    if let Some(age) = retry.age_max.filter(|age| *age < OUTAGE) {
        let message = format!(
            "is short: an outage of {} makes dead letters of good records",
            period_text(age)
        );
        warn("retry.max_age", &message);
    }
    if let Some(attempts) = retry.attempts_max {
        let longest = longest_of(retry, attempts.get());
        if longest < OUTAGE {
            let message = format!(
                "is little: a service that answers with errors for {} makes dead letters of good records",
                period_text(longest)
            );
            warn("retry.max_attempts", &message);
        }
    }
}

/// Longest time from the first of so many attempts to the last, in whole seconds; more than an [`OUTAGE`] is not told apart.
fn longest_of(retry: &Retry, attempts: u32) -> Duration {
    let (mut whole, mut delay) = (Duration::ZERO, retry.initial);
    for _ in 1..attempts {
        whole += delay;
        if whole >= OUTAGE {
            break;
        }
        delay = delay.mul_f64(retry.multiplier).min(retry.max);
    }
    Duration::from_secs(whole.as_secs().max(1))
}

/// `said`: the operator has said how many records go at once.
fn warn_of_speed(sink: &Sink, said: bool, warn: &impl Fn(&str, &str)) {
    let [rate, over_long] =
        [ROUND_TRIP, ROUND_TRIP_LONG].map(|round_trip| records_per_second_max(sink, round_trip));
    if sink.order == Order::Sink {
        if rate < SLOW {
            let message = format!(
                "with `sink` there is one request at a time: at a round trip of 50 ms at most {rate} records a second, at \
                 200 ms {over_long}; with `batch = {{ max_records = {} }}` {} and {}",
                sink.batch.records_max.get().saturating_mul(100),
                rate.saturating_mul(100),
                over_long.saturating_mul(100)
            );
            warn("order", &message);
        }
        return;
    }
    if said || over_long >= SLOW_OVER_LONG || is_loopback(sink) {
        return;
    }
    let (more, times) = if goes_in_batches(sink) {
        ("batch = { max_records = 100 }", 100)
    } else {
        ("concurrency = 64", 16)
    };
    let message = format!(
        "is 1: at a round trip of 50 ms at most {rate} records a second are delivered, at 200 ms {over_long}; with \
         `{more}` {} and {} (`batch.max_records = 1` written out keeps it so without a warning)",
        rate.saturating_mul(times),
        over_long.saturating_mul(times)
    );
    warn("batch.max_records", &message);
}

/// There is no uplink in between.
fn is_loopback(sink: &Sink) -> bool {
    match sink.request.url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Records that go to different places cannot share a request.
fn goes_in_batches(sink: &Sink) -> bool {
    let request = &sink.request;
    let mut target = request.path.iter().chain(request.query.iter().map(|(_, value)| value));
    request.method.has_body() && target.all(|part| part.placeholders().next().is_none())
}
