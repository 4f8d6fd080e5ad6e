//! Brokers' own web hooks, pointed at Waypost.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::certificates::Certificates;
use crate::support::http::{Reply, Server};
use crate::support::sender::Sender;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port, pause};

fn config(port: u16, source: &str, sink: &str, url: &str) -> String {
    format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = [\"127.0.0.1:{port}\"]\n{source}\n\n\
         [webhooks.cloud]\nevents = \"all\"\nurl = \"{url}\"\n{sink}\n"
    )
}

struct Rig {
    port: u16,
    gateway: Waypost,
    service: Server,
}

impl Rig {
    fn start(source: &str) -> Self {
        let (port, service) = (free_port(), Server::start());
        let gateway = Waypost::start(&config(port, source, "order = \"sink\"", &service.url()));
        gateway.until("waypost_source_connected", "source=\"hooks\"", |listens| listens == 1.0);
        Self { port, gateway, service }
    }

    fn sender(&self) -> Sender {
        Sender::connect(self.port).unwrap()
    }

    fn problems(&self, reason: &str) -> f64 {
        let labels = format!("reason=\"{reason}\",source=\"hooks\"");
        self.gateway.metrics().get("waypost_source_problems_total", &labels).unwrap()
    }
}

/// The columns of a record that a test is about.
fn shown(record: &Value, columns: &[&str]) -> String {
    let object = record.as_object().unwrap();
    let shown = columns.iter().filter_map(|name| Some((*name, object.get(*name)?)));
    let shown: serde_json::Map<_, _> =
        shown.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    format!("{}\n", Value::Object(shown))
}

