//! `[sources.NAME]` with `type = "mqtt"`.

use std::num::NonZeroU16;
use std::time::Duration;

use url::Url;

use super::reader::{Table, Value};
use super::{MqttProtocol, MqttSource, MqttTransport, TlsClient, dialect};
use crate::event::Qos;

const DAY: Duration = Duration::from_hours(24);
/// The keep-alive field of CONNECT has 16 bits.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(65_535);
/// The largest session expiry of MQTT 5 that is not "never".
const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(4_294_967_294);
const RECEIVE_MAXIMUM: NonZeroU16 = NonZeroU16::new(1000).expect("not zero");

/// Where a broker is.
struct Address {
    transport: MqttTransport,
    host: String,
    port: u16,
}

pub(super) fn source(table: &mut Table<'_>) -> Option<MqttSource> {
    let address = table.require("url", "\"mqtt://127.0.0.1:1883\"");
    let address = address.and_then(|value| address_of(&value));
    let protocols =
        [("auto", MqttProtocol::Auto), ("5", MqttProtocol::V5), ("3.1.1", MqttProtocol::V311)];
    let protocol = table.or("protocol", MqttProtocol::Auto, |value| value.word(&protocols));
    let client_id = table.get("client_id").and_then(|value| value.nonempty_text());
    let username = table.get("username").and_then(|value| value.nonempty_text());
    let password = table.get("password");
    if let (Some(password), None) = (&password, &username) {
        password.wrong_secret::<()>("needs `username`: MQTT 3.1.1 has no password without one");
    }
    let password = password.and_then(|value| value.secret());
    let tls = tls(table, address.as_ref());
    let seconds = Duration::from_secs;
    let keep_alive =
        table.or("keep_alive", seconds(20), |value| value.seconds(seconds(5), KEEP_ALIVE_MAX));
    let connect_timeout =
        table.or("connect_timeout", seconds(10), |value| value.period(seconds(1)..=seconds(300)));
    let session_expiry =
        table.or("session_expiry", 7 * DAY, |value| value.seconds(seconds(60), SESSION_EXPIRY_MAX));
    let receive_maximum = table.or("receive_maximum", RECEIVE_MAXIMUM, |value| {
        NonZeroU16::new(u16::try_from(value.integer(1..=65_535)?).ok()?)
    });
    let packet_bytes_max = table.packet_bytes_max();
    let qos_max = table.or("max_qos", Qos::AtLeastOnce, qos);
    let events = dialect::events(table);
    let Address { transport, host, port } = address?;
    Some(MqttSource {
        transport,
        host,
        port,
        protocol,
        client_id,
        username,
        password,
        tls,
        keep_alive,
        connect_timeout,
        session_expiry,
        receive_maximum,
        packet_bytes_max,
        qos_max,
        events,
    })
}

fn qos(value: &Value<'_>) -> Option<Qos> {
    match value.integer(0..=2)? {
        0 => Some(Qos::AtMostOnce),
        1 => Some(Qos::AtLeastOnce),
        _ => value.wrong(
            "must be 0 or 1, is the number 2: a QoS 2 message is received at QoS 1, which is as safe here, since \
             every record has an id to tell a repeated one by",
        ),
    }
}

fn tls(table: &mut Table<'_>, address: Option<&Address>) -> TlsClient {
    let Some((there, client)) = table.tls_client() else { return TlsClient::default() };
    let encrypted = address.is_none_or(|address| {
        matches!(address.transport, MqttTransport::Tls | MqttTransport::WebSocketTls { .. })
    });
    if !encrypted {
        there.wrong::<()>(
            "has no effect on this URL; `mqtts://` and `wss://` are the encrypted ones",
        );
    }
    client
}

/// `mqtt://HOST[:PORT]`, `mqtts://`, `ws://HOST[:PORT][/PATH]`, `wss://`
fn address_of(value: &Value<'_>) -> Option<Address> {
    const SCHEMES: [&str; 4] = ["mqtt", "mqtts", "ws", "wss"];
    let text = value.nonempty_text()?;
    let url =
        value.url_of(&text, "mqtt://127.0.0.1:1883", &SCHEMES, "`username` and `password`")?;
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address has brackets in a URL only.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let scheme = url.scheme();
    if !scheme.starts_with("ws") && (!matches!(url.path(), "" | "/") || url.query().is_some()) {
        return value.wrong(format!(
            "`{scheme}://` has no path; topic filters stand in `topics` of a webhook or rule"
        ));
    }
    let (transport, port) = match scheme {
        "mqtts" => (MqttTransport::Tls, 8883),
        "ws" => (MqttTransport::WebSocket { path: path_and_query(&url) }, 80),
        "wss" => (MqttTransport::WebSocketTls { path: path_and_query(&url) }, 443),
        _ => (MqttTransport::Tcp, 1883),
    };
    let port = url.port().unwrap_or(port);
    if port == 0 {
        return value.wrong("the port must not be 0");
    }
    Some(Address { transport, host, port })
}

fn path_and_query(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}
