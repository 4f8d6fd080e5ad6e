//! `waypost rule`: what rules do, and what their language has.

mod cases;
mod functions;
mod outcome;
mod test;

use clap::Subcommand;

pub(super) use cases::answer_lines;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    /// Apply a rule to an event and show what comes out, or why nothing does
    Test(test::TestArguments),
    /// List the functions of the rule language, or tell about one
    Functions(functions::FunctionsArguments),
}

pub(super) fn rule(command: &RuleCommand) -> Result<(), Failure> {
    match command {
        RuleCommand::Test(arguments) => test::test(arguments),
        RuleCommand::Functions(arguments) => functions::functions(arguments),
    }
}
