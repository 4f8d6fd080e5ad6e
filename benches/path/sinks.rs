//! What many sinks cost.

use crate::gateway::{self, BATCHES, Sink};
use crate::job::{self, Outcome};
use crate::process::{self, mebibytes};
use crate::publisher::Plan;
use crate::receiver::{Receiver, Tally};
use crate::report::{Report, Target};
use crate::support::waypost::Waypost;

/// Messages a second of the paced part.
const RATE: usize = 1000;

/// 1, 8 and 64 sinks that share the messages: rate at full speed, memory, and syncs at 1,000 messages a second.
pub fn measure(report: &mut Report, messages: usize, seconds: usize) {
    let mut alone = None;
    for count in [1, 8, 64] {
        let (idle, full, paced, syncs) = with_sinks(count, messages, seconds);
        let rate_alone = *alone.get_or_insert(full.rate);
        let name = format!("{count} sinks");
        let reference = (rate_alone, "events/s with one sink");
        report.compared(&format!("{name}: rate"), full.rate, "events/s", reference, Target::None);
        report.figure(&format!("{name}: idle RSS"), idle, "MiB", Target::None);
        let peak = mebibytes(full.rss_peak_bytes.max(paced.rss_peak_bytes));
        report.figure(&format!("{name}: peak RSS"), peak, "MiB", Target::None);
        let figure = format!("{name}: syncs at 1,000 events/s");
        report.compared(&figure, syncs, "/s", (RATE as f64, "events/s"), Target::None);
        report.figure(
            &format!("{name}: processor per event at 1,000/s"),
            paced.cpu_us,
            "us",
            Target::None,
        );
    }
}

fn with_sinks(count: usize, messages: usize, seconds: usize) -> (f64, Outcome, Outcome, f64) {
    eprintln!("{count} sinks (load {:.2})", process::load());
    let broker = gateway::broker();
    let topics: Vec<String> =
        (0..200).map(|device| format!("bench/{}/d{device:03}", device % count)).collect();
    let full = Plan { topics: topics.clone(), ..Plan::full_speed(broker.port, messages) };
    let paced = Plan { topics, ..Plan::paced(broker.port, RATE * seconds, RATE) };

    let tally = Tally::of(messages);
    let receiver = Receiver::start(&tally);
    let sinks: Vec<Sink> = (0..count)
        .map(|index| Sink {
            name: format!("s{index}"),
            topics: format!("bench/{index}/#"),
            ..Sink::all_to(receiver.port, BATCHES)
        })
        .collect();
    let gateway = gateway::start(&broker, &sinks);
    let idle = mebibytes(process::usage(gateway.pid()).rss_bytes);
    let at_full_speed = job::run(&gateway, &full, &tally);
    let port = receiver.port;
    drop(receiver);

    let tally = Tally::of(paced.messages);
    let _receiver = Receiver::on_port(port, &tally);
    let before = commits(&gateway);
    let at_rate = job::run(&gateway, &paced, &tally);
    let syncs = (commits(&gateway) - before) / seconds as f64;
    (idle, at_full_speed, at_rate, syncs)
}

fn commits(gateway: &Waypost) -> f64 {
    gateway.metrics().get("waypost_store_commit_duration_seconds_count", "").unwrap()
}
