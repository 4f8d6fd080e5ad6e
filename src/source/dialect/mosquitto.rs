//! Mosquitto's log, as it publishes it under `$SYS/broker/log` (`log_dest topic`); 2.0 and 2.1.
//!
//! The lines are made for people: a client id or user name stands in them as it is, with its spaces, parentheses and line
//! breaks. So each line is read in every way that its form allows, once it is known which version the broker is and whether
//! its lines have times. A line that gives two clients is refused.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Refusal, Said};
use crate::event::EventKind;
use crate::topic::TopicFilter;

/// The topic of notices: clients that come and go.
pub const NOTICES: &str = "$SYS/broker/log/N";
/// The topic of errors: a client that is thrown out by another one with its id.
pub const ERRORS: &str = "$SYS/broker/log/E";
/// The topic of subscriptions (`log_type subscribe`).
pub const SUBSCRIBED: &str = "$SYS/broker/log/M/subscribe";
/// The topic of subscriptions given up (`log_type unsubscribe`).
pub const UNSUBSCRIBED: &str = "$SYS/broker/log/M/unsubscribe";
/// Which version it is, retained.
pub const VERSION: &str = "$SYS/broker/version";

/// It writes lines into a buffer of 1000 bytes, a zero at the end included.
const LINE_BYTES_MAX: usize = 999;

/// What starts a line that tells of a client.
const CONNECTED: [(&str, bool); 2] =
    [("New client connected from ", false), ("New bridge connected from ", true)];
const CLIENT: &str = "Client ";
/// A connection that was closed before it had said who it is.
const NOBODY: &str = "Client <unknown> ";
/// A connection of which nothing else is known yet.
const ACCEPTED: &str = "New connection from ";
const FAILED: &str = "Client connection from ";
const BAD_SOCKET: &str = "Bad socket read/write on client ";
const EXPIRING: &str = "Expiring client ";

/// How a line of a client that leaves ends in 2.0, and in EMQX's words why.
const ENDINGS: [(&str, &str); 11] = [
    (" disconnected.", "normal"),
    (" closed its connection.", "tcp_closed"),
    (" has exceeded timeout, disconnecting.", "keepalive_timeout"),
    (" disconnected due to protocol error.", "protocol_error"),
    (" disconnected due to malformed packet.", "malformed_packet"),
    (" disconnected, not authorised.", "not_authorized"),
    (" disconnected due to oversize packet.", "frame_too_large"),
    (" disconnected due to oversize payload.", "frame_too_large"),
    (" disconnected due to out of memory.", "out_of_memory"),
    (" been disconnected by administrative action.", "kicked"),
    (" already connected, closing old connection.", "takenover"),
];
const COLON: &str = " disconnected: ";
const NOT_ALLOWED: &str = " disconnected due to using not allowed feature (";

/// What stands behind `disconnected: ` in 2.1. Both have what the system says in place of these.
const REASONS: [(&str, &str); 12] = [
    ("connection closed by client", "tcp_closed"),
    ("exceeded timeout", "keepalive_timeout"),
    ("protocol error", "protocol_error"),
    ("malformed packet", "malformed_packet"),
    ("not authorised", "not_authorized"),
    ("oversize packet", "frame_too_large"),
    ("oversize payload", "frame_too_large"),
    ("out of memory", "out_of_memory"),
    ("administrative action", "kicked"),
    ("session taken over", "takenover"),
    ("used disallowed feature", "feature_not_allowed"),
    ("Connection reset by peer", "tcp_closed"),
];
/// Anything else that ended a connection.
const SOCKET_ERROR: &str = "socket_error";

/// What a broker's lines have shown of it so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Since 2.1 the address stands behind the id of a client that leaves.
    has_addresses: Option<bool>,
    /// Whether each line starts with a time.
    has_times: Option<bool>,
}

/// The one way to read a line, where there is one.
fn one_of(mut readings: Vec<Said>) -> Result<Said, Refusal> {
    match (readings.pop(), readings.is_empty()) {
        (Some(said), true) if said.text("clientid") == Some("") => Err(Refusal::UnknownLine),
        (Some(said), true) => Ok(said),
        (Some(_), false) => Err(Refusal::Ambiguous),
        (None, _) => Err(Refusal::UnknownLine),
    }
}

