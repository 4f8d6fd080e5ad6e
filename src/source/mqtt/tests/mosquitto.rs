//! A real Mosquitto on a port and a directory of its own, and a publisher.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};
use tempfile::TempDir;

use super::rig::within;

#[path = "../../../../tests/waypost/support/ports.rs"]
mod ports;

pub(super) use ports::free_port;

/// A broker process, killed when dropped.
pub(super) struct Mosquitto {
    child: Child,
    pub(super) port: u16,
    directory: TempDir,
    starts: usize,
}

impl Mosquitto {
    /// Starts one that lets everybody in, keeps sessions on disk, and has `extra` lines in its config.
    pub(super) async fn start(extra: &str) -> Self {
        let port = free_port();
        let listener = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{extra}");
        Self::start_with(port, |_| listener).await
    }

    /// Starts one with a config of the test's own; `port` must be one that it listens on.
    pub(super) async fn start_with(port: u16, config: impl FnOnce(&TempDir) -> String) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = config(&directory);
        let config = format!(
            "{listener}\nuser root\npersistence true\npersistence_location {}/\nmax_queued_messages 0\nlog_dest file {}\nlog_type error\nlog_type warning\nlog_type notice\nlog_type information\n",
            directory.path().display(),
            directory.path().join("log").display(),
        );
        std::fs::write(directory.path().join("config"), config).unwrap();
        let child = spawn(&directory);
        let mosquitto = Self { child, port, directory, starts: 1 };
        mosquitto.ready().await;
        mosquitto
    }

    /// SIGTERM: it writes its sessions down.
    pub(super) fn stop(&mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap();
    }

    /// SIGKILL: what it has not written down is gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) async fn start_again(&mut self) {
        self.child = spawn(&self.directory);
        self.starts += 1;
        self.ready().await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    async fn ready(&self) {
        within("Mosquitto listens", async {
            // All listeners are open then, WebSockets too, which come last.
            while self.log().matches(" running").count() < self.starts {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(directory: &TempDir) -> Child {
    let path = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or("mosquitto");
    Command::new(path)
        .arg("-c")
        .arg(directory.path().join("config"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need Mosquitto: apt-get install mosquitto")
}

/// Publishes messages and returns once the broker has them all.
pub(super) async fn publish<'a>(
    port: u16,
    qos: QoS,
    messages: impl IntoIterator<Item = (&'a str, String)>,
) {
    publish_with(port, qos, false, messages).await;
}

pub(super) async fn publish_with<'a>(
    port: u16,
    qos: QoS,
    retain: bool,
    messages: impl IntoIterator<Item = (&'a str, String)>,
) {
    let mut options =
        MqttOptions::new(format!("publisher-{}", fastrand::u64(..)), "127.0.0.1", port);
    options.set_max_packet_size(16 << 20, 16 << 20).set_inflight(100);
    let (client, mut event_loop) = AsyncClient::new(options, 10);
    let messages: Vec<_> =
        messages.into_iter().map(|(topic, payload)| (topic.to_owned(), payload)).collect();
    let mut outstanding = messages.len();
    let requests = async {
        for (topic, payload) in messages {
            client.publish(topic, qos, retain, payload).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let polls = async {
        while outstanding > 0 {
            match (event_loop.poll().await.unwrap(), qos) {
                (Event::Incoming(Packet::PubAck(_)), QoS::AtLeastOnce)
                | (Event::Incoming(Packet::PubComp(_)), QoS::ExactlyOnce)
                | (Event::Outgoing(Outgoing::Publish(_)), QoS::AtMostOnce) => outstanding -= 1,
                _ => {}
            }
        }
        client.try_disconnect().unwrap();
        while !matches!(event_loop.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_))
        {
        }
    };
    within("the broker takes what is published", async {
        tokio::select! { () = requests => {}, () = polls => {} }
    })
    .await;
}
