//! A sink that is dead for long: memory, the way back after SIGKILL, the drain, the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gateway::{self, Sink};
use crate::process::{self, mebibytes};
use crate::publisher::{Plan, sleep_until};
use crate::receiver::{Receiver, Tally};
use crate::report::{Report, Target};
use crate::support::free_port;
use crate::support::waypost::Waypost;

/// Room for the backlog, and a sink that is asked every second.
const PATIENT: &str = "batch = { max_records = 500, linger = \"10ms\" }\n\
                       queue = { max_bytes = \"16GiB\" }\nretry = { max = \"1s\" }";

/// Takes in `records` with nobody listening, is killed, opens, drains, and gives the disk back.
pub fn measure(report: &mut Report, records: usize) {
    let broker = gateway::broker();
    let port = free_port();
    let sinks = [Sink::all_to(port, PATIENT)];
    let mut gateway = gateway::start(&broker, &sinks);
    idle(report, &gateway);

    eprintln!("backlog: taking in {records} records (load {:.2})", process::load());
    let tally = Tally::of(records);
    take_in(report, &gateway, &Plan::full_speed(broker.port, records), &tally);
    let peak_bytes = process::disk_bytes(&gateway.data_dir());
    report.figure("backlog: on disk", mebibytes(peak_bytes), "MiB", Target::None);

    // For the broker to have read the last acknowledgements.
    sleep_until(Instant::now() + Duration::from_secs(2));
    gateway.kill();
    let opened = Instant::now();
    gateway.launch();
    let took = opened.elapsed().as_secs_f64();
    report.figure("backlog: open after SIGKILL", took, "s", Target::Under(1.0));

    eprintln!("backlog: draining");
    drain(report, &gateway, port, &tally, peak_bytes);
    sizes(report);
}

fn idle(report: &mut Report, gateway: &Waypost) {
    sleep_until(Instant::now() + Duration::from_secs(5));
    let usage = process::usage(gateway.pid());
    report.figure("idle RSS", mebibytes(usage.rss_bytes), "MiB", Target::Under(25.0));
    report.figure("idle threads", usage.threads as f64, "", Target::None);
    sleep_until(Instant::now() + Duration::from_secs(5));
    let later = process::usage(gateway.pid());
    let cpu = later.cpu.saturating_sub(usage.cpu).as_secs_f64() / 5.0 * 1e3;
    report.figure("idle processor time", cpu, "ms/s", Target::None);
    let written = (later.written_bytes - usage.written_bytes) as f64 / 5.0;
    report.figure("idle bytes written", written, "/s", Target::None);
}

fn take_in(report: &mut Report, gateway: &Waypost, plan: &Plan, tally: &Arc<Tally>) {
    process::reset_peak(gateway.pid());
    let publishers = plan.start(tally);
    let started = publishers.started;
    // The last of them are acknowledged, too: what is not is sent again after the kill.
    let acknowledged = || {
        let metrics = gateway.metrics();
        metrics.get("waypost_events_acknowledged_total", "source=\"local\"").unwrap_or_default()
    };
    let (mut seen, mut since) = (0.0, Instant::now());
    while seen < plan.messages as f64 {
        sleep_until(Instant::now() + Duration::from_millis(100));
        let now = acknowledged();
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_mins(1), "stuck at {seen} records taken in");
    }
    let took = started.elapsed();
    publishers.join();
    let again = gateway.metrics().get("waypost_events_redelivered_total", "source=\"local\"");
    assert_eq!(again, Some(0.0), "the connection broke:\n{}", gateway.log());
    let rate = plan.messages as f64 / took.as_secs_f64();
    report.figure("backlog: taken in", rate, "events/s", Target::None);
    let peak = mebibytes(process::usage(gateway.pid()).rss_peak_bytes);
    report.figure("backlog: peak RSS taking in", peak, "MiB", Target::Under(64.0));
}

fn drain(report: &mut Report, gateway: &Waypost, port: u16, tally: &Arc<Tally>, peak_bytes: u64) {
    process::reset_peak(gateway.pid());
    let records = tally.room();
    let _receiver = Receiver::on_port(port, tally);
    let first = Instant::now();
    tally.wait("records drained", 1, Tally::distinct);
    let started = Instant::now();
    eprintln!("  the first after {:?}", first.elapsed());
    tally.wait("records drained", records, Tally::distinct);
    let rate = records as f64 / (tally.last() - started).as_secs_f64();
    report.figure("backlog: drained", rate, "events/s", Target::None);
    let repeats = tally.repeats() as f64;
    report.figure("backlog: received twice", repeats, "records", Target::None);
    // Sent again by the broker, each a record of its own; the rest would be ours.
    let again = gateway.metrics().get("waypost_queue_enqueued_total", "sink=\"cloud\"");
    let name = "backlog: of these sent again by the broker";
    report.figure(name, again.unwrap_or_default(), "records", Target::None);
    let peak = mebibytes(process::usage(gateway.pid()).rss_peak_bytes);
    report.figure("backlog: peak RSS draining", peak, "MiB", Target::Under(64.0));

    let folder = gateway.data_dir();
    let drained = Instant::now();
    let small = peak_bytes / 10;
    while process::disk_bytes(&folder) >= small && drained.elapsed() < Duration::from_mins(2) {
        sleep_until(Instant::now() + Duration::from_millis(100));
    }
    let took = drained.elapsed().as_secs_f64();
    let name = "backlog: disk back under 10 % of its peak after";
    report.figure(name, took, "s", Target::Under(60.0));
    let left = mebibytes(process::disk_bytes(&folder));
    report.figure("backlog: on disk after the drain", left, "MiB", Target::None);
    gateway.drained("cloud");
}

fn sizes(report: &mut Report) {
    let binary = Path::new(env!("CARGO_BIN_EXE_waypost"));
    let bytes = std::fs::metadata(binary).unwrap().len();
    report.figure("stripped release binary", mebibytes(bytes), "MiB", Target::Under(16.0));
}
