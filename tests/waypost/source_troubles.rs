//! What goes wrong with a source is handled, counted, and told once, however often it happens. Links that are cut or
//! fall silent, and sessions that are lost, are in `brokers`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::support::http::Server;
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// A gateway with a source `local` with these lines, and a webhook for `topics`.
fn gateway(source: &str, topics: &str, service: &Server) -> Waypost {
    Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nkeep_alive = \"5s\"\n{source}\n\n\
         [webhooks.cloud]\ntopics = {topics}\nurl = \"{}\"\n",
        service.url()
    ))
}

/// Waits until the source is in this state with a text that has `words`, and has counted the problem `times` or more;
/// the log has these words in one line and no more.
#[track_caller]
fn told_once(gateway: &Waypost, state: &str, words: &str, reason: &str, times: f64) {
    let source = || gateway.status()["sources"]["local"].clone();
    eventually(words, source, |source| {
        source["state"] == state
            && source["detail"].as_str().is_some_and(|text| text.contains(words))
    });
    let labels = format!("reason=\"{reason}\",source=\"local\"");
    gateway.until("waypost_source_problems_total", &labels, |count| count >= times);
    let log = gateway.log();
    let lines = log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines, 1, "{words}: {log}");
}

fn plugin() -> &'static Path {
    let places = [
        "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so",
        "/usr/lib/aarch64-linux-gnu/mosquitto_dynamic_security.so",
        "/usr/lib/mosquitto_dynamic_security.so",
    ];
    let found = places.into_iter().map(Path::new).find(|path| path.exists());
    found.expect("Debian's package `mosquitto` has its plugin for dynamic security")
}

/// Everybody may publish, and subscribe to `t/#` only.
const ACCESS: &str = r#"{
  "defaultACLAccess": { "publishClientSend": true, "publishClientReceive": true, "subscribe": false, "unsubscribe": true },
  "clients": [],
  "groups": [{ "groupname": "everybody", "roles": [{ "rolename": "telemetry" }] }],
  "roles": [{ "rolename": "telemetry", "acls": [{ "acltype": "subscribePattern", "topic": "t/#", "priority": 0, "allow": true }] }],
  "anonymousGroup": "everybody"
}"#;

#[test]
fn a_subscription_that_mosquitto_refuses_is_told_once_and_the_others_go_on() {
    for protocol in ["5", "3.1.1"] {
        let folder = tempfile::tempdir().unwrap();
        let access = folder.path().join("access.json");
        std::fs::write(&access, ACCESS).unwrap();
        let broker = Mosquitto::start(&format!(
            "plugin {}\nplugin_opt_config_file {}",
            plugin().display(),
            access.display()
        ));
        let service = Server::start();
        let source = format!("url = \"{}\"\nprotocol = \"{protocol}\"", broker.url());
        let gateway = gateway(&source, "[\"t/#\", \"secret/#\"]", &service);
        let words = "subscriptions: `secret/#`";
        told_once(&gateway, "degraded", words, "subscription_refused", 1.0);
        assert!(broker.publish(&["-q", "1", "-t", "secret/1", "-m", "unseen"]));
        assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "seen"]));
        let records = eventually("delivered", || service.records(), |records| !records.is_empty());
        assert_eq!((records.len(), &records[0]["payload"]), (1, &"seen".into()), "MQTT {protocol}");
        gateway.drained("cloud");
    }
}

#[test]
fn a_user_that_mosquitto_turns_away_again_and_again_is_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let mut made = Command::new("mosquitto_passwd");
    made.args(["-c", "-b"]).arg(&users).args(["waypost", "secret"]);
    assert!(made.status().unwrap().success());
    let broker = Mosquitto::start(&format!("password_file {}", users.display()));
    let service = Server::start();
    let source =
        format!("url = \"{}\"\nusername = \"waypost\"\npassword = \"wrong\"", broker.url());
    let gateway = gateway(&source, "[\"t/#\"]", &service);
    let words = "check `username`, `password` and `client_id`";
    told_once(&gateway, "disconnected", words, "not_authorized", 3.0);
}

#[test]
fn a_host_that_nobody_knows_is_told_once_and_holds_up_no_other_source() {
    let port = free_port();
    let service = Server::start();
    let source = format!(
        "url = \"mqtt://no-such-host.invalid\"\n\n[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]"
    );
    let gateway = gateway(&source, "[\"t/#\"]", &service);
    let words = "the name `no-such-host.invalid` cannot be resolved";
    told_once(&gateway, "disconnected", words, "unreachable", 3.0);
    assert!(crate::support::mosquitto::mosquitto_pub(port, &["-q", "1", "-t", "t/1", "-m", "x"]));
    gateway.until("waypost_records_delivered_total", "sink=\"cloud\"", |count| count == 1.0);
}

/// The rest of a packet whose first byte is read; `None` when the other end has closed.
fn rest_of_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0];
    stream.read_exact(&mut length).ok()?;
    assert!(length[0] < 128, "what a client says first is short");
    let mut body = vec![0; length[0].into()];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// A broker of MQTT 5 that grants everything and then says that another client has taken the session.
fn thief() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut kind = [0];
            while stream.read_exact(&mut kind).is_ok() {
                let Some(body) = rest_of_packet(&mut stream) else { break };
                let answer: &[u8] = match kind[0] {
                    0x10 => &[0x20, 3, 0, 0, 0],
                    // SUBACK, then DISCONNECT for "session taken over".
                    0x82 => &[0x90, 4, body[0], body[1], 0, 1, 0xe0, 2, 0x8e, 0],
                    _ => &[],
                };
                drop(stream.write_all(answer));
            }
        }
    });
    port
}

#[test]
fn a_session_that_another_client_takes_is_told_once_and_left_in_peace() {
    let service = Server::start();
    let source = format!("url = \"mqtt://127.0.0.1:{}\"\nprotocol = \"5\"", thief());
    let gateway = gateway(&source, "[\"t/#\"]", &service);
    let words = "another client connected with our client id";
    told_once(&gateway, "disconnected", words, "session_taken_over", 1.0);
    let reasons = gateway.metrics().sum("waypost_source_problems_total", "source=\"local\"");
    assert!(reasons == 1.0, "it came back at once: {reasons} problems");
}
