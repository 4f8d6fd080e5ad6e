//! The page for people who write receivers says what is true, and its receiver works.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use waypost::event::EventKind;
use waypost::signature::{SigningKey, sign};

use crate::requests::{Gateway, delivered};
use crate::support::http::Request;
use crate::support::waypost::command;
use crate::support::{eventually, free_port};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/receivers.md"));
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The first block of a language on the page.
fn block(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// A program that prints lines; killed in the end.
struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, printed) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&lines));
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .for_each(|line| printed.lock().unwrap().push(line));
        });
        Self { child, lines }
    }

    fn lines_with(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn listening(port: u16) {
    let connect = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    eventually("it listens", connect, |connected| *connected);
}

/// A signed POST of our own; gives the status.
fn post_signed(port: u16, id: &str, body: &str) -> u16 {
    let now = waypost::clock::UnixMillis::now().0 / 1000;
    let key = [SigningKey::new(KEY).unwrap()];
    let signature = sign(&key, id, now, body.as_bytes());
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nwebhook-id: {id}\r\nwebhook-timestamp: {now}\r\n\
         webhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Delivers three signed messages to `port`.
fn deliver(port: u16, sink: &str) -> Gateway {
    let url = format!("http://127.0.0.1:{port}");
    let mut gateway = Gateway::with_sink(&url, &format!("sign = \"{KEY}\"\n{sink}"));
    gateway.launch();
    gateway.publish("t/1", 3);
    gateway.waypost.drained("cloud");
    gateway
}

#[test]
fn the_receiver_in_python_takes_signed_requests_single_batched_and_compressed_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receiver.py");
    std::fs::write(&file, block("python")).unwrap();
    for sink in ["", "compression = \"gzip\"\nbatch = { max_records = 3, linger = \"300ms\" }"] {
        let mut python = Command::new("python3");
        python.arg(&file);
        takes_signed_requests_once_and_no_others(python, sink);
    }
}

/// Runs a receiver of the page, whose last argument is the port.
#[track_caller]
fn takes_signed_requests_once_and_no_others(mut receiver: Command, sink: &str) {
    let port = free_port();
    receiver.arg(port.to_string());
    let receiver = Program::start(receiver);
    listening(port);
    let gateway = deliver(port, sink);
    eventually("all processed", || receiver.lines_with("processing"), |count| *count == 3);
    drop(gateway);
    let strange = "whsec_c3RyYW5nZSBrZXkgb2YgdGhlIHBsYW50LCAzMiBieXQ=";
    let url = format!("http://127.0.0.1:{port}");
    let mut stranger = Gateway::with_sink(&url, &format!("sign = \"{strange}\""));
    stranger.launch();
    stranger.publish("t/1", 1);
    stranger.tells("401");
    // The second of these is the first once more.
    for _ in 0..2 {
        assert_eq!(post_signed(port, "a-1", r#"{"topic":"t","payload":"p"}"#), 200);
    }
    eventually("one more", || receiver.lines_with("processing"), |count| *count == 4);
}

/// A JDK is 300 MB, which `tests/run` does not install for one page.
fn has_jdk() -> bool {
    let modules = Command::new("java").arg("--list-modules").output();
    modules.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("jdk.compiler"))
}

#[test]
fn the_receiver_in_java_takes_signed_requests_plain_and_compressed_and_no_others() {
    if !has_jdk() {
        eprintln!("skipped: there is no JDK (Debian package `default-jdk-headless`)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Receiver.java");
    std::fs::write(&file, block("java")).unwrap();
    for sink in ["", "compression = \"gzip\""] {
        let mut java = Command::new("java");
        java.arg(&file);
        takes_signed_requests_once_and_no_others(java, sink);
    }
}

#[test]
fn waypost_receive_verifies_signatures_and_shows_what_comes_again() {
    let port = free_port();
    let mut receive = command();
    receive.args(["receive", "--listen", &format!("127.0.0.1:{port}"), "--secret", KEY]);
    let receiver = Program::start(receive);
    listening(port);
    let batches = "compression = \"zstd\"\nbatch = { max_records = 3, linger = \"300ms\" }";
    drop(deliver(port, batches));
    assert_eq!((receiver.lines_with("record_id"), receiver.lines_with("processed before")), (1, 0));
    // As after a crash that forgot that they were answered, in another batch than before.
    for (batch, body) in [
        ("one", r#"[{"record_id":"a-1"},{"record_id":"a-2"}]"#),
        ("two", r#"[{"record_id":"a-2"},{"record_id":"a-3"}]"#),
    ] {
        assert_eq!(post_signed(port, batch, body), 200);
    }
    let again = || receiver.lines_with("processed before");
    eventually("one came again", again, |count| *count == 1);
    assert_eq!(receiver.lines_with("processed before: a-2"), 1);

    let other = "whsec_c3RyYW5nZSBrZXkgb2YgdGhlIHBsYW50LCAzMiBieXQ=";
    let url = format!("http://127.0.0.1:{port}");
    let mut stranger = Gateway::with_sink(&url, &format!("sign = \"{other}\""));
    stranger.launch();
    stranger.publish("t/1", 1);
    stranger.tells("401");
    assert!(receiver.lines_with("refused: its signature was made with another secret") > 0);
    let mut unsigned = Gateway::with_sink(&url, "");
    unsigned.launch();
    unsigned.publish("t/1", 1);
    unsigned.tells("401");
    assert!(receiver.lines_with("refused: there is no `webhook-signature`") > 0);
}

#[test]
fn default_bodies_are_as_the_schema_on_the_page_says() {
    let schema: Value = serde_json::from_str(block("json")).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let mut columns: Vec<_> =
        EventKind::MessagePublish.entry().template_names().chain(["record_id"]).collect();
    columns.sort_unstable();
    assert_eq!(properties.keys().collect::<Vec<_>>(), columns);
    for sink in ["", "batch = { max_records = 3, linger = \"300ms\" }", "payload_as = \"base64\""] {
        for record in delivered(sink).iter().flat_map(Request::records) {
            let record = record.as_object().unwrap();
            for name in schema["required"].as_array().unwrap() {
                assert!(record.contains_key(name.as_str().unwrap()), "{name} in {record:?}");
            }
            for (name, value) in record {
                let property = &properties[name];
                let kind = match value {
                    Value::String(_) => "string",
                    Value::Number(number) if number.is_u64() => "integer",
                    Value::Object(_) => "object",
                    _ => "something else",
                };
                assert_eq!(property["type"], kind, "{name} in {record:?}");
                let words = property["enum"].as_array();
                assert!(words.is_none_or(|words| words.contains(value)), "{name} in {record:?}");
            }
        }
    }
}
