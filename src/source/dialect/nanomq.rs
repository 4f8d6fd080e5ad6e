//! NanoMQ: its web hook and its status topics.
//!
//! The bodies of the web hook are EMQX 4's with fewer keys. The status topics have objects of their own, whose texts are not
//! escaped: a quote in a client id breaks them, and such an object is refused.

use serde_json::Map;

use super::fields::Fields;
use super::{Refusal, Said, emqx4};
use crate::event::EventKind;

/// Reason codes of DISCONNECT (MQTT 5 section 3.14.2.1) that EMQX has a word for. NanoMQ writes them in hexadecimal.
const REASONS: [(u8, &str); 8] = [
    (0x00, "normal"),
    (0x04, "normal"),
    (0x81, "malformed_packet"),
    (0x82, "protocol_error"),
    (0x87, "not_authorized"),
    (0x8d, "keepalive_timeout"),
    (0x8e, "takenover"),
    (0x98, "kicked"),
];

/// What a body of its web hook says, the payload apart.
pub(super) fn hook(action: &str, fields: Fields<'_>) -> Result<Said, Refusal> {
    let mut said = emqx4::said(action, fields)?;
    // It says `abnormal` whatever happened.
    if said.text("reason") == Some("abnormal") {
        said.columns.remove("reason");
    }
    Ok(said)
}

/// What an object on one of its status topics says. `id_in_topic` is the client id where the topic has it.
pub(super) fn status(
    online: Option<bool>,
    id_in_topic: Option<&str>,
    object: &Map<String, serde_json::Value>,
) -> Result<Said, Refusal> {
    let fields = Fields(object);
    let online = match fields.text("status")? {
        Some("online") => true,
        Some("offline") => false,
        Some(_) => {
            return Err(Refusal::Wrong { column: "status", should: "`online` or `offline`" });
        }
        None => online.ok_or(Refusal::Missing("status"))?,
    };
    let clientid = fields.required_text("client_id")?;
    if id_in_topic.is_some_and(|id| id != clientid) {
        return Err(Refusal::Wrong { column: "client_id", should: "the one in the topic" });
    }
    let kind = if online { EventKind::ClientConnected } else { EventKind::ClientDisconnected };
    let mut said = Said::new(kind);
    said.set("clientid", Some(clientid));
    // `printf` of no text.
    said.set("username", fields.text("username")?.filter(|name| *name != "(null)"));
    emqx4::address(&mut said, fields.text("IPv4")?);
    let time = if online { "connected_at" } else { "disconnected_at" };
    said.set(time, fields.time("ts")?);
    if online {
        said.set("proto_name", fields.text("proto_name")?);
        said.set("proto_ver", fields.number("proto_ver")?);
        said.set("keepalive", fields.number("keepalive")?);
        said.set("clean_start", fields.boolean("clean_start")?);
        if code(fields, "return_code")?.is_some_and(|code| code != 0) {
            // It was refused: nobody has connected.
            said.kind = EventKind::ClientConnack;
            said.columns.remove("connected_at");
            said.set("reason_code", Some("fail"));
        }
    } else {
        let code = code(fields, "reason_code")?;
        let known = |code| REASONS.iter().find(|(known, _)| *known == code).map(|(_, word)| *word);
        said.set("reason", code.and_then(known));
    }
    Ok(said)
}

fn code(fields: Fields<'_>, name: &'static str) -> Result<Option<u8>, Refusal> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let wrong = Refusal::Wrong { column: name, should: "a code in hexadecimal" };
    u8::from_str_radix(text, 16).map(Some).map_err(|_| wrong)
}
