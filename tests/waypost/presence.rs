//! Events of clients from the topics on which brokers tell of them, and what is said while nothing is heard.

use std::process::{Child, Command, Stdio};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::http::Server;
use crate::support::mosquitto::{Mosquitto, mosquitto_pub};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// A Mosquitto that tells of its clients.
fn telling_mosquitto() -> Mosquitto {
    Mosquitto::start(
        "log_dest topic\nlog_type error\nlog_type notice\nlog_type subscribe\nlog_type unsubscribe",
    )
}

const CLIENT_EVENTS: &str = "[\"client.connected\", \"client.disconnected\", \"session.subscribed\", \"session.unsubscribed\", \"source.gap\"]";

fn config(url: &str, source: &str, events: &str, service: &Server) -> String {
    format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"{url}\"\nkeep_alive = \"5s\"\nclient_id = \"waypost\"\n{source}\n\n\
         [webhooks.cloud]\nevents = {events}\nurl = \"{}\"\n",
        service.url()
    )
}

fn start(url: &str, source: &str, events: &str, service: &Server) -> Waypost {
    let gateway = Waypost::start(&config(url, source, events, service));
    connected(&gateway);
    gateway
}

fn connected(gateway: &Waypost) {
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
}

/// `mosquitto_sub` that stays.
struct Subscriber(Child);

