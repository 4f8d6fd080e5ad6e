//! `waypost rule sample`

use clap::Args;

use crate::cli::events::kind;
use crate::cli::{Failure, say};
use crate::event::catalogue::CATALOGUE;

/// Which event.
#[derive(Debug, Args)]
pub(in crate::cli) struct SampleArguments {
    /// The event, such as `client.connected`; all of them are listed when left out
    event: Option<String>,
}

pub(super) fn show(arguments: &SampleArguments) -> Result<(), Failure> {
    let Some(event) = &arguments.event else {
        for entry in &CATALOGUE {
            say(&format!(
                "{:<30}  {}",
                entry.name,
                entry.topic.unwrap_or("the topic of the message")
            ));
        }
        return Ok(());
    };
    say(&kind(event)?.entry().sample());
    Ok(())
}
