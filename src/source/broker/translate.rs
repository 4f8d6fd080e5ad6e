//! From rmqtt's messages to [`Event`]s.

use std::net::SocketAddr;
use std::sync::Arc;

use rmqtt::types::{Id, Publish, QoS};

use super::events::Tag;
use crate::clock::UnixMillis;
use crate::event::{Event, Message, PublishProperties, Qos};
use crate::source::SourceContext;
use crate::topic::Topic;

/// The event of a message that the client `id` published to `topic` from `address`, with the tag that it goes by.
pub(super) fn event(
    context: &SourceContext,
    id: &Id,
    address: Option<SocketAddr>,
    topic: Topic,
    publish: &Publish,
    tag: Option<Tag>,
) -> Event {
    let (id_of_message, received_at) = match tag {
        Some(tag) => (tag.id, tag.received_at),
        None => (context.ids.mint(), UnixMillis::now()),
    };
    let message = Message {
        id: id_of_message,
        topic,
        payload: publish.payload.clone(),
        qos: qos(publish.qos),
        retain: publish.retain,
        dup: publish.dup,
        client_id: Some(Arc::from(&*id.client_id)),
        username: id.username.as_deref().map(Arc::from),
        peer: address,
        properties: properties(publish),
    };
    Event::published(context.name.clone(), received_at, message)
}

pub(super) const fn qos(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

pub(super) fn properties(publish: &Publish) -> Option<Box<PublishProperties>> {
    let wire = publish.properties.as_ref()?;
    let properties = PublishProperties {
        // rmqtt does not tell an absent indicator from 0; both mean "bytes".
        payload_format_indicator: wire.is_utf8_payload.then_some(1),
        message_expiry_interval: wire.message_expiry_interval.map(std::num::NonZeroU32::get),
        content_type: wire.content_type.as_deref().map(str::to_owned),
        response_topic: wire.response_topic.as_deref().map(str::to_owned),
        correlation_data: wire.correlation_data.clone(),
        user_properties: wire
            .user_properties
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    (!properties.is_empty()).then(|| Box::new(properties))
}
