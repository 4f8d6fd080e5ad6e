//! What brokers say, word for word, and what becomes of it.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::hook::Format;
use super::{Dialect, Said, topics};
use crate::config::PayloadEncoding;

/// Bodies that the real plugins of RMQTT 0.24 sent (`tests/peers/rmqtt`).
const RMQTT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rmqtt/bodies.jsonl"));

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

#[test]
fn the_samples_of_every_event_of_emqx_5_are_read_as_they_are() {
    let vectors =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/events.dev.jsonl"));
    let mut read = 0;
    for line in vectors.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let Some(sample) = case["v5"].as_object() else { continue };
        let body = Value::Object(sample.clone()).to_string();
        let told =
            Format::default().read(body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {body}"));
        let [said] = &told.events[..] else { panic!("{told:?}") };
        assert_eq!(said.kind.name(), sample["event"]);
        for (name, value) in sample {
            match name.as_str() {
                "event" | "metadata" => {}
                "payload" => assert_eq!(said.payload.as_deref(), value.as_str().map(str::as_bytes)),
                _ if value == "undefined" => assert_eq!(said.columns.get(name), None, "{name}"),
                _ => assert_eq!(said.columns.get(name), Some(value), "{name} of {body}"),
            }
        }
        read += 1;
    }
    assert!(read > 7, "only {read} samples");
}