#[test]
fn the_web_hooks_of_four_brokers_arrive_as_events_of_one_form() {
    let rig = Rig::start("");
    let bodies = [
        // EMQX 5, EMQX 4, RMQTT, NanoMQ.
        r#"{"event":"client.connected","clientid":"five","username":"undefined","peername":"10.0.0.9:50123","proto_ver":5,"keepalive":60,"connected_at":1694681417714,"node":"emqx@127.0.0.1","timestamp":1694681417714,"metadata":{"rule_id":"r_WH_D"}}"#,
        r#"{"action":"message_publish","node":"emqx@127.0.0.1","from_client_id":"four","from_username":null,"topic":"t/1","qos":1,"retain":true,"payload":"hello","ts":1694681417728}"#,
        r#"{"action":"message_publish","dup":false,"retain":false,"qos":0,"topic":"t/2","packet_id":null,"payload":"aGVsbG8=","ts":1694681417728,"time":"2023-09-14 08:50:17.728","from_node":1,"from_ipaddress":"10.0.0.9:50124","from_clientid":"rmqtt","from_username":"u","from_type":"custom"}"#,
        r#"{"reason":"normal","username":"undefined","clientid":"nano","action":"client_disconnected"}"#,
    ];
    let mut sender = rig.sender();
    for body in bodies {
        let answer = sender.post(body).unwrap();
        assert_eq!((answer.status, &*answer.body), (200, "{\"accepted\":1}\n"));
    }
    let records = eventually("four records", || rig.service.records(), |all| all.len() == 4);
    let columns = [
        "event",
        "clientid",
        "username",
        "payload",
        "topic",
        "qos",
        "flags",
        "peername",
        "proto_ver",
        "keepalive",
        "connected_at",
        "publish_received_at",
        "reason",
        "node",
    ];
    let text: String = records.iter().map(|record| shown(record, &columns)).collect();
    expect![[r#"
        {"clientid":"five","connected_at":1694681417714,"event":"client.connected","keepalive":60,"node":"emqx@127.0.0.1","peername":"10.0.0.9:50123","proto_ver":5,"username":"undefined"}
        {"clientid":"four","event":"message.publish","flags":{"retain":true},"node":"emqx@127.0.0.1","payload":"hello","peername":"undefined","publish_received_at":1694681417728,"qos":1,"topic":"t/1","username":"undefined"}
        {"clientid":"rmqtt","event":"message.publish","flags":{"dup":false,"retain":false},"node":"plant-7","payload":"hello","peername":"10.0.0.9:50124","publish_received_at":1694681417728,"qos":0,"topic":"t/2","username":"u"}
        {"clientid":"nano","event":"client.disconnected","node":"plant-7","peername":"undefined","proto_ver":"undefined","reason":"normal","username":"undefined"}
    "#]].assert_eq(&text);
    rig.gateway.drained("cloud");
    let count = rig.gateway.metrics().get("waypost_events_acknowledged_total", "source=\"hooks\"");
    assert_eq!(count, Some(4.0));
}

#[test]
fn a_batch_of_another_waypost_is_taken_whole_or_not_at_all() {
    let rig = Rig::start("");
    let event = |n: u64| json!({ "record_id": "x", "event": "message.publish", "topic": "t", "qos": 1, "payload": "AQL/", "payload_encoding": "base64", "n": n });
    let answer = rig.sender().post(json!([event(1), event(2)]).to_string()).unwrap();
    assert_eq!((answer.status, &*answer.body), (200, "{\"accepted\":2}\n"));
    let answer = rig.sender().post(format!("{}\n{{}}\n{}", event(3), event(4))).unwrap();
    assert_eq!(answer.status, 400);
    let records = eventually("two records", || rig.service.records(), |all| all.len() == 2);
    for record in &records {
        assert_eq!(
            (&record["payload"], &record["payload_encoding"]),
            (&json!("AQL/"), &json!("base64"))
        );
    }
    rig.gateway.drained("cloud");
    assert_eq!(rig.service.records().len(), 2);
}

#[test]
fn a_request_that_is_not_taken_is_told_why_in_json_and_counted() {
    let rig = Rig::start("token = \"s3cret\"\nmax_body_bytes = \"1KiB\"\n");
    let token = "authorization: Bearer s3cret";
    let mut text = String::new();
    let mut ask = |method: &str, headers: &[&str], body: &[u8]| {
        let answer = rig.sender().request(method, headers, body).unwrap();
        let more = ["www-authenticate", "allow", "retry-after"];
        let more = more
            .iter()
            .filter_map(|name| Some(format!("{name}: {}, ", answer.headers.get(*name)?)));
        let _: Value = serde_json::from_str(&answer.body).unwrap();
        write!(text, "{} {}{}", answer.status, more.collect::<String>(), answer.body).unwrap();
    };
    let event = br#"{"event":"client.ping","clientid":"c"}"#;
    ask("POST", &[], event);
    ask("POST", &["authorization: Bearer s3cre"], event);
    ask("GET", &[token], b"");
    ask("POST", &[token, "content-encoding: gzip"], event);
    ask("POST", &[token], &[b' '; 2000]);
    ask("POST", &[token], b"temperature 21");
    ask("POST", &[token], br#"{"temperature":21}"#);
    ask("POST", &[token], br#"{"event":"client.sleeps","clientid":"c"}"#);
    ask("POST", &[token], event);
    // The user is anybody: `http://emqx:s3cret@127.0.0.1` of senders that cannot set headers.
    ask("PUT", &["authorization: Basic ZW1xeDpzM2NyZXQ="], event);
    expect![[r#"
        401 www-authenticate: Bearer, {"error":"needs the token of this source, as `authorization: Bearer TOKEN` or as the password in the URL"}
        401 www-authenticate: Bearer, {"error":"needs the token of this source, as `authorization: Bearer TOKEN` or as the password in the URL"}
        405 allow: POST, PUT, {"error":"events come with POST or PUT"}
        415 {"error":"bodies are taken as they are: send them without compression"}
        413 {"error":"the body is larger than max_body_bytes, which is 1024 bytes"}
        400 {"error":"event 1: not the JSON of an event: expected ident at line 1 column 2"}
        400 {"error":"event 1: neither `event` (EMQX 5) nor `action` (EMQX 4, RMQTT, NanoMQ) says what happened; a web hook with a body template of its own cannot be read: leave the body empty"}
        400 {"error":"event 1: there is no event \"client.sleeps\""}
        200 {"accepted":1}
        200 {"accepted":1}
    "#]].assert_eq(&text);
    let counted =
        ["not_authorized", "protocol", "oversize", "unreadable"].map(|reason| rig.problems(reason));
    assert_eq!(counted, [2.0, 2.0, 1.0, 3.0]);
    let log = rig.gateway.log();
    assert_eq!(log.matches("request refused").count(), 1, "one line for all of them: {log}");
    assert!(!log.contains("s3cre") && !log.contains("temperature"), "{log}");
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let rig = Rig::start("max_body_bytes = \"1KiB\"\n");
    let head = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let event = r#"{"event":"client.ping","clientid":"c"}"#;
    let whole = format!("{head}{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
    assert_eq!(rig.sender().raw(whole.as_bytes()).unwrap().status, 200);
    let endless = format!("{head}800\r\n{}", " ".repeat(2048));
    assert_eq!(rig.sender().raw(endless.as_bytes()).unwrap().status, 413);
    assert_eq!(rig.sender().raw(b"hello\r\n\r\n").map(|answer| answer.status), Some(400));
}

#[test]
fn more_connections_than_allowed_are_told_so() {
    let rig = Rig::start("max_connections = 2\n");
    let event = r#"{"event":"client.ping","clientid":"c"}"#;
    let (mut first, mut second) = (rig.sender(), rig.sender());
    for sender in [&mut first, &mut second] {
        assert_eq!(sender.post(event).unwrap().status, 200);
    }
    let answer = rig.sender().raw(b"").unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "{\"error\":\"2 connections are open, which is max_connections: try again later\"}\n"
    );
    assert_eq!(rig.problems("too_many_connections"), 1.0);
    drop(first);
    let taken = || rig.sender().post(event).map(|answer| answer.status);
    eventually("there is a place again", taken, |status| *status == Some(200));
}

#[test]
fn a_token_over_tls_lets_a_sender_in() {
    let certificates = Certificates::new();
    certificates.issue("hooks.plant");
    let port = free_port();
    let (cert, key) = (certificates.file("hooks.plant.pem"), certificates.file("hooks.plant.key"));
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.hooks]\ntype = \"http\"\ntoken = \"s3cret\"\n\
         listen = [{{ address = \"127.0.0.1:{port}\", tls = {{ cert_file = \"{cert}\", key_file = \"{key}\" }} }}]\n\n\
         [webhooks.cloud]\nevents = \"all\"\nurl = \"{}\"\n",
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"hooks\"", |listens| listens == 1.0);
    let mut sender = Sender::connect_tls(port, "hooks.plant", certificates.client()).unwrap();
    let event = br#"{"event":"client.ping","clientid":"c"}"#;
    assert_eq!(sender.request("POST", &[], event).unwrap().status, 401);
    let answer = sender.request("POST", &["authorization: Bearer s3cret"], event).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        eventually("arrives", || service.records(), |all| all.len() == 1)[0]["clientid"],
        "c"
    );
}

#[test]
fn what_cannot_be_stored_is_refused_until_it_can() {
    let (port, service) = (free_port(), Server::start());
    let mut gateway = Waypost::prepare(&config(port, "", "", &service.url()));
    // A file where the folder of the queue belongs.
    let queue = gateway.data_dir().join("queues/cloud");
    std::fs::create_dir_all(queue.parent().unwrap()).unwrap();
    std::fs::write(&queue, "").unwrap();
    gateway.launch_unready();
    let event = r#"{"event":"client.ping","clientid":"c"}"#;
    let send = || Sender::connect(port)?.post(event);
    let answer = eventually("it listens", send, Option::is_some).unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(
        answer.body,
        "{\"error\":\"could not be stored: `waypost status` says which queue takes no records, and why\"}\n"
    );
    assert!(service.records().is_empty());
    std::fs::remove_file(&queue).unwrap();
    eventually("stored", || send().map(|answer| answer.status), |status| *status == Some(200));
    gateway.drained("cloud");
    assert_eq!(service.records().len(), 1);
}

#[test]
fn a_full_intake_answers_429_and_holds_no_more_than_its_bound() {
    let port = free_port();
    // Nobody listens there, and a full queue lets nothing go.
    let sink = "queue = { max_bytes = \"16MiB\", when_full = \"block\" }";
    let url = format!("http://127.0.0.1:{}", free_port());
    let gateway = Waypost::start(&config(port, "", sink, &url));
    gateway.until("waypost_source_connected", "source=\"hooks\"", |listens| listens == 1.0);
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let enough = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..24)
        .map(|seed| {
            let (statuses, enough) = (Arc::clone(&statuses), Arc::clone(&enough));
            std::thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !enough.load(Ordering::Relaxed) {
                    // Bytes that do not get smaller.
                    let payload: String = (0..900_000).map(|_| random.alphanumeric()).collect();
                    let body = json!({ "event": "message.publish", "topic": "t", "qos": 1, "payload": payload });
                    let Some(mut sender) = Sender::connect(port) else { return };
                    let status = sender.post(body.to_string()).map(|answer| answer.status);
                    statuses.lock().unwrap().push(status);
                }
            })
        })
        .collect();
    let refused = || statuses.lock().unwrap().contains(&Some(429));
    eventually("refused", refused, |refused| *refused);
    enough.store(true, Ordering::Relaxed);
    let resident = gateway.metrics().get("process_resident_memory_bytes", "").unwrap();
    assert!(resident < 128e6, "{resident} bytes");
    let full = "reason=\"intake_full\",source=\"hooks\"";
    assert!(gateway.metrics().get("waypost_source_problems_total", full).unwrap() > 0.0);
    drop(gateway);
    for sender in senders {
        sender.join().unwrap();
    }
}

