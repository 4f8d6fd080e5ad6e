//! MQTT 5.

use std::sync::OnceLock;
use std::time::Duration;

use rumqttc::Transport;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Filter, Packet, Publish,
    PublishProperties as WireProperties, RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error as PacketError, QoS};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, MqttState, StateError,
};

use super::{Ended, Grant, Hello, OUTGOING_MAX, Publication, Signal, Subscription, owned};
use crate::event::{PublishProperties, Qos};
use crate::source::mqtt::failure::{Failure, FailureKind};
use crate::topic::{InvalidTopic, Topic};

/// An event loop and the keep-alive that this end asked for.
pub(super) struct Polled {
    event_loop: EventLoop,
    keep_alive: Duration,
}

pub(super) fn open(hello: &Hello, rendezvous: &str, requests_max: usize) -> (AsyncClient, Polled) {
    let mut options = MqttOptions::new(hello.client_id.as_str(), rendezvous, 0);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(hello.session_expiry_seconds);
    properties.receive_maximum = Some(hello.receive_maximum);
    properties.max_packet_size = Some(hello.packet_bytes_max);
    // No topic aliases: the library hands over such a publish before it has looked up the topic.
    properties.topic_alias_max = None;
    options
        .set_transport(Transport::unix())
        .set_keep_alive(hello.keep_alive)
        .set_clean_start(!hello.keeps_session)
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(OUTGOING_MAX)
        .set_connection_timeout(hello.connect_timeout.as_secs().max(1))
        .set_connect_properties(properties);
    if let Some(username) = &hello.username {
        options.set_credentials(username, hello.password.as_deref().unwrap_or_default());
    }
    let (client, mut event_loop) = AsyncClient::new(options, requests_max);
    event_loop.state = ready_for_old_releases().clone();
    (client, Polled { event_loop, keep_alive: hello.keep_alive })
}

/// A state that answers a PUBREL for any packet id.
///
/// A resumed session may hold QoS 2 messages that an earlier process took: the broker repeats their PUBREL, which the library takes
/// for a violation when it has not seen the PUBLISH itself, and then that happens on every connection.
fn ready_for_old_releases() -> &'static MqttState {
    static READY: OnceLock<MqttState> = OnceLock::new();
    READY.get_or_init(|| {
        let mut state = MqttState::new(OUTGOING_MAX, true);
        for packet_id in 1..=u16::MAX {
            let publish = Publish { qos: QoS::ExactlyOnce, pkid: packet_id, ..Publish::default() };
            let answer = state.handle_incoming_packet(Incoming::Publish(publish));
            assert!(matches!(answer, Ok(None)), "manual acknowledgement answers nothing by itself");
            state.events.clear();
        }
        state
    })
}

impl Polled {
    pub(super) async fn poll(&mut self) -> Result<Signal, Failure> {
        let event = self.event_loop.poll().await;
        if matches!(event, Ok(Event::Incoming(_))) {
            // Any packet proves the link; the answer to a ping may stand behind millions of messages.
            self.event_loop.state.await_pingresp = false;
        }
        match event {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                Ok(Signal::Published(publication(publish)))
            }
            Ok(Event::Incoming(Packet::ConnAck(answer))) => self.connected(&answer),
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                Ok(Signal::Subscribed(answer.return_codes.into_iter().map(grant).collect()))
            }
            Ok(Event::Incoming(Packet::UnsubAck(_))) => Ok(Signal::Unsubscribed),
            Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => Ok(Signal::Left),
            Ok(Event::Incoming(_) | Event::Outgoing(_)) => Ok(Signal::Other),
            Err(error) => Err(failure(error)),
        }
    }

    fn connected(&mut self, answer: &ConnAck) -> Result<Signal, Failure> {
        let properties = answer.properties.as_ref();
        if properties.and_then(|properties| properties.receive_max) == Some(0) {
            // The library would never send an acknowledgement again.
            return Err(Failure::protocol(&"the CONNACK has a receive maximum of 0"));
        }
        // The library has taken the broker's keep-alive. Longer than ours, a dead link would go unnoticed; zero ("none"),
        // and it would ping without a pause.
        let ours = self.keep_alive;
        let theirs = self.event_loop.options.keep_alive();
        if theirs.is_zero() || theirs > ours {
            self.event_loop.options.set_keep_alive(ours);
        }
        Ok(Signal::Connected { session_present: answer.session_present })
    }
}

