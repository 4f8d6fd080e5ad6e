//! `waypost queue ls`

use clap::Args;

use super::place::PlaceArguments;
use crate::admin::queues::QueueRow;
use crate::cli::table::{Table, period, size};
use crate::cli::{Failure, Given, say};

/// Which queues, and how to print them.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn list(arguments: &ListArguments, given: &Given) -> Result<(), Failure> {
    let queues = arguments.place.find()?.queues()?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&queues).map_err(|error| Failure::failed(&error))?);
    } else {
        say(&given.in_text(&text(&queues)));
    }
    Ok(())
}

fn text(queues: &[QueueRow]) -> String {
    let mut table = Table::new(&["QUEUE", "RECORDS", "OLDEST", "DISK"]);
    for queue in queues {
        let percent = queue.bytes_max.map(|max| queue.bytes.saturating_mul(100) / max.max(1));
        let percent = percent.map_or(String::new(), |percent| format!(" ({percent} %)"));
        table.row([
            queue.sink.clone(),
            queue.records.to_string(),
            age(queue.records, queue.oldest_age_seconds),
            size(queue.bytes) + &percent,
        ]);
    }
    let mut text = table.render();
    let notes: String = queues.iter().filter_map(note).collect();
    if !notes.is_empty() {
        text += "\n";
        text += &notes;
    }
    text
}

fn note(queue: &QueueRow) -> Option<String> {
    let sink = &queue.sink;
    if let Some(why) = &queue.unavailable {
        return Some(format!("queue {sink} takes no records: {why}\n"));
    }
    (!queue.has_sink).then(|| {
        format!(
            "queue {sink} has no sink in the config: give it one again, or drop its records with\n  \
             `waypost queue drop {sink} --older-than 0s`\n"
        )
    })
}

/// For tables: an age where there is something.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole seconds of an age"
)]
pub(super) fn age(records: u64, seconds: f64) -> String {
    if records == 0 { "-".to_owned() } else { period(seconds as u64) }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_list_shows_what_waits_and_what_is_wrong() {
        let row = |sink: &str, records, bytes_max| QueueRow {
            sink: sink.to_owned(),
            has_sink: bytes_max > 0,
            records,
            oldest_age_seconds: 4000.5,
            bytes: 3 << 20,
            bytes_max: (bytes_max > 0).then_some(bytes_max),
            unavailable: None,
        };
        let mut full = row("full", 12, 16 << 20);
        full.unavailable = Some("the disk is full".to_owned());
        let queues = [row("cloud", 0, 512 << 20), full, row("old", 37, 0)];
        expect![[r"
            QUEUE  RECORDS  OLDEST     DISK
            cloud  0        -          3.0 MiB (0 %)
            full   12       1 h 6 min  3.0 MiB (18 %)
            old    37       1 h 6 min  3.0 MiB

            queue full takes no records: the disk is full
            queue old has no sink in the config: give it one again, or drop its records with
              `waypost queue drop old --older-than 0s`
        "]]
        .assert_eq(&text(&queues));
    }
}
