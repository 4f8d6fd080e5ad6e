use std::collections::BTreeMap;

use expect_test::expect;

use super::*;
use crate::admin::{CertificateStatus, Rate, RuleStatus, SinkStatus, SourceStatus, notes};

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn rate(now: f64) -> Rate {
    Rate { now, last_5_minutes: now, max: now }
}

fn source(state: &str, detail: Option<&str>) -> SourceStatus {
    SourceStatus {
        kind: "mqtt".to_owned(),
        address: "mqtt://127.0.0.1:1883".to_owned(),
        state: state.to_owned(),
        detail: detail.map(str::to_owned),
        since_seconds: 4000,
        events: vec!["message.publish".to_owned()],
        topics: vec!["plant/#".to_owned()],
        refused: Vec::new(),
        quiet_seconds: Some(4003),
        received_rate: rate(0.0),
        acknowledged_rate: rate(0.0),
        received: 1_200_000,
        acknowledged: 1_199_000,
        dropped: 0,
    }
}

fn rule(state: &str, matched: u64, failed: u64) -> RuleStatus {
    RuleStatus {
        state: state.to_owned(),
        sources: vec!["local".to_owned(), "other".to_owned()],
        events: vec!["message.publish".to_owned()],
        topics: vec!["plant/#".to_owned()],
        has_sql: true,
        sinks: vec!["cloud".to_owned()],
        matched_rate: rate(12.34),
        passed_rate: rate(12.0),
        failed_rate: rate(0.04),
        failed_by_reason: counts([("not_json", failed)]),
        last_error: (failed > 0).then(|| "the payload is not JSON at byte 0: \"x\"".to_owned()),
        matched,
        passed: matched - failed,
        failed,
    }
}

fn sink(state: &str, failed_attempts: u32) -> SinkStatus {
    let error = match state {
        "suspended" => "status 401 (Unauthorized): check the credentials",
        _ => "status 503 (Service Unavailable)",
    };
    SinkStatus {
        url: "https://api.example.com/hook".to_owned(),
        state: state.to_owned(),
        paused_seconds: (state == "paused").then_some(7300),
        since_seconds: 90,
        failed_attempts,
        last_error: Some(error.to_owned()),
        dead_letters_error: None,
        suspects: 0,
        next_attempt_in_seconds: (failed_attempts > 0).then_some(12.34),
        durability: "power".to_owned(),
        when_full: "drop_oldest".to_owned(),
        queue_unavailable: None,
        recovered: 0,
        enqueued: 1000,
        delivered: 600,
        dead_lettered: counts([("rejected", 0)]),
        dead_letters: counts([("rejected", 0)]),
        dead_letter_bytes: 0,
        enqueued_rate: rate(12.0),
        delivered_rate: rate(0.0),
        dropped: counts([("queue_full", 0)]),
        queued: 300,
        bytes: 5 << 20,
        bytes_max: 512 << 20,
        oldest_age_seconds: 93_784.2,
    }
}

fn named<T>(things: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
    things.into_iter().map(|(name, thing)| (name.to_owned(), thing)).collect()
}

fn status(
    sources: BTreeMap<String, SourceStatus>,
    rules: BTreeMap<String, RuleStatus>,
    sinks: BTreeMap<String, SinkStatus>,
) -> Status {
    let mut status = Status {
        gateway: "plant-7".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 42,
        data_dir: "/var/lib/waypost".to_owned(),
        store_id: "4q7wmb9iwj8i".to_owned(),
        uptime_seconds: 90_061,
        ready: sinks.values().all(|sink| sink.queue_unavailable.is_none()),
        sources,
        rules,
        sinks,
        left_over: BTreeMap::new(),
        dead_letter_bytes_max: 64 << 20,
        certificates: Vec::new(),
        config_hash: "0123456789abcdef".to_owned(),
        reload_refused: Vec::new(),
        notes: Vec::new(),
    };
    status.notes = notes(&status);
    status
}

