//! RMQTT: its web-hook plugin and its system topics, which have the same objects (0.24).
//!
//! As EMQX 4's, but that publishers are `from_clientid`, addresses have ports, payloads are always base64, and reasons are the
//! names of RMQTT's own.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{Refusal, Said, emqx4};
use crate::event::EventKind;

/// Reasons that it writes, as they start, and EMQX's words. A list of reasons is written one after the other; the first
/// one says why.
const REASONS: [(&str, &str); 10] = [
    ("Disconnect", "normal"),
    ("RemoteClose", "tcp_closed"),
    ("KeepaliveTimeout", "keepalive_timeout"),
    ("ReadWriteTimeout", "keepalive_timeout"),
    ("ReadWriteError", "tcp_closed"),
    ("ByAdminKick", "kicked"),
    // Another connection with the same client id.
    ("Kicked", "takenover"),
    ("SessionExpiration", "expired"),
    ("MessageQueueFull", "queue_full"),
    ("MessageExpiration", "expired"),
];

/// Its hooks that are no events here: a message that waits for its receiver to come back.
pub(super) const NO_EVENT: &str = "offline_message";

/// Whether an object with an `action` is RMQTT's: only it tells the time as text, and the type of a publisher.
pub(super) fn is_meant(fields: Fields<'_>) -> bool {
    fields.get("time").is_some() || fields.get("from_type").is_some()
}

/// What an object says; of `message_publish` and the like the payload apart.
pub(super) fn said(action: &str, fields: Fields<'_>) -> Result<Said, Refusal> {
    let mut renamed = Map::clone(fields.0);
    if let Some(publisher) = renamed.remove("from_clientid") {
        renamed.insert("from_client_id".to_owned(), publisher);
    }
    // When the message was published, and when it was delivered.
    if let Some(published) = renamed.remove("pts") {
        renamed.insert("ts".to_owned(), published);
    }
    // The broker itself is no client.
    if renamed.get("from_type").is_some_and(|of| of == "system") {
        renamed.remove("from_client_id");
        renamed.remove("from_username");
    }
    if let Some(Value::Object(opts)) = renamed.get_mut("opts") {
        options(opts);
    }
    let mut said = emqx4::said(action, Fields(&renamed))?;
    said.set("clean_start", fields.boolean("clean_start")?);
    said.set("clean_start", fields.boolean("clean_session")?);
    match said.kind {
        EventKind::MessagePublish => emqx4::address(&mut said, fields.text("from_ipaddress")?),
        EventKind::MessageDelivered | EventKind::MessageAcked | EventKind::MessageDropped => {
            emqx4::address(&mut said, fields.text("ipaddress")?);
        }
        _ => {}
    }
    let reason = said.text("reason").and_then(reason);
    said.set("reason", reason);
    let code = said.text("reason_code").map(connack);
    said.set("reason_code", code);
    Ok(said)
}

/// The options of a subscription by EMQX's names, with numbers for flags.
fn options(opts: &mut Map<String, Value>) {
    for (theirs, ours) in
        [("no_local", "nl"), ("retain_as_published", "rap"), ("retain_handling", "rh")]
    {
        match opts.remove(theirs) {
            Some(Value::Bool(flag)) => opts.insert(ours.to_owned(), u8::from(flag).into()),
            Some(other) => opts.insert(ours.to_owned(), other),
            None => None,
        };
    }
}

fn reason(theirs: &str) -> Option<&'static str> {
    // `Disconnect(V3),RemoteClose`
    REASONS.iter().find(|(name, _)| theirs.starts_with(name)).map(|(_, ours)| *ours)
}

/// What a CONNACK says in EMQX's words.
fn connack(theirs: &str) -> String {
    match theirs {
        "Connection Accepted" => "success".to_owned(),
        other => other.to_lowercase().replace([' ', '-'], "_"),
    }
}
