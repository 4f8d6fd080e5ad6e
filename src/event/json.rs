//! The JSON of an event, in the shape of EMQX 5's default webhook body.
//!
//! One list of columns feeds both forms: bytes for the default body (the hot path) and a [`Value`] for templates.
//! What a source does not know keeps its key with the text `undefined`, as EMQX writes it, unless the
//! [`BodyFormat`] says otherwise. Binary payloads survive unless `payload_as = "text"` asks for EMQX's lossy form.

use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::{Event, PublishProperties, Record};
use crate::name::RuleName;

/// Every column that an event can have, for checking templates.
pub const COLUMNS: [&str; 16] = [
    "event",
    "id",
    "clientid",
    "username",
    "payload",
    "payload_encoding",
    "peerhost",
    "peername",
    "topic",
    "qos",
    "flags",
    "pub_props",
    "publish_received_at",
    "timestamp",
    "node",
    "metadata",
];

/// How the payload stands in a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadAs {
    /// Text when it is UTF-8, otherwise base64 with `"payload_encoding": "base64"` beside it.
    #[default]
    Auto,
    /// Always text; each run of bytes that are not UTF-8 becomes U+FFFD, as EMQX does it.
    Text,
    /// The payload's own JSON where it is JSON, otherwise as [`PayloadAs::Auto`].
    Json,
    /// Always base64 with `"payload_encoding": "base64"` beside it.
    Base64,
}

/// How a column stands in a body when the source does not know its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UndefinedAs {
    /// The text `undefined`, as EMQX 5 writes it.
    #[default]
    Undefined,
    /// JSON null.
    Null,
    /// No key at all.
    Absent,
}

/// What makes a body out of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFormat {
    /// Form of the payload.
    pub payload_as: PayloadAs,
    /// Form of unknown columns.
    pub undefined_as: UndefinedAs,
    /// The `node` column: the gateway's name.
    pub node: Arc<str>,
}

