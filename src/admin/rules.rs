//! What a rule does: `waypost rule show`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::server::Views;
use super::{Refusal, RuleStatus};

/// One rule, and why it failed last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its name.
    pub rule: String,
    /// Its SQL, where it has some.
    pub sql: Option<String>,
    /// Its numbers.
    pub status: RuleStatus,
    /// The last failures, the newest first; of many within a moment only the first.
    pub failures: Vec<Failure>,
}

/// A rule failed for an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// How long ago.
    pub seconds_ago: u64,
    /// As in `waypost_rule_failed_total`.
    pub reason: String,
    /// In words.
    pub why: String,
    /// The kind of the event.
    pub event: String,
    /// The event's topic; empty where it has none.
    pub topic: String,
    /// The first characters of the event's payload, escaped.
    pub payload: String,
}

/// Reports on the rule with this name.
pub type RuleReporter = Arc<dyn Fn(&str) -> Result<RuleReport, Refusal> + Send + Sync>;

/// Where a rule is reported on.
#[must_use]
pub fn path(rule: &str) -> String {
    format!("/v1/rules/{rule}")
}

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/rules/{rule}", get(report))
}

async fn report(
    State(views): State<Views>,
    Path(rule): Path<String>,
) -> Result<Json<RuleReport>, Refusal> {
    (views.rule)(&rule).map(Json)
}
