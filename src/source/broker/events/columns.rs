//! From what rmqtt knows to the columns of events.

use rmqtt::codec::v5::UserProperties;
use rmqtt::types::{ConnectInfo, Disconnect, Id, Publish, QoS, Reason, SubscriptionOptions};
use serde_json::{Map, Value, json};

use super::tags::Tag;
use crate::event::json::{id_text, insert_user_properties, publish_properties};
use crate::event::{EventKind, Occurrence};
use crate::source::broker::peers::Peer;
use crate::source::broker::translate;

/// Messages in flight that a client of MQTT 5 which names none may have: MQTT 5 section 3.1.2.11.3.
const RECEIVE_MAXIMUM_DEFAULT: u16 = u16::MAX;

/// An event in the making. Columns that its kind does not have are passed over.
pub(super) struct Draft(Occurrence);

impl Draft {
    /// An event of the client `id`, whose connection is `peer`.
    pub(super) fn of_client(kind: EventKind, id: &Id, peer: Option<&Peer>) -> Self {
        Self(Occurrence::new(kind))
            .set("clientid", &*id.client_id)
            .set_some("username", id.username.as_deref())
            .set_some("peerhost", peer.map(|peer| peer.address.ip().to_string()))
            .set_some("peername", peer.map(|peer| peer.address.to_string()))
            .set_some("sockname", peer.map(|peer| peer.entrance.to_string()))
    }

    /// With what CONNECT says.
    pub(super) fn with_connect(self, connect: &ConnectInfo) -> Self {
        let version = connect.proto_ver();
        let interval = session_seconds(connect);
        let interval = match (self.0.kind(), interval) {
            (EventKind::ClientConnack, Some(seconds)) => Some(seconds.saturating_mul(1000)),
            (_, interval) => interval,
        };
        self.set("proto_name", if version == 3 { "MQIsdp" } else { "MQTT" })
            .set("proto_ver", version)
            .set("keepalive", connect.keep_alive())
            .set("clean_start", connect.clean_start())
            .set_some("expiry_interval", interval)
            .set("conn_props", connect_properties(connect))
    }

    /// With what a message is: its publisher is the one it is about, or the one it is from.
    pub(super) fn with_message(self, from: &Id, publish: &Publish, tag: &Tag) -> Self {
        let properties = translate::properties(publish);
        Self(self.0.with_payload(publish.payload.clone()))
            .set("id", id_text(&tag.id))
            .set("from_clientid", &*from.client_id)
            .set_some("from_username", from.username.as_deref())
            .set("topic", &*publish.topic)
            .set("qos", tag.qos.level())
            .set("flags", json!({ "dup": tag.dup, "retain": tag.retain }))
            .set("pub_props", publish_properties(properties.as_deref()))
            .set("publish_received_at", tag.received_at.0)
    }

    pub(super) fn set(self, name: &str, value: impl Into<Value>) -> Self {
        let columns = self.0.kind().entry().columns;
        if columns.iter().any(|column| column.name == name) {
            Self(self.0.with(name, value))
        } else {
            self
        }
    }

    pub(super) fn set_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    pub(super) fn done(self) -> Occurrence {
        self.0
    }
}

/// How long the session outlives the connection, as the client asks for; clients before MQTT 5 cannot say.
fn session_seconds(connect: &ConnectInfo) -> Option<u64> {
    match connect {
        ConnectInfo::V5(_, connect) => Some(connect.session_expiry_interval_secs.into()),
        ConnectInfo::V3(_, connect) => connect.clean_session.then_some(0),
    }
}

/// What the client takes at once, as far as the broker goes; clients before MQTT 5 take what the broker gives.
pub(super) fn receive_maximum(connect: &ConnectInfo, inflight_max: u16) -> u16 {
    let asked = match connect {
        ConnectInfo::V5(_, connect) => connect.receive_max.map(std::num::NonZeroU16::get),
        ConnectInfo::V3(..) => None,
    };
    asked.unwrap_or(RECEIVE_MAXIMUM_DEFAULT).min(inflight_max)
}

/// No properties, as EMQX shows them.
pub(super) fn no_properties() -> Value {
    json!({ "User-Property": {} })
}

fn user_properties(object: &mut Map<String, Value>, properties: &UserProperties) {
    insert_user_properties(object, properties.iter().map(|(key, value)| (&**key, &**value)));
}

/// `conn_props`: what differs from what the specification takes for absent.
fn connect_properties(connect: &ConnectInfo) -> Value {
    let ConnectInfo::V5(_, connect) = connect else { return no_properties() };
    let mut object = Map::new();
    let mut insert = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    let above_zero = |number: u32| (number > 0).then(|| Value::from(number));
    insert("Session-Expiry-Interval", above_zero(connect.session_expiry_interval_secs));
    insert("Receive-Maximum", connect.receive_max.map(|max| max.get().into()));
    insert("Maximum-Packet-Size", connect.max_packet_size.map(|max| max.get().into()));
    insert("Topic-Alias-Maximum", above_zero(connect.topic_alias_max.into()));
    insert("Request-Response-Information", connect.request_response_info.then(|| 1.into()));
    insert("Request-Problem-Information", (!connect.request_problem_info).then(|| 0.into()));
    insert("Authentication-Method", connect.auth_method.as_deref().map(Value::from));
    user_properties(&mut object, &connect.user_properties);
    Value::Object(object)
}

/// `disconn_props`
pub(super) fn disconnect_properties(reason: &Reason) -> Value {
    let packet = match reason {
        Reason::ConnectDisconnect(Some(Disconnect::V5(packet))) => packet,
        Reason::Reasons(reasons) => {
            let given = reasons.iter().map(disconnect_properties);
            return given
                .max_by_key(|value| value.as_object().map(Map::len))
                .unwrap_or_else(no_properties);
        }
        _ => return no_properties(),
    };
    let mut object = Map::new();
    let mut insert = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    insert("Session-Expiry-Interval", packet.session_expiry_interval_secs.map(Value::from));
    insert("Reason-String", packet.reason_string.as_deref().map(Value::from));
    insert("Server-Reference", packet.server_reference.as_deref().map(Value::from));
    user_properties(&mut object, &packet.user_properties);
    Value::Object(object)
}

/// `opts`
pub(super) fn options(options: &SubscriptionOptions) -> Value {
    let flag = |set: Option<bool>| u8::from(set.unwrap_or_default());
    let handling = options.retain_handling().map_or(0, u8::from);
    json!({
        "qos": options.qos_value(),
        "nl": flag(options.no_local()),
        "rap": flag(options.retain_as_published()),
        "rh": handling,
    })
}

/// `sub_props`: of the properties of SUBSCRIBE rmqtt tells the identifier.
pub(super) fn subscribe_properties(options: &SubscriptionOptions) -> Value {
    let mut properties = no_properties();
    if let (Some(object), Some(id)) =
        (properties.as_object_mut(), options.subscription_identifier())
    {
        object.insert("Subscription-Identifier".to_owned(), id.get().into());
    }
    properties
}

/// A filter as it was subscribed to.
pub(super) fn filter(group: Option<&str>, filter: &str) -> String {
    match group {
        Some(group) => format!("$share/{group}/{filter}"),
        None => filter.to_owned(),
    }
}

pub(super) const fn qos_level(qos: QoS) -> u8 {
    translate::qos(qos).level()
}