/// One value of an event, borrowed from it.
enum Column<'event> {
    Undefined,
    Text(&'event str),
    OwnedText(String),
    Id(&'event [u8; 16]),
    Integer(u64),
    Flags(&'event Event),
    Properties(Option<&'event PublishProperties>),
    Metadata(&'event RuleName),
    /// Bytes that are valid JSON as they stand.
    RawJson(&'event [u8]),
}

impl BodyFormat {
    /// Writes the default body of `record`: one JSON object.
    ///
    /// With a `record_id` the object starts with that key: an element of a batch carries its own id, since the
    /// headers of the request speak of the batch.
    ///
    /// The output of a rule is its own body, whatever else the format says: what is in it was chosen by the rule.
    pub fn write_object(&self, record: &Record, record_id: Option<&str>, body: &mut Vec<u8>) {
        if let Some(output) = &record.output {
            write_output(output, record_id, body);
            return;
        }
        body.push(b'{');
        let mut first = true;
        if let Some(record_id) = record_id {
            write_key("record_id", &mut first, body);
            write_json(record_id, body);
        }
        self.columns(record, &mut |key, column| {
            let Some(column) = self.shown(column) else { return };
            write_key(key, &mut first, body);
            // No `Value` where nothing unusual is in it: this runs for every record of every sink.
            match column {
                Column::Undefined => {}
                Column::Text(text) => write_json(text, body),
                Column::OwnedText(text) => write_json(&text, body),
                Column::Id(id) => write_id(id, body),
                Column::Integer(number) => write_json(&number, body),
                Column::Flags(event) => write_flags(event, body),
                Column::Properties(None) => body.extend_from_slice(b"{\"User-Property\":{}}"),
                Column::Properties(some) => write_json(&publish_properties(some), body),
                Column::Metadata(rule) => {
                    body.extend_from_slice(b"{\"rule_id\":");
                    write_json(rule.as_str(), body);
                    body.push(b'}');
                }
                // A line break in JSON is white space, and would end the line of an NDJSON batch.
                Column::RawJson(json) => body.extend(
                    json.iter().map(|byte| if b"\r\n".contains(byte) { b' ' } else { *byte }),
                ),
            }
        });
        body.push(b'}');
    }

    /// The columns of `record` as templates see them: those of the default body, so that `${.}` is that body.
    #[must_use]
    pub fn template_data(&self, record: &Record) -> Value {
        if let Some(output) = &record.output {
            return serde_json::from_slice(output).unwrap_or_default();
        }
        let mut object = Map::new();
        self.columns(record, &mut |key, column| {
            let Some(column) = self.shown(column) else { return };
            let value = match column {
                Column::Undefined => return,
                Column::Text(text) => Value::from(text),
                Column::OwnedText(text) => Value::from(text),
                Column::Id(id) => Value::from(id_text(id)),
                Column::Integer(number) => Value::from(number),
                Column::Flags(event) => {
                    serde_json::json!({ "dup": event.dup, "retain": event.retain })
                }
                Column::Properties(properties) => publish_properties(properties),
                Column::Metadata(rule) => serde_json::json!({ "rule_id": rule.as_str() }),
                Column::RawJson(json) => {
                    serde_json::from_slice(json).unwrap_or_else(|_| Value::from(lossy_text(json)))
                }
            };
            object.insert(key.to_owned(), value);
        });
        Value::Object(object)
    }

    /// A column as `undefined_as` has it; `None` when it has no key.
    fn shown<'event>(&self, column: Column<'event>) -> Option<Column<'event>> {
        match (column, self.undefined_as) {
            (Column::Undefined, UndefinedAs::Undefined) => Some(Column::Text("undefined")),
            (Column::Undefined, UndefinedAs::Null) => Some(Column::RawJson(b"null")),
            (Column::Undefined, UndefinedAs::Absent) => None,
            (known, _) => Some(known),
        }
    }

    /// Visits every column in the order of the body.
    fn columns<'event>(
        &'event self,
        record: &'event Record,
        visit: &mut impl FnMut(&'static str, Column<'event>),
    ) {
        let event = &*record.event;
        let stamp = Column::Integer;
        visit("event", Column::Text(event.kind().name()));
        visit("id", Column::Id(&event.id));
        visit("clientid", text_or_undefined(event.client_id.as_deref()));
        visit("username", text_or_undefined(event.username.as_deref()));
        self.visit_payload(&event.payload, &mut *visit);
        let peer = event.peer;
        visit(
            "peerhost",
            peer.map_or(Column::Undefined, |p| Column::OwnedText(p.ip().to_string())),
        );
        visit("peername", peer.map_or(Column::Undefined, |p| Column::OwnedText(p.to_string())));
        visit("topic", Column::Text(event.topic.as_str()));
        visit("qos", Column::Integer(event.qos.level().into()));
        visit("flags", Column::Flags(event));
        visit("pub_props", Column::Properties(event.properties.as_deref()));
        visit("publish_received_at", stamp(event.received_at.0));
        visit("timestamp", stamp(event.received_at.0));
        visit("node", Column::Text(&self.node));
        visit("metadata", Column::Metadata(&record.rule));
    }

    fn visit_payload<'event>(
        &self,
        payload: &'event [u8],
        visit: &mut impl FnMut(&'static str, Column<'event>),
    ) {
        let text = match self.payload_as {
            PayloadAs::Base64 => None,
            PayloadAs::Text => {
                visit("payload", Column::OwnedText(lossy_text(payload)));
                return;
            }
            PayloadAs::Json if is_json(payload) => {
                visit("payload", Column::RawJson(payload));
                return;
            }
            PayloadAs::Json | PayloadAs::Auto => std::str::from_utf8(payload).ok(),
        };
        if let Some(text) = text {
            visit("payload", Column::Text(text));
        } else {
            visit("payload", Column::OwnedText(BASE64.encode(payload)));
            visit("payload_encoding", Column::Text("base64"));
        }
    }
}

/// Writes the output of a rule, with the record's id in front of its keys. A key of that name in the output gives way:
/// receivers dedupe on it.
fn write_output(output: &[u8], record_id: Option<&str>, body: &mut Vec<u8>) {
    const KEY: &str = "record_id";
    let Some(record_id) = record_id else {
        body.extend_from_slice(output);
        return;
    };
    body.push(b'{');
    let mut first = true;
    write_key(KEY, &mut first, body);
    write_json(record_id, body);
    let names_it = output.windows(KEY.len()).any(|window| window == KEY.as_bytes());
    let object =
        names_it.then(|| serde_json::from_slice::<Map<String, Value>>(output).ok()).flatten();
    if let Some(object) = object.filter(|object| object.contains_key(KEY)) {
        for (key, value) in object.iter().filter(|(key, _)| *key != KEY) {
            body.push(b',');
            write_json(key, body);
            body.push(b':');
            write_json(value, body);
        }
        body.push(b'}');
        return;
    }
    match output.strip_prefix(b"{") {
        Some(b"}") | None => body.push(b'}'),
        Some(rest) => {
            body.push(b',');
            body.extend_from_slice(rest);
        }
    }
}

fn text_or_undefined(text: Option<&str>) -> Column<'_> {
    text.map_or(Column::Undefined, Column::Text)
}

