//! `waypost rule explain`

use clap::Args;

use crate::cli::{ConfigArguments, Failure, say};
use crate::event::EventKind;
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
        plain(rule)
    };
    let sinks = list(rule.sinks.iter().map(ToString::to_string).collect());
    format!("{name}, for {sources},\n{does}\nand sends it to {sinks}")
}

/// What a rule without SQL does.
fn plain(rule: &Rule) -> String {
    let mut lines = Vec::new();
    let free: Vec<_> = rule.events.iter().filter(|kind| !rule.narrowed.concerns(**kind)).collect();
    if rule.events != [EventKind::MessagePublish] {
        lines.push("takes".to_owned());
        lines.extend(rule.events.iter().map(|kind| format!("  {}", kind.name())));
    }
    if free.len() < rule.events.len() {
        lines.push(match (lines.is_empty(), free.is_empty()) {
            (true, _) => "takes events with the topic".to_owned(),
            (false, true) => "with the topic".to_owned(),
            (false, false) => "those that have one with the topic".to_owned(),
        });
        lines.extend(rule.topics.iter().map(|topic| format!("  of messages: {topic}")));
    }
    lines.push("puts out the event as it is".to_owned());
    lines.join("\n")
}
