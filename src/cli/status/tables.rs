//! The tables of sources, rules and sinks, made for 80 columns.

use crate::admin::{Rate, SinkStatus, SourceStatus, Status};
use crate::cli::table::{Table, per_second, period, size};

pub(super) fn sources(status: &Status) -> String {
    let mut table = Table::new(&["SOURCE", "STATE", "LAST EVENT", "IN/S", "RECEIVED", "ADDRESS"]);
    for (name, source) in &status.sources {
        table.row([
            name.clone(),
            source.state.clone(),
            last_event(source),
            now(source.received_rate),
            source.received.to_string(),
            source.address.clone(),
        ]);
    }
    table.render()
}

pub(super) fn rules(status: &Status) -> String {
    let heading = ["RULE", "STATE", "IN/S", "OUT/S", "MATCHED", "PASSED", "FAILED", "TO"];
    let mut table = Table::new(&heading);
    for (name, rule) in &status.rules {
        table.row([
            name.clone(),
            rule.state.clone(),
            now(rule.matched_rate),
            now(rule.passed_rate),
            rule.matched.to_string(),
            rule.passed.to_string(),
            rule.failed.to_string(),
            rule.sinks.join(", "),
        ]);
    }
    table.render()
}

pub(super) fn sinks(status: &Status) -> String {
    let heading = ["SINK", "STATE", "QUEUED", "OLDEST", "DISK", "IN/S", "OUT/S", "DEAD", "DROPPED"];
    let mut table = Table::new(&heading);
    for (name, sink) in &status.sinks {
        let percent = sink.bytes.saturating_mul(100) / sink.bytes_max.max(1);
        table.row([
            name.clone(),
            sink.word().to_owned(),
            sink.queued.to_string(),
            oldest(sink),
            format!("{percent}% of {}", size(sink.bytes_max)),
            now(sink.enqueued_rate),
            now(sink.delivered_rate),
            sink.dead_letters.values().sum::<u64>().to_string(),
            sink.dropped.values().sum::<u64>().to_string(),
        ]);
    }
    table.render()
}

fn now(rate: Rate) -> String {
    per_second(rate.now)
}

fn last_event(source: &SourceStatus) -> String {
    source.quiet_seconds.map_or_else(
        || "none yet".to_owned(),
        |quiet| match quiet {
            // Samples say no better.
            0..5 => "just now".to_owned(),
            _ => format!("{} ago", period(quiet)),
        },
    )
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole seconds of an age"
)]
fn oldest(sink: &SinkStatus) -> String {
    if sink.queued == 0 { "-".to_owned() } else { period(sink.oldest_age_seconds as u64) }
}