/// `pub_props` as EMQX shows it: spec names with dashes; `User-Property` is always there, the last of
/// several wins, and `User-Property-Pairs` keeps them all.
#[must_use]
pub fn publish_properties(properties: Option<&PublishProperties>) -> Value {
    let mut object = Map::new();
    let mut users = Map::new();
    if let Some(properties) = properties {
        let mut insert = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        };
        insert("Payload-Format-Indicator", properties.payload_format_indicator.map(Value::from));
        insert("Message-Expiry-Interval", properties.message_expiry_interval.map(Value::from));
        insert("Content-Type", properties.content_type.clone().map(Value::from));
        insert("Response-Topic", properties.response_topic.clone().map(Value::from));
        let correlation = properties.correlation_data.as_deref().map(lossy_text);
        insert("Correlation-Data", correlation.map(Value::from));
        let mut pairs = Vec::new();
        for (key, value) in &properties.user_properties {
            users.insert(key.clone(), Value::from(value.clone()));
            pairs.push(serde_json::json!({ "key": key, "value": value }));
        }
        insert("User-Property-Pairs", (!pairs.is_empty()).then_some(Value::Array(pairs)));
    }
    object.insert("User-Property".to_owned(), Value::Object(users));
    Value::Object(object)
}

fn is_json(payload: &[u8]) -> bool {
    // From a slice serde_json does not look at bytes that it skips: they may be no text at all.
    std::str::from_utf8(payload)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// EMQX's text form: each run of bytes that are not UTF-8 becomes one U+FFFD.
fn lossy_text(payload: &[u8]) -> String {
    let mut text = String::with_capacity(payload.len());
    let mut inside_bad_run = false;
    for chunk in payload.utf8_chunks() {
        inside_bad_run &= chunk.valid().is_empty();
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() && !inside_bad_run {
            text.push(char::REPLACEMENT_CHARACTER);
            inside_bad_run = true;
        }
    }
    text
}

/// A message id as it is shown: 32 hex digits.
#[must_use]
pub fn id_text(id: &[u8; 16]) -> String {
    hex_digits(id).map(char::from).collect()
}

fn hex_digits(id: &[u8; 16]) -> impl Iterator<Item = u8> {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' - 10 + nibble };
    id.iter().flat_map(move |byte| [digit(byte >> 4), digit(byte & 15)])
}

fn write_id(id: &[u8; 16], body: &mut Vec<u8>) {
    body.push(b'"');
    body.extend(hex_digits(id));
    body.push(b'"');
}

fn write_flags(event: &Event, body: &mut Vec<u8>) {
    body.extend_from_slice(b"{\"dup\":");
    write_json(&event.dup, body);
    body.extend_from_slice(b",\"retain\":");
    write_json(&event.retain, body);
    body.push(b'}');
}

fn write_key(key: &str, first: &mut bool, body: &mut Vec<u8>) {
    if !std::mem::take(first) {
        body.push(b',');
    }
    body.push(b'"');
    body.extend_from_slice(key.as_bytes());
    body.extend_from_slice(b"\":");
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, body: &mut Vec<u8>) {
    serde_json::to_writer(body.by_ref(), value).expect("texts and numbers into memory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::event::Qos;
    use crate::name::{RuleName, SourceName};
    use crate::topic::Topic;

    fn record(payload: &'static [u8]) -> Record {
        let event = Event {
            id: 0x0006_054D_C3E9_40F8_F445_0000_38A6_0002_u128.to_be_bytes(),
            source: SourceName::new("local").unwrap(),
            received_at: UnixMillis(1_694_681_417_728),
            topic: Topic::new("t/1").unwrap(),
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            dup: false,
            client_id: Some("emqx_c".into()),
            username: None,
            peer: Some("127.0.0.1:61003".parse().unwrap()),
            properties: None,
        };
        Record {
            rule: RuleName::new("my-webhook_wh_d").unwrap(),
            event: Arc::new(event),
            output: None,
            replay: None,
        }
    }

    fn format(payload_as: PayloadAs, undefined_as: UndefinedAs) -> BodyFormat {
        BodyFormat { payload_as, undefined_as, node: "emqx@127.0.0.1".into() }
    }

    #[test]
    fn numbers_of_a_json_payload_keep_every_digit() {
        let payload = br#"{"n":[123456789012345678901234567890,-1.50,1e400,18446744073709551616]}"#;
        let mut body = Vec::new();
        format(PayloadAs::Json, UndefinedAs::Absent).write_object(
            &record(payload),
            None,
            &mut body,
        );
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
    fn the_list_of_columns_has_the_keys_of_a_body_in_their_order() {
        let body = BodyFormat {
            payload_as: PayloadAs::Base64,
            ..format(PayloadAs::Auto, UndefinedAs::Null)
        };
        let mut keys = Vec::new();
        body.columns(&record(b"x"), &mut |key, _| keys.push(key));
        assert_eq!(keys, COLUMNS);
    }

    #[test]
    fn user_properties_keep_their_duplicates_beside_the_last_value() {
        let mut record = record(b"");
        let properties = PublishProperties {
            content_type: Some("text/plain".into()),
            user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
            ..PublishProperties::default()
        };
        Arc::get_mut(&mut record.event).unwrap().properties = Some(Box::new(properties));
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
            (
                r#"{"t":"record_id"}"#,
                r#"{"t":"record_id"}"#,
                r#"{"record_id":"a-1","t":"record_id"}"#,
            ),
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
}
