//! `waypost status`

use clap::Args;

use super::table::{Table, period, size};
use super::{Failure, SocketArguments, runtime, say};
use crate::admin::{SinkStatus, SourceStatus, Status, client};

/// Whom to ask, and how to print it.
#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    socket: SocketArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let socket = arguments.socket.socket()?;
    let status = runtime()?.block_on(client::status(&socket))?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&status).map_err(|e| Failure::failed(&e))?;
        say(&json);
    } else {
        say(&text(&status));
    }
    Ok(())
}

/// The whole table for people.
fn text(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "NOT READY" };
    let uptime = period(status.uptime_seconds);
    let mut text = format!(
        "{} is {ready}, up {uptime} (waypost {}, pid {}, store {})\n\n",
        status.gateway, status.version, status.pid, status.store_id
    );
    text += &sources(status);
    text += "\n";
    text += &rules(status);
    text += "\n";
    text += &sinks(status);
    let notes = notes(status);
    if !notes.is_empty() {
        text += "\n";
        text += &notes;
    }
    text
}

fn sources(status: &Status) -> String {
    let mut table = Table::new(&["SOURCE", "STATE", "FOR", "RECEIVED", "ACKNOWLEDGED", "ADDRESS"]);
    for (name, source) in &status.sources {
        table.row([
            name.clone(),
            source.state.clone(),
            period(source.since_seconds),
            source.received.to_string(),
            source.acknowledged.to_string(),
            source.address.clone(),
        ]);
    }
    table.render()
}

fn rules(status: &Status) -> String {
    let mut table = Table::new(&["RULE", "MATCHED", "PASSED", "FAILED", "TO"]);
    for (name, rule) in &status.rules {
        table.row([
            name.clone(),
            rule.matched.to_string(),
            rule.passed.to_string(),
            rule.failed.to_string(),
            rule.sinks.join(", "),
        ]);
    }
    table.render()
}

