//! The whole path at work, with nothing else installed: simulated devices, the embedded broker, the real store in a
//! temporary directory, and a receiver behind an uplink that is cut in between.
//!
//! It uses the product's own path: MQTT over loopback, sled on disk, HTTP over loopback. Some messages are such that the
//! receiver will not have them. It ends by itself, and checks its sums: everything acknowledged to a device was received,
//! each record once or with the same id again, or is in the dead letters.

mod device;
mod receiver;
mod uplink;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::admin::Status;
use crate::admin::client::ClientError;
use crate::admin::letters::{LetterClient, LetterFilter, LetterSummary, PageRequest};
use crate::config::{self, Config, Surroundings};
use crate::daemon::{self, Running};

use device::Devices;
use receiver::Receiver;
use uplink::Uplink;

/// How long each part of the demo takes.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Devices that publish at the same time.
    pub devices: usize,
    /// Messages a second, all devices together.
    pub messages_per_second: u32,
    /// How long the devices publish.
    pub publish: Duration,
    /// When the uplink is cut, from the start.
    pub cut_at: Duration,
    /// How long it stays cut.
    pub cut_for: Duration,
    /// How long the queue may take to drain after the last message.
    pub drain: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            devices: 4,
            messages_per_second: 100,
            publish: Duration::from_secs(20),
            cut_at: Duration::from_secs(5),
            cut_for: Duration::from_secs(8),
            drain: Duration::from_secs(20),
        }
    }
}

/// What the table shows at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Messages the devices have sent.
    pub published: u64,
    /// Messages acknowledged to them.
    pub acknowledged: u64,
    /// Records that wait on disk.
    pub queued: u64,
    /// Records that the receiver has, each counted once.
    pub delivered: u64,
    /// Records that the receiver will not have, in the dead letters.
    pub dead_letters: u64,
    /// Records that arrived again, with the same id.
    pub repeated: u64,
    /// Age of the oldest record that waits.
    pub oldest_age_seconds: f64,
    /// The uplink works.
    pub uplink_up: bool,
}

impl Progress {
    /// Every message is acknowledged, and is with the receiver or in the dead letters.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.acknowledged == self.published
            && self.delivered + self.dead_letters == self.published
            && self.queued == 0
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The last state.
    pub sums: Progress,
    /// Some of the dead letters.
    pub letters: Vec<LetterSummary>,
}

/// Dead letters that are shown at the end.
const LETTERS_SHOWN: usize = 3;

/// Why the demo could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A port or a temporary directory.
    #[error("cannot prepare the demo")]
    Prepare(#[from] io::Error),
    /// Waypost itself did not start.
    #[error("cannot start waypost in the demo")]
    Start(#[from] daemon::StartError),
    /// The config of the demo does not hold.
    #[error("the demo's config is refused:\n{0}")]
    Config(String),
    /// The dead letters cannot be listed.
    #[error("cannot list the dead letters of the demo")]
    Letters(#[from] ClientError),
    /// A task of Waypost ended.
    #[error("waypost failed in the demo")]
    Failed(#[from] daemon::TaskFailed),
}

/// Runs the script and calls `show` a few times a second. Returns the last state, when everything is received or a dead
/// letter, or the time to drain is over.
pub async fn run(script: Script, mut show: impl FnMut(&Progress)) -> Result<Outcome, DemoError> {
    let directory = tempfile::tempdir()?;
    let receiver = Receiver::start().await?;
    let uplink = Uplink::start(receiver.address()).await?;
    let mqtt = free_port().await?;
    let config = config(directory.path(), mqtt, uplink.address())?;
    let letters = LetterClient::of_socket(config.gateway.admin_socket.clone());
    let running = daemon::start(config, None).await?;
    let devices = Devices::start(mqtt, script.devices, script.messages_per_second);

    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let progress = loop {
        ticks.tick().await;
        let elapsed = started.elapsed();
        let cut = elapsed >= script.cut_at && elapsed < script.cut_at + script.cut_for;
        uplink.set_up(!cut);
        if elapsed >= script.publish {
            devices.stop_publishing();
        }
        let progress = observe(elapsed, &running, &devices, &receiver, !cut);
        show(&progress);
        let all_there = progress.queued == 0
            && devices.finished()
            && progress.acknowledged == progress.published
            && progress.delivered + progress.dead_letters >= progress.published;
        if all_there || elapsed > script.publish + script.drain {
            break progress;
        }
    };
    devices.stop().await;
    let filter = LetterFilter::default();
    let request = PageRequest { filter, from: None, limit: LETTERS_SHOWN, answers: true };
    let letters = letters.list(&request).await?.letters;
    running.run_until(async { "the demo is over" }).await?;
    uplink.stop().await;
    receiver.stop().await;
    Ok(Outcome { sums: progress, letters })
}

fn observe(
    elapsed: Duration,
    running: &Running,
    devices: &Devices,
    receiver: &Receiver,
    uplink_up: bool,
) -> Progress {
    let status: Status = running.status();
    let sink = status.sinks.values().next();
    Progress {
        elapsed,
        published: devices.published(),
        acknowledged: devices.acknowledged(),
        queued: sink.map_or(0, |sink| sink.queued),
        delivered: receiver.received(),
        dead_letters: sink.map_or(0, |sink| sink.dead_letters.values().sum()),
        repeated: receiver.repeated(),
        oldest_age_seconds: sink.map_or(0.0, |sink| sink.oldest_age_seconds),
        uplink_up,
    }
}

/// The demo's config, through the same parser as everybody's.
fn config(directory: &Path, mqtt: SocketAddr, uplink: SocketAddr) -> Result<Config, DemoError> {
    let text = format!(
        r#"
[gateway]
name = "demo"
data_dir = "{}"

[metrics]
listen = "off"

[sources.devices]
type = "broker"
listen = ["{mqtt}"]

[webhooks.cloud]
topics = ["demo/#"]
url = "http://{uplink}/ingest"
batch = {{ max_records = 50, linger = "100ms" }}
timeouts = {{ connect = "1s", request = "5s" }}
retry = {{ initial = "200ms", max = "2s" }}
"#,
        directory.display()
    );
    let surroundings = Surroundings::of(&directory.join("demo.toml"));
    match config::parse(&text, &surroundings) {
        Ok((config, _warnings)) => Ok(config),
        Err(report) => Err(DemoError::Config(report.to_string())),
    }
}

/// A loopback port that is free at the moment.
async fn free_port() -> io::Result<SocketAddr> {
    tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()
}

/// Starts a task that ends when its token is cancelled; whoever started it joins it.
fn spawn<F>(stop: &CancellationToken, task: F) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! { () = stop.cancelled() => {}, () = task => {} }
    })
}
