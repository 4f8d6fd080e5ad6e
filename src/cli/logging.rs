//! Log lines on standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};

use super::Failure;
use crate::config::{Log, LogFormat};

/// What the libraries say is for their authors; Waypost says itself what their trouble means.
const LIBRARIES: &str = "rmqtt=off,rmqtt_net=off,rmqtt_codec=off,rumqttc=off,sled=off,hyper=warn,hyper_util=warn,rustls=off,h2=off";

/// Sends log lines to standard error from here on.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let filter: Targets = format!("{LIBRARIES},{}", log.filter)
        .parse()
        .map_err(|error| Failure::config(&format!("log.filter: {error}")))?;
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    let started = match log.format {
        LogFormat::Text => registry().with(lines).with(filter).try_init(),
        LogFormat::Json => {
            registry().with(lines.json().flatten_event(true)).with(filter).try_init()
        }
    };
    started.map_err(|error| Failure { code: 1, message: format!("error: {error}") })
}
