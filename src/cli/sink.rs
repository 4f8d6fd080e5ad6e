//! `waypost sink`

use clap::{Args, Subcommand};

use super::table::{period, size};
use super::{Failure, Given, SocketArguments, runtime, say, tell};
use crate::admin::client;
use crate::admin::sinks::{SinkCommand, SinkSteered};

#[derive(Debug, Subcommand)]
pub(super) enum SinkCommands {
    /// Send nothing to a sink until it is resumed, also after a restart; its queue goes on filling
    Pause(SinkArguments),
    /// Send to a paused sink again
    Resume(SinkArguments),
    /// End the wait for the next attempt of a sink that fails or is suspended
    RetryNow(SinkArguments),
}

/// Which sink.
#[derive(Debug, Args)]
pub(super) struct SinkArguments {
    /// The sink
    name: String,
    #[command(flatten)]
    socket: SocketArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn sink(command: &SinkCommands, given: &Given) -> Result<(), Failure> {
    let (arguments, command) = match command {
        SinkCommands::Pause(arguments) => (arguments, SinkCommand::Pause),
        SinkCommands::Resume(arguments) => (arguments, SinkCommand::Resume),
        SinkCommands::RetryNow(arguments) => (arguments, SinkCommand::RetryNow),
    };
    let socket = arguments.socket.socket()?;
    let steered = runtime()?.block_on(client::steer(&socket, &arguments.name, command))?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&steered).map_err(|e| Failure::failed(&e))?);
        return Ok(());
    }
    say(&given.in_text(&text(&steered, command)));
    if let Some(warning) = &steered.warning {
        tell(&format!("warning: {warning}"));
    }
    Ok(())
}

fn text(steered: &SinkSteered, command: SinkCommand) -> String {
    let SinkSteered { sink, changed, status, .. } = steered;
    let waits = match status.queued {
        0 => "nothing waits".to_owned(),
        1 => "1 record waits".to_owned(),
        some => format!("{some} records wait"),
    };
    match (command, changed) {
        (SinkCommand::Pause, true) => format!(
            "sink {sink} is paused: {waits}; its queue may take {} (then: {}). \
             `waypost sink resume {sink}` lets it send",
            size(status.bytes_max),
            status.when_full
        ),
        (SinkCommand::Pause, false) => {
            let since = period(status.paused_seconds.unwrap_or(0));
            format!("sink {sink} has been paused for {since} already: {waits}")
        }
        (SinkCommand::Resume, true) => format!("sink {sink} sends again: {waits}"),
        (SinkCommand::Resume, false) => format!("sink {sink} is not paused: {waits}"),
        (SinkCommand::RetryNow, true) => format!("sink {sink} tries again now: {waits}"),
        (SinkCommand::RetryNow, false) => {
            format!("sink {sink} waits for no next attempt: its last one was delivered")
        }
    }
}
