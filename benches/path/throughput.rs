//! Batches of 500 at full speed.

use crate::gateway::BATCHES;
use crate::job::{self, Outcome};
use crate::process::mebibytes;
use crate::publisher::Plan;
use crate::reference;
use crate::report::{Report, Target};

/// 256-byte messages at QoS 1 from four publishers: while they publish, and out of a queued session.
pub fn measure(report: &mut Report, messages: usize, runs: usize) {
    let bare = (0..runs).map(|_| reference::subscriber(messages)).fold(0.0, f64::max);
    let live = job::repeat("batches of 500, live", runs, || {
        job::live(BATCHES, |broker| Plan::full_speed(broker.port, messages))
    });
    let queued = job::repeat("batches of 500, out of a queued session", runs, || {
        job::queued(BATCHES, |broker| Plan::full_speed(broker.port, messages))
    });
    tell(report, "batches of 500, live", &live, bare, Target::AtLeast(70_000.0));
    tell(report, "batches of 500, queued session", &queued, bare, Target::None);
}

fn tell(report: &mut Report, name: &str, outcomes: &[Outcome], bare: f64, target: Target) {
    let best = job::best(outcomes);
    let reference = (bare, "events/s into a bare MQTT subscriber");
    report.compared(&format!("{name}: rate, best run"), best.rate, "events/s", reference, target);
    let median = job::median_rate(outcomes);
    report.compared(
        &format!("{name}: rate, median run"),
        median,
        "events/s",
        reference,
        Target::None,
    );
    let cpu_target = if target == Target::None { Target::None } else { Target::Under(12.0) };
    report.figure(&format!("{name}: processor per event"), best.cpu_us, "us", cpu_target);
    report.compared(
        &format!("{name}: written per event"),
        best.written_bytes,
        "bytes",
        (256.0, "bytes of payload"),
        Target::None,
    );
    let rss = mebibytes(best.rss_peak_bytes);
    report.figure(&format!("{name}: peak RSS"), rss, "MiB", Target::None);
}
