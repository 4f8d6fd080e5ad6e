//! What rules cost per event, beside what the machine does for much less work: ratios of one run, in one process.
//!
//! `cargo bench --bench rules`. Nothing is asserted: a missed target is printed as missed, and `--strict` makes it the
//! exit code. `benches/README.md` says what was last measured.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has failed; figures are printed with three digits"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Deserialize;
use waypost::clock::UnixMillis;
use waypost::event::{Event, EventKind, Message, Qos};
use waypost::name::{RuleName, SinkName, SourceName};
use waypost::rule::program::{Input, Program};
use waypost::rule::{Narrowed, Router, Rule, Selection};
use waypost::topic::{Topic, TopicFilter};

/// Measures what rules cost and prints each figure beside its reference and its target.
#[derive(Debug, Parser)]
struct Arguments {
    /// Exit code 1 when a target is missed.
    #[arg(long)]
    strict: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rounds of each job, taken in turns with its reference: the quietest of each counts.
const ROUNDS: usize = 60;
/// Events of a round.
const EVENTS: u32 = 20_000;

const HOT: &str =
    "SELECT payload.temp AS temp, payload.pump AS pump FROM \"plant/#\" WHERE payload.temp > 30";

/// The fields of [`HOT`], as a program made for them would read them.
#[derive(Debug, Deserialize)]
struct Borrowed<'text> {
    temp: f64,
    #[serde(borrow)]
    pump: &'text str,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let event = event();
    let mut report = Report::default();

    let short = router([("short", rule("plant/#", None))]);
    let all = router([("all", rule("plant/#", Some("SELECT * FROM \"plant/#\"")))]);
    let [short_ns, all_ns] = quietest([&|| route(&short, &event), &|| route(&all, &event)]);
    println!("short form                           {short_ns:8.0} ns/event");
    println!("SELECT * FROM \"plant/#\"             {all_ns:8.0} ns/event");
    report.below("SELECT * costs more than the short form by", all_ns - short_ns, 1_000.0, "ns");

    let hot = router([("hot", rule("plant/#", Some(HOT)))]);
    let parse = || {
        let Borrowed { temp, pump } =
            serde_json::from_slice(black_box(event.payload().unwrap())).unwrap();
        black_box((temp, pump));
    };
    let [parse_ns, hot_ns] = quietest([&parse, &|| route(&hot, &event)]);
    println!("serde_json into a borrowed struct    {parse_ns:8.0} ns/event");
    println!("WHERE payload.temp > 30, two fields  {hot_ns:8.0} ns/event");
    report.below("the rule takes, in parses by serde_json", hot_ns / parse_ns, 3.0, "");

    let others = (0..999).map(|number| {
        let filter = format!("office/{number}/+/#");
        (format!("other-{number}"), rule(&filter, Some(&HOT.replace("plant/#", &filter))))
    });
    let hot_rule = ("hot".to_owned(), rule("plant/#", Some(HOT)));
    let thousand = router(others.chain([hot_rule]));
    let [one_ns, thousand_ns] = quietest([&|| route(&hot, &event), &|| route(&thousand, &event)]);
    println!("one rule of 1,000 matches            {thousand_ns:8.0} ns/event");
    report.below("1,000 rules take, in times of one", thousand_ns / one_ns, 2.0, "");

    let same = (0..10).map(|number| (format!("hot-{number}"), rule("plant/#", Some(HOT))));
    let ten = router(same);
    let [one_ns, ten_ns] = quietest([&|| route(&hot, &event), &|| route(&ten, &event)]);
    println!("10 rules that ask the same           {ten_ns:8.0} ns/event");
    report.below("10 rules that ask the same take, in times of one", ten_ns / one_ns, 3.0, "");

    if arguments.strict && report.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What ingest does with an event before it hands it to queues.
fn route(router: &Router, event: &Event) {
    let columns = router.columns(black_box(event));
    let input = Input::new(&columns);
    for found in router.route(event) {
        let selection = found.select(&input).unwrap();
        assert!(selection != Selection::Nothing);
        black_box(selection);
    }
}

/// Nanoseconds a call of each job.
fn quietest<const JOBS: usize>(jobs: [&dyn Fn(); JOBS]) -> [f64; JOBS] {
    let mut best = [Duration::MAX; JOBS];
    for _ in 0..ROUNDS {
        for (job, best) in jobs.iter().zip(&mut best) {
            let started = Instant::now();
            for _ in 0..EVENTS {
                job();
            }
            *best = started.elapsed().min(*best);
        }
    }
    best.map(|time| time.as_nanos() as f64 / f64::from(EVENTS))
}

#[derive(Default)]
struct Report {
    missed: bool,
}

impl Report {
    fn below(&mut self, what: &str, measured: f64, target: f64, unit: &str) {
        let met = measured < target;
        self.missed |= !met;
        let verdict = if met { "met" } else { "missed" };
        println!("  {what} {measured:.2} {unit} (target {target} {unit}): {verdict}");
    }
}

fn rule(filter: &str, sql: Option<&str>) -> Rule {
    Rule {
        sources: Vec::new(),
        events: vec![EventKind::MessagePublish],
        topics: vec![TopicFilter::new(filter).unwrap()],
        narrowed: Narrowed::Published,
        program: sql.map(|sql| Arc::new(Program::new(sql).unwrap())),
        sinks: vec![SinkName::new("cloud").unwrap()],
    }
}

fn router<Name: AsRef<str>>(rules: impl IntoIterator<Item = (Name, Rule)>) -> Router {
    let named = rules.into_iter().map(|(name, rule)| {
        let name = RuleName::new(name.as_ref()).unwrap();
        let program = rule.program.map(|program| Arc::new(Program::clone(&program).named(&name)));
        (name, Rule { program, ..rule })
    });
    let named: BTreeMap<_, _> = named.collect();
    Router::new("plant-7", [SourceName::new("local").unwrap()].iter(), &named)
}

fn event() -> Event {
    let payload = r#"{"ts":1764000000000,"pump":"pump-7","site":"north hall","status":"running","temp":31.5,"pressure":4.25,"flow":17.125,"speed":2950,"current":12.5,"alarms":[],"position":{"x":12,"y":7},"firmware":"2.4.10","maintenance":{"due":"2026-03-01","hours":812}}"#;
    assert_eq!(payload.len(), 250);
    let message = Message {
        id: [7; 16],
        topic: Topic::new("plant/7/telemetry").unwrap(),
        payload: payload.as_bytes().to_vec().into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        dup: false,
        client_id: Some("pump-7".into()),
        username: None,
        peer: None,
        properties: None,
    };
    let source = SourceName::new("local").unwrap();
    Event::published(source, UnixMillis(1_764_000_000_000), message)
}
