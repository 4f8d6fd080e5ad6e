//! The HTTP server of EMQX's pages: Flask, as it stands there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::eventually;

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

/// The server, running.
pub struct Flask {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Flask {
    /// Starts it in a folder, on a port.
    #[track_caller]
    pub fn start(folder: &Path, port: u16) -> Self {
        let script = folder.join("http_server.py");
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
    pub fn requests(&self) -> Vec<String> {
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

/// The bytes of a request, as Python prints them: `got post request:  b'...'`.
pub fn printed_body(line: &str) -> String {
    let quoted = line.trim_start_matches("got post request:  b").trim();
    let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    inside.replace("\\\\", "\\").replace("\\'", "'")
}
