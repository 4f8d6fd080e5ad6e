//! A disk without space, before the start and while it runs: custody waits or the policy decides, and it goes on by itself.

use std::time::Duration;

use expect_test::expect;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::Mosquitto;
use crate::support::small_disk::{Kind, SmallDisk};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

fn config(port: u16, service: &Server, when_full: &str) -> String {
    format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"50ms\", max = \"200ms\" }}\n\
         batch = {{ max_records = 50 }}\nqueue = {{ max_bytes = \"1GiB\", when_full = \"{when_full}\" }}\n",
        service.url()
    )
}

/// Publishes messages of 32 KiB that hardly compress.
fn noisy(port: u16, name: &str, count: u64) -> Device {
    Device::start_with(port, name, "t/1", count, Duration::ZERO, |_| {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(32_768).collect();
        format!(",\"noise\":\"{noise}\"")
    })
}

/// A gateway whose queue holds what `d1` published, stopped, on a disk without a free byte.
fn stopped_on_a_full_disk(
    kind: Kind,
    port: u16,
    service: &Server,
    when_full: &str,
) -> Option<(Waypost, SmallDisk)> {
    let mut gateway = Waypost::prepare(&config(port, service, when_full));
    let disk = SmallDisk::mount(&gateway.data_dir(), kind, 64)?;
    gateway.launch();
    let device = noisy(port, "d1", 150);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 150);
    gateway.terminate();
    // The space kept back for this day is gone too.
    std::fs::remove_file(gateway.data_dir().join("ballast")).unwrap();
    disk.fill();
    Some((gateway, disk))
}

fn why_unavailable(gateway: &Waypost) -> String {
    gateway.status()["sinks"]["cloud"]["queue_unavailable"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_start_on_a_full_disk_says_why_withholds_and_goes_on_once_there_is_room() {
    for kind in [Kind::Tmpfs, Kind::Ext4] {
        let service = Server::scripted(|_| Reply::Status(503));
        let port = free_port();
        let Some((mut gateway, disk)) = stopped_on_a_full_disk(kind, port, &service, "block")
        else {
            return;
        };
        gateway.launch_unready();
        let why = why_unavailable(&gateway);
        assert!(why.contains("the disk is full: the queue cannot be opened"), "{kind:?}: {why}");
        let available = gateway.metrics().get("waypost_queue_available", "sink=\"cloud\"");
        assert_eq!(available, Some(0.0));
        assert_eq!(gateway.get("/livez").unwrap().0, 200);
        let (status, text) = gateway.get("/readyz").unwrap();
        assert_eq!(status, 503);
        assert!(text.contains("the disk is full"), "{text}");

        let withheld = Device::start(port, "d2", "t/2", 100, Duration::ZERO);
        let received = |count: f64| count > 0.0;
        gateway.until("waypost_events_received_total", "source=\"devices\"", received);
        assert_eq!(withheld.acknowledged().len(), 0, "acknowledged without a queue");
        service.answer(|_| Reply::Status(200));
        disk.clear();
        gateway.until("waypost_queue_available", "sink=\"cloud\"", |value| value == 1.0);
        eventually("all acknowledged", || withheld.acknowledged().len(), |count| *count == 100);
        gateway.drained("cloud");
        assert_eq!(service.sequence("d1"), (0..150).collect::<Vec<_>>(), "{kind:?}");
        assert_eq!(service.sequence("d2"), (0..100).collect::<Vec<_>>(), "{kind:?}");
        let dropped = gateway.metrics().sum("waypost_records_dropped_total", "sink=\"cloud\"");
        assert_eq!(dropped, 0.0);
        let lines = gateway.log().matches("disk full").count();
        assert_eq!(lines, 1, "one line says it: {}", gateway.log());
    }
}

#[test]
fn a_start_on_a_full_disk_drops_and_counts_what_comes_where_that_is_the_policy() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let Some((mut gateway, disk)) =
        stopped_on_a_full_disk(Kind::Tmpfs, port, &service, "drop_newest")
    else {
        return;
    };
    gateway.launch_unready();
    let dropped = Device::start(port, "d2", "t/2", 100, Duration::ZERO);
    eventually("all acknowledged", || dropped.acknowledged().len(), |count| *count == 100);
    let labels = "reason=\"disk_full\",sink=\"cloud\"";
    assert_eq!(gateway.metrics().get("waypost_records_dropped_total", labels), Some(100.0));
    gateway.metrics().assert_conservation();

    service.answer(|_| Reply::Status(200));
    disk.clear();
    gateway.until("waypost_queue_available", "sink=\"cloud\"", |value| value == 1.0);
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..150).collect::<Vec<_>>());
    assert_eq!(service.sequence("d2"), Vec::<u64>::new());
    assert_eq!(gateway.metrics().get("waypost_records_dropped_total", labels), Some(100.0));
}