fn publication(publish: Publish) -> Publication {
    let packet_bytes = publish.topic.len() + publish.payload.len();
    let topic = match std::str::from_utf8(&publish.topic) {
        Ok(topic) => Topic::new(topic),
        Err(_) => Err(InvalidTopic::Null),
    };
    Publication {
        topic,
        payload: owned(&publish.payload),
        packet_id: publish.pkid,
        qos: qos(publish.qos),
        retain: publish.retain,
        dup: publish.dup,
        properties: publish.properties.and_then(properties),
        packet_bytes,
    }
}

fn properties(wire: WireProperties) -> Option<Box<PublishProperties>> {
    let properties = PublishProperties {
        payload_format_indicator: wire.payload_format_indicator,
        message_expiry_interval: wire.message_expiry_interval,
        content_type: wire.content_type,
        response_topic: wire.response_topic,
        correlation_data: wire.correlation_data.as_deref().map(owned),
        user_properties: wire.user_properties,
    };
    (!properties.is_empty()).then(|| Box::new(properties))
}

const fn qos(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

const fn wire_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn grant(code: SubscribeReasonCode) -> Grant {
    match code {
        SubscribeReasonCode::Success(granted) => Grant::Granted(qos(granted)),
        SubscribeReasonCode::NotAuthorized => Grant::Refused("not authorized"),
        SubscribeReasonCode::TopicFilterInvalid => Grant::Refused("not a filter for this broker"),
        SubscribeReasonCode::QuotaExceeded => Grant::Refused("quota exceeded"),
        SubscribeReasonCode::SharedSubscriptionsNotSupported => {
            Grant::Refused("no shared subscriptions here")
        }
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => {
            Grant::Refused("no wildcards here")
        }
        SubscribeReasonCode::Failure
        | SubscribeReasonCode::Unspecified
        | SubscribeReasonCode::ImplementationSpecific
        | SubscribeReasonCode::PkidInUse
        | SubscribeReasonCode::SubscriptionIdNotSupported => {
            Grant::Refused("the broker gives no reason")
        }
    }
}

pub(super) async fn subscribe(client: &AsyncClient, filters: &[Subscription]) -> Result<(), Ended> {
    let filters = filters.iter().map(|wanted| Filter {
        path: wanted.filter.to_string(),
        qos: wire_qos(wanted.qos),
        nolocal: false,
        // The flag as published, not only on what was stored before we subscribed.
        preserve_retain: true,
        // We subscribe on every connection; the retained messages are wanted once.
        retain_forward_rule: RetainForwardRule::OnNewSubscribe,
    });
    client.subscribe_many(filters).await.map_err(|_| Ended)
}

fn failure(error: ConnectionError) -> Failure {
    match error {
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::Timeout(_) => Failure::no_connack(),
        ConnectionError::MqttState(error) => state_failure(error),
        ConnectionError::Io(error) => Failure::closed(&error),
        other => Failure::protocol(&other),
    }
}

fn state_failure(error: StateError) -> Failure {
    match error {
        StateError::AwaitPingResp => Failure::silent(),
        StateError::ConnectionAborted => Failure::closed_by_broker(),
        StateError::Io(error) | StateError::Deserialization(PacketError::Io(error)) => {
            Failure::closed(&error)
        }
        StateError::Deserialization(PacketError::PayloadSizeLimitExceeded { pkt_size, .. }) => {
            Failure::oversize(pkt_size)
        }
        StateError::ServerDisconnect { reason_code, reason_string } => {
            disconnected(reason_code, reason_string)
        }
        other => Failure::protocol(&other),
    }
}

fn disconnected(code: DisconnectReasonCode, reason: Option<String>) -> Failure {
    match code {
        DisconnectReasonCode::SessionTakenOver => Failure::session_taken_over(),
        DisconnectReasonCode::NotAuthorized => Failure::not_authorized(),
        DisconnectReasonCode::KeepAliveTimeout => Failure::new(
            FailureKind::Silent,
            "the broker has heard nothing from us for longer than the keep-alive: the link loses packets, or this machine stalls",
        ),
        code => {
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            Failure::new(
                FailureKind::Closed,
                format!("the broker closed the connection: {code:?}{reason}"),
            )
        }
    }
}

fn refused(code: ConnectReturnCode) -> Failure {
    match code {
        ConnectReturnCode::RefusedProtocolVersion
        | ConnectReturnCode::UnsupportedProtocolVersion => Failure::version_refused("5"),
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            Failure::bad_client_id()
        }
        ConnectReturnCode::BadUserNamePassword => Failure::bad_password(),
        ConnectReturnCode::NotAuthorized
        | ConnectReturnCode::Banned
        | ConnectReturnCode::BadAuthenticationMethod => Failure::not_authorized(),
        other => Failure::not_available(&format!("{other:?}")),
    }
}
