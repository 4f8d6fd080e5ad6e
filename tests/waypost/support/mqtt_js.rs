//! The `mqtt` package of npm: a second implementation of MQTT clients. `tests/run` installs it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn command(name: &str, port: u16) -> Command {
    let folder = std::env::var("WAYPOST_TEST_NODE").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-node")),
        PathBuf::from,
    );
    let mut command = Command::new(folder.join("node_modules/.bin").join(name));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "5", "--protocolVersion", "5"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Publishes with MQTT 5, which the package calls `protocolVersion`, and disconnects.
#[track_caller]
pub fn mqtt_pub(port: u16, arguments: &[&str]) {
    let status = command("mqtt_pub", port).args(arguments).status();
    let status = status.expect("tests/run installs the package mqtt of npm");
    assert!(status.success(), "mqtt_pub {arguments:?}: {status}");
}

/// A client that subscribes with MQTT 5 until it is dropped, and then just goes.
pub struct MqttSub(Child);

impl MqttSub {
    #[track_caller]
    pub fn start(port: u16, arguments: &[&str]) -> Self {
        let child = command("mqtt_sub", port).args(arguments).spawn();
        Self(child.expect("tests/run installs the package mqtt of npm"))
    }
}

impl Drop for MqttSub {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
