//! The status: what `waypost status --json` prints.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::server::Views;
use crate::store::is_disk_full;

/// Path of the status on the admin socket.
pub const STATUS_PATH: &str = "/v1/status";

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route(STATUS_PATH, get(|State(views): State<Views>| async move { Json((views.status)()) }))
}

/// Everything `waypost status` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The gateway's name.
    pub gateway: String,
    /// Version of the running program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Where it keeps its data.
    pub data_dir: String,
    /// The store's id, the first part of every record id.
    pub store_id: String,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// Events can be accepted and made durable now.
    pub ready: bool,
    /// Every source, by name.
    pub sources: BTreeMap<String, SourceStatus>,
    /// Every rule, by name.
    pub rules: BTreeMap<String, RuleStatus>,
    /// Every sink, by name.
    pub sinks: BTreeMap<String, SinkStatus>,
    /// Records of queues in the data directory whose sink the config does not have, by the name of the sink.
    pub left_over: BTreeMap<String, u64>,
    /// What the dead letters of all sinks may take together, in bytes.
    pub dead_letter_bytes_max: u64,
    /// Certificates that the gateway shows to others.
    pub certificates: Vec<CertificateStatus>,
    /// The first digits of the SHA-256 of the config file in use.
    pub config_hash: String,
    /// Why the last reload was refused, a line each; empty where it was not.
    pub reload_refused: Vec<String>,
    /// What is wrong, and what may be of interest, in words.
    pub notes: Vec<Note>,
}

/// When a certificate expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Whose it is, such as `sink cloud`.
    pub of: String,
    /// Seconds from now; below zero when it has expired.
    pub expires_in_seconds: i64,
}

/// Rates of a counter, each in events a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Over the last five to ten seconds.
    pub now: f64,
    /// On average over five minutes.
    pub last_5_minutes: f64,
    /// The largest that `now` has been since the start.
    pub max: f64,
}

/// Something that is worth a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How much it matters.
    pub level: NoteLevel,
    /// What it is about, such as `sink cloud`.
    pub about: String,
    /// What is so.
    pub what: String,
    /// What to do about it. A command in it stands between backticks.
    pub advice: Option<String>,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteLevel {
    /// Something does not work, or data is lost or in danger.
    Wrong,
    /// It may be as it should.
    Hint,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `mqtt`, `broker` or `http`.
    pub kind: String,
    /// Where it connects to or listens.
    pub address: String,
    /// `connecting`, `connected`, `degraded`, `disconnected` or `stopped`.
    pub state: String,
    /// Why, where the state needs a reason.
    pub detail: Option<String>,
    /// Seconds in this state.
    pub since_seconds: u64,
    /// The kinds of event that the rules want from it.
    pub events: Vec<String>,
    /// The topics of messages that the rules want from it.
    pub topics: Vec<String>,
    /// Those of them that the broker refuses to subscribe it to.
    pub refused: Vec<String>,
    /// Seconds since an event came, to a few seconds; `None` when none has since the start.
    pub quiet_seconds: Option<u64>,
    /// Events taken from it, a second.
    pub received_rate: Rate,
    /// Events acknowledged to it, a second.
    pub acknowledged_rate: Rate,
    /// Events taken from it.
    pub received: u64,
    /// Events acknowledged to it.
    pub acknowledged: u64,
    /// QoS 0 events dropped because the intake was full.
    pub dropped: u64,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// `idle` before the first match, `failing` while it fails (within five minutes), otherwise `ok`.
    pub state: String,
    /// Where its events come from.
    pub sources: Vec<String>,
    /// The kinds of event it wants.
    pub events: Vec<String>,
    /// The topics it wants.
    pub topics: Vec<String>,
    /// It has SQL: it makes something of events.
    pub has_sql: bool,
    /// Where its matches go.
    pub sinks: Vec<String>,
    /// Its matches, a second.
    pub matched_rate: Rate,
    /// Those that it put something out of, a second.
    pub passed_rate: Rate,
    /// Those that it failed for, a second.
    pub failed_rate: Rate,
    /// Those that it failed for, by reason.
    pub failed_by_reason: BTreeMap<String, u64>,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// Events from its topics since the start.
    pub matched: u64,
    /// Events of which it put something out.
    pub passed: u64,
    /// Events for which it failed.
    pub failed: u64,
}

/// One sink and its queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Where requests go, templates unrendered.
    pub url: String,
    /// `ok`, `retrying`, `suspended`, or `paused` by an operator.
    pub state: String,
    /// Seconds since an operator paused it.
    pub paused_seconds: Option<u64>,
    /// Seconds in this state.
    pub since_seconds: u64,
    /// Failed attempts in a row.
    pub failed_attempts: u32,
    /// The last failure in words, also after a recovery.
    pub last_error: Option<String>,
    /// Why its dead letters cannot be written; their records stay queued.
    pub dead_letters_error: Option<String>,
    /// Records, or batches with one among them, that fail while others are delivered.
    pub suspects: u64,
    /// Seconds until the next attempt, while one is waited for.
    pub next_attempt_in_seconds: Option<f64>,
    /// What an acknowledgement survives: `power` or `process`.
    pub durability: String,
    /// What happens when the queue has reached its quota: `drop_oldest`, `drop_newest`, `dead_letter` or `block`.
    pub when_full: String,
    /// Why the queue takes no records now.
    pub queue_unavailable: Option<String>,
    /// Records found in the queue at the start.
    pub recovered: u64,
    /// Records taken since, those dropped on arrival included.
    pub enqueued: u64,
    /// Records delivered since.
    pub delivered: u64,
    /// Records that became dead letters since, by reason.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Dead letters that there are, by reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// What they take, in bytes.
    pub dead_letter_bytes: u64,
    /// Records taken into the queue, a second.
    pub enqueued_rate: Rate,
    /// Records delivered, a second.
    pub delivered_rate: Rate,
    /// Records given up since, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Records that wait or are in flight.
    pub queued: u64,
    /// What the queue takes on disk.
    pub bytes: u64,
    /// What it may take.
    pub bytes_max: u64,
    /// Age of the oldest record that waits.
    pub oldest_age_seconds: f64,
}

impl SinkStatus {
    /// Its state in a word or two. A queue that takes no records matters more than how requests fare.
    #[must_use]
    pub fn word(&self) -> &str {
        match &self.queue_unavailable {
            Some(why) if is_disk_full(why) => "no room",
            Some(_) => "no queue",
            None => &self.state,
        }
    }
}
