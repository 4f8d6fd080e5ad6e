use super::*;
use crate::clock::UnixMillis;
use crate::event::{EventKind, PublishProperties, Qos};

use crate::name::{RuleName, SourceName};
use crate::topic::Topic;

fn record(payload: &'static [u8]) -> Record {
    let event = Event::published(
        SourceName::new("local").unwrap(),
        UnixMillis(1_694_681_417_728),
        Message {
            id: 0x0006_054D_C3E9_40F8_F445_0000_38A6_0002_u128.to_be_bytes(),
            topic: Topic::new("t/1").unwrap(),
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            dup: false,
            client_id: Some("emqx_c".into()),
            username: None,
            peer: Some("127.0.0.1:61003".parse().unwrap()),
            properties: None,
        },
    );
    Record {
        rule: RuleName::new("my-webhook_wh_d").unwrap(),
        event: Arc::new(event),
        output: None,
        replay: None,
    }
}

fn format(payload_as: PayloadAs, undefined_as: UndefinedAs) -> BodyFormat {
    BodyFormat {
        events: EventFormat::Emqx5,
        payload_as,
        undefined_as,
        node: "emqx@127.0.0.1".into(),
    }
}

#[test]
fn numbers_of_a_json_payload_keep_every_digit() {
    let payload = br#"{"n":[123456789012345678901234567890,-1.50,1e400,18446744073709551616]}"#;
    let mut body = Vec::new();
    format(PayloadAs::Json, UndefinedAs::Absent).write_object(&record(payload), None, &mut body);
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains(str::from_utf8(payload).unwrap()), "{text}");
}

fn object(format: &BodyFormat, record: &Record) -> Value {
    let mut body = Vec::new();
    format.write_object(record, None, &mut body);
    serde_json::from_slice(&body)
        .unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(&body)))
}

#[test]
fn the_default_body_has_the_keys_types_and_values_of_the_emqx_sample() {
    let vectors =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/events.dev.jsonl"));
    let case = vectors.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let case = case.into_iter().find(|case| case["event"] == "message.publish").unwrap();
    let mut expected = case["v5"].clone();
    expected["metadata"]["rule_id"] = "my-webhook_wh_d".into();
    expected["peername"] = "127.0.0.1:61003".into();

    let format = format(PayloadAs::Auto, UndefinedAs::Undefined);
    let actual = object(&format, &record(b"{ \"msg\": \"Hello Webhook\" }"));

    assert_eq!(actual, expected);
}

#[test]
fn an_unknown_column_is_undefined_null_or_absent_as_configured() {
    let with = |undefined_as| object(&format(PayloadAs::Auto, undefined_as), &record(b"x"));
    assert_eq!(with(UndefinedAs::Undefined)["username"], "undefined");
    assert_eq!(with(UndefinedAs::Null).get("username"), Some(&Value::Null));
    assert_eq!(with(UndefinedAs::Absent).get("username"), None);
}

#[test]
fn templates_see_the_columns_of_the_default_body() {
    for undefined_as in [UndefinedAs::Undefined, UndefinedAs::Null, UndefinedAs::Absent] {
        let (format, record) = (format(PayloadAs::Json, undefined_as), record(b"{\"a\":1}"));
        assert_eq!(format.template_data(&record), object(&format, &record), "{undefined_as:?}");
    }
}