#[test]
fn a_first_start_on_a_full_disk_waits_for_room() {
    for kind in [Kind::Tmpfs, Kind::Ext4] {
        let service = Server::start();
        let port = free_port();
        let mut gateway = Waypost::prepare(&config(port, &service, "block"));
        let Some(disk) = SmallDisk::mount(&gateway.data_dir(), kind, 64) else { return };
        disk.fill();
        gateway.launch_waiting();
        eventually("told", || gateway.log(), |log| log.contains("disk full"));
        disk.clear();
        let device = Device::start(port, "d1", "t/1", 100, Duration::ZERO);
        eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 100);
        gateway.drained("cloud");
        let id = gateway.status()["store_id"].clone();
        gateway.terminate();
        gateway.launch();
        assert_eq!(gateway.status()["store_id"], id, "{kind:?}: the id was not kept");
    }
}

#[test]
fn a_queue_that_cannot_be_opened_stops_no_other_and_opens_by_itself() {
    let service = Server::start();
    let port = free_port();
    let mut gateway = Waypost::prepare(&format!(
        "{}\n[webhooks.other]\ntopics = [\"u/#\"]\nurl = \"{}\"\n",
        config(port, &service, "drop_oldest"),
        service.url()
    ));
    let in_the_way = gateway.data_dir().join("queues/cloud");
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, "not a folder").unwrap();
    gateway.launch_unready();
    let why = why_unavailable(&gateway);
    assert!(why.contains("it cannot be opened"), "{why}");

    let other = Device::start(port, "d2", "u/1", 100, Duration::ZERO);
    eventually("the other's", || other.acknowledged().len(), |count| *count == 100);
    gateway.drained("other");
    let withheld = Device::start(port, "d1", "t/1", 100, Duration::ZERO);
    let refused = "reason=\"not_stored\",source=\"devices\"";
    gateway.until("waypost_source_problems_total", refused, |count| count > 0.0);
    assert_eq!(withheld.acknowledged().len(), 0, "acknowledged without a queue");

    std::fs::remove_file(&in_the_way).unwrap();
    eventually("all acknowledged", || withheld.acknowledged().len(), |count| *count == 100);
    gateway.drained("cloud");
    assert_eq!(service.numbers("d1").len(), 100);
    let lines = gateway.log().matches("queue cannot be opened").count();
    assert_eq!(lines, 1, "one line says it: {}", gateway.log());
}

#[test]
fn a_broker_sends_again_what_a_queue_that_cannot_be_opened_refused() {
    let service = Server::start();
    let broker = Mosquitto::start("");
    let mut gateway = Waypost::prepare(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        broker.url(),
        service.url()
    ));
    let in_the_way = gateway.data_dir().join("queues/cloud");
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, "not a folder").unwrap();
    gateway.launch_unready();
    gateway.until("waypost_source_connected", "source=\"local\"", |value| value == 1.0);
    let device = Device::start(broker.port, "d1", "t/1", 100, Duration::ZERO);
    eventually("all at the broker", || device.acknowledged().len(), |count| *count == 100);
    let refused = "reason=\"not_stored\",source=\"local\"";
    gateway.until("waypost_source_problems_total", refused, |count| count >= 2.0);
    let acknowledged =
        gateway.metrics().get("waypost_events_acknowledged_total", "source=\"local\"");
    assert_eq!(acknowledged, Some(0.0));

    std::fs::remove_file(&in_the_way).unwrap();
    eventually("all delivered", || service.numbers("d1").len(), |count| *count == 100);
    gateway.drained("cloud");
}

