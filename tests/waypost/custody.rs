//! What was acknowledged is delivered, whatever is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::device::Device;
use crate::support::http::{Reply, Request, Server};
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::Waypost;
use crate::support::{PATIENCE, eventually, free_port, holds_within};

/// SIGKILLs of each of the two campaigns; `WAYPOST_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("WAYPOST_KILLS").map_or(25, |count| count.parse().unwrap())
}

/// Record ids of everything the receiver has: an id never stands for two different messages.
fn assert_ids_are_stable(service: &Server) {
    let mut message_of = BTreeMap::new();
    for record in service.records() {
        let id = record["record_id"].as_str().unwrap().to_owned();
        let message = (record["id"].clone(), record["payload"].clone());
        let earlier = message_of.entry(id.clone()).or_insert_with(|| message.clone());
        assert_eq!(*earlier, message, "record id {id} stands for two messages");
    }
}

fn webhook(service: &Server, batch: u64) -> String {
    format!(
        "[webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n\
         batch = {{ max_records = {batch}, linger = \"20ms\" }}\nretry = {{ initial = \"50ms\", max = \"200ms\" }}\n",
        service.url()
    )
}

/// Records of a batch in a campaign: what a busy machine left lying is delivered soon, however many kills there were.
const CAMPAIGN_BATCH: u64 = 500;

/// Kills the gateway at random moments while a device publishes through `port`.
fn kill_campaign(mut gateway: Waypost, port: u16, service: &Server) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let device = Device::start(port, "d1", "t/1", u64::MAX, Duration::from_millis(1));
    for _ in 0..kills() {
        let moment = Duration::from_millis(random.u64(0..300));
        #[expect(clippy::disallowed_methods, reason = "a kill comes at a random moment")]
        std::thread::sleep(moment);
        gateway.kill();
        gateway.launch();
    }
    let acknowledged = device.stop();
    assert!(acknowledged.len() > 100, "only {} were acknowledged", acknowledged.len());
    eventually(
        "every acknowledged message delivered",
        || acknowledged.difference(&service.numbers("d1")).copied().collect::<Vec<_>>(),
        Vec::is_empty,
    );
    gateway.drained("cloud");
    assert_ids_are_stable(service);
}

#[test]
fn nothing_acknowledged_by_the_embedded_broker_is_lost_when_waypost_is_killed() {
    let service = Server::start();
    let port = free_port();
    let source =
        format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n");
    let gateway = Waypost::start(&(source + &webhook(&service, CAMPAIGN_BATCH)));
    kill_campaign(gateway, port, &service);
}

#[test]
fn nothing_acknowledged_by_mosquitto_is_lost_when_waypost_is_killed() {
    let broker = Mosquitto::start("");
    let service = Server::start();
    let source = format!("[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n\n", broker.url());
    let gateway = Waypost::start(&(source + &webhook(&service, CAMPAIGN_BATCH)));
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
    kill_campaign(gateway, broker.port, &service);
}

/// What the service answers to a message that it cannot digest: it fails on some, and rejects others.
fn trouble(n: u64) -> Option<u16> {
    match (n % 300, n % 90) {
        (50, _) => Some(500),
        (_, 20) => Some(400),
        _ => None,
    }
}

fn status_of(request: &Request) -> u16 {
    let messages = crate::support::sinks::messages(request);
    messages.into_iter().filter_map(|message| trouble(message.n)).max().unwrap_or(200)
}

