//! Machines in trouble: no network, a clock at 1970, a copied data directory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

fn config(port: u16, service: &Server) -> String {
    format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"50ms\", max = \"200ms\" }}\n\
         batch = {{ max_records = 50 }}\n",
        service.url()
    )
}

/// The binary under test behind `wrapper`, such as `faketime -f ...`.
fn wrapped(wrapper: &str, arguments: &[&str]) -> Command {
    let mut behind = Command::new(wrapper);
    behind.args(arguments).arg(command().get_program());
    behind
}

#[test]
fn it_starts_and_stops_without_any_network() {
    let mut gateway = Waypost::prepare(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://broker.example\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"https://service.example/hook\"\n",
    );
    gateway.launch_with(wrapped("unshare", &["--net"]));
    let source = || gateway.status()["sources"]["local"].clone();
    eventually("told", source, |source| source["state"] == "disconnected");
    let (status, took) = gateway.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(1), "took {took:?}");
}

#[test]
fn it_delivers_with_a_clock_at_1970_and_keeps_its_records_when_the_clock_is_set() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service));
    gateway
        .launch_with(wrapped("faketime", &["--exclude-monotonic", "-f", "@1970-01-01 00:00:10"]));
    let device = Device::start(port, "d1", "t/1", 50, Duration::ZERO);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 50);
    device.stop();
    gateway.kill();

    gateway.launch();
    let age =
        gateway.metrics().get("waypost_queue_oldest_record_age_seconds", "sink=\"cloud\"").unwrap();
    // Half a century is taken for the longest time that a restart may add.
    let most = 30.0 * 24.0 * 3600.0;
    assert!((most..most + 60.0).contains(&age), "records written in 1970 are {age} s old");
    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_queue_whose_thread_panics_ends_the_process_with_an_error() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::start(&config(port, &service));
    gateway.terminate();
    // The note of the next record number says that there are no more: nothing writes that, and no code expects it.
    let last = u64::MAX.to_le_bytes();
    let note = [&last[..], &crc32c::crc32c(&last).to_le_bytes()[..]].concat();
    std::fs::write(gateway.data_dir().join("queues/cloud/next"), note).unwrap();
    gateway.launch();

    let device = Device::start(port, "d1", "t/1", 1, Duration::ZERO);
    let status = gateway.ended();

    assert_eq!(status.code(), Some(1), "{status}\n{}", gateway.log());
    let told = "task `queue cloud` ended unexpectedly: attempt to add with overflow";
    assert!(gateway.log().contains(told), "{}", gateway.log());
    assert_eq!(device.stop().len(), 0, "acknowledged without a queue");
}

#[test]
fn a_copied_data_directory_on_another_machine_gets_ids_of_its_own() {
    let service = Server::start();
    let mut gateway = Waypost::start(&config(free_port(), &service));
    let id = gateway.status()["store_id"].as_str().unwrap().to_owned();
    gateway.terminate();
    gateway.launch();
    assert_eq!(gateway.status()["store_id"], id.as_str(), "the id changed on the same machine");
    gateway.terminate();

    let machine_id = gateway.directory().join("machine-id");
    std::fs::write(&machine_id, "0123456789abcdef0123456789abcdef\n").unwrap();
    let machine_id = machine_id.display().to_string();
    let script = format!("mount --bind {machine_id} /etc/machine-id && exec \"$0\" \"$@\"");
    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !Path::new("/etc/machine-id").exists() || !allowed.unwrap().success() {
        eprintln!("skipped: needs root and /etc/machine-id");
        return;
    }
    gateway.launch_with(wrapped("unshare", &["--mount", "sh", "-c", &script]));
    assert_ne!(gateway.status()["store_id"], id.as_str(), "two gateways share an id");
    assert!(gateway.log().contains("another machine"), "{}", gateway.log());
}
