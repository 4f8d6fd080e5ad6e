//! `waypost queue`: what waits, of a running Waypost or of the files of one.

mod drop;
mod list;
mod place;
mod records;

use clap::Subcommand;

use super::{Failure, Given};

/// What can be done with queues.
#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// Show the queues
    Ls(list::ListArguments),
    /// Show the records that wait longest in a queue
    Peek(records::PeekArguments),
    /// Print all records of a queue, one JSON object a line
    Export(records::ExportArguments),
    /// Drop records that have waited too long
    Drop(drop::DropArguments),
}

pub(super) fn queue(command: &QueueCommand, given: &Given) -> Result<(), Failure> {
    match command {
        QueueCommand::Ls(arguments) => list::list(arguments, given),
        QueueCommand::Peek(arguments) => records::peek(arguments),
        QueueCommand::Export(arguments) => records::export(arguments),
        QueueCommand::Drop(arguments) => drop::drop(arguments),
    }
}