impl Learned {
    /// Reads a message of one of the topics above. `None` when it tells of no client, as most lines do.
    ///
    /// `own` is the client id of whoever listens: its own subscriptions are the first that it is told of, before other lines
    /// show whether there are times, and are left out then.
    pub fn read(
        &mut self,
        topic: &str,
        payload: &[u8],
        own: &str,
    ) -> Option<Result<Said, Refusal>> {
        let Ok(line) = std::str::from_utf8(payload) else { return Some(Err(Refusal::NotUtf8)) };
        if topic == VERSION {
            self.has_addresses = has_addresses(line).or(self.has_addresses);
            return None;
        }
        let read = match topic {
            NOTICES | ERRORS => self.notice(line)?,
            SUBSCRIBED | UNSUBSCRIBED if self.has_times.is_none() && line.contains(own) => {
                return None;
            }
            SUBSCRIBED | UNSUBSCRIBED => self.subscription(topic == SUBSCRIBED, line),
            _ => return None,
        };
        if line.len() >= LINE_BYTES_MAX {
            return Some(Err(Refusal::Truncated));
        }
        Some(one_of(read))
    }

    /// A line on the topics of notices and errors; `None` when it tells of no client.
    fn notice(&mut self, line: &str) -> Option<Vec<Said>> {
        // The words that start a line are none that a time is written with, so it is clear whether there is one.
        let (time, text) = if starts(line) {
            (None, line)
        } else {
            let (time, text) = line.split_once(": ").filter(|(time, _)| is_time(time))?;
            starts(text).then_some((Some(time), text))?
        };
        self.has_times = Some(time.is_some());
        if text.starts_with(NOBODY) || text.starts_with(ACCEPTED) {
            return None;
        }
        let at = time.and_then(milliseconds);
        let readings = if let Some((rest, is_bridge)) = connected(text) {
            arrivals(rest, is_bridge, at)
        } else if let Some(rest) = text.strip_prefix(EXPIRING) {
            rest.strip_suffix(" due to timeout.").map(expired).into_iter().collect()
        } else {
            self.departures(text, at)
        };
        (!readings.is_empty() || !text.starts_with(FAILED)).then_some(readings)
    }

    /// Every way to read the line of a client that leaves.
    fn departures(&self, text: &str, at: Option<u64>) -> Vec<Said> {
        let mut said = Vec::new();
        if let Some(rest) = text.strip_prefix(BAD_SOCKET) {
            for (colon, _) in rest.match_indices(": ") {
                said.extend(rest.get(..colon).map(|id| departure(id, None, SOCKET_ERROR, at)));
            }
            return said;
        }
        let Some(rest) = text.strip_prefix(CLIENT) else { return said };
        for (ending, reason) in ENDINGS {
            // Only a clean end has the same words in both versions.
            let in_both = reason == "normal";
            if let Some(id) = rest.strip_suffix(ending) {
                self.with_address(id, reason, in_both, at, &mut said);
            }
        }
        if rest.ends_with(").")
            && let Some((id, _)) = rest.split_once(NOT_ALLOWED)
        {
            said.push(departure(id, None, "feature_not_allowed", at));
        }
        for (start, _) in rest.match_indices(COLON) {
            let why = rest.get(start + COLON.len()..).and_then(|why| why.strip_suffix('.'));
            let (Some(id), Some(why)) = (rest.get(..start), why) else { continue };
            let known = REASONS.iter().find(|(words, _)| why.starts_with(words));
            self.with_address(
                id,
                known.map_or(SOCKET_ERROR, |(_, reason)| reason),
                true,
                at,
                &mut said,
            );
        }
        said
    }

    /// Both ways to read `ID [ADDRESS]`: 2.1 adds the address of the client, in 2.0 it is a part of the id.
    fn with_address(
        &self,
        id: &str,
        reason: &str,
        in_both: bool,
        at: Option<u64>,
        said: &mut Vec<Said>,
    ) {
        let address = id.strip_suffix(']').and_then(|rest| {
            let (id, address) = rest.rsplit_once(" [")?;
            Some((id, peer(address)?))
        });
        match (address, self.has_addresses) {
            (Some((short, address)), Some(true) | None) if in_both => {
                said.push(departure(short, Some(address), reason, at));
                if self.has_addresses.is_none() {
                    said.push(departure(id, None, reason, at));
                }
            }
            // There is one, in a form that is not known.
            (None, Some(true)) if in_both => {}
            _ => said.push(departure(id, None, reason, at)),
        }
    }

    /// Every way to read `ID QOS FILTER` or `ID FILTER`, with a time in front or none.
    fn subscription(&self, subscribed: bool, line: &str) -> Vec<Said> {
        let mut readings = Vec::new();
        let mut add = |text: &str| {
            readings.extend(if subscribed { subscriptions(text) } else { unsubscriptions(text) });
        };
        if self.has_times != Some(false)
            && let Some((_, text)) = line.split_once(": ").filter(|(time, _)| is_time(time))
        {
            add(text);
        }
        if self.has_times != Some(true) {
            add(line);
        }
        readings
    }
}

fn starts(text: &str) -> bool {
    connected(text).is_some()
        || [CLIENT, BAD_SOCKET, EXPIRING, ACCEPTED].iter().any(|start| text.starts_with(start))
}

fn connected(text: &str) -> Option<(&str, bool)> {
    CONNECTED.iter().find_map(|(start, bridge)| Some((text.strip_prefix(start)?, *bridge)))
}