#[test]
fn the_status_of_a_gateway_that_works_says_so() {
    let well = SourceStatus {
        quiet_seconds: Some(2),
        received_rate: rate(12.0),
        ..source("connected", None)
    };
    let cloud = SinkStatus { queued: 0, delivered_rate: rate(12.0), ..sink("ok", 0) };
    let status = status(
        named([("local", well)]),
        named([("cloud", rule("ok", 1000, 0))]),
        named([("cloud", cloud)]),
    );
    expect![[r"
        plant-7 is ready, up 1 d 1 h (waypost 0.1.0, pid 42, store 4q7wmb9iwj8i)

        SOURCE  STATE      LAST EVENT  IN/S  RECEIVED  ADDRESS
        local   connected  just now    12    1200000   mqtt://127.0.0.1:1883

        RULE   STATE  IN/S  OUT/S  MATCHED  PASSED  FAILED  TO
        cloud  ok     12    12     1000     1000    0       cloud

        SINK   STATE  QUEUED  OLDEST  DISK           IN/S  OUT/S  DEAD  DROPPED
        cloud  ok     0       -       0% of 512 MiB  12    12     0     0

        Nothing is wrong.
    "]]
    .assert_eq(&text(&status));
}

/// Everything that can be wrong at once.
fn trouble() -> Status {
    let sources = named([
        ("local", source("disconnected", Some("127.0.0.1:1883 refuses connections"))),
        ("other", SourceStatus { dropped: 7, ..source("connected", None) }),
        ("quiet", SourceStatus { quiet_seconds: None, received: 0, ..source("connected", None) }),
    ]);
    let rules = named([
        ("cloud", rule("failing", 1000, 3)),
        ("never", rule("idle", 0, 0)),
        ("unmet", RuleStatus { passed: 0, ..rule("ok", 1000, 0) }),
    ]);
    let full = SinkStatus {
        queue_unavailable: Some("the disk is full".to_owned()),
        bytes: 500 << 20,
        dropped: counts([("queue_full", 100)]),
        ..sink("ok", 0)
    };
    let picky = SinkStatus {
        suspects: 2,
        dead_letters: counts([("poison", 2), ("rejected", 10)]),
        dead_letters_error: Some("the disk is full".to_owned()),
        ..sink("ok", 0)
    };
    let sinks = named([
        ("away", sink("retrying", 7)),
        ("cloud", sink("suspended", 3)),
        ("full", full),
        ("later", sink("paused", 0)),
        ("picky", picky),
    ]);
    let mut status = status(sources, rules, sinks);
    status.certificates = vec![
        CertificateStatus { of: "sink cloud".to_owned(), expires_in_seconds: 300_000 },
        CertificateStatus { of: "source local".to_owned(), expires_in_seconds: -4000 },
        CertificateStatus { of: "source other".to_owned(), expires_in_seconds: 20 * 86_400 },
    ];
    status.left_over = BTreeMap::from([("old".to_owned(), 37)]);
    status.notes.clear();
    status.notes = notes(&status);
    status
}

#[test]
fn the_status_of_a_gateway_in_trouble_says_what_is_wrong_and_what_to_do() {
    let text = text(&trouble());
    expect![[r#"
        plant-7 is NOT READY, up 1 d 1 h (waypost 0.1.0, pid 42, store 4q7wmb9iwj8i)

        SOURCE  STATE         LAST EVENT     IN/S  RECEIVED  ADDRESS
        local   disconnected  1 h 6 min ago  0     1200000   mqtt://127.0.0.1:1883
        other   connected     1 h 6 min ago  0     1200000   mqtt://127.0.0.1:1883
        quiet   connected     none yet       0     0         mqtt://127.0.0.1:1883

        RULE   STATE    IN/S  OUT/S  MATCHED  PASSED  FAILED  TO
        cloud  failing  12    12     1000     997     3       cloud
        never  idle     12    12     0        0       0       cloud
        unmet  ok       12    12     1000     0       0       cloud

        SINK   STATE      QUEUED  OLDEST   DISK            IN/S  OUT/S  DEAD  DROPPED
        away   retrying   300     1 d 2 h  0% of 512 MiB   12    0      0     0
        cloud  suspended  300     1 d 2 h  0% of 512 MiB   12    0      0     0
        full   no room    300     1 d 2 h  97% of 512 MiB  12    0      0     100
        later  paused     300     1 d 2 h  0% of 512 MiB   12    0      0     0
        picky  ok         300     1 d 2 h  0% of 512 MiB   12    0      12    0

        WHAT IS WRONG
        * source local: disconnected for 1 h 6 min: 127.0.0.1:1883 refuses connections
          -> where exactly: waypost probe local
        * rule cloud: failed for 3 of 1000 events, the last time with: the payload is
          not JSON at byte 0: "x"
          -> waypost rule show cloud
        * sink away: https://api.example.com/hook: status 503 (Service Unavailable); 7
          attempts in 1 min 30 s, next attempt in 12.3 s; 300 records wait
          -> where exactly: waypost probe away
        * sink cloud: https://api.example.com/hook: status 401 (Unauthorized): check the
          credentials; suspended for 1 min 30 s, everything is kept, next attempt in
          12.3 s; 300 records wait
          -> it goes on by itself once that is mended; at once with:
             waypost sink retry-now cloud
        * sink full: its queue takes no records: the disk is full
          -> make room on the disk of /var/lib/waypost; it goes on by itself
        * sink full: its queue has 97 % of its 512 MiB; then the oldest records are
          dropped
        * sink full: 100 records lost since the start, although acknowledged: the queue
          was full (when_full = "drop_oldest")
        * sink later: paused by hand for 2 h 1 min; 300 records wait
          -> waypost sink resume later
        * sink picky: dead letters cannot be written, their records stay: the disk is
          full
        * sink picky: 2 set aside: failing while others are delivered
          -> those that go on failing become dead letters
        * sink picky: 12 dead letters (2 poison, 10 rejected)
          -> what the service answered: waypost dead-letter list --sink picky
        * queue old: 37 records and no such sink in the config
          -> give it a sink again, or: waypost queue drop old --older-than 0s
        * sink cloud: its certificate expires in 3 d 11 h
          -> renew the file: it is read again by itself
        * source local: its certificate has expired 1 h 6 min ago
          -> renew the file: it is read again by itself

        GOOD TO KNOW
        * source other: 7 messages of QoS 0 dropped: more came than could be stored
          -> have what matters published with QoS 1
        * source other: nothing has come for 1 h 6 min
          -> it subscribes to plant/#
        * source quiet: nothing has come since the start 1 d 1 h ago
          -> it subscribes to plant/#
        * rule never: it wants nothing of what came (2400000 events); its topics:
          plant/#
          -> the topics of what comes: waypost tail
        * rule unmet: its condition never held, with 1000 events from its topics
          -> waypost tail --rule unmet
    "#]]
    .assert_eq(&text);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?} columns");
}

#[test]
fn a_suggested_command_stands_on_one_line_so_that_it_can_be_copied() {
    let given = Given::typed(&["waypost", "status", "--config", "/a/long/way/to/a/gateway.toml"]);
    let mut status = trouble();
    let mut commands = Vec::new();
    for note in &mut status.notes {
        let advice = note.advice.take().map(|advice| given.in_text(&advice));
        let command = advice.as_deref().and_then(|advice| advice.split('`').nth(1));
        commands.extend(command.map(str::to_owned));
        note.advice = advice;
    }
    let text = text(&status);
    assert_eq!(commands.len(), 9, "{commands:?}");
    for command in commands {
        let is_whole = |line: &str| line.ends_with(&command);
        assert!(command.ends_with(" --config /a/long/way/to/a/gateway.toml"), "{command}");
        assert!(text.lines().any(is_whole), "{command:?} is not on one line:\n{text}");
    }
}