#[test]
fn a_disk_that_fills_up_and_gets_space_again_loses_nothing_acknowledged() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service, "block"));
    let Some(disk) = SmallDisk::mount(&gateway.data_dir(), Kind::Tmpfs, 96) else { return };
    gateway.launch();
    let device = noisy(port, "d1", 600);
    eventually("some acknowledged", || device.acknowledged().len(), |count| *count > 100);
    disk.fill();
    let stalled = || {
        let before = device.acknowledged().len();
        #[expect(clippy::disallowed_methods, reason = "that nothing happens takes time to see")]
        std::thread::sleep(Duration::from_millis(700));
        (before, device.acknowledged().len())
    };
    let stalled = eventually("a full disk", stalled, |(before, after)| before == after);
    assert!(stalled.1 < 600, "the disk was never full");
    assert_eq!(gateway.get("/livez").unwrap().0, 200);

    disk.clear();
    service.answer(|_| Reply::Status(200));
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 600);
    let acknowledged = device.stop();
    eventually(
        "every acknowledged message delivered",
        || acknowledged.difference(&service.numbers("d1")).count(),
        |missing| *missing == 0,
    );
    gateway.drained("cloud");
}

#[test]
fn a_backlog_is_delivered_while_the_disk_stays_full() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service, "drop_newest"));
    let Some(disk) = SmallDisk::mount(&gateway.data_dir(), Kind::Tmpfs, 96) else { return };
    gateway.launch();
    // More than memory keeps: most of it has to be read from a disk that gives no room for opening it.
    let device = noisy(port, "d1", 900);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 900);
    disk.fill();
    let full = || {
        let one = Device::start(port, "d2", "t/2", 1, Duration::ZERO);
        eventually("acknowledged", || one.acknowledged().len(), |count| *count == 1);
        gateway.metrics().get("waypost_queue_available", "sink=\"cloud\"")
    };
    eventually("a full disk", full, |available| *available == Some(0.0));

    service.answer(|_| Reply::Status(200));
    eventually("all delivered", || service.numbers("d1").len(), |count| *count == 900);
    gateway.drained("cloud");
}

#[test]
fn a_full_disk_is_told_where_one_looks_until_there_is_room() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service, "drop_oldest"));
    let Some(disk) = SmallDisk::mount(&gateway.data_dir(), Kind::Tmpfs, 64) else { return };
    gateway.launch();
    disk.fill();
    let labels = "reason=\"disk_full\",sink=\"cloud\"";
    let dropped = || {
        let one = noisy(port, "d1", 10);
        eventually("acknowledged", || one.acknowledged().len(), |count| *count == 10);
        gateway.metrics().get("waypost_records_dropped_total", labels)
    };
    eventually("dropped", dropped, |dropped| *dropped > Some(0.0));

    let said = |command: &[&str]| String::from_utf8(gateway.run(command).stdout).unwrap();
    let status = said(&["status"]);
    assert!(status.contains("\ncloud  no room  "), "{status}");
    // The path is as long as it likes, and breaks lines.
    let words = status.split_whitespace().collect::<Vec<_>>().join(" ");
    let advice = format!(
        "sink cloud: its queue takes no records: the disk is full -> make room on the disk of {}; it goes on by itself",
        gateway.data_dir().display()
    );
    assert!(words.contains(&advice), "{status}");
    let (_, lost) = words.split_once("records lost").unwrap();
    let lost = lost.split(" * ").next().unwrap_or_default();
    expect![[
        r#" since the start, although acknowledged: the disk was full (when_full = "drop_oldest")"#
    ]]
    .assert_eq(lost.split(" GOOD TO KNOW").next().unwrap_or_default());
    let graph = said(&["graph"]);
    assert!(graph.contains("sink cloud  [no room, "), "{graph}");
    let log = gateway.log();
    assert!(log.contains("disk full: queue takes no records"), "{log}");
    assert!(!log.contains("queue is open"), "while there is no room: {log}");

    disk.clear();
    gateway.until("waypost_queue_available", "sink=\"cloud\"", |value| value == 1.0);
    let told = |log: &String| log.contains("disk has room again: queue takes records");
    eventually("told", || gateway.log(), told);
    assert!(!said(&["status"]).contains("no room"));
}
