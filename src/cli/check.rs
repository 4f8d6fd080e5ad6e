//! `waypost check`

use super::{ConfigArguments, Failure, say};

pub(super) fn check(arguments: &ConfigArguments) -> Result<(), Failure> {
    let config = arguments.load_and_warn()?;
    if !config.failed_tests.is_empty() {
        let failed = config.failed_tests.iter().map(|finding| format!("error: {finding}"));
        return Err(Failure::config(&failed.collect::<Vec<_>>().join("\n").trim_end()));
    }
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
