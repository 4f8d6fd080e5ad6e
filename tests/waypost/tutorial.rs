//! The tutorial "Ingest MQTT Data into HTTP Server" of EMQX's documentation, as it stands, with the shipped config.

use std::fs;

use serde_json::Value;

use crate::support::flask::Flask;
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// The shipped config with its ports replaced by free ones, and without what the harness writes itself.
fn shipped_config(mqtt: u16, http: u16) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/waypost.toml");
    let text = fs::read_to_string(path).unwrap();
    let text = text
        .replace("127.0.0.1:1883", &format!("127.0.0.1:{mqtt}"))
        .replace("http://127.0.0.1:5000", &format!("http://127.0.0.1:{http}"));
    let mut skipping = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            skipping = line == "[gateway]" || line == "[metrics]";
        }
        if !skipping {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn the_tutorial_works_as_it_stands_with_the_shipped_config() {
    let (mqtt, http) = (free_port(), free_port());
    let gateway = Waypost::start(&shipped_config(mqtt, http));
    let flask = Flask::start(gateway.directory(), http);
    let counts = |status: Value| -> (u64, u64) {
        let rules = status["rules"].as_object().unwrap().values();
        let sinks = status["sinks"].as_object().unwrap().values();
        let matched = rules.map(|rule| rule["matched"].as_u64().unwrap()).sum();
        (matched, sinks.map(|sink| sink["delivered"].as_u64().unwrap()).sum())
    };
    let (matched, delivered) = counts(gateway.status());

    let message = "{ \"msg\": \"hello HTTP Server\" }";
    let arguments = ["-i", "emqx_c", "-t", "t/1", "-m", message];
    let connected = || mosquitto_pub(mqtt, &arguments);
    eventually("the broker listens", connected, |published| *published);

    let requests = eventually("one request", || flask.requests(), |lines| lines.len() == 1);
    // Python prints bytes: b'...' with the JSON inside.
    let body = requests[0].trim_start_matches("got post request:  b'").trim_end_matches('\'');
    let body: Value = serde_json::from_str(&body.replace("\\\\", "\\")).unwrap();
    assert_eq!(body["payload"], message);
    assert_eq!(body["topic"], "t/1");
    assert_eq!(body["clientid"], "emqx_c");
    assert_eq!(body["event"], "message.publish");
    let counted = || counts(gateway.status());
    eventually("counted", counted, |now| *now == (matched + 1, delivered + 1));
}

#[test]
fn the_payload_only_template_sends_what_the_tutorial_prints() {
    let (mqtt, http) = (free_port(), free_port());
    let config = format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{mqtt}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:{http}\"\nbody = \"${{payload.msg}}\"\n"
    );
    let gateway = Waypost::start(&config);
    let flask = Flask::start(gateway.directory(), http);
    let message = "{ \"msg\": \"hello HTTP Server\" }";
    let publish = || mosquitto_pub(mqtt, &["-i", "emqx_c", "-t", "t/1", "-m", message]);
    eventually("the broker listens", publish, |published| *published);
    let requests = eventually("one request", || flask.requests(), |lines| lines.len() == 1);
    assert_eq!(requests[0], "got post request:  b'hello HTTP Server'");
}