#[test]
fn nothing_acknowledged_is_lost_when_waypost_is_killed_while_it_looks_for_poison() {
    let service = Server::scripted(|request| Reply::Status(status_of(request)));
    let port = free_port();
    let source =
        format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n");
    let sink = webhook(&service, 20) + "canary = { failures = 2, period = \"200ms\" }\n";
    let mut gateway = Waypost::start(&(source + &sink));
    let devices = ["d1", "d2", "d3"];
    let start =
        |name| Device::start(port, name, &format!("t/{name}"), u64::MAX, Duration::from_millis(3));
    let publishing = devices.map(start);
    for _ in 0..10 {
        let moment = Duration::from_millis(fastrand::u64(200..1200));
        #[expect(clippy::disallowed_methods, reason = "a kill comes at a random moment")]
        std::thread::sleep(moment);
        gateway.kill();
        gateway.launch();
    }
    let acknowledged = publishing.map(Device::stop);
    // What comes after the last one tells whether the service fails, or that one.
    let is_drained =
        || gateway.metrics().get("waypost_queue_records", "sink=\"cloud\"") == Some(0.0);
    let started = Instant::now();
    while !holds_within(Duration::from_millis(200), is_drained) && started.elapsed() < PATIENCE {
        let news = Device::start(port, "news", "t/news", 1, Duration::ZERO);
        eventually("news", || news.acknowledged().len(), |acknowledged| *acknowledged == 1);
        news.stop();
    }
    gateway.drained("cloud");
    let mut poison = 0;
    for (device, acknowledged) in devices.iter().zip(acknowledged) {
        let delivered = service.numbers(device);
        let missing: Vec<u64> = acknowledged.difference(&delivered).copied().collect();
        let bad = acknowledged.iter().filter(|n| trouble(**n).is_some());
        let bad: Vec<u64> = bad.copied().collect();
        assert_eq!(missing, bad, "of {device}");
        poison += bad.len();
    }
    assert!(poison > 10, "only {poison} were poison");
    // More where a message was stored before a kill, and came again because its PUBACK was not sent.
    let letters = gateway.metrics().sum("waypost_dead_letters", "cloud");
    assert!(letters >= poison as f64, "{letters} letters for {poison}");
    assert_ids_are_stable(&service);
}

#[test]
fn a_backlog_survives_kills_and_is_delivered_with_the_same_ids() {
    let service = Server::scripted(|_| Reply::Close);
    let port = free_port();
    let source =
        format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n");
    let mut gateway = Waypost::start(&(source + &webhook(&service, 20)));
    let device = Device::start(port, "d1", "t/1", 300, Duration::ZERO);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 300);
    device.stop();
    eventually("an attempt", || service.requests().len(), |count| *count > 0);
    let attempted: BTreeMap<String, String> = attempted(&service);

    for _ in 0..3 {
        gateway.kill();
        gateway.launch();
        let recovered = gateway.metrics().get("waypost_queue_recovered_total", "sink=\"cloud\"");
        assert_eq!(recovered, Some(300.0));
    }
    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");

    assert_eq!(service.sequence("d1"), (0..300).collect::<Vec<_>>());
    let delivered: BTreeMap<String, String> = attempted_and_accepted(&service);
    for (id, message) in attempted {
        assert_eq!(delivered.get(&id), Some(&message), "record {id} changed its id");
    }
}

fn attempted(service: &Server) -> BTreeMap<String, String> {
    let requests = service.requests();
    requests.iter().flat_map(Request::records).map(id_and_message).collect()
}

fn attempted_and_accepted(service: &Server) -> BTreeMap<String, String> {
    service.records().into_iter().map(id_and_message).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function over values")]
fn id_and_message(record: serde_json::Value) -> (String, String) {
    (record["record_id"].as_str().unwrap().to_owned(), record["id"].to_string())
}

#[test]
fn sigterm_ends_it_within_a_second_with_a_backlog_and_a_hanging_receiver() {
    let service = Server::scripted(|_| Reply::Hang);
    let port = free_port();
    let source =
        format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n");
    let mut gateway = Waypost::start(&(source + &webhook(&service, 20)));
    let device = Device::start(port, "d1", "t/1", 500, Duration::ZERO);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 500);
    device.stop();
    eventually("an attempt", || service.requests().len(), |count| *count > 0);

    let (status, took) = gateway.terminate();

    assert!(status.success(), "{status}\n{}", gateway.log());
    assert!(took < Duration::from_secs(1), "took {took:?}\n{}", gateway.log());
    service.answer(|_| Reply::Status(200));
    gateway.launch();
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..500).collect::<Vec<_>>());
}
