//! Quotas at work: each policy does what its name says and counts it.

use std::time::Duration;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// Devices, and messages of each. A device waits for each acknowledgement, so several are faster than one.
const DEVICES: [&str; 8] = ["d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8"];
const MESSAGES: u64 = 200;
const ALL: usize = 1600;

struct Fleet(Vec<Device>);

impl Fleet {
    /// Publishes 1600 messages of 32 KiB that do not compress: the quota is about bytes on disk.
    fn start(port: u16) -> Self {
        let noise = |_| {
            let noise: String =
                std::iter::repeat_with(fastrand::alphanumeric).take(32_768).collect();
            format!(",\"noise\":\"{noise}\"")
        };
        let start = |name| Device::start_with(port, name, "t/1", MESSAGES, Duration::ZERO, noise);
        Self(DEVICES.map(start).into())
    }

    fn acknowledged(&self) -> usize {
        self.0.iter().map(|device| device.acknowledged().len()).sum()
    }
}

/// Messages that the service has, of all devices.
fn received(service: &Server) -> usize {
    DEVICES.map(|device| service.numbers(device).len()).iter().sum()
}

fn gateway(port: u16, service: &Server, when_full: &str) -> Waypost {
    Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"50ms\", max = \"200ms\" }}\n\
         queue = {{ max_bytes = \"32MiB\", when_full = \"{when_full}\" }}\nbatch = {{ max_records = 50 }}\n",
        service.url()
    ))
}

#[test]
fn drop_oldest_keeps_the_newest_and_counts_what_it_drops() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let gateway = gateway(port, &service, "drop_oldest");
    let fleet = Fleet::start(port);
    eventually("all acknowledged", || fleet.acknowledged(), |count| *count == ALL);
    let metrics = gateway.metrics();
    metrics.assert_conservation();
    let dropped = metrics.sum("waypost_records_dropped_total", "sink=\"cloud\"");
    assert!(dropped > 400.0, "dropped {dropped}");
    let bytes = metrics.get("waypost_queue_bytes", "sink=\"cloud\"").unwrap();
    assert!(bytes <= 32.0 * 1024.0 * 1024.0, "{bytes} bytes");

    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert_eq!(received(&service) as f64, ALL as f64 - dropped);
    let newest = DEVICES.iter().all(|device| service.numbers(device).contains(&(MESSAGES - 1)));
    assert!(newest, "the newest were dropped");
}

#[test]
fn drop_newest_keeps_the_oldest_and_counts_what_it_drops() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let gateway = gateway(port, &service, "drop_newest");
    let fleet = Fleet::start(port);
    eventually("all acknowledged", || fleet.acknowledged(), |count| *count == ALL);
    let metrics = gateway.metrics();
    metrics.assert_conservation();
    let dropped = metrics.sum("waypost_records_dropped_total", "sink=\"cloud\"");
    assert!(dropped > 400.0, "dropped {dropped}");

    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert_eq!(received(&service) as f64, ALL as f64 - dropped);
    let oldest = DEVICES.iter().all(|device| service.numbers(device).contains(&0));
    assert!(oldest, "the oldest were dropped");
}

#[test]
fn dead_letter_loses_nothing_and_its_letters_survive_a_kill() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = gateway(port, &service, "dead_letter");
    let fleet = Fleet::start(port);
    eventually("all acknowledged", || fleet.acknowledged(), |count| *count == ALL);
    let metrics = gateway.metrics();
    metrics.assert_conservation();
    assert_eq!(metrics.sum("waypost_records_dropped_total", "sink=\"cloud\""), 0.0);
    let overflow = "reason=\"queue_full\",sink=\"cloud\"";
    let letters = metrics.get("waypost_dead_letters", overflow).unwrap();
    assert!(letters > 400.0, "{letters} dead letters");
    assert_eq!(metrics.get("waypost_records_dead_lettered_total", overflow), Some(letters));

    gateway.kill();
    service.answer(|_| Reply::Status(200));
    gateway.launch();
    gateway.until("waypost_dead_letters", overflow, |found| found == letters);
    gateway.drained("cloud");
    assert_eq!(received(&service) as f64, ALL as f64 - letters);
}

#[test]
fn block_withholds_acknowledgements_until_there_is_room() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let gateway = gateway(port, &service, "block");
    let fleet = Fleet::start(port);
    eventually("some acknowledged", || fleet.acknowledged(), |count| *count > 200);
    let blocked = eventually(
        "no more acknowledgements",
        || {
            let before = fleet.acknowledged();
            #[expect(
                clippy::disallowed_methods,
                reason = "that nothing happens takes time to see"
            )]
            std::thread::sleep(Duration::from_millis(500));
            (before, fleet.acknowledged())
        },
        |(before, after)| before == after,
    );
    assert!(blocked.1 < ALL, "nothing was withheld");

    service.answer(|_| Reply::Status(200));
    eventually("all acknowledged", || fleet.acknowledged(), |count| *count == ALL);
    gateway.drained("cloud");
    assert_eq!(received(&service), ALL);
    let dropped = gateway.metrics().sum("waypost_records_dropped_total", "sink=\"cloud\"");
    assert_eq!(dropped, 0.0);
}

#[test]
fn the_queue_of_a_paused_sink_keeps_to_its_quota() {
    let service = Server::start();
    let port = free_port();
    let gateway = gateway(port, &service, "drop_oldest");
    assert!(gateway.run(&["sink", "pause", "cloud"]).status.success());
    let fleet = Fleet::start(port);
    eventually("all acknowledged", || fleet.acknowledged(), |count| *count == ALL);
    let metrics = gateway.metrics();
    metrics.assert_conservation();
    let dropped = metrics.sum("waypost_records_dropped_total", "sink=\"cloud\"");
    assert!(dropped > 400.0, "dropped {dropped}");
    assert_eq!(received(&service), 0);

    assert!(gateway.run(&["sink", "resume", "cloud"]).status.success());
    gateway.drained("cloud");
    assert_eq!(received(&service) as f64, ALL as f64 - dropped);
    let newest = DEVICES.iter().all(|device| service.numbers(device).contains(&(MESSAGES - 1)));
    assert!(newest, "the newest were dropped");
}
