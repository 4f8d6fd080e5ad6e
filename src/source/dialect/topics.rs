//! The topics on which EMQX, NanoMQ and RMQTT tell of their clients, and events of EMQX that a rule republishes.
//!
//! Client ids may have slashes, so a topic is taken apart from both ends.

use serde_json::{Map, Value};

use super::hook::Format;
use super::{Dialect, Refusal, Said, emqx5, nanomq, rmqtt_words};
use crate::event::EventKind;

const BROKERS: &str = "$SYS/brokers/";

/// What follows the client id on EMQX's topics.
const EMQX: [(&str, EventKind); 4] = [
    ("connected", EventKind::ClientConnected),
    ("disconnected", EventKind::ClientDisconnected),
    ("subscribed", EventKind::SessionSubscribed),
    ("unsubscribed", EventKind::SessionUnsubscribed),
];

/// What follows the client id on RMQTT's topics below `session`.
const RMQTT_SESSION: [(&str, &str); 4] = [
    ("created", "session_created"),
    ("terminated", "session_terminated"),
    ("subscribed", "session_subscribed"),
    ("unsubscribed", "session_unsubscribed"),
];

/// Where a broker tells of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// `$SYS/brokers/NODE/clients/CLIENTID/EVENT`, of EMQX and of RMQTT.
    Client { node: &'a str, clientid: &'a str, event: &'a str },
    /// `$SYS/brokers/NODE/session/CLIENTID/EVENT`, of RMQTT.
    Session { action: &'static str, clientid: &'a str },
    /// `$SYS/brokers/NODE/message/dropped`, of RMQTT.
    Dropped,
    /// `$SYS/brokers/client_status/CLIENTID`, of NanoMQ from 0.24.1 on.
    Status { clientid: &'a str },
    /// `$SYS/brokers/connected`, of NanoMQ before.
    Connected,
    /// `$SYS/brokers/disconnected`, of NanoMQ before.
    Disconnected,
}

/// Reads a message under `$SYS/brokers/`, with who it is from. `None` when it is no event of a client.
#[must_use]
pub fn read(topic: &str, payload: &[u8]) -> Option<(Dialect, Result<Said, Refusal>)> {
    let place = place(topic)?;
    let object = match serde_json::from_slice::<Map<String, Value>>(payload) {
        Ok(object) => object,
        Err(error) => {
            let dialect = place.dialect(&Map::new());
            return Some((dialect, Err(Refusal::not_json(&error))));
        }
    };
    Some((place.dialect(&object), place.said(payload, &object)))
}

/// Reads an event that a rule of EMQX republishes with all its columns.
pub fn republished(payload: &[u8]) -> Result<Said, Refusal> {
    let format = Format { dialect: Some(Dialect::Emqx5), ..Format::default() };
    let mut told = format.read(payload).map_err(|refused| refused.refusal)?;
    match (told.events.pop(), told.events.is_empty()) {
        (Some(said), true) => Ok(said),
        _ => Err(Refusal::NotJson("must be one object".to_owned())),
    }
}

impl Place<'_> {
    fn dialect(self, object: &Map<String, Value>) -> Dialect {
        match self {
            // Nodes of RMQTT are numbers, those of EMQX are called `emqx@HOST`.
            Self::Client { .. } if object.get("node").is_some_and(Value::is_number) => {
                Dialect::Rmqtt
            }
            Self::Client { .. } => Dialect::Emqx5,
            Self::Session { .. } | Self::Dropped => Dialect::Rmqtt,
            Self::Status { .. } | Self::Connected | Self::Disconnected => Dialect::NanoMq,
        }
    }

    fn said(self, payload: &[u8], object: &Map<String, Value>) -> Result<Said, Refusal> {
        let fields = super::fields::Fields(object);
        match self {
            Self::Client { node, clientid, event } if self.dialect(object) == Dialect::Emqx5 => {
                let (_, kind) =
                    EMQX.iter().find(|(name, _)| *name == event).ok_or(Refusal::NoKind)?;
                emqx5::system(*kind, node, clientid, object)
            }
            Self::Client { clientid, event, .. } => {
                checked(rmqtt_words::said(&format!("client_{event}"), fields)?, clientid)
            }
            Self::Session { action, clientid } => {
                checked(rmqtt_words::said(action, fields)?, clientid)
            }
            Self::Dropped => {
                let format = Format { dialect: Some(Dialect::Rmqtt), ..Format::default() };
                format.told_as("message_dropped", payload)?.ok_or(Refusal::NoKind)
            }
            Self::Status { clientid } => nanomq::status(None, Some(clientid), object),
            Self::Connected => nanomq::status(Some(true), None, object),
            Self::Disconnected => nanomq::status(Some(false), None, object),
        }
    }
}

/// The topic and the object must mean the same client.
fn checked(said: Said, clientid: &str) -> Result<Said, Refusal> {
    if said.text("clientid") == Some(clientid) {
        return Ok(said);
    }
    Err(Refusal::Wrong { column: "clientid", should: "the one in the topic" })
}

fn place(topic: &str) -> Option<Place<'_>> {
    let rest = topic.strip_prefix(BROKERS)?;
    match rest {
        "connected" => return Some(Place::Connected),
        "disconnected" => return Some(Place::Disconnected),
        _ => {}
    }
    let (node, rest) = rest.split_once('/')?;
    if node == "client_status" {
        return Some(Place::Status { clientid: rest });
    }
    if rest == "message/dropped" {
        return Some(Place::Dropped);
    }
    let (area, rest) = rest.split_once('/')?;
    let (clientid, event) = rest.rsplit_once('/')?;
    match area {
        "clients" => {
            EMQX.iter().find(|(name, _)| *name == event)?;
            Some(Place::Client { node, clientid, event })
        }
        "session" => {
            let (_, action) = RMQTT_SESSION.iter().find(|(name, _)| *name == event)?;
            Some(Place::Session { action, clientid })
        }
        // Of the gateways of EMQX: `gateway/GATEWAY/clients/CLIENTID/EVENT`.
        "gateway" => {
            let clientid = clientid.split_once("/clients/")?.1;
            EMQX.iter().find(|(name, _)| *name == event)?;
            Some(Place::Client { node, clientid, event })
        }
        _ => None,
    }
}
