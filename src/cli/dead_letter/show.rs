//! `waypost dead-letter show`

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::{Access, Purpose};
use super::words::{plain, plain_lines, time};
use crate::admin::letters::{LetterFilter, LetterSummary, PageRequest};
use crate::cli::json::pretty;
use crate::cli::table::{Table, size};
use crate::cli::{Failure, SocketArguments, say};
use crate::name::{RecordId, SinkName};

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArguments {
    /// The id of its record
    id: RecordId,
    /// Only that of this sink, where several have one
    #[arg(long, value_name = "SINK", value_parser = SinkName::new)]
    sink: Option<SinkName>,
    #[command(flatten)]
    gateway: SocketArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let access = Access::open(&arguments.gateway, Purpose::Look)?;
    let (ids, sink) = (vec![arguments.id.clone()], arguments.sink.clone());
    let filter = LetterFilter { ids, sink, ..LetterFilter::default() };
    let request = PageRequest { filter, from: None, limit: 1, answers: false };
    for letter in access.wait(access.client.export(&request))?.letters {
        if arguments.json {
            say(&letter.get());
        } else {
            say(&text(&letter).map_err(|error| Failure::failed(&error))?);
        }
    }
    Ok(())
}

/// What a list does not show.
#[derive(Debug, Deserialize)]
struct Rest<'letter> {
    answer: String,
    #[serde(borrow)]
    record: &'letter RawValue,
}

fn text(letter: &RawValue) -> serde_json::Result<String> {
    let summary: LetterSummary = serde_json::from_str(letter.get())?;
    let Rest { answer, record } = serde_json::from_str(letter.get())?;
    let mut table = Table::new(&["id", summary.id.as_str()]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("sink", summary.sink.to_string());
    row("rule", summary.rule.to_string());
    row("topic", plain(&summary.topic));
    row("reason", format!("{}: {}", summary.reason.label(), plain(&summary.why)));
    row("status", summary.status.map_or_else(|| "-".to_owned(), |status| status.to_string()));
    let attempts = match (summary.first_attempt_at, summary.last_attempt_at) {
        (Some(first), Some(last)) => {
            format!("{}, from {} to {}", summary.attempts, time(first), time(last))
        }
        _ => summary.attempts.to_string(),
    };
    row("attempts", attempts);
    row("accepted", time(summary.accepted_at));
    row("given up", time(summary.dead_at));
    if let Some(edited_from) = summary.edited_from {
        row("edited from", edited_from.to_string());
    }
    row("size", size(summary.bytes));
    let mut text = table.render();
    if !answer.is_empty() {
        text.extend(["\nanswer\n", &plain_lines(&answer), "\n"]);
    }
    text.extend(["\nrecord\n", &plain_lines(&pretty(record.get())), "\n"]);
    Ok(text)
}
