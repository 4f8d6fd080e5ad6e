//! One record per request.

use crate::gateway::SINGLES;
use crate::job;
use crate::process::mebibytes;
use crate::publisher::Plan;
use crate::reference;
use crate::report::{Report, Target};

/// About what one record is as JSON, with 256 bytes of payload.
const BODY_BYTES: usize = 640;
/// Requests at once, as in [`SINGLES`].
const IN_FLIGHT: usize = 64;

/// 64 requests in flight, in any order, against a bare loop over the same client library.
pub fn measure(report: &mut Report, messages: usize, runs: usize) {
    let body = vec![b'x'; BODY_BYTES];
    let bare =
        (0..runs).map(|_| reference::requests(messages, IN_FLIGHT, &body)).fold(0.0, f64::max);
    let outcomes = job::repeat("one record per request", runs, || {
        job::live(SINGLES, |broker| Plan::full_speed(broker.port, messages))
    });
    let best = job::best(&outcomes);
    let name = "one record per request";
    let reference = (bare, "requests/s of a bare pooled loop");
    report.compared(
        &format!("{name}: rate, best run"),
        best.rate,
        "events/s",
        reference,
        Target::AtLeast(35_000.0),
    );
    let median = job::median_rate(&outcomes);
    report.compared(
        &format!("{name}: rate, median run"),
        median,
        "events/s",
        reference,
        Target::None,
    );
    report.figure(
        &format!("{name}: part of the bare loop"),
        100.0 * best.rate / bare,
        "%",
        Target::AtLeast(40.0),
    );
    report.figure(&format!("{name}: processor per event"), best.cpu_us, "us", Target::None);
    let rss = mebibytes(best.rss_peak_bytes);
    report.figure(&format!("{name}: peak RSS"), rss, "MiB", Target::None);
}
