//! `waypost queue peek` and `waypost queue export`

use clap::Args;
use serde::Serialize;

use super::list::age;
use super::place::PlaceArguments;
use crate::admin::queues::QueuedRecord;
use crate::cli::table::Table;
use crate::cli::{Failure, say};
use crate::name::SinkName;

/// Characters of a body in the table.
const BODY_CHARACTERS_MAX: usize = 60;

/// Which records, and how to print them.
#[derive(Debug, Args)]
pub(in crate::cli) struct PeekArguments {
    /// The sink whose queue it is
    #[arg(value_parser = SinkName::new)]
    sink: SinkName,
    #[command(flatten)]
    place: PlaceArguments,
    /// The number of the first record to show
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// How many records to show
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    limit: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Which queue.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    /// The sink whose queue it is
    #[arg(value_parser = SinkName::new)]
    sink: SinkName,
    #[command(flatten)]
    place: PlaceArguments,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Peeked {
    records: Vec<QueuedRecord>,
}

pub(super) fn peek(arguments: &PeekArguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    place.check(&arguments.sink)?;
    let mut records = Vec::new();
    place.records(&arguments.sink, arguments.from, arguments.limit, |record| {
        records.push(record);
        Ok(())
    })?;
    if arguments.json {
        let peeked = Peeked { records };
        say(&serde_json::to_string_pretty(&peeked).map_err(|error| Failure::failed(&error))?);
    } else {
        say(&text(&records));
    }
    Ok(())
}

pub(super) fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let place = arguments.place.find()?;
    place.check(&arguments.sink)?;
    place.records(&arguments.sink, 0, usize::MAX, |record| {
        say(&serde_json::to_string(&record).map_err(|error| Failure::failed(&error))?);
        Ok(())
    })
}

fn text(records: &[QueuedRecord]) -> String {
    let mut table = Table::new(&["NUMBER", "AGE", "RULE", "TOPIC", "BODY"]);
    for record in records {
        table.row([
            record.number.to_string(),
            age(1, record.age_seconds),
            record.rule.clone(),
            record.topic.clone().unwrap_or_else(|| "-".to_owned()),
            short(record),
        ]);
    }
    table.render()
}

/// The payload of an event, which tells them apart; of what a rule made, the beginning.
fn short(record: &QueuedRecord) -> String {
    let payload = record.body.get("payload").and_then(|payload| payload.as_str());
    let text = payload.map_or_else(|| record.body.to_string(), str::to_owned);
    let mut shown: String = text
        .chars()
        .take(BODY_CHARACTERS_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(BODY_CHARACTERS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn records_are_shown_one_a_line_whatever_is_in_them() {
        let record = |number, body: Value| QueuedRecord {
            record_id: format!("4q7wmb9iwj8i-cloud-{number}"),
            sink: "cloud".to_owned(),
            number,
            accepted_at: 1_764_000_000_000,
            age_seconds: 61.0,
            rule: "hot".to_owned(),
            source: "local".to_owned(),
            topic: (number != 2).then(|| "plant/7".to_owned()),
            body,
        };
        let records = [
            record(1, json!({ "event": "message.publish", "payload": "two\nlines\u{1b}[1m" })),
            record(2, json!({ "pump": "7", "temp": 31.5 })),
            record(10, json!({ "payload": "x".repeat(100) })),
        ];
        expect![[r#"
            NUMBER  AGE        RULE  TOPIC    BODY
            1       1 min 1 s  hot   plant/7  two lines [1m
            2       1 min 1 s  hot   -        {"pump":"7","temp":31.5}
            10      1 min 1 s  hot   plant/7  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
        "#]]
        .assert_eq(&text(&records));
    }
}
