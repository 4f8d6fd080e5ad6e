//! `waypost dead-letter`

mod access;
mod edit;
mod export;
mod list;
mod purge;
mod replay;
mod show;
mod words;

use clap::{Args, Subcommand};

pub(super) use list::table;

use super::{Failure, Given};
use crate::admin::letters::LetterFilter;
use crate::name::{RecordId, SinkName};
use crate::store::DeadLetterReason;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    /// List dead letters, or count them
    List(list::ListArguments),
    /// Show one with all that is known of it
    Show(show::ShowArguments),
    /// Put dead letters into a queue again; receivers see the same record ids
    Replay(replay::ReplayArguments),
    /// Change the payload of one, or what its rule made; it gets an id of its own
    Edit(edit::EditArguments),
    /// Print dead letters with all that is known of them, one JSON object a line
    Export(export::ExportArguments),
    /// Remove dead letters for good
    Purge(purge::PurgeArguments),
}

/// Which of them.
#[derive(Debug, Args)]
struct Selection {
    /// Only those of this sink
    #[arg(long, value_name = "SINK", value_parser = SinkName::new)]
    sink: Option<SinkName>,
    /// Only those that were given up for this reason
    #[arg(long, value_name = "REASON", value_parser = words::reason())]
    reason: Option<DeadLetterReason>,
}

impl Selection {
    fn filter(&self) -> LetterFilter {
        let (sink, reason) = (self.sink.clone(), self.reason);
        LetterFilter { sink, reason, ..LetterFilter::default() }
    }
}

pub(super) fn dead_letter(command: &DeadLetterCommand, given: &Given) -> Result<(), Failure> {
    match command {
        DeadLetterCommand::List(arguments) => list::list(arguments, given),
        DeadLetterCommand::Show(arguments) => show::show(arguments),
        DeadLetterCommand::Replay(arguments) => replay::replay(arguments),
        DeadLetterCommand::Edit(arguments) => edit::edit(arguments, given),
        DeadLetterCommand::Export(arguments) => export::export(arguments),
        DeadLetterCommand::Purge(arguments) => purge::purge(arguments),
    }
}

/// The ids that were named, each once.
fn ids(named: &[RecordId]) -> Result<Vec<RecordId>, Failure> {
    let twice =
        named.iter().enumerate().find(|(index, id)| named.iter().take(*index).any(|it| it == *id));
    match twice {
        None => Ok(named.to_vec()),
        Some((_, id)) => {
            Err(Failure { code: 2, message: format!("error: --id {id} is given twice") })
        }
    }
}