#[test]
fn a_payload_takes_the_configured_form_and_binary_survives_unless_text_is_asked_for() {
    let binary: &[u8] = b"\x01\x02AB\x81\x82";
    let with = |payload_as, payload| {
        let body = object(&format(payload_as, UndefinedAs::Absent), &record(payload));
        (body["payload"].clone(), body.get("payload_encoding").cloned())
    };
    let base64 = || Some(Value::from("base64"));
    assert_eq!(with(PayloadAs::Auto, b"{\"a\":1}"), ("{\"a\":1}".into(), None));
    assert_eq!(with(PayloadAs::Auto, binary), ("AQJBQoGC".into(), base64()));
    assert_eq!(with(PayloadAs::Text, binary), ("\u{1}\u{2}AB\u{fffd}".into(), None));
    assert_eq!(with(PayloadAs::Base64, b"hello"), ("aGVsbG8=".into(), base64()));
    assert_eq!(with(PayloadAs::Json, b"{\"a\":1}"), (serde_json::json!({"a": 1}), None));
    assert_eq!(with(PayloadAs::Json, b"no json"), ("no json".into(), None));
    assert_eq!(with(PayloadAs::Json, binary), ("AQJBQoGC".into(), base64()));
    assert_eq!(with(PayloadAs::Json, b"{\"a\":\"\xff\"}"), ("eyJhIjoi/yJ9".into(), base64()));
}

#[test]
fn the_default_body_of_a_message_has_the_columns_of_the_catalogue_in_their_order() {
    let body =
        BodyFormat { payload_as: PayloadAs::Base64, ..format(PayloadAs::Auto, UndefinedAs::Null) };
    let mut keys = Vec::new();
    body.columns(&record(b"x"), &mut |key, _| keys.push(key.to_owned()));
    let names = EventKind::MessagePublish.entry().template_names();
    // Which no source of messages knows.
    let expected: Vec<_> = names.filter(|name| *name != "client_attrs").collect();
    assert_eq!(keys, expected);
}

#[test]
fn user_properties_keep_their_duplicates_beside_the_last_value() {
    let mut record = record(b"");
    let properties = PublishProperties {
        content_type: Some("text/plain".into()),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
        ..PublishProperties::default()
    };
    Arc::get_mut(&mut record.event).unwrap().message_mut().properties = Some(Box::new(properties));
    let body = object(&format(PayloadAs::Auto, UndefinedAs::Absent), &record);
    let expected = serde_json::json!({
        "Content-Type": "text/plain",
        "User-Property": { "k": "2" },
        "User-Property-Pairs": [{ "key": "k", "value": "1" }, { "key": "k", "value": "2" }],
    });
    assert_eq!(body["pub_props"], expected);
}