/// Posts numbered messages until it is told to stop, and remembers which were answered with 200.
fn post_numbers(
    port: u16,
    device: usize,
    taken: &Mutex<BTreeSet<(usize, u64)>>,
    enough: &AtomicBool,
) {
    let mut number = 0;
    while !enough.load(Ordering::Relaxed) {
        let Some(mut sender) = Sender::connect(port) else {
            pause();
            continue;
        };
        while !enough.load(Ordering::Relaxed) {
            number += 1;
            let payload = json!({ "device": device.to_string(), "n": number }).to_string();
            let body = json!({ "action": "message_publish", "from_client_id": device.to_string(), "topic": "t", "qos": 1, "payload": payload });
            match sender.post(body.to_string()) {
                Some(answer) if answer.status == 200 => {
                    taken.lock().unwrap().insert((device, number));
                }
                _ => break,
            }
        }
    }
}

#[test]
fn sigkill_after_any_200_loses_nothing() {
    // A campaign of hundreds: WAYPOST_KILLS=100
    let kills = std::env::var("WAYPOST_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let (port, service) = (free_port(), Server::scripted(|_| Reply::Status(503)));
    let sink = "batch = { max_records = 500 }\nretry = { max = \"1s\" }";
    let mut gateway = Waypost::start(&config(port, "", sink, &service.url()));
    let (taken, enough) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..4)
        .map(|device| {
            let (taken, enough) = (Arc::clone(&taken), Arc::clone(&enough));
            std::thread::spawn(move || post_numbers(port, device, &taken, &enough))
        })
        .collect();
    for kill in 0..kills {
        let before = taken.lock().unwrap().len();
        let more = 20 + fastrand::Rng::with_seed(kill).usize(..60);
        eventually("progress", || taken.lock().unwrap().len(), |count| *count > before + more);
        gateway.kill();
        gateway.launch();
    }
    enough.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    service.answer(|_| Reply::Status(200));
    let taken = taken.lock().unwrap().clone();
    eventually(
        "everything that was answered with 200 is delivered",
        || {
            let arrived: BTreeSet<(usize, u64)> = (0..4)
                .flat_map(|device| {
                    service.numbers(&device.to_string()).into_iter().map(move |n| (device, n))
                })
                .collect();
            taken.difference(&arrived).copied().collect::<Vec<_>>()
        },
        Vec::is_empty,
    );
    gateway.drained("cloud");
}

