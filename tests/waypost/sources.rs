//! Every way to take messages from a broker, through the config file.

use std::process::Command;

use crate::support::certificates::Certificates;
use crate::support::http::Server;
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

fn gateway(source: &str, service: &Server) -> Waypost {
    Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nkeep_alive = \"5s\"\n{source}\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        service.url()
    ))
}

fn connected(gateway: &Waypost) {
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
}

/// Publishes one message in the clear and waits until it has gone all the way.
#[track_caller]
fn one_message_arrives(gateway: &Waypost, broker: &Mosquitto, service: &Server) {
    connected(gateway);
    assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "hello"]));
    let records = eventually("one record", || service.records(), |records| records.len() == 1);
    assert_eq!(records[0]["payload"], "hello");
    gateway.drained("cloud");
    let acknowledged = |value: f64| value == 1.0;
    gateway.until("waypost_events_acknowledged_total", "source=\"local\"", acknowledged);
}

/// Waits until the source's state is told with a text that has `words`.
#[track_caller]
fn told(gateway: &Waypost, state: &str, words: &str) {
    let source = || gateway.status()["sources"]["local"].clone();
    eventually(words, source, |source| {
        source["state"] == state
            && source["detail"].as_str().is_some_and(|text| text.contains(words))
    });
}

fn problems(gateway: &Waypost, reason: &str) -> f64 {
    let labels = format!("reason=\"{reason}\",source=\"local\"");
    gateway.metrics().get("waypost_source_problems_total", &labels).unwrap()
}

#[test]
fn both_protocol_versions_and_the_fall_back_work() {
    for protocol in ["auto", "5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let service = Server::start();
        let source = format!("url = \"{}\"\nprotocol = \"{protocol}\"", broker.url());
        let gateway = gateway(&source, &service);
        one_message_arrives(&gateway, &broker, &service);
    }
}

#[test]
fn tls_with_an_authority_a_client_certificate_and_another_server_name_works() {
    let certificates = Certificates::new();
    certificates.issue("broker.plant");
    certificates.issue("gateway");
    let secure = free_port();
    let broker = Mosquitto::start(&format!(
        "listener {secure} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        certificates.file("ca.pem"),
        certificates.file("broker.plant.pem"),
        certificates.file("broker.plant.key"),
    ));
    let service = Server::start();
    let source = |more: &str| {
        format!(
            "url = \"mqtts://127.0.0.1:{secure}\"\ntls = {{ ca_file = \"{}\", cert_file = \"{}\", key_file = \"{}\"{more} }}",
            certificates.file("ca.pem"),
            certificates.file("gateway.pem"),
            certificates.file("gateway.key"),
        )
    };
    let gateway = gateway(&source(", server_name = \"broker.plant\""), &service);
    one_message_arrives(&gateway, &broker, &service);

    let unnamed = self::gateway(&source(""), &service);
    told(&unnamed, "disconnected", "certificate");
    assert!(problems(&unnamed, "unreachable") > 0.0);
}

#[test]
fn web_sockets_work() {
    let port = free_port();
    let broker = Mosquitto::start(&format!("listener {port} 127.0.0.1\nprotocol websockets"));
    let service = Server::start();
    let gateway = gateway(&format!("url = \"ws://127.0.0.1:{port}/mqtt\""), &service);
    one_message_arrives(&gateway, &broker, &service);
}

#[test]
fn a_user_and_a_password_from_a_file_let_us_in_and_a_wrong_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let mut made = Command::new("mosquitto_passwd");
    made.args(["-c", "-b"]).arg(&users).args(["waypost", "secret"]);
    assert!(made.status().unwrap().success());
    let broker = Mosquitto::start(&format!("password_file {}", users.display()));
    let password = folder.path().join("mqtt.pw");
    std::fs::write(&password, "secret\n").unwrap();
    let source = |file: &std::path::Path| {
        format!(
            "url = \"{}\"\nusername = \"waypost\"\npassword = {{ file = \"{}\" }}",
            broker.url(),
            file.display()
        )
    };
    let service = Server::start();
    let gateway = gateway(&source(&password), &service);
    one_message_arrives(&gateway, &broker, &service);

    let wrong = folder.path().join("wrong.pw");
    std::fs::write(&wrong, "wrong").unwrap();
    let refused = self::gateway(&source(&wrong), &service);
    told(&refused, "disconnected", "password");
    assert!(problems(&refused, "not_authorized") > 0.0);
}

