//! Whatever comes gives an event or a refusal, and no client that it does not name.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Dialect, Format, Said, shown, topics};
use crate::config::PayloadEncoding;

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
