//! `waypost tail`

use std::io::{self, Write as _};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::table::brief;
use super::{Failure, SocketArguments, runtime, tell};
use crate::admin::client;
use crate::admin::tail::TailQuery;
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
    runtime()?.block_on(async {
        let mut lines = client::tail(&socket, &wanted).await?;
        tell(&"looking on; Ctrl-C ends it");
        while let Some(line) = lines.next().await? {
            let shown = if arguments.json {
                serde_json::to_string(&line).expect("a line is plain data")
            } else {
                text(&line, &zone)
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

/// Columns of the terminal that a line is made for.
const COLUMNS: usize = 80;

/// One line. What is of any length comes last, so that it is what is cut.
fn text(line: &Line, zone: &TimeZone) -> String {
    let (what, who, rest) = match &line.happening {
        Happening::Matched { rule, sinks, output, records, event } => {
            let times = if *records == 1 { String::new() } else { format!(" x{records}") };
            let sinks = sinks.join(", ");
            let shown = output.as_ref().unwrap_or(&event.payload);
            ("matched", rule.as_str(), format!("-> {sinks}{times}  {}  {shown}", subject(event)))
        }
        Happening::NotWanted { rule, event } => {
            ("not wanted", rule.as_str(), format!("its condition does not hold  {}", seen(event)))
        }
        Happening::RuleFailed { rule, error, event } => {
            return long(line.at, zone, "RULE FAILED", rule, &[error, &seen(event)]);
        }
        Happening::NoRule { event } => ("no rule", event.source.as_str(), seen(event)),
        Happening::Queued { sink, records } => ("queued", sink.as_str(), count(*records)),
        Happening::Refused { sink, records } => {
            let refused =
                format!("{}: cannot be made durable, the source keeps them", count(*records));
            return long(line.at, zone, "REFUSED", sink, &[&refused]);
        }
        Happening::Delivered { request } => ("delivered", request.sink.as_str(), answer(request)),
        Happening::Failed { request, why, next_attempt_in_ms } => {
            let next = next_attempt_in_ms.map(|wait| format!("next attempt in {}", brief(wait)));
            let next = next.unwrap_or_else(|| "kept, the sink goes on".to_owned());
            return long(line.at, zone, "FAILED", &request.sink, &[&answer(request), why, &next]);
        }
        Happening::DeadLettered { sink, records, first, reason, why } => {
            let what = format!("{}: {reason}", numbered(*records, first));
            return long(line.at, zone, "DEAD LETTER", sink, &[&what, why]);
        }
        Happening::Lost { lines } => {
            let lost = "lines left out: more happens than can be shown";
            ("LOST", "", format!("{lines} {lost}"))
        }
    };
    cut(&format!("{}{rest}", head(line.at, zone, what, who)))
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

fn cut(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.trim_end().to_owned();
    }
    line.chars().take(COLUMNS - 1).chain(['…']).collect()
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
