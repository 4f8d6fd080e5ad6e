//! The broker and the gateway under measurement.

use std::fmt::Write as _;
use std::path::Path;

use crate::receiver;
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::Waypost;

/// Data directories go to the disk that the build is on: `/tmp` may be memory.
pub fn use_disk_under_target() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    tempfile::env::override_temp_dir(&folder).expect("nothing has made a temporary file yet");
}

/// A Mosquitto that never drops: what is measured is the gateway. Saving its sessions would stop it for as long as the
/// backlog is large.
pub fn broker() -> Mosquitto {
    Mosquitto::start("max_queued_bytes 0\nautosave_interval 86400\nautosave_on_changes false")
}

/// A sink and the rule that feeds it.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Name of both.
    pub name: String,
    /// Topic filter.
    pub topics: String,
    /// Port of the receiver on loopback.
    pub port: u16,
    /// Keys of the webhook's table.
    pub more: &'static str,
}

/// 500 records a request, otherwise as a user gets it.
pub const BATCHES: &str = "batch = { max_records = 500, linger = \"10ms\" }";

/// One record a request, 64 at once, in any order.
pub const SINGLES: &str = "concurrency = 64\norder = \"none\"";

impl Sink {
    /// The one sink of most jobs.
    pub fn all_to(port: u16, more: &'static str) -> Self {
        Self { name: "cloud".to_owned(), topics: "bench/#".to_owned(), port, more }
    }
}

/// The config of a gateway with one MQTT source and these sinks.
pub fn config(broker: &Mosquitto, sinks: &[Sink]) -> String {
    let mut text = format!("[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n", broker.url());
    for Sink { name, topics, port, more } in sinks {
        let url = receiver::url(*port);
        write!(text, "\n[webhooks.{name}]\ntopics = [\"{topics}\"]\nurl = \"{url}\"\n{more}\n")
            .unwrap();
    }
    text
}

/// Waits until the source is connected and subscribed.
pub fn connected(gateway: &Waypost) {
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected > 0.0);
}

/// A gateway at work.
pub fn start(broker: &Mosquitto, sinks: &[Sink]) -> Waypost {
    let gateway = Waypost::start(&config(broker, sinks));
    connected(&gateway);
    gateway
}
