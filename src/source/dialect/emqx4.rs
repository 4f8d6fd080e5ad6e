//! `emqx_web_hook`, the plugin of EMQX 4: bodies with an `action`.
//!
//! Followed in the code of 4.4 and in the plugin's documentation, which differ in places: absent user names are null or
//! `undefined`, times of 4.0 are seconds, and `session_unsubscribe` is `session_unsubscribed`.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{Refusal, Said, emqx5};
use crate::event::EventKind;

/// Kinds by their action. The plugin has no `message_dropped` and, from 4.3 on, no `session_created`; RMQTT has.
const ACTIONS: [(&str, EventKind); 15] = [
    ("client_connect", EventKind::ClientConnect),
    ("client_connack", EventKind::ClientConnack),
    ("client_connected", EventKind::ClientConnected),
    ("client_disconnected", EventKind::ClientDisconnected),
    ("client_subscribe", EventKind::ClientSubscribe),
    ("client_unsubscribe", EventKind::ClientUnsubscribe),
    ("session_created", EventKind::SessionCreated),
    ("session_subscribed", EventKind::SessionSubscribed),
    ("session_unsubscribed", EventKind::SessionUnsubscribed),
    ("session_unsubscribe", EventKind::SessionUnsubscribed),
    ("session_terminated", EventKind::SessionTerminated),
    ("message_publish", EventKind::MessagePublish),
    ("message_delivered", EventKind::MessageDelivered),
    ("message_acked", EventKind::MessageAcked),
    ("message_dropped", EventKind::MessageDropped),
];

/// The kind that an action stands for.
fn kind_of(action: &str) -> Option<EventKind> {
    ACTIONS.iter().find(|(name, _)| *name == action).map(|(_, kind)| *kind)
}

/// What a body says, the payload apart.
pub(super) fn said(action: &str, fields: Fields<'_>) -> Result<Said, Refusal> {
    let kind = kind_of(action).ok_or_else(|| Refusal::unknown_kind(action))?;
    let mut said = Said::new(kind);
    said.set("node", fields.get("node").and_then(node));
    match kind {
        EventKind::MessagePublish => {
            said.set("clientid", fields.text("from_client_id")?);
            said.set("username", fields.text("from_username")?);
            message(&mut said, fields)?;
        }
        EventKind::MessageDelivered | EventKind::MessageAcked | EventKind::MessageDropped => {
            said.set("from_clientid", fields.text("from_client_id")?);
            said.set("from_username", fields.text("from_username")?);
            said.set("clientid", fields.text("clientid")?);
            said.set("username", fields.text("username")?);
            said.set("reason", fields.text("reason")?);
            message(&mut said, fields)?;
        }
        _ => client(&mut said, fields)?,
    }
    Ok(said)
}

/// The name of a node; RMQTT's are numbers.
fn node(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn message(said: &mut Said, fields: Fields<'_>) -> Result<(), Refusal> {
    said.set("topic", Some(emqx5::topic(fields)?));
    said.set("qos", fields.qos("qos")?);
    let mut flags = Map::new();
    for flag in ["dup", "retain"] {
        if let Some(value) = fields.boolean(flag)? {
            flags.insert(flag.to_owned(), value.into());
        }
    }
    said.set("flags", (!flags.is_empty()).then_some(flags));
    said.set("publish_received_at", fields.time("ts")?);
    Ok(())
}

/// An event of a client or its session.
fn client(said: &mut Said, fields: Fields<'_>) -> Result<(), Refusal> {
    said.set("clientid", Some(fields.required_text("clientid")?));
    said.set("username", fields.text("username")?);
    said.set("keepalive", fields.number("keepalive")?);
    said.set("proto_ver", fields.number("proto_ver")?);
    said.set("reason_code", fields.text("conn_ack")?);
    said.set("reason", fields.text("reason")?);
    for time in ["connected_at", "disconnected_at", "created_at"] {
        said.set(time, fields.time(time)?);
    }
    let is_subscription = matches!(
        said.kind,
        EventKind::ClientSubscribe
            | EventKind::ClientUnsubscribe
            | EventKind::SessionSubscribed
            | EventKind::SessionUnsubscribed
    );
    if is_subscription {
        said.set("topic", Some(fields.required_text("topic")?));
        let opts = fields.object("opts")?.filter(|opts| !opts.is_empty());
        if let Some(opts) = opts {
            said.set("qos", Fields(opts).qos("qos")?);
            said.set("sub_props", Fields(opts).object("sub_props")?.cloned());
        }
        said.set("opts", opts.cloned());
    }
    address(said, fields.text("ipaddress")?);
    Ok(())
}

/// An address with or without a port.
pub(super) fn address(said: &mut Said, address: Option<&str>) {
    let Some(address) = address else { return };
    if let Ok(peer) = address.parse::<std::net::SocketAddr>() {
        said.set_peer(Some(peer));
    } else if let Ok(host) = address.parse::<std::net::IpAddr>() {
        said.set("peerhost", Some(host.to_string()));
    }
}
