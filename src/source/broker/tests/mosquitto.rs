//! Mosquitto's command line clients as child processes, killed with the test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::sync::mpsc;

use super::Running;
use super::client::{Device, PATIENCE, WATCH};

pub(super) struct Mosquitto {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Mosquitto {
    /// `mosquitto_pub` or `mosquitto_sub`, towards `broker`.
    pub(super) fn start(
        program: &str,
        host: &str,
        broker: &Running,
        arguments: &[impl AsRef<OsStr>],
    ) -> Self {
        let mut child = Command::new(program)
            .args(["-h", host, "-p", &broker.address.port().to_string(), "-q", "1"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto-clients is installed");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel(1000);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                sender.blocking_send(line).ok();
            }
        });
        Self { child, lines }
    }

    /// The next line of its output.
    pub(super) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
        line.expect("a line in time").expect("the client runs")
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end and says whether that was a success.
    pub(super) async fn succeeds(mut self) -> bool {
        let mut status = None;
        tokio::time::timeout(PATIENCE, async {
            while status.is_none() {
                status = self.child.try_wait().unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the client ends in time");
        status.unwrap().success()
    }

    /// Publishes `probe` to `topic` until the subscriber has got it: only then does it surely have its subscription.
    pub(super) async fn ready(mut self, device: &mut Device, topic: &str) -> Self {
        loop {
            device.publish(topic, 0, 0, b"probe").await;
            if let Ok(line) = tokio::time::timeout(WATCH, self.lines.recv()).await {
                assert!(line.unwrap().ends_with(" probe"));
                return self;
            }
        }
    }
}