#[test]
fn the_output_of_a_rule_is_the_body_and_gets_the_record_id_in_a_batch() {
    let format = format(PayloadAs::Auto, UndefinedAs::Undefined);
    for (output, alone, in_batch) in [
        ("{}", "{}", r#"{"record_id":"a-1"}"#),
        (r#"{"t":1}"#, r#"{"t":1}"#, r#"{"record_id":"a-1","t":1}"#),
        (
            r#"{"record_id":7,"t":"record_id"}"#,
            r#"{"record_id":7,"t":"record_id"}"#,
            r#"{"record_id":"a-1","t":"record_id"}"#,
        ),
        (r#"{"t":"record_id"}"#, r#"{"t":"record_id"}"#, r#"{"record_id":"a-1","t":"record_id"}"#),
    ] {
        let mut record = record(b"payload");
        record.output = Some(output.into());
        let written = |id| {
            let mut body = Vec::new();
            format.write_object(&record, id, &mut body);
            String::from_utf8(body).unwrap()
        };
        assert_eq!((written(None).as_str(), written(Some("a-1")).as_str()), (alone, in_batch));
        let data: Value = serde_json::from_str(output).unwrap();
        assert_eq!(format.template_data(&record), data);
    }
}

#[test]
fn an_element_of_a_batch_starts_with_its_record_id() {
    let mut body = Vec::new();
    let format = format(PayloadAs::Auto, UndefinedAs::Undefined);
    format.write_object(&record(b"x"), Some("a1b2-cloud-7"), &mut body);
    assert!(body.starts_with(b"{\"record_id\":\"a1b2-cloud-7\",\"event\":"));
}

/// The vectors: what EMQX 5's webhook and EMQX 4's plugin send for each event.
fn vectors() -> Vec<Value> {
    let vectors =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/events.dev.jsonl"));
    vectors.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn occurrence(kind: EventKind, columns: &Map<String, Value>) -> Record {
    let occurrence = Occurrence::with_columns(kind, columns.clone());
    let source = SourceName::new("local").unwrap();
    let event = Event::of(source, UnixMillis(1_694_681_417_717), occurrence);
    Record {
        rule: RuleName::new("my-webhook_wh_d").unwrap(),
        event: event.into(),
        output: None,
        replay: None,
    }
}

#[test]
fn every_event_has_the_body_of_emqx_5() {
    let mut seen = 0;
    for case in vectors() {
        let Some(expected) = case["v5"].as_object() else { continue };
        let kind = EventKind::named(case["event"].as_str().unwrap()).unwrap();
        let mut known = expected.clone();
        known.retain(|_, value| value != "undefined");
        let body =
            object(&format(PayloadAs::Auto, UndefinedAs::Undefined), &occurrence(kind, &known));
        let later: Vec<_> = case["added_later"].as_object().unwrap().values().collect();
        let is_later = |name: &str| {
            later.iter().any(|names| names.as_array().unwrap().contains(&Value::from(name)))
        };
        for (name, value) in expected.iter().filter(|(name, _)| *name != "metadata") {
            assert_eq!(&body[name], value, "{kind:?} {name}");
        }
        for name in body.as_object().unwrap().keys() {
            assert!(expected.contains_key(name) || is_later(name), "{kind:?} {name}");
        }
        let mut topics = kind.entry().topics();
        for spelling in ["new", "legacy"] {
            if let Some(topic) = case["topics"][spelling].as_str() {
                assert!(topics.any(|known| known == topic), "{kind:?} {topic}");
            }
        }
        seen += 1;
    }
    assert!(seen > 8, "only {seen} vectors");
}

#[test]
fn every_event_of_the_plugin_has_the_body_of_emqx_4() {
    let mut seen = 0;
    for case in vectors() {
        let Some(expected) = case["v4"].as_object() else { continue };
        let kind = EventKind::named(case["event"].as_str().unwrap()).unwrap();
        assert!(!kind.entry().version4.ours, "{kind:?}");
        let sample: Value = serde_json::from_str(&kind.entry().sample()).unwrap();
        let mut known = sample.as_object().unwrap().clone();
        known.extend(case["v5"].as_object().cloned().unwrap_or_default());
        // Undefined in the vectors.
        known.remove("username");
        known.remove("from_username");
        let events = EventFormat::Emqx4(Profile::Code);
        let undefined_as = events.undefined_as();
        let body = object(
            &BodyFormat { events, ..format(PayloadAs::Auto, undefined_as) },
            &occurrence(kind, &known),
        );
        let body = body.as_object().unwrap();
        assert_eq!(
            body.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{kind:?}"
        );
        assert_eq!(body["action"], expected["action"]);
        for (name, value) in expected {
            let same_type = std::mem::discriminant(value) == std::mem::discriminant(&body[name]);
            assert!(same_type, "{kind:?} {name}: {value} and {}", body[name]);
        }
        seen += 1;
    }
    assert!(seen > 4, "only {seen} vectors");
}

#[test]
fn the_documented_profile_of_emqx_4_has_the_keys_and_units_of_its_tables() {
    // The tables of the plugin's documentation, 4.0.
    let publish = "action from_client_id from_username topic qos retain payload ts";
    let delivered =
        "action clientid username from_client_id from_username topic qos retain payload ts";
    let acked = "action clientid from_client_id from_username topic qos retain payload ts";
    let connect = "action clientid username ipaddress keepalive proto_ver";
    for (kind, action, keys) in [
        (EventKind::ClientConnect, "client_connect", connect),
        (EventKind::ClientConnack, "client_connack", &format!("{connect} conn_ack")),
        (EventKind::ClientConnected, "client_connected", &format!("{connect} connected_at")),
        (EventKind::ClientDisconnected, "client_disconnected", "action clientid username reason"),
        (EventKind::ClientSubscribe, "client_subscribe", "action clientid username topic opts"),
        (EventKind::ClientUnsubscribe, "client_unsubscribe", "action clientid username topic"),
        (EventKind::SessionSubscribed, "session_subscribed", "action clientid username topic opts"),
        (EventKind::SessionUnsubscribed, "session_unsubscribe", "action clientid username topic"),
        (EventKind::SessionTerminated, "session_terminated", "action clientid username reason"),
        (EventKind::MessagePublish, "message_publish", publish),
        (EventKind::MessageDelivered, "message_delivered", delivered),
        (EventKind::MessageAcked, "message_acked", acked),
    ] {
        let sample: Value = serde_json::from_str(&kind.entry().sample()).unwrap();
        let mut known = sample.as_object().unwrap().clone();
        known.remove("username");
        let events = EventFormat::Emqx4(Profile::Docs);
        let format = BodyFormat { events, ..format(PayloadAs::Auto, events.undefined_as()) };
        let body = object(&format, &occurrence(kind, &known));
        let mut expected: Vec<&str> = keys.split(' ').collect();
        expected.sort_unstable();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), expected, "{kind:?}");
        assert_eq!(body["action"], action);
        if expected.contains(&"username") {
            assert_eq!(body["username"], "undefined");
        }
        if expected.contains(&"connected_at") {
            assert_eq!(body["connected_at"], 1_694_681_417);
        }
    }
}

#[test]
fn a_payload_in_a_body_of_emqx_4_is_encoded_as_configured_and_never_lost() {
    let body = |payload_as, payload| {
        let events = EventFormat::Emqx4(Profile::Code);
        let format = BodyFormat { events, ..format(payload_as, UndefinedAs::Null) };
        let body = object(&format, &record(payload));
        (body["payload"].clone(), body.get("payload_encoding").cloned())
    };
    assert_eq!(body(PayloadAs::Auto, b"hello"), ("hello".into(), None));
    assert_eq!(body(PayloadAs::Auto, b"\xff"), ("/w==".into(), Some("base64".into())));
    assert_eq!(body(PayloadAs::Base64, b"hello"), ("aGVsbG8=".into(), None));
    assert_eq!(body(PayloadAs::Base62, b"hello"), ("aGVsbGP".into(), None));
}

#[test]
fn an_event_that_emqx_4_does_not_have_says_whose_its_body_is() {
    let ours = EventKind::ALL.into_iter().filter(|kind| kind.entry().version4.ours);
    for kind in ours {
        let sample: Value = serde_json::from_str(&kind.entry().sample()).unwrap();
        let events = EventFormat::Emqx4(Profile::Code);
        let format = BodyFormat { events, ..format(PayloadAs::Auto, UndefinedAs::Absent) };
        let body = object(&format, &occurrence(kind, sample.as_object().unwrap()));
        assert_eq!(body["action"], kind.name().replace('.', "_"));
        assert_eq!(body["extension"], "waypost", "{kind:?}");
        // Every key has a column behind it.
        let keys =
            kind.entry().version4.fields.iter().filter(|field| body.get(field.key).is_none());
        assert_eq!(keys.map(|field| field.key).collect::<Vec<_>>(), Vec::<&str>::new(), "{kind:?}");
    }
}

#[test]
fn what_a_source_adds_to_the_columns_stands_behind_them() {
    let columns =
        serde_json::json!({ "clientid": "c", "new\"key": [1], "node": "emqx@1", "timestamp": 5 });
    let record = occurrence(EventKind::ClientPing, columns.as_object().unwrap());
    let body = object(&format(PayloadAs::Auto, UndefinedAs::Absent), &record);
    let expected = serde_json::json!({
        "event": "client.ping", "clientid": "c", "new\"key": [1], "timestamp": 5, "node": "emqx@1",
        "metadata": { "rule_id": "my-webhook_wh_d" },
    });
    assert_eq!(body, expected);
}
