//! EMQX's words for why.

use rmqtt::codec::v5::DisconnectReasonCode;
use rmqtt::net::MqttError;
use rmqtt::types::{Disconnect, Reason};

/// Why a client before MQTT 5 is hung up on that would otherwise take a message for safe.
pub(super) const NOT_STORED: &str = reason_code(0x97);

/// The name of a reason code of MQTT 5, as EMQX has it.
pub(super) const fn reason_code(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        0x04 => "disconnect_with_will_message",
        0x81 => "malformed_packet",
        0x82 => "protocol_error",
        0x83 => "implementation_specific_error",
        0x84 => "unsupported_protocol_version",
        0x85 => "client_identifier_not_valid",
        0x86 => "bad_username_or_password",
        0x87 => "not_authorized",
        0x88 => "server_unavailable",
        0x89 => "server_busy",
        0x8A => "banned",
        0x8B => "server_shutting_down",
        0x8C => "bad_authentication_method",
        0x8D => "keepalive_timeout",
        0x8E => "session_taken_over",
        0x8F => "topic_filter_invalid",
        0x90 => "topic_name_invalid",
        0x93 => "receive_maximum_exceeded",
        0x94 => "topic_alias_invalid",
        0x95 => "packet_too_large",
        0x96 => "message_rate_too_high",
        0x97 => "quota_exceeded",
        0x98 => "administrative_action",
        0x99 => "payload_format_invalid",
        0x9A => "retain_not_supported",
        0x9B => "qos_not_supported",
        0x9C => "use_another_server",
        0x9D => "server_moved",
        0x9E => "shared_subscriptions_not_supported",
        0x9F => "connection_rate_exceeded",
        0xA0 => "maximum_connect_time",
        0xA1 => "subscription_identifiers_not_supported",
        0xA2 => "wildcard_subscriptions_not_supported",
        _ => "unspecified_error",
    }
}

/// The reason in a CONNACK; those of MQTT 3.1.1 under the names of MQTT 5, as EMQX's events have them.
pub(super) const fn connack(code: u8) -> &'static str {
    reason_code(match code {
        1 => 0x84,
        2 => 0x85,
        3 => 0x88,
        4 => 0x86,
        5 => 0x87,
        other => other,
    })
}

/// Why a connection has ended. `kicked` is the word for a client that came again.
pub(super) fn disconnected(reason: &Reason, kicked: &'static str) -> &'static str {
    match reason {
        Reason::ConnectDisconnect(Some(Disconnect::V5(packet))) => match packet.reason_code {
            DisconnectReasonCode::NormalDisconnection => "normal",
            code => reason_code(code.into()),
        },
        Reason::ConnectDisconnect(_) => "normal",
        Reason::ConnectKeepaliveTimeout | Reason::ConnectReadWriteTimeout => "keepalive_timeout",
        Reason::ConnectKicked(true) => "kicked",
        Reason::ConnectKicked(false) => kicked,
        Reason::InflightWindowFull => "receive_maximum_exceeded",
        Reason::ProtocolError(_) | Reason::MqttError(MqttError::Decode(_)) => "protocol_error",
        Reason::MqttError(MqttError::PublishAckReason(code, _)) => reason_code(u8::from(*code)),
        Reason::ConnectRemoteClose | Reason::ConnectReadWriteError => "tcp_closed",
        Reason::Reasons(reasons) => {
            let words = || reasons.iter().map(|reason| disconnected(reason, kicked));
            let telling = words().find(|word| !["tcp_closed", "internal_error"].contains(word));
            telling.or_else(|| words().next()).unwrap_or("tcp_closed")
        }
        _ => "internal_error",
    }
}

/// Why a session has ended.
pub(super) fn terminated(reason: &Reason, kicked: &'static str) -> &'static str {
    match reason {
        Reason::SessionExpiration => "expired",
        other => disconnected(other, kicked),
    }
}

/// Why a message of a publisher was dropped; nothing for what the publisher was told.
pub(super) fn dropped(reason: &Reason) -> Option<&'static str> {
    match reason {
        Reason::PublishResult(_) => None,
        Reason::InflightWindowFull => Some("receive_maximum_exceeded"),
        Reason::MqttError(MqttError::PacketIdInUse(_)) => Some("packet_identifier_inuse"),
        Reason::MessageExpiration => Some("expired"),
        Reason::MessageQueueFull => Some("queue_full"),
        _ => Some("internal_error"),
    }
}

/// Why a message for one subscriber was dropped.
pub(super) fn delivery_dropped(reason: &Reason) -> &'static str {
    match reason {
        Reason::MessageExpiration => "expired",
        Reason::MessageQueueFull => "queue_full",
        // What was left of a session that is no more.
        _ => "session_terminated",
    }
}
