//! The tutorial "Ingest MQTT Data into HTTP Server" of EMQX's documentation, as it stands, with the shipped config.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// The server of the tutorial; only its port is a parameter here.
const HTTP_SERVER: &str = r#"
from flask import Flask, json, request
import sys

api = Flask(__name__)

@api.route('/', methods=['POST'])
def print_messages():
  reply= {"result": "ok", "message": "success"}
  print("got post request: ", request.get_data(), flush=True)
  return json.dumps(reply), 200

if __name__ == '__main__':
  api.run(port=int(sys.argv[1]))
"#;

struct Flask {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Flask {
    fn start(gateway: &Waypost, port: u16) -> Self {
        let script = gateway.directory().join("http_server.py");
        fs::write(&script, HTTP_SERVER).unwrap();
        let mut command = Command::new("python3");
        if let Ok(path) = std::env::var("WAYPOST_TEST_PYTHONPATH") {
            command.env("PYTHONPATH", path);
        }
        let mut child = command
            .arg(script)
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, taken) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                taken.lock().unwrap().push(line);
            }
        });
        let listening = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        eventually("Flask listens (tests/run installs it)", listening, |listening| *listening);
        Self { child, lines }
    }

    /// What the server printed, without its own chatter.
    fn requests(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.starts_with("got post request")).cloned().collect()
    }
}

impl Drop for Flask {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

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
    let flask = Flask::start(&gateway, http);
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
    let flask = Flask::start(&gateway, http);
    let message = "{ \"msg\": \"hello HTTP Server\" }";
    let publish = || mosquitto_pub(mqtt, &["-i", "emqx_c", "-t", "t/1", "-m", message]);
    eventually("the broker listens", publish, |published| *published);
    let requests = eventually("one request", || flask.requests(), |lines| lines.len() == 1);
    assert_eq!(requests[0], "got post request:  b'hello HTTP Server'");
}
