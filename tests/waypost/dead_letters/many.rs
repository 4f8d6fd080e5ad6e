//! A hundred thousand dead letters: lists and counts stay fast, and memory stays bounded.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::http::Server;
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::{Waypost, command};
use crate::support::{free_port, pause};

const MESSAGES: usize = 100;
const RECORDS_EACH: usize = 1000;
/// What is given up at once has a bound.
const ROUNDS: usize = 10;
const ALL: usize = MESSAGES * RECORDS_EACH;
/// Generous: the tests' build is slow, and so may be the machine. Measured figures are printed.
const TIME_MAX: Duration = Duration::from_mins(1);
/// Of the command, which opens the letters itself where the gateway is stopped, and what the gateway may grow by.
const MEMORY_KIB_MAX: u64 = 128 * 1024;

/// The most memory that a process has had so far; `None` when it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Runs a command; gives the lines that it prints, the time, and the most memory it had.
fn measured(gateway: &Waypost, arguments: &[&str]) -> (usize, Duration, u64) {
    let out = gateway.directory().join("out");
    let started = Instant::now();
    let mut child = command()
        .arg("dead-letter")
        .args(arguments)
        .arg("--config")
        .arg(gateway.config_path())
        .stdout(Stdio::from(fs::File::create(&out).unwrap()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(peak_kib(child.id()).unwrap_or(0));
        pause();
    };
    let took = started.elapsed();
    assert!(status.success(), "{arguments:?}: {status}");
    (fs::read_to_string(out).unwrap().lines().count(), took, peak)
}

#[test]
fn a_hundred_thousand_dead_letters_are_listed_and_counted_at_once_in_little_memory() {
    let (service, port) = (Server::start(), free_port());
    let mut gateway = Waypost::start(&format!(
        "[dead_letters]\nmax_bytes = \"512MiB\"\n\n[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [rules.each]\nsql = 'FOREACH payload AS one DO one AS value FROM \"t/#\"'\nsinks = [\"cloud\"]\n\n\
         [sinks.cloud]\nurl = \"{}\"\nbatch.max_records = 1000\nretry.max_age = \"1s\"\n",
        service.url()
    ));
    let elements: Vec<String> = (0..RECORDS_EACH).map(|value| value.to_string()).collect();
    let message = format!("[{}]", elements.join(","));
    for round in 1..=ROUNDS {
        assert!(gateway.run(&["sink", "pause", "cloud"]).status.success());
        for _ in 0..MESSAGES / ROUNDS {
            assert!(mosquitto_pub(port, &["-q", "1", "-t", "t/1", "-m", &message]));
        }
        // The sink is resumed when the youngest has grown too old.
        let oldest = "waypost_queue_oldest_record_age_seconds";
        let then = gateway.metrics().get(oldest, "sink=\"cloud\"").unwrap();
        gateway.until(oldest, "sink=\"cloud\"", |age| age > then + 1.5);
        assert!(gateway.run(&["sink", "resume", "cloud"]).status.success());
        let wanted = (ALL / ROUNDS * round) as f64;
        let labels = "reason=\"max_age\",sink=\"cloud\"";
        gateway.until("waypost_dead_letters", labels, |count| count == wanted);
    }
    let many = ALL.to_string();
    let cases: [(&[&str], usize); 3] = [
        (&["list", "--limit", &many], ALL + 1),
        (&["list", "--group-by", "reason"], 4),
        (&["export"], ALL),
    ];
    let before = peak_kib(gateway.pid()).unwrap();
    for place in ["running", "stopped"] {
        for (arguments, lines) in cases {
            let (printed, took, peak) = measured(&gateway, arguments);
            eprintln!("{place}, {arguments:?}: {took:?}, {} MiB", peak / 1024);
            assert_eq!(printed, lines, "{place}, {arguments:?}");
            assert!(took < TIME_MAX, "{place}, {arguments:?}: took {took:?}");
            assert!(peak < MEMORY_KIB_MAX, "{place}, {arguments:?}: {peak} KiB");
        }
        if place == "running" {
            let grown = peak_kib(gateway.pid()).unwrap() - before;
            eprintln!("the gateway grew by {} MiB", grown / 1024);
            assert!(grown < MEMORY_KIB_MAX, "the gateway grew by {grown} KiB");
            gateway.terminate();
        }
    }
}
