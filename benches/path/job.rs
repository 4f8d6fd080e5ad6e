//! One job from the first publish to the last receipt, and what it cost the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gateway::{self, Sink};
use crate::process::{self, Usage};
use crate::publisher::Plan;
use crate::receiver::{Receiver, Tally};
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::Waypost;

/// What one run of a job gave.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Messages a second, from the first publish to the last receipt.
    pub rate: f64,
    /// Microseconds of the gateway's processor time per message.
    pub cpu_us: f64,
    /// Bytes that the gateway wrote to the disk, per message.
    pub written_bytes: f64,
    /// The gateway's peak of resident memory.
    pub rss_peak_bytes: u64,
}

/// What a gateway has used when a job began.
struct Meter {
    pid: u32,
    before: Usage,
}

impl Meter {
    fn start(gateway: &Waypost) -> Self {
        let pid = gateway.pid();
        process::reset_peak(pid);
        Self { pid, before: process::usage(pid) }
    }

    /// Of a gateway that is yet to start: its start is part of the job.
    fn of_start(pid: u32) -> Self {
        Self { pid, before: Usage::default() }
    }

    fn stop(self, messages: usize, took: Duration) -> Outcome {
        let after = process::usage(self.pid);
        let messages = messages as f64;
        let written = after.written_bytes - self.before.written_bytes;
        Outcome {
            rate: messages / took.as_secs_f64(),
            cpu_us: after.cpu.saturating_sub(self.before.cpu).as_secs_f64() * 1e6 / messages,
            written_bytes: written as f64 / messages,
            rss_peak_bytes: after.rss_peak_bytes,
        }
    }
}

/// Publishes while a fresh gateway takes and delivers.
pub fn live(more: &'static str, plan: impl Fn(&Mosquitto) -> Plan) -> Outcome {
    let broker = gateway::broker();
    let plan = plan(&broker);
    let tally = Tally::of(plan.messages);
    let receiver = Receiver::start(&tally);
    let gateway = gateway::start(&broker, &[Sink::all_to(receiver.port, more)]);
    let outcome = run(&gateway, &plan, &tally);
    check(&gateway, &tally);
    outcome
}

/// Publishes a plan to a running gateway and waits until everything has arrived.
pub fn run(gateway: &Waypost, plan: &Plan, tally: &Arc<Tally>) -> Outcome {
    let meter = Meter::start(gateway);
    let publishers = plan.start(tally);
    let started = publishers.started;
    tally.wait("messages received", plan.messages, plan.payload.count());
    let took = tally.last() - started;
    publishers.join();
    meter.stop(plan.messages, took)
}

/// Publishes to the session of a gateway that is away, then starts it: the publishers cost nothing while it works.
pub fn queued(more: &'static str, plan: impl Fn(&Mosquitto) -> Plan) -> Outcome {
    let broker = gateway::broker();
    let plan = plan(&broker);
    let tally = Tally::of(plan.messages);
    let receiver = Receiver::start(&tally);
    let mut gateway = gateway::start(&broker, &[Sink::all_to(receiver.port, more)]);
    gateway.terminate();
    plan.start(&tally).join();
    let started = Instant::now();
    gateway.launch();
    let meter = Meter::of_start(gateway.pid());
    tally.wait("messages received", plan.messages, Tally::distinct);
    let outcome = meter.stop(plan.messages, tally.last() - started);
    check(&gateway, &tally);
    outcome
}

/// The sums of the gateway agree; says so when it repeated something although nothing failed.
pub fn check(gateway: &Waypost, tally: &Tally) {
    gateway.drained("cloud");
    if tally.repeats() > 0 {
        eprintln!("  {} messages came twice", tally.repeats());
    }
}

/// Runs a job some times and keeps what came out.
pub fn repeat(name: &str, runs: usize, job: impl Fn() -> Outcome) -> Vec<Outcome> {
    let once = |run: usize| {
        eprintln!("{name}, run {} of {runs} (load {:.2})", run + 1, process::load());
        let outcome = job();
        eprintln!(
            "  {:.0} events/s, {:.1} us, {:.0} B, {:.1} MiB",
            outcome.rate,
            outcome.cpu_us,
            outcome.written_bytes,
            process::mebibytes(outcome.rss_peak_bytes)
        );
        outcome
    };
    (0..runs.max(1)).map(once).collect()
}

/// The run with the highest rate: the one that others on the machine disturbed least.
pub fn best(outcomes: &[Outcome]) -> Outcome {
    *outcomes.iter().max_by(|one, other| one.rate.total_cmp(&other.rate)).unwrap()
}

/// The rate of the run in the middle.
pub fn median_rate(outcomes: &[Outcome]) -> f64 {
    let mut rates: Vec<f64> = outcomes.iter().map(|outcome| outcome.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
