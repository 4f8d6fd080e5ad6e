//! What an operator asks of a sink.

use super::view::Watched;
use crate::admin::Refusal;
use crate::admin::sinks::{SinkCommand, SinkSteered};
use crate::clock::UnixMillis;
use crate::delivery::{SinkHealth, SinkState};
use crate::name::SinkName;
use crate::store::PauseNote;

impl Watched {
    /// Does it. Blocks while it is noted for the next start.
    pub(super) fn steer(&self, sink: &str, command: SinkCommand) -> Result<SinkSteered, Refusal> {
        let found = self.sinks.iter().find(|(name, _)| name.as_str() == sink);
        let Some((name, health)) = found else {
            return Err(Refusal::unknown("sink", sink, self.sinks.keys().map(SinkName::as_str)));
        };
        let note = self.store.pause_note(name);
        let (changed, warning) = match command {
            SinkCommand::Pause => pause(health, &note),
            SinkCommand::Resume => resume(health, &note),
            SinkCommand::RetryNow => (retry_now(health)?, None),
        };
        let status = self.sink_status(name);
        let status =
            status.ok_or_else(|| Refusal::conflict(format!("sink `{sink}` is being removed")))?;
        Ok(SinkSteered { sink: name.to_string(), changed, warning, status })
    }
}

/// The pause holds at once, and is noted then: a disk that takes no note must not keep a sink from being paused.
fn pause(health: &SinkHealth, note: &PauseNote) -> (bool, Option<String>) {
    let since = UnixMillis::now();
    let changed = health.pause(since);
    let noted = if changed || note.since().is_none() { note.set(since) } else { Ok(()) };
    let warning = noted.err().map(|error| {
        format!(
            "it is paused, but not any more after a restart: that cannot be written down: {error}"
        )
    });
    (changed, warning)
}

fn resume(health: &SinkHealth, note: &PauseNote) -> (bool, Option<String>) {
    let warning = note.clear().err().map(|error| {
        format!(
            "it goes on, but will be paused again after a restart: that cannot be changed: {error}"
        )
    });
    (health.resume(), warning)
}

fn retry_now(health: &SinkHealth) -> Result<bool, Refusal> {
    let status = health.status();
    if status.paused_since.is_some() {
        let name = health.name();
        return Err(Refusal::conflict(format!(
            "sink `{name}` is paused; `waypost sink resume {name}` lets it send"
        )));
    }
    health.retry_now();
    Ok(status.state != SinkState::Ok || health.metrics.suspects.get() > 0)
}
