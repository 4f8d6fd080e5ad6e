//! `waypost status`

mod notes;
mod tables;

#[cfg(test)]
mod tests;

use clap::Args;

use super::table::period;
use super::{Failure, Given, SocketArguments, runtime, say};
use crate::admin::{Status, client};

/// Whom to ask, and how to print it.
#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    socket: SocketArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn status(arguments: &StatusArguments, given: &Given) -> Result<(), Failure> {
    let socket = arguments.socket.socket()?;
    let mut status = runtime()?.block_on(client::status(&socket))?;
    for note in &mut status.notes {
        note.advice = note.advice.take().map(|advice| given.in_text(&advice));
    }
    if arguments.json {
        let json = serde_json::to_string_pretty(&status).map_err(|e| Failure::failed(&e))?;
        say(&json);
    } else {
        say(&text(&status));
    }
    Ok(())
}

/// The whole of it for people.
fn text(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "NOT READY" };
    let Status { gateway, version, pid, store_id, .. } = status;
    let head = format!(
        "{gateway} is {ready}, up {} (waypost {version}, pid {pid}, store {store_id})\n",
        period(status.uptime_seconds),
    );
    let parts = [
        head,
        tables::sources(status),
        tables::rules(status),
        tables::sinks(status),
        notes::text(&status.notes),
    ];
    parts.join("\n")
}