/// Times start with a digit, by default and by most formats. Words before a colon are a client's, as in `Outgoing messages
/// are being dropped for client x: y`.
fn is_time(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

/// `mosquitto version 2.0.18`
fn has_addresses(version: &str) -> Option<bool> {
    let numbers = version.strip_prefix("mosquitto version ")?;
    let mut numbers = numbers.split('.').map(str::parse::<u32>);
    match (numbers.next()?, numbers.next()?) {
        (Ok(major), Ok(minor)) => Some((major, minor) >= (2, 1)),
        _ => None,
    }
}

/// Seconds since 1970, as Mosquitto writes them by default; a time in another form is not read.
fn milliseconds(time: &str) -> Option<u64> {
    time.parse::<u64>()
        .ok()
        .filter(|seconds| (1..100_000_000_000).contains(seconds))
        .map(|seconds| seconds * 1000)
}

/// `ADDRESS:PORT`, where IPv6 addresses have no brackets.
fn peer(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

/// Every way to read `ADDRESS:PORT as ID (pP, cC, kK).` or `.. (pP, cC, kK, u'USER').`
fn arrivals(rest: &str, is_bridge: bool, at: Option<u64>) -> Vec<Said> {
    let Some((address, client)) = rest.split_once(" as ") else { return Vec::new() };
    let address = peer(address);
    let readings = client.match_indices(" (p").filter_map(|(start, _)| {
        let (id, options) = (client.get(..start)?, client.get(start + " (p".len()..)?);
        let said = arrival(id, options)?;
        Some(said)
    });
    let complete = |mut said: Said| {
        said.set_peer(address);
        said.set("is_bridge", Some(is_bridge));
        said.set("connected_at", at);
        said
    };
    readings.map(complete).collect()
}

/// `options` is `P, cC, kK).` or `P, cC, kK, u'USER').`, where P is 1 for MQTT 3.1, 2 for 3.1.1 and 5.
fn arrival(id: &str, options: &str) -> Option<Said> {
    let options = options.strip_suffix(").")?;
    let (options, username) = match options.split_once(", u'") {
        None => (options, None),
        Some((options, user)) => (options, Some(user.strip_suffix('\'')?)),
    };
    let mut options = options.split(", ");
    let (version, name) = match options.next()? {
        "1" => (3, "MQIsdp"),
        "2" => (4, "MQTT"),
        "5" => (5, "MQTT"),
        _ => return None,
    };
    let clean_start = match options.next()? {
        "c0" => false,
        "c1" => true,
        _ => return None,
    };
    let keepalive: u16 = options.next()?.strip_prefix('k')?.parse().ok()?;
    if options.next().is_some() || id.is_empty() {
        return None;
    }
    let mut said = Said::new(EventKind::ClientConnected);
    said.set("clientid", Some(id));
    said.set("username", username);
    said.set("proto_ver", Some(version));
    said.set("proto_name", Some(name));
    said.set("clean_start", Some(clean_start));
    said.set("keepalive", Some(keepalive));
    Some(said)
}

fn departure(id: &str, peer: Option<SocketAddr>, reason: &str, at: Option<u64>) -> Said {
    let mut said = Said::new(EventKind::ClientDisconnected);
    said.set("clientid", Some(id));
    said.set("reason", Some(reason));
    said.set("disconnected_at", at);
    said.set_peer(peer);
    said
}

fn expired(id: &str) -> Said {
    let mut said = Said::new(EventKind::SessionTerminated);
    said.set("clientid", Some(id));
    said.set("reason", Some("expired"));
    said
}

fn subscriptions(text: &str) -> Vec<Said> {
    let splits = text.match_indices(' ').filter_map(|(space, _)| {
        let (id, rest) = (text.get(..space)?, text.get(space + 1..)?);
        let (qos, filter) = rest.split_once(' ')?;
        let qos: u8 = qos.parse().ok().filter(|level| *level <= 2)?;
        let mut said = subscription(EventKind::SessionSubscribed, id, filter)?;
        said.set("qos", Some(qos));
        Some(said)
    });
    splits.collect()
}

fn unsubscriptions(text: &str) -> Vec<Said> {
    let splits = text.match_indices(' ').filter_map(|(space, _)| {
        let (id, filter) = (text.get(..space)?, text.get(space + 1..)?);
        subscription(EventKind::SessionUnsubscribed, id, filter)
    });
    splits.collect()
}

fn subscription(kind: EventKind, id: &str, filter: &str) -> Option<Said> {
    if id.is_empty() || TopicFilter::new(filter).is_err() {
        return None;
    }
    let mut said = Said::new(kind);
    said.set("clientid", Some(id));
    said.set("topic", Some(filter));
    Some(said)
}

#[cfg(test)]
mod tests;