#[test]
fn the_samples_of_every_event_of_emqx_4_are_read_with_the_columns_of_emqx_5() {
    let vectors =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/events.dev.jsonl"));
    let mut text = String::new();
    for line in vectors.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["v4"].is_object() {
            text += &told(Format::default(), &case["v4"].to_string());
        }
    }
    expect![[r#"
        {"clientid":"pub_c","event":"message.publish","flags":{"retain":false},"node":"emqx@127.0.0.1","payload":"{ \"msg\": \"Hello Webhook\" }","publish_received_at":1694681417728,"qos":1,"topic":"t/1"}
        {"clientid":"sub_c","event":"message.acked","flags":{"retain":false},"from_clientid":"pub_c","node":"emqx@127.0.0.1","payload":"{ \"msg\": \"Hello Webhook\" }","publish_received_at":1694681417728,"qos":1,"topic":"t/1"}
        {"clientid":"emqx_c","connected_at":1694681417714,"disconnected_at":1694681417729,"event":"client.disconnected","node":"emqx@127.0.0.1","reason":"normal"}
        {"clientid":"emqx_c","event":"session.unsubscribed","node":"emqx@127.0.0.1","topic":"t/#"}
        {"clientid":"emqx_c","event":"client.connect","keepalive":30,"node":"emqx@127.0.0.1","peerhost":"127.0.0.1","proto_ver":5}
        {"clientid":"emqx_c","event":"client.unsubscribe","node":"emqx@127.0.0.1","topic":"t/#"}
    "#]].assert_eq(&text);
}

#[test]
fn what_emqx_4_is_documented_to_send_is_read_too() {
    let bodies = [
        r#"{"action":"client_connected","clientid":"C","username":"undefined","ipaddress":"10.0.0.9","keepalive":60,"proto_ver":4,"connected_at":1580000000}"#,
        r#"{"action":"client_subscribe","clientid":"C","username":"u","topic":"world","opts":{"qos":1}}"#,
        r#"{"action":"session_unsubscribe","clientid":"C","username":"u","topic":"world"}"#,
        r#"{"action":"session_terminated","clientid":"C","username":"u","reason":"normal"}"#,
        r#"{"action":"client_connack","clientid":"C","username":"undefined","ipaddress":"::1","keepalive":60,"proto_ver":5,"conn_ack":"success"}"#,
    ];
    check(
        Format::default(),
        &bodies,
        &expect![[r#"
        {"clientid":"C","connected_at":1580000000000,"event":"client.connected","keepalive":60,"peerhost":"10.0.0.9","proto_ver":4}
        {"clientid":"C","event":"client.subscribe","opts":{"qos":1},"qos":1,"topic":"world","username":"u"}
        {"clientid":"C","event":"session.unsubscribed","topic":"world","username":"u"}
        {"clientid":"C","event":"session.terminated","reason":"normal","username":"u"}
        {"clientid":"C","event":"client.connack","keepalive":60,"peerhost":"::1","proto_ver":5,"reason_code":"success"}
    "#]],
    );
}

#[test]
fn payloads_are_decoded_as_the_config_says() {
    let body = |payload: &str| {
        json!({ "action": "message_publish", "from_client_id": "c", "topic": "t", "qos": 0, "payload": payload }).to_string()
    };
    let format = |payload_encoding| Format { payload_encoding, ..Format::default() };
    let payload = |payload_encoding, text: &str| {
        let told = format(payload_encoding).read(body(text).as_bytes());
        told.map(|told| told.events[0].payload.clone().unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(payload(PayloadEncoding::Plain, "aGVsbGP").unwrap(), "aGVsbGP");
    assert_eq!(payload(PayloadEncoding::Base62, "aGVsbGP").unwrap(), "hello");
    assert_eq!(payload(PayloadEncoding::Base64, "aGVsbG8=").unwrap(), "hello");
    assert_eq!(
        payload(PayloadEncoding::Base64, "hello!").unwrap_err(),
        "event 1: `payload` must be base64"
    );
    assert_eq!(
        payload(PayloadEncoding::Base62, "a-b").unwrap_err(),
        "event 1: `payload` must be in EMQX 4's base 62, as `payload_encoding` says"
    );
}

#[test]
fn a_payload_of_nanomq_that_is_no_text_arrives_byte_by_byte() {
    // cJSON writes bytes above 0x7F as they are.
    let body = b"{\"action\":\"message_publish\",\"from_client_id\":\"c\",\"topic\":\"t\",\"qos\":1,\"payload\":\"\x01\\u0002\xff\xfe\\n\"}";
    let told = Format::default().read(body).unwrap();
    assert_eq!(told.events[0].payload.as_deref(), Some(&b"\x01\x02\xff\xfe\n"[..]));
    // Anywhere else it is no JSON.
    let body = b"{\"action\":\"client_connect\",\"clientid\":\"\xff\"}";
    assert!(Format::default().read(body).is_err());
}

#[test]
fn what_rmqtts_plugin_has_sent_is_recognised_and_read() {
    let bodies: Vec<&str> = RMQTT.lines().collect();
    check(
        Format::default(),
        &bodies,
        &expect![[r#"
            {"event":"message.publish","flags":{"dup":false,"retain":false},"payload":"{\"clean_session\":true,\"clientid\":\"watcher\",\"connected_at\":1795701808900,\"ipaddress\":\"127.0.0.1:55432\",\"keepalive\":60,\"node\":0,\"proto_ver\":4,\"session_present\":false,\"time\":\"2026-11-26 14:03:28.900\",\"username\":\"undefined\"}","publish_received_at":1795701808903,"qos":1,"topic":"$SYS/brokers/0/clients/watcher/connected"}
            {"clientid":"line/7","created_at":1795701809950,"event":"session.created","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","username":"device"}
            {"clean_start":true,"clientid":"line/7","event":"client.connack","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"reason_code":"success","username":"device"}
            {"clean_start":true,"clientid":"line/7","event":"client.connect","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"username":"device"}
            {"clean_start":true,"clientid":"line/7","connected_at":1795701809950,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"username":"device"}
            {"clientid":"line/7","event":"session.subscribed","node":"0","opts":{"nl":0,"qos":1,"rap":0,"rh":0},"peerhost":"127.0.0.1","peername":"127.0.0.1:55440","qos":1,"topic":"t/#","username":"device"}
            {"clientid":"line/7","event":"client.subscribe","node":"0","opts":{"nl":0,"qos":1,"rap":0,"rh":0},"peerhost":"127.0.0.1","peername":"127.0.0.1:55440","qos":1,"topic":"t/#","username":"device"}
            {"clientid":"line/7","event":"client.unsubscribe","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","topic":"u/#","username":"device"}
            {"clean_start":true,"clientid":"pump","event":"client.connect","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4}
            {"clean_start":true,"clientid":"pump","connected_at":1795701810949,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4}
            {"clean_start":true,"clientid":"pump","event":"client.connack","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4,"reason_code":"success"}
            {"clientid":"line/7","event":"message.acked","flags":{"dup":false,"retain":false},"from_clientid":"pump","node":"0","payload":"hello é","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","publish_received_at":1795701810958,"qos":1,"topic":"t/1","username":"device"}
            {"clientid":"pump","event":"message.publish","flags":{"dup":false,"retain":false},"payload":"hello é","peerhost":"127.0.0.1","peername":"127.0.0.1:55450","publish_received_at":1795701810958,"qos":1,"topic":"t/1"}
            {"clientid":"line/7","event":"message.delivered","flags":{"dup":false,"retain":false},"from_clientid":"pump","node":"0","payload":"hello é","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","publish_received_at":1795701810958,"qos":1,"topic":"t/1","username":"device"}
            {"clientid":"pump","disconnected_at":1795701810960,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55450","reason":"normal"}
            {"clientid":"pump","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55450","reason":"normal"}
            {"clientid":"line/7","disconnected_at":1795701811980,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            {"clientid":"line/7","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            {"clientid":"twin","event":"client.subscribe","node":"0","opts":{"qos":1},"peerhost":"127.0.0.1","peername":"127.0.0.1:36008","qos":1,"topic":"t/2"}
            {"clientid":"twin","event":"session.subscribed","node":"0","opts":{"qos":1},"peerhost":"127.0.0.1","peername":"127.0.0.1:36008","qos":1,"topic":"t/2"}
            {"clientid":"twin","disconnected_at":1795701814018,"event":"client.disconnected","node":"0","peername":"127.0.0.1:36008","reason":"takenover"}
            ignored
        "#]],
    );
    let format = Format { dialect: Some(Dialect::Rmqtt), ..Format::default() };
    for body in bodies {
        assert_eq!(told(format, body), told(Format::default(), body));
    }
}

#[test]
fn what_nanomqs_web_hook_sends_is_read() {
    let bodies = [
        r#"{"proto_ver":4,"keepalive":60,"conn_ack":"success","username":"undefined","clientid":"nanomq-1","action":"client_connack"}"#,
        r#"{"reason":"abnormal","username":"u","clientid":"nanomq-1","action":"client_disconnected"}"#,
        r#"{"reason":"normal","username":"u","clientid":"nanomq-1","action":"client_disconnected"}"#,
        r#"{"ts":1650609267000,"topic":"a/b","retain":false,"qos":1,"action":"message_publish","from_username":"undefined","from_client_id":null,"payload":"hello"}"#,
        r#"{"ts":1650609267000,"topic":"a/b","retain":false,"qos":1,"action":"message_publish","from_username":"undefined","from_client_id":"c","payload":null}"#,
    ];
    let format = Format { dialect: Some(Dialect::NanoMq), ..Format::default() };
    check(
        format,
        &bodies,
        &expect![[r#"
        {"clientid":"nanomq-1","event":"client.connack","keepalive":60,"proto_ver":4,"reason_code":"success"}
        {"clientid":"nanomq-1","event":"client.disconnected","username":"u"}
        {"clientid":"nanomq-1","event":"client.disconnected","reason":"normal","username":"u"}
        {"event":"message.publish","flags":{"retain":false},"payload":"hello","publish_received_at":1650609267000,"qos":1,"topic":"a/b"}
        {"clientid":"c","event":"message.publish","flags":{"retain":false},"publish_received_at":1650609267000,"qos":1,"topic":"a/b"}
    "#]],
    );
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
fn the_topics_of_emqx_are_read() {
    check_topics(
        &[
            (
                "$SYS/brokers/emqx@127.0.0.1/clients/pump/7/connected",
                r#"{"username":"undefined","ts":1694681417714,"sockport":1883,"receive_maximum":32,"proto_ver":5,"proto_name":"MQTT","protocol":"mqtt","keepalive":30,"ipaddress":"10.0.0.9","expiry_interval":7200000,"connected_at":1694681417714,"conn_props":{"User-Property":{}},"clientid":"pump/7","clean_start":true,"client_attrs":{}}"#,
            ),
            (
                "$SYS/brokers/emqx@127.0.0.1/clients/pump/disconnected",
                r#"{"username":"u","ts":1694681417729,"sockport":1883,"reason":"keepalive_timeout","proto_ver":4,"proto_name":"MQTT","protocol":"mqtt","ipaddress":"10.0.0.9","disconnected_at":1694681417729,"connected_at":1694681417714,"clientid":"pump"}"#,
            ),
            (
                "$SYS/brokers/emqx@127.0.0.1/clients/pump/subscribed",
                r#"{"username":"u","ts":1694681417729,"topic":"t/#","subopts":{"qos":1,"nl":0,"rap":0,"rh":0,"is_new":true,"sub_props":{"Subscription-Identifier":7}},"protocol":"mqtt","clientid":"pump"}"#,
            ),
            (
                "$SYS/brokers/emqx@127.0.0.1/clients/pump/unsubscribed",
                r#"{"username":"u","ts":1694681417729,"topic":"t/#","protocol":"mqtt","clientid":"pump"}"#,
            ),
            (
                "$SYS/brokers/emqx@127.0.0.1/gateway/stomp/clients/s/1/connected",
                r#"{"clientid":"s/1","username":"u","ipaddress":"10.0.0.9"}"#,
            ),
            // Of another client than the topic says; no object; no event of a client.
            ("$SYS/brokers/emqx@127.0.0.1/clients/pump/connected", r#"{"clientid":"pumps"}"#),
            ("$SYS/brokers/emqx@127.0.0.1/clients/pump/connected", r#"["pump"]"#),
            ("$SYS/brokers/emqx@127.0.0.1/stats/connections/count", "7"),
            ("$SYS/brokers", "emqx@127.0.0.1"),
        ],
        &expect![[r#"
            emqx5: {"clean_start":true,"client_attrs":{},"clientid":"pump/7","conn_props":{"User-Property":{}},"connected_at":1694681417714,"event":"client.connected","expiry_interval":7200,"keepalive":30,"node":"emqx@127.0.0.1","peerhost":"10.0.0.9","proto_name":"MQTT","proto_ver":5,"receive_maximum":32}
            emqx5: {"clientid":"pump","connected_at":1694681417714,"disconnected_at":1694681417729,"event":"client.disconnected","node":"emqx@127.0.0.1","peerhost":"10.0.0.9","proto_name":"MQTT","proto_ver":4,"reason":"keepalive_timeout","username":"u"}
            emqx5: {"clientid":"pump","event":"session.subscribed","node":"emqx@127.0.0.1","opts":{"is_new":true,"nl":0,"qos":1,"rap":0,"rh":0,"sub_props":{"Subscription-Identifier":7}},"qos":1,"sub_props":{"Subscription-Identifier":7},"topic":"t/#","username":"u"}
            emqx5: {"clientid":"pump","event":"session.unsubscribed","node":"emqx@127.0.0.1","topic":"t/#","username":"u"}
            emqx5: {"clientid":"s/1","event":"client.connected","node":"emqx@127.0.0.1","peerhost":"10.0.0.9","username":"u"}
            emqx5: `clientid` must be the one in the topic
            emqx5: not the JSON of an event: must be an object, or an array of objects, with a text as `payload`; see line 1 column 0
            nothing
            nothing
        "#]],
    );
}

#[test]
fn the_topics_of_nanomq_are_read() {
    check_topics(
        &[
            // As a real one was seen to write.
            (
                "$SYS/brokers/client_status/mqttui-15e4034f",
                r#"{"status":"online", "username":"(null)", "ts":1778965423967,"proto_name":"MQTT","keepalive":60,"return_code":"0","proto_ver":4,"client_id":"mqttui-15e4034f","clean_start":1, "IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/client_status/mqttui-15e4034f",
                r#"{"status":"offline", "username":"(null)","ts":1778965419761,"reason_code":"0","client_id":"mqttui-15e4034f","IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/client_status/a/b",
                r#"{"status":"offline", "username":"u","ts":1778965419761,"reason_code":"8d","client_id":"a/b","IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/connected",
                r#"{"username":"u", "ts":1650609267000,"proto_name":"MQTT","keepalive":60,"return_code":"86","proto_ver":4,"client_id":"c","clean_start":1, "IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/disconnected",
                r#"{"username":"u","ts":1650609267000,"reason_code":"8b","client_id":"c"}"#,
            ),
            // A quote in the id, which it does not escape.
            ("$SYS/brokers/client_status/a\"b", r#"{"status":"offline","client_id":"a"b"}"#),
            ("$SYS/brokers/client_status/c", r#"{"status":"asleep","client_id":"c"}"#),
            ("$SYS/brokers/client_status/c", r#"{"status":"online","client_id":"d"}"#),
        ],
        &expect![[r#"
            nanomq: {"clean_start":true,"clientid":"mqttui-15e4034f","connected_at":1778965423967,"event":"client.connected","keepalive":60,"peerhost":"127.0.0.1","proto_name":"MQTT","proto_ver":4}
            nanomq: {"clientid":"mqttui-15e4034f","disconnected_at":1778965419761,"event":"client.disconnected","peerhost":"127.0.0.1","reason":"normal"}
            nanomq: {"clientid":"a/b","disconnected_at":1778965419761,"event":"client.disconnected","peerhost":"127.0.0.1","reason":"keepalive_timeout","username":"u"}
            nanomq: {"clean_start":true,"clientid":"c","event":"client.connack","keepalive":60,"peerhost":"127.0.0.1","proto_name":"MQTT","proto_ver":4,"reason_code":"fail","username":"u"}
            nanomq: {"clientid":"c","disconnected_at":1650609267000,"event":"client.disconnected","username":"u"}
            nanomq: not the JSON of an event: expected `,` or `}` at line 1 column 36
            nanomq: `status` must be `online` or `offline`
            nanomq: `client_id` must be the one in the topic
        "#]],
    );
}

#[test]
fn the_topics_of_rmqtt_are_read() {
    let recorded =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rmqtt/topics.txt"));
    let messages: Vec<_> = recorded.lines().map(|line| line.split_once(' ').unwrap()).collect();
    check_topics(
        &messages,
        &expect![[r#"
            rmqtt: {"clientid":"line/7","created_at":1795701809950,"event":"session.created","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","username":"device"}
            rmqtt: {"clean_start":true,"clientid":"line/7","connected_at":1795701809950,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"username":"device"}
            rmqtt: {"clientid":"line/7","event":"session.subscribed","node":"0","opts":{"nl":0,"qos":1,"rap":0,"rh":0},"peerhost":"127.0.0.1","peername":"127.0.0.1:55440","qos":1,"topic":"t/#","username":"device"}
            rmqtt: {"clean_start":true,"clientid":"pump","connected_at":1795701810949,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4}
            rmqtt: {"clientid":"pump","disconnected_at":1795701810960,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55450","reason":"normal"}
            rmqtt: {"clientid":"pump","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55450","reason":"normal"}
            rmqtt: {"clientid":"line/7","disconnected_at":1795701811980,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            rmqtt: {"clientid":"line/7","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            rmqtt: {"clientid":"twin","event":"session.subscribed","node":"0","opts":{"qos":1},"peerhost":"127.0.0.1","peername":"127.0.0.1:36008","qos":1,"topic":"t/2"}
            rmqtt: {"clientid":"twin","disconnected_at":1795701814018,"event":"client.disconnected","node":"0","peername":"127.0.0.1:36008","reason":"takenover"}
        "#]],
    );
}

#[test]
fn an_event_that_emqx_republishes_is_read_and_nothing_else_is() {
    let said = topics::republished(br#"{"event":"client.connack","clientid":"c","reason_code":"success","metadata":{"rule_id":"r"}}"#);
    assert_eq!(
        shown(&said.unwrap()),
        r#"{"clientid":"c","event":"client.connack","reason_code":"success"}"#
    );
    for wrong in ["21.5", "{}", r#"{"action":"client_connect","clientid":"c"}"#, "[]", ""] {
        assert!(topics::republished(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

/// JSON with the names that matter, and values of every kind.
fn any_object() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("event"),
        Just("action"),
        Just("clientid"),
        Just("from_client_id"),
        Just("from_clientid"),
        Just("client_id"),
        Just("topic"),
        Just("qos"),
        Just("payload"),
        Just("opts"),
        Just("status"),
        Just("ts"),
        Just("reason"),
        Just("time"),
        Just("ipaddress"),
        Just("node"),
        Just("flags"),
        Just("conn_props"),
        Just("return_code"),
        Just("payload_encoding"),
    ];
    let text = prop_oneof![
        Just("client.connected".to_owned()),
        Just("message.publish".to_owned()),
        Just("client_connected".to_owned()),
        Just("message_publish".to_owned()),
        Just("session_subscribed".to_owned()),
        Just("online".to_owned()),
        Just("undefined".to_owned()),
        Just("base64".to_owned()),
        ".{0,8}",
    ];
    let value = prop_oneof![
        text.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!({})),
        Just(json!({ "qos": 1, "sub_props": {} })),
        Just(json!([])),
    ];
    proptest::collection::vec((name, value), 0..8).prop_map(|entries| {
        let entries = entries.iter().map(|(name, value)| format!("{}:{value}", json!(name)));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
    })
}

fn any_format() -> impl Strategy<Value = Format> {
    let dialects = [
        None,
        Some(Dialect::Emqx5),
        Some(Dialect::Emqx4),
        Some(Dialect::Rmqtt),
        Some(Dialect::NanoMq),
    ];
    let encodings = [PayloadEncoding::Plain, PayloadEncoding::Base62, PayloadEncoding::Base64];
    (proptest::sample::select(dialects.to_vec()), proptest::sample::select(encodings.to_vec()))
        .prop_map(|(dialect, payload_encoding)| Format { dialect, payload_encoding })
}

/// A client that the object does not name is a wrong one.
fn names(object: &str, said: &Said) -> bool {
    let object: Value = serde_json::from_str(object).unwrap();
    let named = ["clientid", "from_client_id", "from_clientid", "client_id"];
    ["clientid", "from_clientid"].iter().all(|column| match said.columns.get(*column) {
        None => true,
        Some(id) => named.iter().any(|name| object.get(name) == Some(id)),
    })
}

proptest! {
    #[test]
    fn any_bytes_as_a_body_give_events_or_a_refusal(body: Vec<u8>, format in any_format()) {
        drop(format.read(&body));
    }

    #[test]
    fn any_object_as_a_body_gives_no_client_that_it_does_not_name(body in any_object(), format in any_format()) {
        if let Ok(told) = format.read(body.as_bytes()) {
            prop_assert_eq!(told.events.len() + told.ignored, 1);
            for said in &told.events {
                prop_assert!(names(&body, said), "{}", shown(said));
            }
        }
    }

    #[test]
    fn any_message_on_a_topic_of_a_broker_gives_no_client_that_it_does_not_name(
        topic in "\\$SYS/brokers/(connected|disconnected|client_status/[ac/]{0,3}|1/(clients|session)/[ac/]{0,3}/(connected|subscribed|created)|1/message/dropped)",
        payload in prop_oneof![any_object(), any::<String>()],
    ) {
        if let Some((_, Ok(said))) = topics::read(&topic, payload.as_bytes()) {
            prop_assert!(names(&payload, &said), "{}", shown(&said));
        }
    }
}
