//! `waypost tail`

use std::io::{self, Write as _};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::table::brief;
use super::{Failure, SocketArguments, fold, runtime, tell};
use crate::admin::tail::TailQuery;
use crate::admin::{SourceStatus, Status, client};
use crate::clock::UnixMillis;
use crate::tail::{Happening, Line, Request, Seen};

/// What to show, and how.
#[derive(Debug, Args)]
pub(super) struct TailArguments {
    /// Only what goes to this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only what this rule does, and what becomes of it
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    #[command(flatten)]
    socket: SocketArguments,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn tail(arguments: &TailArguments) -> Result<(), Failure> {
    let socket = arguments.socket.socket()?;
    let wanted = TailQuery { sink: arguments.sink.clone(), rule: arguments.rule.clone() };
    let zone = TimeZone::system();
    let columns = columns();
    runtime()?.block_on(async {
        let mut lines = client::tail(&socket, &wanted).await?;
        tell(&"looking on; Ctrl-C ends it");
        // Only to say why nothing may come: the lines matter more.
        if let Ok(status) = client::status(&socket).await
            && let Some(note) = not_connected(&status)
        {
            tell(&note);
        }
        while let Some(line) = lines.next().await? {
            let shown = if arguments.json {
                serde_json::to_string(&line).expect("a line is plain data")
            } else {
                text(&line, &zone, columns)
            };
            let mut out = io::stdout().lock();
            if writeln!(out, "{shown}").and_then(|()| out.flush()).is_err() {
                // Whoever read it has gone.
                return Ok(());
            }
        }
        Err(Failure { code: 69, message: "waypost has stopped".to_owned() })
    })
}

/// The sources that nothing comes from, on one line.
fn not_connected(status: &Status) -> Option<String> {
    let is_away = |source: &SourceStatus| {
        matches!(source.state.as_str(), "connecting" | "disconnected" | "stopped")
    };
    let away = status.sources.iter().filter(|(_, source)| is_away(source));
    let words = away.map(|(name, source)| match &source.detail {
        Some(why) => format!("{name} ({}: {why})", source.state),
        None => format!("{name} ({})", source.state),
    });
    let words = words.collect::<Vec<_>>().join(", ");
    (!words.is_empty()).then(|| format!("note: nothing comes from what is not connected: {words}"))
}

/// What fits on a line of the terminal; a file or a pipe takes everything.
fn columns() -> usize {
    const LEAST: usize = 40;
    fold::columns(io::stdout()).max(LEAST)
}

/// One line, in most cases. What is of any length comes last, so that it is what is cut.
fn text(line: &Line, zone: &TimeZone, columns: usize) -> String {
    let (what, who, rest) = match &line.happening {
        Happening::Matched { rule, sinks, output, records, event } => {
            let times = if *records == 1 { String::new() } else { format!("x{records}  ") };
            // The rule of a webhook is called as its sink.
            let sinks = sinks.join(", ");
            let to = if sinks == *rule { String::new() } else { format!("-> {sinks}  ") };
            let shown = output.as_ref().unwrap_or(&event.payload);
            ("matched", rule.as_str(), format!("{to}{times}{}  {shown}", subject(event)))
        }
        Happening::NotWanted { rule, event } => ("not wanted", rule.as_str(), seen(event)),
        Happening::RuleFailed { rule, error, event } => {
            return long(line.at, zone, "RULE FAILED", rule, &[error, &seen(event)]);
        }
        Happening::NoRule { event } => ("no rule", event.source.as_str(), seen(event)),
        Happening::Queued { sink, records } => ("queued", sink.as_str(), count(*records)),
        Happening::Refused { sink, records } => {
            let refused = format!("{}: not stored, their source keeps them", count(*records));
            return long(line.at, zone, "REFUSED", sink, &[&refused]);
        }
        Happening::Delivered { request } => ("delivered", request.sink.as_str(), answer(request)),
        Happening::Failed { request, why, next_attempt_in_ms } => {
            let next = next_attempt_in_ms.map(|wait| format!("next attempt in {}", brief(wait)));
            let next = next.unwrap_or_else(|| "kept, the sink goes on".to_owned());
            return long(line.at, zone, "FAILED", &request.sink, &[&answer(request), why, &next]);
        }
        Happening::DeadLettered { sink, records, first, reason, why } => {
            let which = first.as_ref().map_or_else(|| count(*records), |id| numbered(*records, id));
            let what = format!("{which}: {reason}");
            return long(line.at, zone, "DEAD LETTER", sink, &[&what, why]);
        }
        Happening::Dropped { sink, records, reason, why } => {
            let what = format!("{}: {reason}", count(*records));
            return long(line.at, zone, "DROPPED", sink, &[&what, why]);
        }
        Happening::Lost { lines } => {
            let lost = "lines left out: more happens than can be shown";
            ("LOST", "", format!("{lines} {lost}"))
        }
    };
    cut(&format!("{}{rest}", head(line.at, zone, what, who)), columns)
}

/// What must not be cut: more lines, as many as are needed.
fn long(at: UnixMillis, zone: &TimeZone, what: &str, who: &str, parts: &[&str]) -> String {
    let mut lines = head(at, zone, what, who);
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            lines += "\n             ";
        }
        lines += part;
    }
    lines
}

fn head(at: UnixMillis, zone: &TimeZone, what: &str, who: &str) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string();
    let who = if who.is_empty() { String::new() } else { format!("{who}  ") };
    format!("{time} {what:<11} {who}")
}

fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.trim_end().to_owned();
    }
    line.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

fn seen(event: &Seen) -> String {
    format!("{}  {}", subject(event), event.payload)
}

