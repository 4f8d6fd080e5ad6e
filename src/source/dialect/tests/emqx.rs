//! EMQX 5 and 4.

use expect_test::expect;
use serde_json::{Value, json};

use super::{Format, check, check_topics, shown, told, topics};
use crate::config::PayloadEncoding;

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
