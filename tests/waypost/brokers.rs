//! Brokers and links that misbehave.

use std::time::Duration;

use crate::support::device::Device;
use crate::support::eventually;
use crate::support::http::Server;
use crate::support::link::Link;
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::Waypost;

fn config(broker: &Mosquitto, more: &str, topics: &str, service: &Server) -> String {
    config_at(broker.port, more, topics, service)
}

fn config_at(port: u16, more: &str, topics: &str, service: &Server) -> String {
    format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\nkeep_alive = \"5s\"\n{more}\n\n\
         [webhooks.cloud]\ntopics = {topics}\nurl = \"{}\"\nbatch = {{ max_records = 50 }}\n",
        service.url()
    )
}

fn connected(gateway: &Waypost) {
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
}

#[test]
fn messages_published_while_mosquitto_restarts_arrive() {
    let mut broker = Mosquitto::start("");
    let service = Server::start();
    let gateway = Waypost::start(&config(&broker, "", "[\"t/#\"]", &service));
    connected(&gateway);
    let device = Device::start(broker.port, "d1", "t/1", 400, Duration::from_millis(5));
    for _ in 0..3 {
        let so_far = device.acknowledged().len();
        eventually("progress", || device.acknowledged().len(), |count| *count > so_far + 20);
        broker.stop();
        broker.launch();
    }
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 400);
    let acknowledged = device.stop();
    eventually(
        "every acknowledged message delivered",
        || acknowledged.difference(&service.numbers("d1")).copied().collect::<Vec<_>>(),
        Vec::is_empty,
    );
    gateway.drained("cloud");
}

/// A device that publishes until it is stopped.
fn endless(broker: &Mosquitto) -> Device {
    Device::start(broker.port, "d1", "t/1", u64::MAX, Duration::from_millis(2))
}

/// Waits until everything that Mosquitto acknowledged to `device` has come all the way.
#[track_caller]
fn all_delivered(gateway: &Waypost, device: Device, service: &Server) {
    let acknowledged = device.stop();
    let missing = || acknowledged.difference(&service.numbers("d1")).count();
    eventually("every acknowledged message delivered", missing, |missing| *missing == 0);
    gateway.drained("cloud");
}

fn problems(gateway: &Waypost, reason: &str) -> f64 {
    let labels = format!("reason=\"{reason}\",source=\"local\"");
    gateway.metrics().get("waypost_source_problems_total", &labels).unwrap()
}

#[test]
fn a_link_that_is_cut_again_and_again_loses_nothing() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let link = Link::to(broker.port);
        let service = Server::start();
        let protocol = format!("protocol = \"{protocol}\"");
        let gateway = Waypost::start(&config_at(link.port, &protocol, "[\"t/#\"]", &service));
        connected(&gateway);
        let device = endless(&broker);
        for cut in 1..=5 {
            let so_far = service.numbers("d1").len();
            eventually("progress", || service.numbers("d1").len(), |now| *now > so_far + 50);
            link.cut();
            let closed = || problems(&gateway, "closed") + problems(&gateway, "unreachable");
            eventually("noticed", closed, |count| *count >= f64::from(cut));
            link.open();
            connected(&gateway);
        }
        all_delivered(&gateway, device, &service);
        assert_eq!(problems(&gateway, "session_lost"), 0.0);
    }
}

#[test]
fn a_link_that_swallows_everything_is_noticed_and_loses_nothing() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let link = Link::to(broker.port);
        let service = Server::start();
        let protocol = format!("protocol = \"{protocol}\"");
        let gateway = Waypost::start(&config_at(link.port, &protocol, "[\"t/#\"]", &service));
        connected(&gateway);
        let device = endless(&broker);
        eventually("progress", || service.numbers("d1").len(), |now| *now > 100);
        // Messages and acknowledgements on the way go down with it.
        link.silence();
        eventually("noticed", || problems(&gateway, "silent"), |count| *count >= 1.0);
        let told = gateway.status()["sources"]["local"]["detail"].clone();
        assert!(told.as_str().is_some_and(|text| !text.is_empty()), "{told}");
        let delivered = service.numbers("d1").len();
        assert!(device.acknowledged().len() > delivered + 1000, "nothing was cut off");
        link.open();
        connected(&gateway);
        all_delivered(&gateway, device, &service);
        let log = gateway.log();
        let told = log.matches("has not answered pings for two keep-alives").count();
        assert_eq!(told, 1, "{log}");
    }
}