#[test]
fn shared_subscriptions_pass_through_and_two_gateways_share_the_load() {
    let broker = Mosquitto::start("");
    let services = [Server::start(), Server::start()];
    let gateways = services.each_ref().map(|service| {
        Waypost::start(&format!(
            "[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n\n\
             [webhooks.cloud]\ntopics = [\"$share/plant/t/#\"]\nurl = \"{}\"\n",
            broker.url(),
            service.url()
        ))
    });
    gateways.iter().for_each(connected);
    for number in 0..40 {
        let payload = format!("{{\"device\":\"d1\",\"n\":{number}}}");
        assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", &payload]));
    }
    let numbers = || services.each_ref().map(|service| service.sequence("d1").len());
    let shares = eventually("all once", numbers, |shares| shares.iter().sum::<usize>() >= 40);
    assert_eq!(shares.iter().sum::<usize>(), 40, "{shares:?}");
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

#[test]
fn several_brokers_at_once_feed_one_sink() {
    let brokers = [Mosquitto::start(""), Mosquitto::start("")];
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n\n[sources.other]\ntype = \"mqtt\"\nurl = \"{}\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        brokers[0].url(),
        brokers[1].url(),
        service.url()
    ));
    connected(&gateway);
    gateway.until("waypost_source_connected", "source=\"other\"", |connected| connected == 1.0);
    for broker in &brokers {
        assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "hello"]));
    }
    eventually("both", || service.records().len(), |count| *count == 2);
    gateway.drained("cloud");
}

#[test]
fn another_client_with_our_id_is_told() {
    let broker = Mosquitto::start("");
    let service = Server::start();
    let source = format!("url = \"{}\"\nclient_id = \"ours\"\nprotocol = \"5\"", broker.url());
    let gateway = gateway(&source, &service);
    connected(&gateway);
    let port = broker.port.to_string();
    let mut thief = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port, "-i", "ours", "-t", "x", "-V", "5"])
        .spawn()
        .unwrap();
    // Mosquitto 2.0 closes without a word; the unit tests play a broker that says why.
    told(&gateway, "disconnected", "does another client use our client id?");
    assert!(problems(&gateway, "closed") > 1.0);
    thief.kill().unwrap();
    thief.wait().unwrap();
}

#[test]
fn an_oversize_message_is_counted_and_stops_nothing() {
    for protocol in ["5", "3.1.1"] {
        let broker = Mosquitto::start("");
        let service = Server::start();
        let source = format!(
            "url = \"{}\"\nprotocol = \"{protocol}\"\nmax_packet_bytes = \"16KiB\"",
            broker.url()
        );
        let gateway = gateway(&source, &service);
        connected(&gateway);
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'x'; 100_000]).unwrap();
        let large = large.display().to_string();
        for _ in 0..3 {
            assert!(broker.publish(&["-q", "1", "-t", "t/1", "-f", &large]));
        }
        assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "hello"]));
        let records = eventually("the small one", || service.records(), |r| !r.is_empty());
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["payload"], "hello");
        // With MQTT 5 the broker is told our limit and drops it there.
        let expected = if protocol == "5" { (0.0, 0) } else { (3.0, 1) };
        let log = gateway.log();
        let told = log.lines().filter(|line| line.contains("max_packet_bytes")).count();
        assert_eq!((problems(&gateway, "oversize"), told), expected, "MQTT {protocol}: {log}");
    }
}
