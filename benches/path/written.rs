//! What a message costs the disk.

use crate::gateway::{BATCHES, SINGLES};
use crate::job;
use crate::payload::Payload;
use crate::publisher::Plan;
use crate::report::{Report, Target};

const RATE: usize = 10_000;

/// 10,000 messages a second; telemetry with the setting of the light load and in batches, and random bytes.
pub fn measure(report: &mut Report, seconds: usize) {
    let telemetry = Payload::Telemetry;
    one(report, "telemetry, one a request", SINGLES, telemetry, seconds, Target::Under(1.5));
    one(report, "telemetry, batches of 500", BATCHES, telemetry, seconds, Target::Under(1.5));
    one(report, "random bytes, batches of 500", BATCHES, Payload::Random, seconds, Target::None);
}

fn one(
    report: &mut Report,
    name: &str,
    more: &'static str,
    payload: Payload,
    seconds: usize,
    target: Target,
) {
    let messages = RATE * seconds;
    let payload_bytes =
        Plan { payload, ..Plan::paced(0, messages, RATE) }.payload_bytes() / messages as f64;
    let outcomes = job::repeat(&format!("10,000/s, {name}"), 1, || {
        job::live(more, |broker| Plan { payload, ..Plan::paced(broker.port, messages, RATE) })
    });
    let outcome = job::best(&outcomes);
    report.compared(
        &format!("10,000/s, {name}: written per payload byte"),
        outcome.written_bytes / payload_bytes,
        "bytes",
        (1.0, "byte of payload"),
        target,
    );
    report.figure(
        &format!("10,000/s, {name}: processor per event"),
        outcome.cpu_us,
        "us",
        Target::None,
    );
}