#[test]
fn it_stops_within_a_second_with_senders_connected_and_says_so_while_it_cannot_listen() {
    let mut rig = Rig::start("");
    let mut busy = rig.sender();
    assert_eq!(busy.post(r#"{"event":"client.ping","clientid":"c"}"#).unwrap().status, 200);
    let _idle = rig.sender();
    let (status, took) = rig.gateway.terminate();
    assert!(status.success() && took.as_secs_f64() < 1.5, "{status}, {took:?}");

    let taken = std::net::TcpListener::bind(("127.0.0.1", rig.port)).unwrap();
    rig.gateway.launch();
    let source = || rig.gateway.status()["sources"]["hooks"].clone();
    let told = eventually("told", source, |source| source["state"] == "disconnected");
    assert_eq!(
        told["detail"],
        format!(
            "cannot listen on 127.0.0.1:{}: another program listens there, perhaps a broker such as Mosquitto or another \
             Waypost; stop it or choose another address: Address already in use (os error 98)",
            rig.port
        )
    );
    assert_eq!(
        (&told["kind"], &told["address"]),
        (&json!("http"), &json!(format!("127.0.0.1:{}", rig.port)))
    );
    drop(taken);
    rig.gateway.until("waypost_source_connected", "source=\"hooks\"", |listens| listens == 1.0);
}
