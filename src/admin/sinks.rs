//! Steering a sink: `waypost sink`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::server::Views;
use super::{Refusal, SinkStatus};

/// What can be asked of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkCommand {
    /// Send nothing until it is resumed, also after a restart.
    Pause,
    /// Send again.
    Resume,
    /// End the wait for the next attempt.
    RetryNow,
}

impl SinkCommand {
    const fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::RetryNow => "retry-now",
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkSteered {
    /// The sink's name.
    pub sink: String,
    /// False when there was nothing to do.
    pub changed: bool,
    /// What an operator must know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The sink afterwards.
    pub status: SinkStatus,
}

/// Does what is asked of the sink with this name. Blocks.
pub type SinkSteerer = Arc<dyn Fn(&str, SinkCommand) -> Result<SinkSteered, Refusal> + Send + Sync>;

/// Where a command for a sink is posted to.
#[must_use]
pub fn path(sink: &str, command: SinkCommand) -> String {
    format!("/v1/sinks/{sink}/{}", command.word())
}

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/v1/sinks/{sink}/{command}", post(steer))
}

async fn steer(
    State(views): State<Views>,
    Path((sink, command)): Path<(String, SinkCommand)>,
) -> Result<Json<SinkSteered>, Refusal> {
    let steering = tokio::task::spawn_blocking(move || (views.steer)(&sink, command));
    match steering.await {
        Ok(steered) => steered.map(Json),
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
