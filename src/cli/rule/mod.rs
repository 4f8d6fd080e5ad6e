//! `waypost rule`: what a person asks about the rule language.

mod functions;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    /// List the functions of the rule language, or tell about one
    Functions(functions::FunctionsArguments),
}

pub(super) fn rule(command: &RuleCommand) -> Result<(), Failure> {
    match command {
        RuleCommand::Functions(arguments) => functions::functions(arguments),
    }
}
