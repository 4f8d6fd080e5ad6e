//! EMQX 5 and later: the events of its rule engine, as its web hook sends them or a rule republishes them, and the `$SYS`
//! topics of clients.

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::event::catalogue::Holds;
use crate::event::{EventKind, Subject};
use crate::topic::Topic;

/// What the rule and the sender say of themselves.
const OF_THE_RULE: [&str; 3] = ["event", "metadata", "record_id"];
use super::{Refusal, Said, emqx4};

/// What an event of the rule engine says, the payload apart. Columns that the catalogue has must be of its types.
pub(super) fn event(kind: EventKind, fields: Fields<'_>) -> Result<Said, Refusal> {
    match kind.subject() {
        Subject::Message => {
            topic(fields)?;
            fields.qos("qos")?;
        }
        Subject::Subscription => {
            fields.required_text("clientid")?;
            fields.required_text("topic")?;
        }
        Subject::Client => drop(fields.required_text("clientid")?),
        Subject::System => {}
    }
    let mut said = Said::new(kind);
    for (name, value) in fields.0 {
        let is_known = fields.get(name).is_some() || name == "clientid" && !value.is_null();
        if !is_known || OF_THE_RULE.contains(&name.as_str()) {
            continue;
        }
        if let Some(column) = kind.entry().all_columns().find(|column| column.name == name) {
            check(column.name, column.holds, value)?;
        }
        said.columns.insert(name.clone(), value.clone());
    }
    Ok(said)
}

/// The topic of a message, which has one.
pub(super) fn topic(fields: Fields<'_>) -> Result<&str, Refusal> {
    let topic = fields.required_text("topic")?;
    let wrong = |_| Refusal::Wrong { column: "topic", should: "a topic without wildcards" };
    Topic::new(topic).map_err(wrong)?;
    Ok(topic)
}

fn check(column: &'static str, holds: Holds, value: &Value) -> Result<(), Refusal> {
    let (is_right, should) = match holds {
        Holds::Text | Holds::Payload => (value.is_string(), "a text"),
        Holds::Integer | Holds::Seconds | Holds::Milliseconds => {
            (value.is_u64() || value.is_i64(), "a whole number")
        }
        Holds::Boolean => (value.is_boolean(), "true or false"),
        Holds::Object => (value.is_object(), "an object"),
        Holds::Array => (value.is_array(), "an array"),
    };
    if is_right { Ok(()) } else { Err(Refusal::Wrong { column, should }) }
}

/// What an object on `$SYS/brokers/NODE/clients/CLIENTID/EVENT` says.
pub(super) fn system(
    kind: EventKind,
    node: &str,
    clientid: &str,
    object: &Map<String, Value>,
) -> Result<Said, Refusal> {
    let fields = Fields(object);
    if fields.required_text("clientid")? != clientid {
        return Err(Refusal::Wrong { column: "clientid", should: "the one in the topic" });
    }
    let mut said = Said::new(kind);
    said.set("node", Some(node));
    said.set("clientid", Some(clientid));
    said.set("username", fields.text("username")?);
    match kind {
        EventKind::SessionSubscribed | EventKind::SessionUnsubscribed => {
            said.set("topic", Some(fields.required_text("topic")?));
            if let Some(opts) = fields.object("subopts")? {
                said.set("qos", Fields(opts).qos("qos")?);
                said.set("sub_props", Fields(opts).object("sub_props")?.cloned());
                said.set("opts", Some(opts.clone()));
            }
        }
        _ => connection(&mut said, fields)?,
    }
    Ok(said)
}

fn connection(said: &mut Said, fields: Fields<'_>) -> Result<(), Refusal> {
    let is_connected = said.kind == EventKind::ClientConnected;
    emqx4::address(said, fields.text("ipaddress")?);
    said.set("proto_name", fields.text("proto_name")?);
    said.set("proto_ver", fields.number("proto_ver")?);
    said.set("connected_at", fields.time("connected_at")?);
    if is_connected {
        said.set("keepalive", fields.number("keepalive")?);
        said.set("clean_start", fields.boolean("clean_start")?);
        // Milliseconds here, seconds in the event of the rule engine.
        said.set("expiry_interval", fields.number("expiry_interval")?.map(|ms| ms / 1000));
        said.set("receive_maximum", fields.number("receive_maximum")?);
        said.set("conn_props", fields.object("conn_props")?.cloned());
    } else {
        said.set("reason", fields.text("reason")?);
        said.set("disconnected_at", fields.time("disconnected_at")?);
        said.set("disconn_props", fields.object("disconn_props")?.cloned());
    }
    said.set("client_attrs", fields.object("client_attrs")?.cloned());
    Ok(())
}
