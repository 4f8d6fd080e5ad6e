//! Whole-job measurements: real Mosquitto, the release binary, a real disk, HTTP over loopback.
//!
//! Every figure stands beside a reference measured in the same run on the same machine, because the machine's speed
//! is not ours to promise. Nothing here asserts: a missed target is printed as missed (`--strict` turns it into exit code 1).
//! `benches/README.md` says what each job does and what was last measured.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot go on has failed; figures are printed with three digits"
)]

mod backlog;
#[cfg(feature = "broker")]
mod devices;
mod gateway;
mod hooks;
mod job;
mod light;
mod payload;
mod process;
mod publisher;
mod receiver;
mod reference;
mod report;
mod single;
mod sinks;
#[path = "../../tests/waypost/support/mod.rs"]
#[allow(dead_code, clippy::pedantic, reason = "the tests use all of it and set its lints")]
mod support;
mod throughput;
mod written;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::Report;

/// Measures whole jobs and prints each figure beside its reference and its target.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_values_t = [Job::All])]
    jobs: Vec<Job>,
    /// Messages of the jobs that run at full speed.
    #[arg(long, default_value_t = 100_000)]
    messages: usize,
    /// Records of the backlog.
    #[arg(long, default_value_t = 5_000_000)]
    backlog: usize,
    /// Seconds of the jobs that run at a given rate.
    #[arg(long, default_value_t = 20)]
    seconds: usize,
    /// How often each job at full speed runs; the best run counts, the median is printed beside it.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Exit code 1 when a target is missed.
    #[arg(long)]
    strict: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Batches of 500 at full speed, live and out of a queued session.
    Throughput,
    /// One record per request at full speed.
    Single,
    /// 200 messages a second: latency.
    Light,
    /// A backlog with a dead sink: memory, open after SIGKILL, drain, disk given back; sizes.
    Backlog,
    /// 10,000 messages a second: bytes written per payload byte.
    Bytes,
    /// 1, 8 and 64 sinks.
    Sinks,
    /// 50 devices at the embedded broker at full speed; 2,000 that say nothing.
    #[cfg(feature = "broker")]
    Broker,
    /// Web hooks of brokers: requests a second, and the time until each is durable.
    Hooks,
    /// What the machine gives to programs that do much less.
    Machine,
    /// All of them.
    All,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    drop(rustls::crypto::ring::default_provider().install_default());
    gateway::use_disk_under_target();
    let mut report = Report::default();
    let wants =
        |job: Job| arguments.jobs.iter().any(|wanted| *wanted == job || *wanted == Job::All);
    if arguments.jobs.contains(&Job::Machine) {
        reference::measure(&mut report, arguments.messages);
    }
    if wants(Job::Throughput) {
        throughput::measure(&mut report, arguments.messages, arguments.runs);
    }
    if wants(Job::Single) {
        single::measure(&mut report, arguments.messages, arguments.runs);
    }
    #[cfg(feature = "broker")]
    if wants(Job::Broker) {
        devices::measure(&mut report, arguments.messages, arguments.runs);
    }
    if wants(Job::Light) {
        light::measure(&mut report, arguments.seconds);
    }
    if wants(Job::Bytes) {
        written::measure(&mut report, arguments.seconds);
    }
    if wants(Job::Sinks) {
        sinks::measure(&mut report, arguments.messages, arguments.seconds);
    }
    if wants(Job::Hooks) {
        hooks::measure(&mut report, arguments.messages, arguments.seconds, arguments.runs);
    }
    if wants(Job::Backlog) {
        backlog::measure(&mut report, arguments.backlog);
    }
    report.print();
    if arguments.strict && report.missed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
