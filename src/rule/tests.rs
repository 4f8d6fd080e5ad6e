use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::program::{Columns, Input, Program};
use super::subscriptions::without_covered;
use super::value::{Map, Value};
use super::{Narrowed, Router, Rule, Selection};
use crate::clock::UnixMillis;
use crate::event::{Event, EventKind, Message, Occurrence, Qos};
use crate::name::{RuleName, SinkName, SourceName};
use crate::topic::{Topic, TopicFilter};

fn rule(sources: &[&str], topics: &[&str], sinks: &[&str]) -> Rule {
    Rule {
        sources: sources.iter().map(|name| SourceName::new(name).unwrap()).collect(),
        events: vec![EventKind::MessagePublish],
        topics: topics.iter().map(|filter| TopicFilter::new(filter).unwrap()).collect(),
        narrowed: Narrowed::Messages,
        program: None,
        sinks: sinks.iter().map(|name| SinkName::new(name).unwrap()).collect(),
    }
}

/// The router of some rules over the sources `east` and `west`.
fn router(rules: &[(&str, Rule)]) -> Router {
    let sources = ["east", "west"].map(|name| SourceName::new(name).unwrap());
    let rules: BTreeMap<_, _> =
        rules.iter().map(|(name, rule)| (RuleName::new(name).unwrap(), rule.clone())).collect();
    Router::new("plant-7", sources.iter(), &rules)
}

fn event(source: &str, topic: &str) -> Event {
    Event::published(
        SourceName::new(source).unwrap(),
        UnixMillis(0),
        Message {
            id: [0; 16],
            topic: Topic::new(topic).unwrap(),
            payload: b"{}".as_slice().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            client_id: None,
            username: None,
            peer: None,
            properties: None,
        },
    )
}

fn routed(router: &Router, source: &str, topic: &str) -> Vec<String> {
    let event = event(source, topic);
    let matches = router.route(&event);
    matches.map(|found| format!("{}#{}: {:?}", found.rule, found.index, found.sinks)).collect()
}

#[track_caller]
fn filters(texts: &[&str]) -> Vec<TopicFilter> {
    texts.iter().map(|text| TopicFilter::new(text).unwrap()).collect()
}