#[test]
fn overlapping_filters_store_an_event_once_on_both_protocol_versions() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let service = Server::start();
        let topics = "[\"t/#\", \"t/+\", \"+/1\", \"t/1\"]";
        let protocol_line = format!("protocol = \"{protocol}\"");
        let gateway = Waypost::start(&config(&broker, &protocol_line, topics, &service));
        connected(&gateway);
        for number in 0..20 {
            let payload = format!("{{\"device\":\"d1\",\"n\":{number}}}");
            assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", &payload]));
        }
        eventually("all delivered", || service.numbers("d1").len(), |count| *count == 20);
        gateway.drained("cloud");
        let expected: Vec<u64> = (0..20).collect();
        assert_eq!(service.sequence("d1"), expected, "MQTT {protocol}");
    }
}

#[test]
fn what_a_later_config_no_longer_names_is_unsubscribed() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let service = Server::start();
        let protocol_line = format!("protocol = \"{protocol}\"");
        let both = config(&broker, &protocol_line, "[\"t/#\", \"u/#\"]", &service);
        let mut gateway = Waypost::start(&both);
        connected(&gateway);
        eventually("subscribed", || noted(&gateway), |filters| *filters == ["t/#", "u/#"]);
        gateway.terminate();
        // What comes while it is away is kept for it, wanted or not.
        assert!(broker.publish(&["-q", "1", "-t", "u/1", "-m", "kept"]));

        gateway.configure(&config(&broker, &protocol_line, "[\"t/#\"]", &service));
        gateway.launch();
        connected(&gateway);
        eventually("unsubscribed", || noted(&gateway), |filters| *filters == ["t/#"]);
        assert!(broker.publish(&["-q", "1", "-t", "u/1", "-m", "unwanted"]));
        assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "wanted"]));
        let records = eventually("delivered", || service.records(), |records| !records.is_empty());
        assert_eq!(records[0]["payload"], "wanted");
        let received = gateway.metrics().get("waypost_events_received_total", "source=\"local\"");
        assert_eq!(received, Some(2.0), "MQTT {protocol}: the kept one and the wanted one");
        assert_eq!(problems(&gateway, "session_lost"), 0.0);
    }
}

/// The filters in the note of the session.
fn noted(gateway: &Waypost) -> Vec<String> {
    let text = std::fs::read(gateway.data_dir().join("sessions/local")).unwrap_or_default();
    let note: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let filters = note["filters"].as_array().cloned().unwrap_or_default();
    filters.iter().map(|filter| filter.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_session_that_the_broker_lost_while_waypost_was_away_is_told() {
    for protocol in ["5", "3.1.1"] {
        let mut broker = Mosquitto::start("");
        let service = Server::start();
        let protocol_line = format!("protocol = \"{protocol}\"");
        let mut gateway = Waypost::start(&config(&broker, &protocol_line, "[\"t/#\"]", &service));
        connected(&gateway);
        eventually("subscribed", || noted(&gateway), |filters| *filters == ["t/#"]);
        assert_eq!(problems(&gateway, "session_lost"), 0.0, "it is the first");
        gateway.terminate();
        broker.stop();
        broker.launch();
        gateway.launch();
        connected(&gateway);
        assert_eq!(problems(&gateway, "session_lost"), 0.0, "MQTT {protocol}: it was kept");

        gateway.terminate();
        broker.stop();
        broker.forget_sessions();
        broker.launch();
        gateway.launch();
        connected(&gateway);
        assert_eq!(problems(&gateway, "session_lost"), 1.0, "MQTT {protocol}");
        assert!(gateway.log().contains("the broker lost our session"), "{}", gateway.log());
        assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "after"]));
        eventually("delivered", || service.records().len(), |count| *count == 1);
    }
}

#[test]
fn an_event_that_matches_two_webhooks_goes_to_both() {
    let broker = Mosquitto::start("");
    let (first, second) = (Server::start(), Server::start());
    let gateway = Waypost::start(&format!(
        "{}\n[webhooks.second]\ntopics = [\"t/+\"]\nurl = \"{}\"\n",
        config(&broker, "", "[\"t/#\"]", &first),
        second.url()
    ));
    connected(&gateway);
    assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "both"]));
    assert!(broker.publish(&["-q", "1", "-t", "t/1/2", "-m", "first only"]));
    eventually(
        "two and one",
        || (first.records().len(), second.records().len()),
        |counts| *counts == (2, 1),
    );
    gateway.drained("cloud");
    gateway.drained("second");
}

#[test]
fn it_starts_without_the_broker_and_says_what_is_wrong() {
    let port = crate::support::free_port();
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    let source = || gateway.status()["sources"]["local"].clone();
    let source = eventually("disconnected", source, |source| source["state"] == "disconnected");
    let detail = source["detail"].as_str().unwrap();
    assert!(detail.contains("refuses connections"), "{detail}");
}