/// The topic of a published message; of other events which one it is, and of whom.
fn subject(event: &Seen) -> String {
    let topic = event.topic.as_deref().unwrap_or_default();
    if event.event == "message.publish" {
        return topic.to_owned();
    }
    let parts = [event.event.as_str(), event.clientid.as_deref().unwrap_or_default(), topic];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn answer(request: &Request) -> String {
    let status = request.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let took = brief(request.took_ms);
    format!("{status} after {took}, {}", numbered(request.records, &request.first))
}

/// Records by the last part of the first one's id: the rest is the same for all of a sink.
fn numbered(records: usize, first: &str) -> String {
    let parts: Vec<&str> = first.rsplit('-').take(2).collect();
    let number = match parts[..] {
        // One that was edited has a part more.
        [edit, number] if edit.starts_with('e') => format!("{number}-{edit}"),
        [number, ..] => number.to_owned(),
        [] => String::new(),
    };
    if records == 1 {
        format!("record {number}")
    } else {
        format!("{records} records from {number}")
    }
}

fn count(records: usize) -> String {
    if records == 1 { "1 record".to_owned() } else { format!("{records} records") }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn event(topic: &str, payload: &str) -> Seen {
        Seen {
            event: "message.publish".to_owned(),
            source: "local".to_owned(),
            topic: Some(topic.to_owned()),
            clientid: None,
            payload: payload.to_owned(),
        }
    }

    /// One of each kind, some of two.
    fn happenings() -> [Happening; 15] {
        let long = "{\"temp\": 31.5, \"unit\": \"C\", \"serial\": \"0123456789\", \"more\": 1}";
        let matched = |rule: &str, output: Option<&str>, records| Happening::Matched {
            rule: rule.to_owned(),
            sinks: vec!["cloud".to_owned()],
            output: output.map(str::to_owned),
            records,
            event: event("plant/7/temp", long),
        };
        let request = |status, records| Request {
            sink: "cloud".to_owned(),
            records,
            first: "4q7wmb9iwj8i-cloud-17".to_owned(),
            status,
            took_ms: 1234,
        };
        [
            matched("cloud", None, 1),
            matched("hot", Some("{\"temp\":31.5}"), 3),
            Happening::NotWanted { rule: "hot".to_owned(), event: event("plant/7/temp", "{}") },
            Happening::NoRule { event: event("other", long) },
            Happening::RuleFailed {
                rule: "hot".to_owned(),
                error: "the payload is not JSON at byte 0: \"x\"".to_owned(),
                event: event("plant/8", "x"),
            },
            Happening::Queued { sink: "cloud".to_owned(), records: 2 },
            Happening::Refused { sink: "cloud".to_owned(), records: 2 },
            Happening::Delivered { request: request(Some(200), 1) },
            Happening::Delivered { request: request(Some(200), 50) },
            Happening::Failed {
                request: request(Some(503), 50),
                why: "status 503 (Service Unavailable)".to_owned(),
                next_attempt_in_ms: Some(61_000),
            },
            Happening::Failed {
                request: request(None, 1),
                why: "connection refused".to_owned(),
                next_attempt_in_ms: None,
            },
            Happening::DeadLettered {
                sink: "cloud".to_owned(),
                records: 1,
                first: Some("4q7wmb9iwj8i-cloud-17-e4b2".to_owned()),
                reason: "rejected".to_owned(),
                why: "status 422 (Unprocessable Entity)".to_owned(),
            },
            Happening::DeadLettered {
                sink: "cloud".to_owned(),
                records: 118,
                first: None,
                reason: "queue_full".to_owned(),
                why: "the queue was full before they could be delivered".to_owned(),
            },
            Happening::Dropped {
                sink: "cloud".to_owned(),
                records: 118,
                reason: "queue_full".to_owned(),
                why: "the queue is full (when_full = \"drop_oldest\")".to_owned(),
            },
            Happening::Lost { lines: 12_345 },
        ]
    }

    #[test]
    fn lines_fit_a_terminal_of_80_columns_and_say_all_that_matters() {
        let line =
            |happening| text(&Line { at: UnixMillis(61_234), happening }, &TimeZone::UTC, 80);
        let lines = happenings().map(line).join("\n") + "\n";
        expect![[r#"
            00:01:01.234 matched     cloud  plant/7/temp  {"temp": 31.5, "unit": "C", "seri…
            00:01:01.234 matched     hot  -> cloud  x3  plant/7/temp  {"temp":31.5}
            00:01:01.234 not wanted  hot  plant/7/temp  {}
            00:01:01.234 no rule     local  other  {"temp": 31.5, "unit": "C", "serial": "0…
            00:01:01.234 RULE FAILED hot  the payload is not JSON at byte 0: "x"
                         plant/8  x
            00:01:01.234 queued      cloud  2 records
            00:01:01.234 REFUSED     cloud  2 records: not stored, their source keeps them
            00:01:01.234 delivered   cloud  200 after 1.2 s, record 17
            00:01:01.234 delivered   cloud  200 after 1.2 s, 50 records from 17
            00:01:01.234 FAILED      cloud  503 after 1.2 s, 50 records from 17
                         status 503 (Service Unavailable)
                         next attempt in 1 min 1 s
            00:01:01.234 FAILED      cloud  no answer after 1.2 s, record 17
                         connection refused
                         kept, the sink goes on
            00:01:01.234 DEAD LETTER cloud  record 17-e4b2: rejected
                         status 422 (Unprocessable Entity)
            00:01:01.234 DEAD LETTER cloud  118 records: queue_full
                         the queue was full before they could be delivered
            00:01:01.234 DROPPED     cloud  118 records: queue_full
                         the queue is full (when_full = "drop_oldest")
            00:01:01.234 LOST        12345 lines left out: more happens than can be shown
        "#]]
        .assert_eq(&lines);
        assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    }
}
