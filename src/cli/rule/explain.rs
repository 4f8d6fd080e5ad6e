//! `waypost rule explain`

use clap::Args;

use crate::cli::{ConfigArguments, Failure, say};
use crate::name::RuleName;
use crate::rule::Rule;

/// Which rule.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    /// The rule
    name: String,
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) fn explain(arguments: &ExplainArguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let (name, rule) = super::named(&config, &arguments.name)?;
    say(&in_words(name, rule));
    Ok(())
}

fn in_words(name: &RuleName, rule: &Rule) -> String {
    let list = |names: Vec<String>| names.join(", ");
    let sources = match rule.sources.as_slice() {
        [] => "every source".to_owned(),
        some => list(some.iter().map(ToString::to_string).collect()),
    };
    let does = if let Some(program) = &rule.program {
        program.in_words().to_string()
    } else {
        let topics: Vec<_> =
            rule.topics.iter().map(|topic| format!("  of messages: {topic}")).collect();
        format!("takes events with the topic\n{}\nputs out the event as it is", topics.join("\n"))
    };
    let sinks = list(rule.sinks.iter().map(ToString::to_string).collect());
    format!("{name}, for {sources},\n{does}\nand sends it to {sinks}")
}
