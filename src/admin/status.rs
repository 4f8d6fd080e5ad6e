//! The status: what `waypost status --json` prints.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::server::Views;

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
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `mqtt` or `broker`.
    pub kind: String,
    /// Where it connects to or listens.
    pub address: String,
    /// `connecting`, `connected`, `degraded`, `disconnected` or `stopped`.
    pub state: String,
    /// Why, where the state needs a reason.
    pub detail: Option<String>,
    /// Seconds in this state.
    pub since_seconds: u64,
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
    /// Where its matches go.
    pub sinks: Vec<String>,
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
