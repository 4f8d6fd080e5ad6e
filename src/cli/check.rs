//! `waypost check`

use super::{ConfigArguments, Failure, say};

pub(super) fn check(arguments: &ConfigArguments) -> Result<(), Failure> {
    let config = arguments.load()?;
    let count = |number: usize, thing: &str| {
        format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
    };
    say(&format!(
        "{}: ok ({}, {}, {})",
        arguments.config.display(),
        count(config.sources.len(), "source"),
        count(config.rules.len(), "rule"),
        count(config.sinks.len(), "sink"),
    ));
    Ok(())
}
