//! MQTT 3.1.1.

use std::sync::OnceLock;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions,
    MqttState, Outgoing, Packet, Publish, QoS, StateError, SubscribeFilter, SubscribeReasonCode,
    Transport,
};

use super::{Ended, Grant, Hello, OUTGOING_MAX, Publication, Signal, Subscription, owned};
use crate::event::Qos;
use crate::source::mqtt::failure::Failure;
use crate::topic::Topic;

/// A SUBSCRIBE of eight filters of the longest kind.
const OUTGOING_BYTES_MAX: usize = 1024 * 1024;

/// The largest packet that MQTT can carry, fixed header apart.
const PROTOCOL_BYTES_MAX: usize = 268_435_455;

pub(super) fn open(
    hello: &Hello,
    rendezvous: &str,
    requests_max: usize,
) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(hello.client_id.as_str(), rendezvous, 0);
    options
        .set_transport(Transport::unix())
        .set_keep_alive(hello.keep_alive)
        .set_clean_session(!hello.keeps_session)
        .set_manual_acks(true)
        .set_inflight(OUTGOING_MAX)
        .set_max_packet_size(incoming_bytes_max(hello.packet_bytes_max), OUTGOING_BYTES_MAX);
    if let Some(username) = &hello.username {
        options.set_credentials(username, hello.password.as_deref().unwrap_or_default());
    }
    let (client, mut wire) = AsyncClient::new(options, requests_max);
    wire.network_options.set_connection_timeout(hello.connect_timeout.as_secs().max(1));
    wire.state = ready_for_old_releases().clone();
    (client, wire)
}

/// This version cannot tell a broker the limit, and a packet that is not read comes again on every connection. So the hard
/// limit is far above the configured one, and whoever takes the messages drops what is between the two.
fn incoming_bytes_max(packet_bytes_max: u32) -> usize {
    usize::try_from(packet_bytes_max)
        .unwrap_or(usize::MAX)
        .saturating_mul(16)
        .min(PROTOCOL_BYTES_MAX)
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
            let mut publish = Publish::new("", QoS::ExactlyOnce, Vec::new());
            publish.pkid = packet_id;
            let answer = state.handle_incoming_packet(Incoming::Publish(publish));
            assert!(matches!(answer, Ok(None)), "manual acknowledgement answers nothing by itself");
            state.events.clear();
        }
        state
    })
}

pub(super) async fn poll(wire: &mut EventLoop) -> Result<Signal, Failure> {
    let event = wire.poll().await;
    if matches!(event, Ok(Event::Incoming(_))) {
        // Any packet proves the link; the answer to a ping may stand behind millions of messages.
        wire.state.await_pingresp = false;
    }
    match event {
        Ok(Event::Incoming(Packet::Publish(publish))) => {
            Ok(Signal::Published(publication(&publish)))
        }
        Ok(Event::Incoming(Packet::ConnAck(answer))) => {
            Ok(Signal::Connected { session_present: answer.session_present })
        }
        Ok(Event::Incoming(Packet::SubAck(answer))) => {
            Ok(Signal::Subscribed(answer.return_codes.into_iter().map(grant).collect()))
        }
        Ok(Event::Incoming(Packet::UnsubAck(_))) => Ok(Signal::Unsubscribed),
        Ok(Event::Outgoing(Outgoing::Disconnect)) => Ok(Signal::Left),
        Ok(Event::Incoming(_) | Event::Outgoing(_)) => Ok(Signal::Other),
        Err(error) => Err(failure(error)),
    }
}

fn publication(publish: &Publish) -> Publication {
    let packet_bytes = publish.size();
    Publication {
        topic: Topic::new(&publish.topic),
        payload: owned(&publish.payload),
        packet_id: publish.pkid,
        qos: qos(publish.qos),
        retain: publish.retain,
        dup: publish.dup,
        properties: None,
        packet_bytes,
    }
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
        SubscribeReasonCode::Failure => Grant::Refused("the broker gives no reason"),
    }
}

pub(super) async fn subscribe(client: &AsyncClient, filters: &[Subscription]) -> Result<(), Ended> {
    let filters = filters
        .iter()
        .map(|wanted| SubscribeFilter::new(wanted.filter.to_string(), wire_qos(wanted.qos)));
    client.subscribe_many(filters).await.map_err(|_| Ended)
}

fn failure(error: ConnectionError) -> Failure {
    match error {
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::NetworkTimeout => Failure::no_connack(),
        ConnectionError::FlushTimeout => Failure::silent(),
        ConnectionError::MqttState(error) => state_failure(error),
        ConnectionError::Io(error) => Failure::closed(&error),
        other => Failure::protocol(&other),
    }
}

fn state_failure(error: StateError) -> Failure {
    match error {
        StateError::AwaitPingResp => Failure::silent(),
        StateError::ConnectionAborted => Failure::closed_by_broker(),
        StateError::Io(error)
        | StateError::Deserialization(rumqttc::mqttbytes::Error::Io(error)) => {
            Failure::closed(&error)
        }
        StateError::Deserialization(rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(bytes)) => {
            Failure::oversize(bytes)
        }
        other => Failure::protocol(&other),
    }
}

fn refused(code: ConnectReturnCode) -> Failure {
    match code {
        ConnectReturnCode::RefusedProtocolVersion => Failure::version_refused("3.1.1"),
        ConnectReturnCode::BadClientId => Failure::bad_client_id(),
        ConnectReturnCode::BadUserNamePassword => Failure::bad_password(),
        ConnectReturnCode::NotAuthorized => Failure::not_authorized(),
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            Failure::not_available("service unavailable")
        }
    }
}
