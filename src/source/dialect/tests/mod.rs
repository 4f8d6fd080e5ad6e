//! What brokers say, word for word, and what becomes of it.

mod any;
mod emqx;
mod nanomq;
mod rmqtt;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::hook::Format;
use super::{Dialect, Said, topics};

/// An event on one line.
fn shown(said: &Said) -> String {
    let mut object = said.columns.clone();
    object.insert("event".to_owned(), said.kind.name().into());
    if let Some(payload) = &said.payload {
        object.insert("payload".to_owned(), String::from_utf8_lossy(payload).into());
    }
    Value::Object(object).to_string()
}

fn told(format: Format, body: &str) -> String {
    match format.read(body.as_bytes()) {
        Err(refused) => format!("{refused}\n"),
        Ok(told) => {
            let mut text: String = told.events.iter().map(|said| shown(said) + "\n").collect();
            if told.ignored > 0 {
                text += "ignored\n";
            }
            text
        }
    }
}

#[track_caller]
fn check(format: Format, bodies: &[&str], expected: &Expect) {
    let text: String = bodies.iter().map(|body| told(format, body)).collect();
    expected.assert_eq(&text);
}

#[track_caller]
fn check_topics(messages: &[(&str, &str)], expected: &Expect) {
    let line = |(topic, payload): &(&str, &str)| match topics::read(topic, payload.as_bytes()) {
        None => "nothing\n".to_owned(),
        Some((dialect, Ok(said))) => format!("{}: {}\n", dialect.name(), shown(&said)),
        Some((dialect, Err(refusal))) => format!("{}: {refusal}\n", dialect.name()),
    };
    expected.assert_eq(&messages.iter().map(line).collect::<String>());
}

#[test]
fn a_body_that_cannot_be_read_is_refused_with_what_would_be_right() {
    let bodies = [
        "",
        "hello",
        "[]",
        "{\"event\":\"client.connected\"",
        "7",
        "\"a secret\"",
        "{\"temperature\":21}",
        r#"{"event":"client.sleeps","clientid":"c"}"#,
        r#"{"action":"client_sleeps","clientid":"c"}"#,
        r#"{"event":"client.connected"}"#,
        r#"{"event":"client.connected","clientid":7}"#,
        r#"{"event":"client.connected","clientid":"a","clientid":"b"}"#,
        r#"{"event":"client.connected","clientid":"a","keepalive":"60"}"#,
        r#"{"event":"message.publish","clientid":"a","topic":"a/+","payload":"x"}"#,
        r#"{"event":"message.publish","clientid":"a","payload":"x"}"#,
        r#"{"event":"message.publish","clientid":"a","topic":"a","qos":3,"payload":"x"}"#,
        r#"{"event":"message.publish","clientid":"a","topic":"a","payload":{"temp":1}}"#,
        r#"{"action":"client_connected","username":"u"}"#,
        r#"{"action":"client_subscribe","clientid":"c"}"#,
        "{\"event\":\"client.ping\",\"clientid\":\"a\"}\n{\"event\":\"client.ping\"}",
    ];
    check(
        Format::default(),
        &bodies,
        &expect![[r#"
            event 1: not the JSON of an event: there is nothing in it
            event 1: not the JSON of an event: expected value at line 1 column 1
            event 1: not the JSON of an event: there is nothing in it
            event 1: not the JSON of an event: EOF while parsing an object at line 1 column 27
            event 1: not the JSON of an event: must be an object, or an array of objects, with a text as `payload`; see line 1 column 1
            event 1: not the JSON of an event: must be an object, or an array of objects, with a text as `payload`; see line 1 column 10
            event 1: neither `event` (EMQX 5) nor `action` (EMQX 4, RMQTT, NanoMQ) says what happened; a web hook with a body template of its own cannot be read: leave the body empty
            event 1: there is no event "client.sleeps"
            event 1: there is no event "client_sleeps"
            event 1: `clientid` is missing
            event 1: `clientid` must be a text
            event 1: not the JSON of an event: a name stands in it twice at line 1 column 58
            event 1: `keepalive` must be a whole number
            event 1: `topic` must be a topic without wildcards
            event 1: `topic` is missing
            event 1: `qos` must be 0, 1 or 2
            event 1: not the JSON of an event: must be an object, or an array of objects, with a text as `payload`; see line 1 column 64
            event 1: `clientid` is missing
            event 1: `topic` is missing
            event 2: `clientid` is missing
        "#]],
    );
    let format = |dialect| Format { dialect: Some(dialect), ..Format::default() };
    check(
        format(Dialect::Emqx5),
        &[r#"{"action":"client_connected","clientid":"c"}"#],
        &expect![[r"
            event 1: has no `event`: is it of another broker than `format` says?
        "]],
    );
    check(
        format(Dialect::Emqx4),
        &[r#"{"event":"client.connected","clientid":"c"}"#],
        &expect![[r"
            event 1: has no `action`: is it of another broker than `format` says?
        "]],
    );
}

#[test]
fn one_object_an_array_and_lines_say_the_same() {
    let (one, two) = (
        r#"{"event":"client.ping","clientid":"a"}"#,
        r#"{"event":"client.ping","clientid":"undefined"}"#,
    );
    let separate = told(Format::default(), one) + &told(Format::default(), two);
    // A client may be called `undefined`, whatever else that stands for.
    assert!(separate.contains("\"clientid\":\"undefined\""), "{separate}");
    for body in [format!("[{one},{two}]"), format!("{one}\n{two}\n"), format!(" {one} {two}")] {
        assert_eq!(told(Format::default(), &body), separate, "{body}");
    }
}