fn sinks(status: &Status) -> String {
    let heading = ["SINK", "STATE", "QUEUED", "OLDEST", "DISK", "DELIVERED", "DROPPED"];
    let mut table = Table::new(&heading);
    for (name, sink) in &status.sinks {
        let percent = sink.bytes.saturating_mul(100) / sink.bytes_max.max(1);
        table.row([
            name.clone(),
            sink.state.clone(),
            sink.queued.to_string(),
            oldest(sink),
            format!("{} ({percent} %)", size(sink.bytes)),
            sink.delivered.to_string(),
            sink.dropped.values().sum::<u64>().to_string(),
        ]);
    }
    table.render()
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

/// What is wrong, one line each.
fn notes(status: &Status) -> String {
    let source_note = |(name, source): (&String, &SourceStatus)| {
        Some(format!("source {name}: {}\n", source.detail.as_ref()?))
    };
    let sink_note = |(name, sink): (&String, &SinkStatus)| {
        let next = sink.next_attempt_in_seconds;
        let next = next.map_or(String::new(), |next| format!("; next attempt in {next:.1} s"));
        let failing = sink.last_error.as_ref().filter(|_| sink.failed_attempts > 0)?;
        Some(format!("sink {name} ({}): {failing}{next}\n", sink.url))
    };
    let queue_note = |(name, sink): (&String, &SinkStatus)| {
        let why = sink.queue_unavailable.as_ref()?;
        Some(format!("queue {name} takes no records: {why}\n"))
    };
    let letters_note = |(name, sink): (&String, &SinkStatus)| {
        let why = sink.dead_letters_error.as_ref()?;
        Some(format!("sink {name}: dead letters cannot be written, their records stay: {why}\n"))
    };
    let suspects_note = |(name, sink): (&String, &SinkStatus)| {
        let count = (sink.suspects > 0).then_some(sink.suspects)?;
        let why = sink.last_error.as_deref().unwrap_or_default();
        Some(format!("sink {name}: {count} set aside, others are delivered: {why}\n"))
    };
    let sources = status.sources.iter().filter_map(source_note);
    let sinks = status.sinks.iter();
    let sinks = sinks.flat_map(|sink| {
        [sink_note(sink), suspects_note(sink), letters_note(sink), queue_note(sink)]
    });
    sources.chain(sinks.flatten()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;
    use crate::admin::RuleStatus;

    fn source(state: &str, detail: Option<&str>) -> SourceStatus {
        SourceStatus {
            kind: "mqtt".to_owned(),
            address: "mqtt://127.0.0.1:1883".to_owned(),
            state: state.to_owned(),
            detail: detail.map(str::to_owned),
            since_seconds: 4000,
            received: 1_200_000,
            acknowledged: 1_199_000,
            dropped: 0,
        }
    }

    fn sink(state: &str, failed_attempts: u32) -> SinkStatus {
        SinkStatus {
            url: "https://api.example.com/hook".to_owned(),
            state: state.to_owned(),
            since_seconds: 90,
            failed_attempts,
            last_error: Some("status 503 (Service Unavailable)".to_owned()),
            dead_letters_error: (state == "suspended").then(|| "the disk is full".to_owned()),
            suspects: u64::from(state == "suspended"),
            next_attempt_in_seconds: (failed_attempts > 0).then_some(12.34),
            durability: "power".to_owned(),
            when_full: "drop_oldest".to_owned(),
            paused_seconds: None,
            queue_unavailable: None,
            recovered: 0,
            enqueued: 1000,
            delivered: 600,
            dropped: BTreeMap::from([("queue_full".to_owned(), 100)]),
            queued: 300,
            bytes: 5 << 20,
            bytes_max: 512 << 20,
            oldest_age_seconds: 93_784.2,
        }
    }

    #[test]
    fn the_status_of_a_gateway_in_trouble_says_what_is_wrong() {
        let broken = source("disconnected", Some("127.0.0.1:1883 refuses connections"));
        let rule =
            RuleStatus { sinks: vec!["cloud".to_owned()], matched: 1000, passed: 990, failed: 3 };
        let mut full = sink("ok", 0);
        full.queue_unavailable = Some("No space left on device (os error 28)".to_owned());
        let status = Status {
            gateway: "plant-7".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 42,
            store_id: "4q7wmb9iwj8i".to_owned(),
            uptime_seconds: 90_061,
            ready: false,
            sources: BTreeMap::from([
                ("local".to_owned(), broken),
                ("other".to_owned(), source("connected", None)),
            ]),
            rules: BTreeMap::from([("cloud".to_owned(), rule)]),
            sinks: BTreeMap::from([
                ("cloud".to_owned(), sink("retrying", 7)),
                ("full".to_owned(), full),
            ]),
        };
        expect![[r"
            plant-7 is NOT READY, up 1 d 1 h (waypost 0.1.0, pid 42, store 4q7wmb9iwj8i)

            SOURCE  STATE         FOR        RECEIVED  ACKNOWLEDGED  ADDRESS
            local   disconnected  1 h 6 min  1200000   1199000       mqtt://127.0.0.1:1883
            other   connected     1 h 6 min  1200000   1199000       mqtt://127.0.0.1:1883

            RULE   MATCHED  PASSED  FAILED  TO
            cloud  1000     990     3       cloud

            SINK   STATE     QUEUED  OLDEST   DISK           DELIVERED  DROPPED
            cloud  retrying  300     1 d 2 h  5.0 MiB (0 %)  600        100
            full   ok        300     1 d 2 h  5.0 MiB (0 %)  600        100

            source local: 127.0.0.1:1883 refuses connections
            sink cloud (https://api.example.com/hook): status 503 (Service Unavailable); next attempt in 12.3 s
            queue full takes no records: No space left on device (os error 28)
        "]]
        .assert_eq(&text(&status));
    }
}