impl Subscriber {
    fn start(port: u16, arguments: &[&str]) -> Self {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// A DISCONNECT, then the end of the connection.
    fn leave(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap();
    }

    /// The end of the connection, and nothing before it.
    fn crash(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What arrived about a client, in the order of arrival.
fn of(service: &Server, client: &str) -> Vec<Value> {
    let records = service.records().into_iter();
    records.filter(|record| record["clientid"] == client).collect()
}

/// Waits until so much arrived about a client; its events, each with these columns.
#[track_caller]
fn arrived(service: &Server, client: &str, count: usize, columns: &[&str]) -> String {
    let records = eventually(client, || of(service, client), |records| records.len() >= count);
    let shown = |record: &Value| {
        let known = columns
            .iter()
            .filter(|name| !record[**name].is_null() && record[**name] != "undefined");
        let known: Vec<_> = known.map(|name| format!("{name}={}", record[*name])).collect();
        format!("{} {}\n", record["event"].as_str().unwrap(), known.join(" "))
    };
    records.iter().map(shown).collect()
}

fn problems(gateway: &Waypost, reason: &str) -> f64 {
    let labels = format!("reason=\"{reason}\",source=\"local\"");
    gateway.metrics().get("waypost_source_problems_total", &labels).unwrap()
}

#[test]
fn mosquittos_log_becomes_events_of_clients_whatever_they_are_called() {
    for dialect in ["mosquitto", "auto"] {
        let (broker, service) = (telling_mosquitto(), Server::start());
        let source = format!("dialect = \"{dialect}\"");
        let gateway = start(&broker.url(), &source, CLIENT_EVENTS, &service);
        let columns =
            ["username", "proto_ver", "clean_start", "keepalive", "topic", "qos", "reason"];

        let pump = Subscriber::start(
            broker.port,
            &[
                "-i", "pump-1", "-u", "device", "-V", "mqttv5", "-k", "30", "-q", "1", "-t", "t/#",
                "-U", "u/#",
            ],
        );
        arrived(&service, "pump-1", 3, &columns);
        pump.leave();
        expect![[r#"
            client.connected username="device" proto_ver=5 clean_start=true keepalive=30
            session.subscribed topic="t/#" qos=1
            session.unsubscribed topic="u/#"
            client.disconnected reason="normal"
        "#]]
        .assert_eq(&arrived(&service, "pump-1", 4, &columns));

        // Mosquitto lets no line breaks in.
        let odd = "a pump (p2, c1): as b [10.0.0.9:1]";
        let client =
            Subscriber::start(broker.port, &["-i", odd, "-c", "-V", "mqttv311", "-t", "t/1"]);
        arrived(&service, odd, 2, &columns);
        client.crash();
        expect![[r#"
            client.connected proto_ver=4 clean_start=false keepalive=60
            session.subscribed topic="t/1" qos=0
            client.disconnected reason="tcp_closed"
        "#]]
        .assert_eq(&arrived(&service, odd, 3, &columns));

        // Another one with its id throws it out; in order.
        let first = Subscriber::start(broker.port, &["-i", "twin", "-c", "-t", "t/1"]);
        arrived(&service, "twin", 2, &columns);
        let second = Subscriber::start(broker.port, &["-i", "twin", "-c", "-t", "t/2"]);
        let text = arrived(&service, "twin", 5, &columns);
        let events: Vec<_> =
            text.lines().take(4).map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(
            events,
            ["client.connected", "session.subscribed", "client.disconnected", "client.connected"],
            "{text}"
        );
        assert!(text.contains("takenover"), "{text}");
        drop((first, second));

        let record = &of(&service, "pump-1")[0];
        assert!(record["peername"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        assert!(record["connected_at"].as_u64().unwrap() > 1_700_000_000_000, "{record}");
        assert!(gateway.log().contains("the broker tells of its clients"), "{}", gateway.log());
        assert!(gateway.log().contains("mosquitto"));
        assert_eq!(problems(&gateway, "unreadable"), 0.0);
        assert_eq!(problems(&gateway, "gap"), 0.0);
        gateway.drained("cloud");
    }
}

#[test]
fn a_line_that_could_mean_two_clients_gives_none_and_is_counted() {
    let (broker, service) = (telling_mosquitto(), Server::start());
    let gateway = start(&broker.url(), "dialect = \"mosquitto\"", CLIENT_EVENTS, &service);
    let client = Subscriber::start(broker.port, &["-i", "a", "-t", "t", "-U", "b c"]);
    arrived(&service, "a", 2, &[]);
    gateway.until(
        "waypost_source_problems_total",
        "reason=\"unreadable\",source=\"local\"",
        |count| count == 1.0,
    );
    client.leave();
    arrived(&service, "a", 3, &[]);
    let told = |record: &Value| record["event"] == "session.unsubscribed";
    assert!(!service.records().iter().any(told), "{:?}", service.records());
}

#[test]
fn topics_of_the_broker_are_subscribed_only_where_a_rule_wants_what_it_tells() {
    for (events, expected) in [
        ("[\"message.publish\"]", &["#"][..]),
        (
            "[\"message.publish\", \"client.connected\"]",
            &["#", "$SYS/broker/log/E", "$SYS/broker/log/N", "$SYS/broker/version"],
        ),
        (
            "[\"session.unsubscribed\"]",
            &[
                "$SYS/broker/log/E",
                "$SYS/broker/log/M/unsubscribe",
                "$SYS/broker/log/N",
                "$SYS/broker/version",
            ],
        ),
    ] {
        let (broker, service) = (telling_mosquitto(), Server::start());
        let gateway = start(&broker.url(), "dialect = \"mosquitto\"", events, &service);
        let held = || {
            let note = std::fs::read_to_string(gateway.data_dir().join("sessions/local"))
                .unwrap_or_default();
            let note: Value = serde_json::from_str(&note).unwrap_or_default();
            note["filters"].clone()
        };
        eventually(events, held, |held| *held == json!(expected));
        assert!(mosquitto_pub(broker.port, &["-q", "1", "-t", "t/1", "-m", "hello"]));
        if events.contains("message.publish") {
            eventually(
                "the message",
                || service.records(),
                |records| records.iter().any(|record| record["payload"] == "hello"),
            );
        }
    }
}

#[test]
fn a_broker_out_of_sight_is_a_gap_and_with_reconcile_its_clients_are_lost_until_they_show() {
    let (mut broker, service) = (telling_mosquitto(), Server::start());
    let source = "dialect = \"mosquitto\"\npresence = \"reconcile\"";
    let mut gateway = start(&broker.url(), source, CLIENT_EVENTS, &service);
    let columns = ["username", "proto_ver", "topic", "reason"];
    let stays =
        Subscriber::start(broker.port, &["-i", "stays", "-u", "u", "-c", "-q", "1", "-t", "t/1"]);
    let leaves = Subscriber::start(broker.port, &["-i", "leaves", "-c", "-q", "1", "-t", "t/1"]);
    for client in ["stays", "leaves"] {
        arrived(&service, client, 2, &columns);
    }
    // Waypost is away; one client goes meanwhile.
    let (status, _) = gateway.terminate();
    assert!(status.success());
    leaves.leave();
    gateway.launch();
    connected(&gateway);
    let gaps = || {
        let records = service.records().into_iter();
        records.filter(|record| record["event"] == "source.gap").collect::<Vec<_>>()
    };
    let gap = eventually("the gap", gaps, |gaps| gaps.len() == 1).remove(0);
    assert_eq!((&gap["source"], &gap["reason"]), (&json!("local"), &json!("restarted")));
    let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
    assert!(from < to && to - from < 60_000, "{gap}");
    assert_eq!(problems(&gateway, "gap"), 1.0);
    arrived(&service, "leaves", 3, &columns);
    expect![[r#"
        client.connected username="u" proto_ver=4
        session.subscribed topic="t/1"
        client.disconnected username="u" proto_ver=4 reason="source_lost"
    "#]]
    .assert_eq(&arrived(&service, "stays", 3, &columns));
    // It was there all the time, and shows it.
    drop(stays);
    expect![[r#"
        client.connected username="u" proto_ver=4
        session.subscribed topic="t/1"
        client.disconnected username="u" proto_ver=4 reason="source_lost"
        client.disconnected reason="tcp_closed"
    "#]]
    .assert_eq(&arrived(&service, "stays", 4, &columns));

    // The broker goes down, and everybody with it.
    let again = Subscriber::start(broker.port, &["-i", "again", "-c", "-q", "1", "-t", "t/1"]);
    arrived(&service, "again", 2, &columns);
    broker.stop();
    expect![[r#"
        client.connected proto_ver=4
        session.subscribed topic="t/1"
        client.disconnected proto_ver=4 reason="source_lost"
    "#]]
    .assert_eq(&arrived(&service, "again", 3, &columns));
    broker.launch();
    expect![[r#"
        client.connected proto_ver=4
        session.subscribed topic="t/1"
        client.disconnected proto_ver=4 reason="source_lost"
        client.connected proto_ver=4
        session.subscribed topic="t/1"
    "#]]
    .assert_eq(&arrived(&service, "again", 5, &columns));
    let gap = eventually("the gap", gaps, |gaps| gaps.len() == 2).remove(1);
    assert_eq!(gap["reason"], "connection_lost");
    drop(again);
    gateway.drained("cloud");
}

#[test]
fn more_clients_than_allowed_are_not_known_and_counted() {
    let (broker, service) = (telling_mosquitto(), Server::start());
    let source = "dialect = \"mosquitto\"\npresence = \"reconcile\"\nmax_known_clients = 2";
    let gateway = start(&broker.url(), source, CLIENT_EVENTS, &service);
    let clients: Vec<_> = (0..3)
        .map(|number| {
            let id = format!("c{number}");
            let client = Subscriber::start(broker.port, &["-i", &id, "-t", "t"]);
            arrived(&service, &id, 2, &[]);
            client
        })
        .collect();
    assert!(problems(&gateway, "known_clients_limit") >= 1.0);
    assert!(gateway.log().contains("more clients are connected than max_known_clients"));
    drop(clients);
}

/// A second Waypost, as a broker on which the topics of others can be published.
fn other_broker(port: u16) -> Waypost {
    let broker = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.nowhere]\ntopics = [\"none\"]\nurl = \"http://127.0.0.1:9\"\n"
    ));
    broker.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    broker
}

#[test]
fn the_topics_of_emqx_nanomq_and_rmqtt_become_events_and_the_log_says_whose_they_are() {
    let messages = [
        (
            "emqx",
            "$SYS/brokers/emqx@127.0.0.1/clients/line/7/connected",
            r#"{"username":"undefined","ts":1694681417714,"sockport":1883,"proto_ver":5,"proto_name":"MQTT","keepalive":30,"ipaddress":"10.0.0.9","expiry_interval":7200000,"connected_at":1694681417714,"clientid":"line/7","clean_start":true}"#,
        ),
        (
            "nanomq",
            "$SYS/brokers/client_status/line/7",
            r#"{"status":"online", "username":"(null)", "ts":1694681417714,"proto_name":"MQTT","keepalive":60,"return_code":"0","proto_ver":4,"client_id":"line/7","clean_start":1, "IPv4":"127.0.0.1"}"#,
        ),
        (
            "rmqtt",
            "$SYS/brokers/1/clients/line/7/connected",
            r#"{"node":1,"ipaddress":"10.0.0.9:50123","clientid":"line/7","username":"u","keepalive":60,"proto_ver":4,"clean_session":true,"connected_at":1694681417714,"session_present":false,"time":"2023-09-14 08:50:17.714"}"#,
        ),
    ];
    let port = free_port();
    let _broker = other_broker(port);
    let mut text = String::new();
    for (dialect, topic, payload) in messages {
        for named in [dialect, "auto"] {
            let service = Server::start();
            let source = format!("dialect = \"{named}\"");
            let gateway =
                start(&format!("mqtt://127.0.0.1:{port}"), &source, CLIENT_EVENTS, &service);
            assert!(mosquitto_pub(port, &["-q", "1", "-t", topic, "-m", payload]));
            let columns = [
                "username",
                "proto_ver",
                "clean_start",
                "keepalive",
                "expiry_interval",
                "peername",
                "connected_at",
            ];
            let line = arrived(&service, "line/7", 1, &columns);
            if named == "auto" {
                assert!(text.ends_with(&line), "{line}");
            } else {
                text += &line;
            }
            let log = gateway.log();
            let said = log.lines().find(|line| line.contains("the broker tells of its clients"));
            assert!(said.is_some_and(|line| line.contains(dialect)), "{log}");
        }
    }
    expect![[r#"
        client.connected proto_ver=5 clean_start=true keepalive=30 expiry_interval=7200 connected_at=1694681417714
        client.connected proto_ver=4 clean_start=true keepalive=60 connected_at=1694681417714
        client.connected username="u" proto_ver=4 clean_start=true keepalive=60 peername="10.0.0.9:50123" connected_at=1694681417714
    "#]].assert_eq(&text);
}

#[test]
fn an_event_that_emqx_republishes_is_an_event_and_a_message_where_a_rule_wants_it() {
    let (broker, service) = (Mosquitto::start(""), Server::start());
    let messages = Server::start();
    let source = "dialect = \"emqx\"\nevent_topics = [\"gw/events/#\"]";
    let gateway = Waypost::start(&format!(
        "{}\n[webhooks.messages]\nevents = [\"message.publish\"]\ntopics = [\"gw/#\"]\nurl = \"{}\"\n",
        config(&broker.url(), source, "[\"client.connack\", \"message.acked\"]", &service),
        messages.url()
    ));
    connected(&gateway);
    let event = r#"{"event":"client.connack","clientid":"c","reason_code":"not_authorized","username":"undefined"}"#;
    assert!(broker.publish(&["-q", "1", "-t", "gw/events/client.connack", "-m", event]));
    assert!(broker.publish(&["-q", "1", "-t", "gw/events/none", "-m", "21.5"]));
    expect![[r#"
        client.connack reason_code="not_authorized"
    "#]]
    .assert_eq(&arrived(&service, "c", 1, &["reason_code", "username"]));
    let as_messages = eventually("both", || messages.records(), |records| records.len() == 2);
    assert!(as_messages.iter().any(|record| record["payload"] == event), "{as_messages:?}");
    gateway.until(
        "waypost_source_problems_total",
        "reason=\"unreadable\",source=\"local\"",
        |count| count == 1.0,
    );
    for sink in ["cloud", "messages"] {
        gateway.drained(sink);
    }
    let received = |count: f64| count == 3.0;
    gateway.until("waypost_events_received_total", "source=\"local\"", received);
    // One message is one acknowledgement, whatever it was taken for.
    gateway.until("waypost_events_acknowledged_total", "source=\"local\"", |count| count == 2.0);
}

#[test]
fn connects_and_disconnects_of_one_client_leave_in_order() {
    let (broker, service) = (telling_mosquitto(), Server::start());
    let gateway = start(&broker.url(), "dialect = \"mosquitto\"", CLIENT_EVENTS, &service);
    for _ in 0..15 {
        assert!(broker.publish(&["-i", "blinker", "-q", "1", "-t", "t", "-m", "x"]));
    }
    let events =
        || of(&service, "blinker").iter().map(|record| record["event"].clone()).collect::<Vec<_>>();
    let events = eventually("30 events", events, |events| events.len() == 30);
    let expected = ["client.connected", "client.disconnected"].iter().cycle().take(30);
    assert_eq!(events, expected.map(|name| json!(name)).collect::<Vec<_>>());
    gateway.drained("cloud");
}

#[test]
fn a_client_that_was_lost_and_shows_itself_is_connected_again_first() {
    let port = free_port();
    let mut broker = other_broker(port);
    let service = Server::start();
    let source = "dialect = \"emqx\"\npresence = \"reconcile\"";
    let gateway = start(&format!("mqtt://127.0.0.1:{port}"), source, CLIENT_EVENTS, &service);
    let tell = |event: &str, payload: &str| {
        let topic = format!("$SYS/brokers/emqx@127.0.0.1/clients/c/{event}");
        let arguments = ["-q", "1", "-t", &topic, "-m", payload];
        // The broker may be on its way up.
        eventually("told", || mosquitto_pub(port, &arguments), |told| *told);
    };
    tell(
        "connected",
        r#"{"clientid":"c","username":"u","proto_ver":4,"connected_at":1694681417714}"#,
    );
    arrived(&service, "c", 1, &[]);
    broker.kill();
    arrived(&service, "c", 2, &[]);
    broker.launch();
    connected(&gateway);
    tell("subscribed", r#"{"clientid":"c","username":"u","topic":"t/1","subopts":{"qos":1}}"#);
    arrived(&service, "c", 4, &[]);
    tell("disconnected", r#"{"clientid":"c","username":"u","reason":"normal"}"#);
    let columns = ["username", "proto_ver", "connected_at", "topic", "qos", "reason"];
    expect![[r#"
        client.connected username="u" proto_ver=4 connected_at=1694681417714
        client.disconnected username="u" proto_ver=4 connected_at=1694681417714 reason="source_lost"
        client.connected username="u" proto_ver=4 connected_at=1694681417714
        session.subscribed username="u" topic="t/1" qos=1
        client.disconnected username="u" reason="normal"
    "#]]
    .assert_eq(&arrived(&service, "c", 5, &columns));
    gateway.drained("cloud");
}
