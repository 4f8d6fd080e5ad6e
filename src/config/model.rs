//! The checked config: every value in range, every name resolved, every secret read.
//!
//! Built by [`super::load`] only; the edges take their part of it and check nothing again.

mod secret;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::report::Finding;
use crate::name::{RuleName, SinkName, SourceName};
pub use crate::rule::Rule;
pub use secret::*;
pub use sink::*;
pub use source::*;

/// Everything `waypost run` needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The gateway itself.
    pub gateway: Gateway,
    /// Logs.
    pub log: Log,
    /// Where `/metrics`, `/livez` and `/readyz` listen; `None` when turned off.
    pub metrics_listen: Option<SocketAddr>,
    /// The store.
    pub store: StoreOptions,
    /// Records that were given up.
    pub dead_letters: DeadLetterOptions,
    /// Where events come from.
    pub sources: BTreeMap<SourceName, Source>,
    /// What selects events for sinks; a `[webhooks.NAME]` with `url` gives a rule and a sink called `NAME`.
    pub rules: BTreeMap<RuleName, Rule>,
    /// HTTP services, each with a queue.
    pub sinks: BTreeMap<SinkName, Sink>,
    /// The first 16 hex digits of the SHA-256 of the file's text.
    pub hash: String,
    /// Tests of rules that do not hold: the rule makes something else of an event than its test says.
    pub failed_tests: Vec<Finding>,
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// The `node` column of every event; the host's name by default.
    pub name: String,
    /// Everything durable is under it.
    pub data_dir: PathBuf,
    /// Unix socket of the admin API; `<data_dir>/admin.sock` by default.
    pub admin_socket: PathBuf,
    /// Bytes of events taken from sources and not yet committed, for all sources together.
    pub intake_bytes_max: NonZeroUsize,
    /// Time between two events `gateway.status`; `None` for never.
    pub status_interval: Option<Duration>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Text or one JSON object a line, on standard error.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `info,waypost::delivery=debug`.
    pub filter: String,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub struct StoreOptions {
    /// Longest a commit waits for company once commits run back to back; zero never waits.
    pub commit_window_max: Duration,
}

/// `[dead_letters]`
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterOptions {
    /// What the dead letters of all sinks together may take on disk.
    pub bytes_max: NonZeroU64,
}
