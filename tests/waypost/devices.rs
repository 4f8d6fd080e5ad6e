//! The embedded broker, as devices and other subscribers see it, through the config file.

use std::process::{Child, Command, Stdio};

use crate::support::certificates::Certificates;
use crate::support::http::Server;
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::{Waypost, hash_password};
use crate::support::{eventually, free_port};

fn gateway(source: &str, service: &Server) -> Waypost {
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\n{source}\n\n\
         [webhooks.cloud]\ntopics = [\"#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    gateway
}

/// `mosquitto_sub` for one message.
struct Subscriber(Child);

impl Subscriber {
    fn start(port: u16, topic: &str) -> Self {
        let child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-q", "1", "-C", "1"])
            .args(["-W", "30"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The payload it got.
    fn message(self) -> String {
        String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }
}

#[test]
fn a_retained_message_reaches_a_later_subscriber_and_the_webhook() {
    let (port, service) = (free_port(), Server::start());
    let gateway = gateway(&format!("listen = [\"127.0.0.1:{port}\"]"), &service);
    assert!(mosquitto_pub(port, &["-q", "1", "-r", "-t", "t/1", "-m", "kept"]));
    assert_eq!(Subscriber::start(port, "t/#").message(), "kept");
    let records = eventually("one record", || service.records(), |records| !records.is_empty());
    assert_eq!(records[0]["flags"]["retain"], true);
    gateway.drained("cloud");
}

#[test]
fn other_subscribers_get_the_messages_too() {
    let (port, service) = (free_port(), Server::start());
    let _gateway = gateway(&format!("listen = [\"127.0.0.1:{port}\"]"), &service);
    let subscriber = Subscriber::start(port, "t/1");
    // The subscriber may still be on its way: publish until it has its message.
    let mut subscriber = Some(subscriber);
    let got = eventually(
        "the subscriber has a message",
        || {
            assert!(mosquitto_pub(port, &["-q", "1", "-t", "t/1", "-m", "hello"]));
            let ended = subscriber.as_mut().unwrap().0.try_wait().unwrap().is_some();
            ended.then(|| subscriber.take().unwrap().message())
        },
        Option::is_some,
    );
    assert_eq!(got.unwrap(), "hello");
}

#[test]
fn users_and_access_rules_decide_who_publishes_what() {
    let (port, service) = (free_port(), Server::start());
    let source = format!(
        "listen = [\"127.0.0.1:{port}\"]\n\
         users = [\n  {{ username = \"meter\", password_hash = '{}' }},\n  {{ username = \"boss\", password_hash = '{}' }},\n]\n\
         access = [\n  {{ allow = true, username = \"boss\" }},\n\
         {{ allow = true, action = \"publish\", topics = [\"in/${{clientid}}/#\"] }},\n]",
        hash_password("one"),
        hash_password("two"),
    );
    let gateway = gateway(&source, &service);
    let publish = |user: &str, password: &str, topic: &str| {
        let credentials = ["-u", user, "-P", password, "-i", "m1", "-V", "5"];
        let message = ["-q", "1", "-t", topic, "-m", "x"];
        mosquitto_pub(port, &[credentials.as_slice(), &message].concat())
    };
    assert!(publish("meter", "one", "in/m1/a"));
    // mosquitto_pub does not tell a refused PUBLISH from an accepted one.
    publish("meter", "one", "in/m2/b");
    assert!(!publish("meter", "wrong", "in/m1/c"));
    assert!(publish("boss", "two", "anything"));
    assert!(!publish("nobody", "x", "in/m1/d"));
    let topics = || -> Vec<String> {
        service
            .records()
            .iter()
            .map(|record| record["topic"].as_str().unwrap().to_owned())
            .collect()
    };
    eventually("what is allowed", topics, |topics| topics.len() >= 2);
    gateway.drained("cloud");
    assert_eq!(topics(), ["in/m1/a", "anything"]);
    let records = service.records();
    assert_eq!(records[0]["username"], "meter");
    assert_eq!(records[0]["clientid"], "m1");
}

#[test]
fn tls_with_client_certificates_lets_known_devices_in() {
    let certificates = Certificates::new();
    certificates.issue("localhost");
    certificates.issue("device");
    let (port, service) = (free_port(), Server::start());
    let source = format!(
        "listen = [{{ address = \"127.0.0.1:{port}\", tls = {{ cert_file = \"{}\", key_file = \"{}\", client_ca_file = \"{}\" }} }}]",
        certificates.file("localhost.pem"),
        certificates.file("localhost.key"),
        certificates.file("ca.pem"),
    );
    let gateway = gateway(&source, &service);
    let publish = |more: &[&str]| {
        let port = port.to_string();
        let mut device = Command::new("mosquitto_pub");
        device.args(["-h", "localhost", "-p", &port, "-q", "1", "-t", "t/1", "-m", "hello"]);
        device.args(["--cafile", &certificates.file("ca.pem")]).args(more);
        device.status().unwrap().success()
    };
    let (cert, key) = (certificates.file("device.pem"), certificates.file("device.key"));
    assert!(publish(&["--cert", &cert, "--key", &key]));
    assert!(!publish(&[]), "a device without a certificate was let in");
    eventually("one record", || service.records().len(), |count| *count == 1);
    gateway.drained("cloud");
}

#[test]
fn both_protocol_versions_and_every_quality_of_service_arrive() {
    let (port, service) = (free_port(), Server::start());
    let gateway = gateway(&format!("listen = [\"127.0.0.1:{port}\"]"), &service);
    let all = [("311", "0"), ("311", "1"), ("311", "2"), ("5", "0"), ("5", "1"), ("5", "2")];
    for (count, (version, qos)) in (1..).zip(all) {
        let message = format!("{version}-{qos}");
        assert!(mosquitto_pub(port, &["-V", version, "-q", qos, "-t", "t/1", "-m", &message]));
        // A device with QoS 0 has gone before its message is dealt with, and the next one is another device.
        eventually("its record", || service.records().len(), |records| *records == count);
    }
    let records = service.records();
    let qos: Vec<_> = records.iter().map(|record| record["qos"].as_u64().unwrap()).collect();
    assert_eq!(qos, [0, 1, 2, 0, 1, 2]);
    gateway.drained("cloud");
}

#[test]
fn a_port_in_use_is_told_and_the_gateway_runs_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\nurl = \"{}\"\n",
        service.url()
    ));
    let source = || gateway.status()["sources"]["devices"].clone();
    let source = eventually("told", source, |source| source["state"] == "disconnected");
    let detail = source["detail"].as_str().unwrap();
    assert!(detail.contains(&port.to_string()) && detail.contains("in use"), "{detail}");
    drop(taken);
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
}
