//! Texts and objects that bodies are made of.

use serde_json::{Map, Value};

use crate::event::PublishProperties;

/// `pub_props` as EMQX shows it: spec names with dashes; `User-Property` is always there, the last of
/// several wins, and `User-Property-Pairs` keeps them all.
#[must_use]
pub fn publish_properties(properties: Option<&PublishProperties>) -> Value {
    let mut object = Map::new();
    let mut users: &[(String, String)] = &[];
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
        users = &properties.user_properties;
    }
    let users = users.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    insert_user_properties(&mut object, users);
    Value::Object(object)
}

/// Adds `User-Property`, which is always there, and `User-Property-Pairs` where there are some.
pub fn insert_user_properties<'a>(
    object: &mut Map<String, Value>,
    properties: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let mut users = Map::new();
    let mut pairs = Vec::new();
    for (key, value) in properties {
        users.insert(key.to_owned(), Value::from(value));
        pairs.push(serde_json::json!({ "key": key, "value": value }));
    }
    if !pairs.is_empty() {
        object.insert("User-Property-Pairs".to_owned(), Value::Array(pairs));
    }
    object.insert("User-Property".to_owned(), Value::Object(users));
}

pub(super) fn is_json(payload: &[u8]) -> bool {
    // From a slice serde_json does not look at bytes that it skips: they may be no text at all.
    std::str::from_utf8(payload)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// EMQX's text form: each run of bytes that are not UTF-8 becomes one U+FFFD.
#[must_use]
pub fn lossy_text(payload: &[u8]) -> String {
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

pub(super) fn hex_digits(id: &[u8; 16]) -> impl Iterator<Item = u8> {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' - 10 + nibble };
    id.iter().flat_map(move |byte| [digit(byte >> 4), digit(byte & 15)])
}

/// The base 62 of EMQX 4's webhook (`emqx_base62`), which is not arithmetic: groups of six bits as `A-Z a-z 0-8`, the last
/// three of 64 as `9A`, `9B` and `9C`, and what is left of one or two bytes as a number of its own.
#[must_use]
pub fn base62(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 2);
    for chunk in bytes.chunks(3) {
        let whole = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let groups = match chunk.len() {
            1 => [Some(whole >> 2), Some(whole & 0b11), None, None],
            2 => [Some(whole >> 10), Some(whole >> 4), Some(whole & 0b1111), None],
            _ => [Some(whole >> 18), Some(whole >> 12), Some(whole >> 6), Some(whole)],
        };
        for group in groups.into_iter().flatten() {
            push_group(group & 0b11_1111, &mut out);
        }
    }
    out
}

fn push_group(group: u32, out: &mut String) {
    const DIGITS: &[u8; 61] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678";
    if let Some(digit) = usize::try_from(group).ok().and_then(|group| DIGITS.get(group)) {
        out.push(char::from(*digit));
        return;
    }
    out.push('9');
    out.push(match group {
        61 => 'A',
        62 => 'B',
        _ => 'C',
    });
}
