//! Looking on: `waypost tail`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::{Waypost, command};
use crate::support::{PATIENCE, eventually, free_port};

/// A `waypost tail` that is looking on.
struct Tail {
    child: Child,
    lines: Receiver<String>,
    /// Records of the lines that say `queued`, which may come before or after what becomes of the records.
    queued: Vec<u64>,
}

impl Tail {
    #[track_caller]
    fn start(gateway: &Waypost, arguments: &[&str]) -> Self {
        let mut child = command()
            .arg("tail")
            .args(arguments)
            .arg("--config")
            .arg(gateway.config_path())
            .env("TZ", "UTC")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut hello = String::new();
        errors.read_line(&mut hello).unwrap();
        assert_eq!(hello, "looking on; Ctrl-C ends it\n");
        let (sender, lines) = sync_channel(10_000);
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, queued: Vec::new() }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line without what differs each time; lines that say `queued` are kept apart.
    #[track_caller]
    fn next_json(&mut self) -> Value {
        let mut line: Value = serde_json::from_str(&self.next()).unwrap();
        if line["what"] == "queued" {
            assert_eq!(line["sink"], "cloud", "{line}");
            self.queued.push(line["records"].as_u64().unwrap());
            return self.next_json();
        }
        for volatile in ["at", "took_ms", "next_attempt_in_ms"] {
            if let Some(value) = line.get_mut(volatile) {
                assert!(value.is_u64(), "{volatile}: {value}");
                *value = json!(0);
            }
        }
        if let Some(first) = line.get_mut("first") {
            let id = first.as_str().unwrap().to_owned();
            *first = json!(id.split_once('-').unwrap().1);
        }
        line
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn gateway(port: u16, service: &Server, more: &str) -> Waypost {
    Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nheaders = {{ x-key = \"geheim\" }}\n\
         retry = {{ initial = \"50ms\", max = \"100ms\" }}\n{more}",
        service.url()
    ))
}

#[track_caller]
fn publish(port: u16, topic: &str, payload: &str) {
    let sent = mosquitto_pub(port, &["-q", "1", "-i", "pump-1", "-t", topic, "-m", payload]);
    assert!(sent, "{topic}");
}

#[test]
fn every_step_of_an_event_is_a_line() {
    let service = Server::start();
    let port = free_port();
    let sql = "[rules.hot]\nsql = '''SELECT payload.temp AS temp FROM \"t/#\" WHERE payload.temp > 30'''\n\
               sinks = [\"cloud\"]\n";
    let gateway = gateway(port, &service, sql);
    let mut tail = Tail::start(&gateway, &["--json"]);
    let event = |topic: &str, payload: &str| {
        json!({"event": "message.publish", "source": "devices", "topic": topic,
               "clientid": "pump-1", "payload": payload})
    };

    publish(port, "t/1", "{\"temp\": 31.5}");
    let seen = event("t/1", "{\"temp\": 31.5}");
    let expected = [
        json!({"at": 0, "what": "matched", "rule": "cloud", "sinks": ["cloud"], "records": 1, "event": seen}),
        json!({"at": 0, "what": "matched", "rule": "hot", "sinks": ["cloud"], "records": 1,
               "output": "{\"temp\":31.5}", "event": seen}),
    ];
    for expected in expected {
        assert_eq!(tail.next_json(), expected);
    }
    for _ in 0..2 {
        let line = tail.next_json();
        assert_eq!((&line["what"], &line["status"]), (&json!("delivered"), &json!(200)), "{line}");
    }

    publish(port, "other/1", "\u{1b}[2J");
    let seen = event("other/1", "\\u{1b}[2J");
    assert_eq!(tail.next_json(), json!({"at": 0, "what": "no_rule", "event": seen}));

    publish(port, "t/2", "{\"temp\": 3}");
    assert_eq!(tail.next_json()["what"], "matched");
    let seen = event("t/2", "{\"temp\": 3}");
    let expected = json!({"at": 0, "what": "not_wanted", "rule": "hot", "event": seen});
    assert_eq!(tail.next_json(), expected);
    assert_eq!(tail.next_json()["what"], "delivered");

    publish(port, "t/3", "no JSON");
    assert_eq!(tail.next_json()["what"], "matched");
    let failed = tail.next_json();
    assert_eq!((&failed["what"], &failed["rule"]), (&json!("rule_failed"), &json!("hot")));
    assert!(failed["error"].as_str().unwrap().contains("JSON"), "{failed}");
    assert_eq!(tail.next_json()["what"], "delivered");
    publish(port, "other/2", "the end");
    assert_eq!(tail.next_json()["what"], "no_rule");
    assert_eq!(tail.queued, [2, 1, 1]);
}

#[test]
fn failures_and_dead_letters_are_lines_and_no_header_ever_is() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let gateway = gateway(port, &service, "");
    let mut tail = Tail::start(&gateway, &["--json", "--sink", "cloud"]);
    publish(port, "t/1", "hello");
    let mut all = vec![tail.next_json()];
    let failed = tail.next_json();
    assert_eq!(
        failed,
        json!({"at": 0, "what": "failed", "sink": "cloud", "records": 1, "first": "cloud-1",
               "status": 503, "took_ms": 0, "why": "status 503 (Service Unavailable)",
               "next_attempt_in_ms": 0})
    );
    service.answer(|_| Reply::Status(422));
    let mut next = tail.next_json();
    while next["status"] == 503 {
        next = tail.next_json();
    }
    assert_eq!((&next["what"], &next["status"]), (&json!("failed"), &json!(422)), "{next}");
    let letter = tail.next_json();
    assert_eq!(
        letter,
        json!({"at": 0, "what": "dead_lettered", "sink": "cloud", "records": 1, "first": "cloud-1",
               "reason": "rejected", "why": "status 422 (Unprocessable Entity)"})
    );
    all.extend([failed, next, letter]);
    assert!(!format!("{all:?}").contains("geheim"));
}

#[test]
fn lines_for_people_escape_what_would_move_the_cursor() {
    let service = Server::start();
    let port = free_port();
    let gateway = gateway(port, &service, "");
    let tail = Tail::start(&gateway, &[]);
    publish(port, "t/1", &format!("\u{1b}[31m{}", "long ".repeat(4)));
    let mut lines = Vec::new();
    for _ in 0..3 {
        let line = tail.next();
        let (time, rest) = line.split_at(13);
        assert_eq!(time.matches(':').count(), 2, "{line}");
        lines.push(rest.to_owned());
    }
    // A fast service may have the record before it is told that it is queued.
    lines.sort();
    let mut text = lines.join("\n");
    let start = text.find("after ").unwrap() + 6;
    let end = start + text[start..].find(',').unwrap();
    text.replace_range(start..end, "TIME");
    expect![[r#"
         delivered   cloud  200 after TIME, record 1
         matched     cloud  t/1  \u{1b}[31mlong long long long
         queued      cloud  1 record"#]]
    .assert_eq(&text);
}

#[test]
fn only_what_concerns_the_rule_is_shown_and_unknown_names_are_refused() {
    let service = Server::start();
    let port = free_port();
    let other = format!("[webhooks.other]\ntopics = [\"o/#\"]\nurl = \"{}\"\n", service.url());
    let gateway = gateway(port, &service, &other);
    let tail = Tail::start(&gateway, &["--json", "--rule", "other"]);
    publish(port, "t/1", "hello");
    gateway.drained("cloud");
    publish(port, "o/1", "hello");
    let mut lines = [0; 3].map(|_| {
        let line: Value = serde_json::from_str(&tail.next()).unwrap();
        let of = line.get("rule").or(line.get("sink")).unwrap();
        (line["what"].as_str().unwrap().to_owned(), of.as_str().unwrap().to_owned())
    });
    lines.sort();
    let expected = ["delivered", "matched", "queued"];
    assert_eq!(lines, expected.map(|what| (what.to_owned(), "other".to_owned())));

    let refused = gateway.run(&["tail", "--rule", "otter"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    expect![[r#"
        error: there is no rule `otter`; there are cloud, other
    "#]]
    .assert_eq(&said);
}

#[test]
fn what_is_not_connected_is_told_to_whoever_looks_on() {
    let (service, nobody) = (Server::start(), free_port());
    let away = format!("\n[sources.away]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{nobody}\"\n");
    let gateway = gateway(free_port(), &service, &away);
    let state = || gateway.status()["sources"]["away"]["state"].clone();
    eventually("disconnected", state, |state| state == "disconnected");
    let mut child = command()
        .args(["tail", "--config"])
        .arg(gateway.config_path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (sender, told) = sync_channel(2);
    std::thread::spawn(move || {
        lines.map_while(Result::ok).for_each(|line| sender.send(line).unwrap_or_default());
    });
    let lines = [told.recv_timeout(PATIENCE), told.recv_timeout(PATIENCE)];
    child.kill().unwrap();
    child.wait().unwrap();
    let note = lines[1].as_ref().unwrap();
    let start = "note: nothing comes from what is not connected: away (disconnected: ";
    assert!(note.starts_with(start), "{note}");
    assert!(!note.contains("devices"), "{note}");
}

#[test]
fn what_a_full_queue_drops_is_told_in_sums_and_a_storm_does_not_flood() {
    const MESSAGES: usize = 900;
    for (policy, what) in
        [("drop_oldest", "dropped"), ("drop_newest", "dropped"), ("dead_letter", "dead_lettered")]
    {
        let service = Server::scripted(|_| Reply::Status(503));
        let port = free_port();
        let queue = format!("queue = {{ max_bytes = \"16MiB\", when_full = \"{policy}\" }}\n");
        let gateway = gateway(port, &service, &queue);
        let tail = Tail::start(&gateway, &["--json", "--rule", "cloud"]);
        let noise = |_| {
            let noise: String =
                std::iter::repeat_with(fastrand::alphanumeric).take(32_768).collect();
            format!(",\"noise\":\"{noise}\"")
        };
        let started = std::time::Instant::now();
        let count = u64::try_from(MESSAGES).unwrap();
        let device = Device::start_with(port, "d1", "t/1", count, std::time::Duration::ZERO, noise);
        eventually("acknowledged", || device.acknowledged().len(), |count| *count == MESSAGES);
        device.stop();
        let seconds = started.elapsed().as_secs() + 2;
        let metrics = gateway.metrics();
        let full = "reason=\"queue_full\",sink=\"cloud\"";
        let counted = metrics.get(&format!("waypost_records_{what}_total"), full).unwrap();
        assert!(counted > 200.0, "{policy}: {counted}");
        let (mut told, mut lines) = (0.0, 0);
        while told < counted {
            let line: Value = serde_json::from_str(&tail.next()).unwrap();
            assert_ne!(line["what"], "lost", "{policy}: it is looked at fast enough");
            if line["what"] == what {
                assert_eq!(
                    (&line["sink"], &line["reason"]),
                    (&"cloud".into(), &"queue_full".into())
                );
                let why = format!("the queue is full (when_full = \"{policy}\")");
                assert_eq!(line["why"], why, "{line}");
                told += line["records"].as_f64().unwrap();
                lines += 1;
            }
        }
        assert_eq!(told, counted, "{policy}");
        assert!(lines <= seconds, "{policy}: {lines} lines in {seconds} s");
    }
}

#[test]
fn a_reader_that_is_too_slow_loses_lines_and_stops_nothing() {
    let service = Server::start();
    let port = free_port();
    let gateway = gateway(port, &service, "");
    let mut child = command()
        .args(["tail", "--json", "--config"])
        .arg(gateway.config_path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut hello = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut hello).unwrap();
    // Nobody reads its output meanwhile: pipe, socket and buffer fill up.
    let payload = |_| format!(",\"more\":\"{}\"", "x".repeat(400));
    let devices: Vec<_> = ["d1", "d2", "d3", "d4"]
        .map(|name| Device::start_with(port, name, "t/1", 1500, std::time::Duration::ZERO, payload))
        .into();
    let acknowledged = || devices.iter().map(|device| device.acknowledged().len()).sum::<usize>();
    eventually("all acknowledged", acknowledged, |count| *count == 6000);
    gateway.drained("cloud");
    let (sender, told) = sync_channel(1);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        let lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let lost = lines.filter(|line| line["what"] == "lost").map(|line| line["lines"].as_u64());
        lost.for_each(|lines| sender.send(lines).unwrap_or_default());
    });
    let lost = told.recv_timeout(PATIENCE).expect("some lines were lost, and that is told");
    assert!(lost > Some(0), "{lost:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
