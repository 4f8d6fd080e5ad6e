//! `waypost rule show`

use clap::Args;

use crate::admin::client;
use crate::admin::rules::{Failure as RuleFailure, RuleReport};
use crate::admin::{Rate, RuleStatus};
use crate::cli::table::{Table, per_second, period};
use crate::cli::{Failure, SocketArguments, runtime, say};

/// Which rule, and how to print it.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArguments {
    /// The rule
    name: String,
    #[command(flatten)]
    socket: SocketArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let socket = arguments.socket.socket()?;
    let report = runtime()?.block_on(client::rule(&socket, &arguments.name))?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&report).map_err(|e| Failure::failed(&e))?);
    } else {
        say(&text(&report));
    }
    Ok(())
}

fn text(report: &RuleReport) -> String {
    let RuleStatus { state, sources, events, topics, sinks, .. } = &report.status;
    let mut table = Table::new(&["FROM", &sources.join(", ")]);
    if let Some(sql) = &report.sql {
        table.row(["SQL".to_owned(), sql.replace('\n', " ")]);
    } else {
        table.row(["EVENTS".to_owned(), events.join(", ")]);
        if !topics.is_empty() {
            table.row(["TOPICS".to_owned(), topics.join(", ")]);
        }
    }
    table.row(["TO".to_owned(), sinks.join(", ")]);
    let (rule, table, numbers) = (&report.rule, table.render(), numbers(&report.status));
    let mut text = format!("rule {rule} is {state}\n\n{table}\n{numbers}");
    if !report.failures.is_empty() {
        text += "\nWHY IT FAILED LAST\n";
    }
    text.extend(report.failures.iter().map(|failure| {
        let RuleFailure { seconds_ago, reason, why, event, topic, payload, .. } = failure;
        format!("* {} ago ({reason}): {why}\n  {event}  {topic}  {payload}\n", period(*seconds_ago))
    }));
    text
}

fn numbers(status: &RuleStatus) -> String {
    let mut table = Table::new(&["EVENTS", "SINCE START", "NOW/S", "5 MIN/S", "MAX/S"]);
    let mut row = |what: &str, count: u64, rate: Rate| {
        let [now, average, max] = [rate.now, rate.last_5_minutes, rate.max].map(per_second);
        table.row([what.to_owned(), count.to_string(), now, average, max]);
    };
    row("matched", status.matched, status.matched_rate);
    row("passed", status.passed, status.passed_rate);
    row("failed", status.failed, status.failed_rate);
    // What a condition leaves out is no failure.
    let without = status.matched.saturating_sub(status.passed).saturating_sub(status.failed);
    let reasons = status.failed_by_reason.iter().filter(|(_, count)| **count > 0);
    let reasons: Vec<_> = reasons.map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons = if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") };
    format!("{}\nwithout a result: {without}; failed: {reasons}\n", table.render())
}