#[test]
fn an_event_goes_once_to_each_sink_of_each_rule_that_wants_it() {
    let router = router(&[
        ("all", rule(&[], &["#"], &["cloud", "local", "cloud"])),
        ("plant", rule(&[], &["plant/+", "plant/#", "plant/1"], &["cloud"])),
    ]);
    let names: Vec<_> = router.rules().map(RuleName::as_str).collect();
    assert_eq!(names, ["all", "plant"]);
    let expected = [r#"all#0: ["cloud", "local"]"#, r#"plant#1: ["cloud"]"#];
    assert_eq!(routed(&router, "east", "plant/1"), expected);
    assert_eq!(routed(&router, "east", "office"), expected[..1]);
}

#[test]
fn a_rule_with_sources_wants_events_of_these_only() {
    let router =
        router(&[("any", rule(&[], &["t"], &["a"])), ("east", rule(&["east"], &["t"], &["b"]))]);
    assert_eq!(routed(&router, "east", "t"), [r#"any#0: ["a"]"#, r#"east#1: ["b"]"#]);
    assert_eq!(routed(&router, "west", "t"), [r#"any#0: ["a"]"#]);
    assert_eq!(routed(&router, "north", "t"), [""; 0]);
}

fn sql(sql: &str, sinks: &[&str]) -> Rule {
    let program = Program::new(sql).unwrap();
    let topics: Vec<_> = program.topics().iter().map(TopicFilter::as_str).collect();
    let rule = rule(&[], &topics, sinks);
    Rule { program: Some(Arc::new(program.named(&RuleName::new("r").unwrap()))), ..rule }
}

#[test]
fn a_rule_makes_of_an_event_what_its_sql_says() {
    let router = router(&[
        ("a", sql("SELECT * FROM \"t/#\" WHERE qos = 1", &["a"])),
        (
            "b",
            sql("SELECT clientid, payload.t as t, metadata.rule_id as rule FROM \"t/#\"", &["a"]),
        ),
        ("c", sql("FOREACH payload.l FROM \"t/#\" WHERE qos = 0", &["a"])),
        ("d", sql("FOREACH payload.l DO item + 1 as x FROM \"t/#\"", &["a"])),
        ("e", sql("SELECT payload.t.u - 1 as x FROM \"t/#\"", &["a"])),
        ("f", sql("SELECT topic FROM \"u\"", &["a"])),
        ("g", sql("FOREACH payload.none DO item FROM \"t/#\"", &["a"])),
    ]);
    let mut event = event("east", "t/1");
    event.message_mut().payload = br#"{"t":1.5,"l":[1,2]}"#.as_slice().into();
    let columns = router.columns(&event);
    let input = Input::new(&columns);
    let made: Vec<_> = router
        .route(&event)
        .map(|found| {
            format!("{}: {:?}", found.rule, found.select(&input).map_err(|e| e.to_string()))
        })
        .collect();
    assert_eq!(
        made,
        [
            "a: Ok(Event)",
            r#"b: Ok(Outputs([b"{\"clientid\":\"undefined\",\"rule\":\"r\",\"t\":1.5}"]))"#,
            "c: Ok(Nothing)",
            r#"d: Ok(Outputs([b"{\"x\":2}", b"{\"x\":3}"]))"#,
            r#"e: Err("`-` needs numbers, and one side is undefined")"#,
            "g: Ok(Nothing)",
        ]
    );
}

#[test]
fn topics_of_the_broker_itself_are_wanted_only_when_named() {
    let router = router(&[
        ("all", rule(&[], &["#", "+/uptime"], &["a"])),
        ("system", rule(&[], &["$SYS/#"], &["a"])),
    ]);
    assert_eq!(routed(&router, "east", "$SYS/uptime"), [r#"system#1: ["a"]"#]);
}

#[test]
fn a_source_subscribes_to_what_its_rules_want_and_nothing_twice() {
    let router = router(&[
        ("one", rule(&[], &["b/+", "a", "$share/g/b/1"], &["a"])),
        ("two", rule(&["east"], &["b/1", "a", "c/#", "c", "c/+/d"], &["a"])),
    ]);
    let of = |source: &str| router.subscriptions(&SourceName::new(source).unwrap());
    assert_eq!(of("east"), filters(&["$share/g/b/1", "a", "b/+", "c/#"]));
    assert_eq!(of("west"), filters(&["$share/g/b/1", "a", "b/+"]));
    assert_eq!(of("north"), []);
}

#[test]
fn a_wildcard_does_not_cover_a_topic_that_starts_with_a_dollar_sign() {
    let all = filters(&["#", "+/#", "$SYS/#", "$SYS/uptime", "$exclusive/a", "$share/g/a", "a"]);
    let expected = filters(&["#", "$SYS/#", "$exclusive/a", "$share/g/a"]);
    assert_eq!(without_covered(all.iter()), expected);
}

proptest! {
    #[test]
    fn leaving_out_covered_filters_loses_no_topic(
        texts in prop::collection::vec("[+a$](/[+ab]){0,3}(/#)?|#", 1..6),
        topic in "[ab$](/[ab]){0,3}",
    ) {
        let all: Vec<_> = texts.iter().filter_map(|text| TopicFilter::new(text).ok()).collect();
        let kept = without_covered(all.iter());
        let topic = Topic::new(&topic).unwrap();
        let wanted = |filters: &[TopicFilter]| filters.iter().any(|filter| filter.matches(&topic));
        prop_assert_eq!(wanted(&all), wanted(&kept), "{:?} became {:?}", all, kept);
    }
}

fn occurrence(kind: EventKind, columns: &[(&str, &str)]) -> Event {
    let occurrence = Occurrence::new(kind);
    let occurrence =
        columns.iter().fold(occurrence, |occurrence, (name, value)| occurrence.with(name, *value));
    Event::of(SourceName::new("east").unwrap(), UnixMillis(0), occurrence)
}

fn wants(rule: &Rule, event: &Event) -> bool {
    router(&[("a", rule.clone())]).route(event).next().is_some()
}

#[test]
fn topics_filter_events_of_messages_and_in_emqx_4_those_of_subscriptions_and_never_those_of_clients()
 {
    let message = EventKind::MessageDelivered;
    let subscription = EventKind::SessionSubscribed;
    let client = EventKind::ClientConnected;
    let status = EventKind::GatewayStatus;
    for (narrowed, kind, topic, expected) in [
        (Narrowed::Messages, message, Some("t/1"), true),
        (Narrowed::Messages, message, Some("u"), false),
        (Narrowed::Messages, message, None, false),
        (Narrowed::Messages, EventKind::MessagePublish, Some("u"), false),
        (Narrowed::Messages, subscription, Some("u/#"), true),
        (Narrowed::MessagesAndSubscriptions, subscription, Some("u/#"), false),
        (Narrowed::MessagesAndSubscriptions, subscription, Some("t/+/#"), true),
        (Narrowed::MessagesAndSubscriptions, subscription, Some("$share/g/t/1"), true),
        (Narrowed::MessagesAndSubscriptions, client, None, true),
        (Narrowed::Published, message, Some("u"), true),
        (Narrowed::Published, EventKind::MessagePublish, Some("u"), false),
        (Narrowed::Messages, status, None, true),
    ] {
        let rule =
            Rule { narrowed, events: EventKind::ALL.to_vec(), ..rule(&[], &["t/#"], &["cloud"]) };
        let columns: Vec<_> = topic.map(|topic| ("topic", topic)).into_iter().collect();
        let event = occurrence(kind, &columns);
        assert_eq!(wants(&rule, &event), expected, "{narrowed:?} {kind:?} {topic:?}");
        let others = Rule { events: vec![EventKind::ClientPing], ..rule };
        assert!(!wants(&others, &event), "{kind:?}");
    }
}

#[test]
fn events_of_the_gateway_reach_rules_of_every_source_and_others_only_their_own() {
    let of_west = Rule { events: EventKind::ALL.to_vec(), ..rule(&["west"], &["#"], &["cloud"]) };
    assert!(wants(&of_west, &occurrence(EventKind::GatewayStatus, &[])));
    assert!(!wants(&of_west, &occurrence(EventKind::ClientConnected, &[("clientid", "c")])));
}

#[test]
fn a_source_is_told_the_kinds_that_its_rules_want() {
    let [one, other] = [EventKind::ClientConnected, EventKind::MessageDropped];
    let router = router(&[
        ("a", Rule { events: vec![one], ..rule(&["east"], &["#"], &["cloud"]) }),
        ("b", Rule { events: vec![other], ..rule(&[], &["#"], &["cloud"]) }),
    ]);
    let kinds = |source| router.kinds(&SourceName::new(source).unwrap());
    assert_eq!((kinds("east"), kinds("west")), (vec![other, one], vec![other]));
    assert_eq!(router.subscriptions(&SourceName::new("east").unwrap()), []);
}

#[test]
fn both_spellings_and_wildcards_of_from_select_events_with_their_columns() {
    for (from, expected) in [
        ("$events/client_connected", 1),
        ("$events/client/connected", 1),
        ("$events/client_check_acl_complete", 1),
        ("$events/client/+", 7),
        ("$events/#", 23),
        ("#", 1),
    ] {
        let program = Program::new(&format!("SELECT clientid FROM \"{from}\"")).unwrap();
        assert_eq!(super::events::kinds_of(program.topics()).len(), expected, "{from}");
    }
    let program =
        Program::new("SELECT keepalive, mountpoint FROM \"$events/client_connected\"").unwrap();
    let event = occurrence(EventKind::ClientConnected, &[("clientid", "c")]);
    let columns = super::EventColumns::new(&event, "plant-7");
    let super::program::Outcome::Outputs(outputs) = program.apply(&Input::new(&columns)).unwrap()
    else {
        panic!("nothing is put out");
    };
    assert_eq!(
        Value::map(outputs[0].clone()).to_json(),
        br#"{"keepalive":"undefined","mountpoint":"undefined"}"#
    );
}

/// Columns that count how often they are read.
struct Counted<'event>(super::EventColumns<'event>, std::cell::Cell<usize>);

impl Columns for Counted<'_> {
    fn column(&self, name: &[u8]) -> Option<Value> {
        self.1.set(self.1.get() + 1);
        self.0.column(name)
    }

    fn all(&self) -> Map {
        self.0.all()
    }
}

#[test]
fn rules_that_ask_the_same_of_an_event_are_answered_once() {
    let sql = |text: &str, name: &str| {
        let program = Program::new(text).unwrap().named(&RuleName::new(name).unwrap());
        Rule { program: Some(Arc::new(program)), ..rule(&[], &["t"], &["a"]) }
    };
    let same = "SELECT topic as x, payload.temp AS y FROM \"t\" WHERE payload.temp > 1";
    let router = router(&[
        ("a", sql(same, "a")),
        ("b", sql("select topic x, payload.temp y from t where payload.temp > 1", "b")),
        ("c", sql("SELECT random() as x FROM t", "c")),
        ("d", sql("SELECT random() as x FROM t", "d")),
        ("e", sql("SELECT *, 1 as x FROM t", "e")),
        ("f", sql("SELECT *, 1 as x FROM t", "f")),
        ("g", sql("SELECT * FROM t WHERE metadata.rule_id = 'g'", "g")),
        ("h", sql("SELECT * FROM t WHERE metadata.rule_id = 'g'", "h")),
    ]);
    let mut event = event("east", "t");
    event.message_mut().payload = br#"{"temp":2}"#.as_slice().into();
    let columns = Counted(router.columns(&event), std::cell::Cell::default());
    let input = Input::new(&columns);
    let mut answers = Vec::new();
    for (place, found) in router.route(&event).enumerate() {
        answers.push(found.select(&input).unwrap());
        if place < 2 {
            assert_eq!(columns.1.get(), 2, "the second rule reads nothing");
        }
    }
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[2], answers[3]);
    assert_ne!(answers[4], answers[5]);
    assert_eq!((&answers[6], &answers[7]), (&Selection::Event, &Selection::Nothing));
}
