//! `waypost rule`: what rules do, and what their language has.

mod cases;
mod explain;
mod functions;
mod outcome;
mod request;
mod sample;
mod show;
mod test;

use clap::Subcommand;

pub(super) use cases::answer_lines;

use super::Failure;
use crate::config::Config;
use crate::name::RuleName;
use crate::rule::Rule;

#[derive(Debug, Subcommand)]
pub(super) enum RuleCommand {
    /// Apply a rule to an event and show what comes out, or why nothing does
    Test(test::TestArguments),
    /// Show what a rule of a running Waypost does, how often, and why it failed last
    Show(show::ShowArguments),
    /// Say in words what a rule of the config does
    Explain(explain::ExplainArguments),
    /// Show a sample of an event, for `rule test`
    Sample(sample::SampleArguments),
    /// List the functions of the rule language, or tell about one
    Functions(functions::FunctionsArguments),
}

pub(super) fn rule(command: &RuleCommand) -> Result<(), Failure> {
    match command {
        RuleCommand::Test(arguments) => test::test(arguments),
        RuleCommand::Show(arguments) => show::show(arguments),
        RuleCommand::Explain(arguments) => explain::explain(arguments),
        RuleCommand::Sample(arguments) => sample::show(arguments),
        RuleCommand::Functions(arguments) => functions::functions(arguments),
    }
}

/// A rule of a config by its name.
fn named<'c>(config: &'c Config, name: &str) -> Result<(&'c RuleName, &'c Rule), Failure> {
    let found = config.rules.iter().find(|(known, _)| known.as_str() == name);
    found.ok_or_else(|| {
        let known: Vec<_> = config.rules.keys().map(RuleName::as_str).collect();
        let message = format!("error: there is no rule `{name}`; there are {}", known.join(", "));
        Failure { code: 1, message }
    })
}
