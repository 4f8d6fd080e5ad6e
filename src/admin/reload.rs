//! `POST /v1/reload`: the config file is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::server::Views;

const RELOAD_PATH: &str = "/v1/reload";
/// Query that lets the records of removed sinks go.
const DROP_REMOVED: &str = "drop-removed";

/// Where it is posted to.
#[must_use]
pub fn path(drop_removed: bool) -> String {
    if drop_removed { format!("{RELOAD_PATH}?{DROP_REMOVED}") } else { RELOAD_PATH.to_owned() }
}

/// What a reload has changed, each by kind and name such as `sink cloud`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// New ones.
    pub added: Vec<String>,
    /// Those with other settings.
    pub changed: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Records that were dropped with the removed sinks, by sink.
    pub dropped: BTreeMap<String, u64>,
    /// What works and may not be meant.
    pub warnings: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The config file itself is wrong.
    pub is_config_wrong: bool,
    /// The whole text for the operator.
    pub report: String,
    /// Each problem on one line.
    pub problems: Vec<String>,
}

impl Refused {
    /// The config is right, but cannot be taken over as things are.
    #[must_use]
    pub fn here(problems: Vec<String>) -> Self {
        let lines = problems.iter().map(|problem| format!("error: {problem}\n"));
        let report = lines.collect::<String>() + "not reloaded: nothing has changed";
        Self { is_config_wrong: false, report, problems }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Reloaded(Reloaded),
    /// Not done, and nothing has changed.
    Refused(Refused),
}

/// Has the config reloaded; `true` drops the records of removed sinks.
pub type Reloader =
    Arc<dyn Fn(bool) -> BoxFuture<'static, Result<Reloaded, Refused>> + Send + Sync>;

pub(super) fn routes() -> Router<Views> {
    Router::new().route(RELOAD_PATH, post(reload))
}

async fn reload(State(views): State<Views>, RawQuery(query): RawQuery) -> Json<Answer> {
    Json(match (views.reloader)(query.as_deref() == Some(DROP_REMOVED)).await {
        Ok(done) => Answer::Reloaded(done),
        Err(refused) => Answer::Refused(refused),
    })
}
