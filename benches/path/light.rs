//! Light load: how long a message takes when nothing else is going on.

use crate::gateway::{self, SINGLES, Sink};
use crate::job;
use crate::publisher::Plan;
use crate::receiver::{Receiver, Tally, percentile};
use crate::reference::{self, Place};
use crate::report::{Report, Target};

const RATE: usize = 200;
/// Messages at the start that are not counted: connections are made, caches are cold.
const WARMUP: usize = RATE;

/// 200 messages a second, one record per request: from publish to received.
pub fn measure(report: &mut Report, seconds: usize) {
    let over = reference::paced_syncs(Place::Over, RATE * seconds / 4);
    let (sync, sync_p99) = reference::paced_syncs(Place::End, RATE * seconds / 4);
    let broker = gateway::broker();
    let plan = Plan { publishers: 1, ..Plan::paced(broker.port, WARMUP + RATE * seconds, RATE) };
    let tally = Tally::of(plan.messages);
    let receiver = Receiver::start(&tally);
    let gateway = gateway::start(&broker, &[Sink::all_to(receiver.port, SINGLES)]);
    eprintln!("light load, {seconds} s");
    let outcome = job::run(&gateway, &plan, &tally);
    job::check(&gateway, &tally);

    let latencies = tally.latencies(WARMUP);
    let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let p50 = milliseconds(percentile(&latencies, 0.5));
    let p99 = milliseconds(percentile(&latencies, 0.99));
    let reference = (milliseconds(sync), "ms, the median 4 KiB sync at 200/s");
    report.compared(
        "light load (200/s): p50",
        p50,
        "ms",
        reference,
        Target::Under(reference.0 + 1.0),
    );
    report.compared(
        "light load (200/s): p99",
        p99,
        "ms",
        reference,
        Target::Under(3.0 * reference.0 + 2.0),
    );
    report.figure("light load: p99 of those syncs", milliseconds(sync_p99), "ms", Target::None);
    report.figure("light load: median sync in place", milliseconds(over.0), "ms", Target::None);
    report.figure("light load: processor per event", outcome.cpu_us, "us", Target::None);
    report.figure("light load: written per event", outcome.written_bytes, "bytes", Target::None);
}
