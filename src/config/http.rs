//! `[sources.NAME]` with `type = "http"`: web hooks of brokers.

use std::num::NonZeroUsize;

use super::reader::{Table, Value};
use super::{Listener, Secret};

const BODY_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).expect("not zero");
/// A body is held in memory whole.
const BODY_BYTES_MAX: u64 = 16 << 20;
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// `type = "http"`
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSource {
    /// Where brokers send to. Not empty.
    pub listeners: Vec<Listener>,
    /// What they must show; `None` takes everybody's events, which is only accepted on loopback or with `allow_anonymous`.
    pub token: Option<Secret>,
    /// Whose bodies they are.
    pub format: HookFormat,
    /// Largest body of a request.
    pub body_bytes_max: NonZeroUsize,
    /// Connections at once.
    pub connections_max: NonZeroUsize,
}

/// Whose web hook it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFormat {
    /// Each body shows it. The encoding is that of EMQX 4 and NanoMQ.
    Auto(PayloadEncoding),
    /// EMQX 5 and later.
    Emqx5,
    /// `emqx_web_hook` of EMQX 4.
    Emqx4(PayloadEncoding),
    /// RMQTT's plugin.
    Rmqtt,
    /// NanoMQ's.
    NanoMq(PayloadEncoding),
}

/// How a payload stands in a body of EMQX 4 or NanoMQ; the body does not say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// As text.
    #[default]
    Plain,
    /// EMQX 4's base 62.
    Base62,
    /// Base64.
    Base64,
}

pub(super) fn source(table: &mut Table<'_>) -> Option<HttpSource> {
    let listen = table.require("listen", "[\"127.0.0.1:8090\"]");
    let listeners = listen
        .as_ref()
        .and_then(|value| value.some("a source that listens nowhere is no use", Value::listener));
    let token_there = table.get("token");
    let token = token_there.as_ref().and_then(Value::secret);
    let allow_anonymous = table.get("allow_anonymous");
    let allowed = allow_anonymous.as_ref().and_then(Value::boolean);
    if let (Some(true), Some(value), Some(_)) = (allowed, &allow_anonymous, &token_there) {
        value.wrong::<()>("has no effect with a `token`: leave one of the two out");
    }
    let format = format(table);
    let body_bytes_max = table.or("max_body_bytes", BODY_BYTES, |value| {
        NonZeroUsize::new(usize::try_from(value.size(1024..=BODY_BYTES_MAX)?).ok()?)
    });
    let connections_max = table.or("max_connections", CONNECTIONS, |value| value.count(100_000));
    let listeners = listeners?;
    let open = listeners.iter().find(|listener| !listener.address.ip().is_loopback());
    if let (Some(open), None, false, Some(listen)) =
        (open, &token_there, allowed == Some(true), &listen)
    {
        return listen.wrong(format!(
            "{} can be reached from other machines and there is no `token`: anybody could send events; add `token`, listen \
             on 127.0.0.1, or write `allow_anonymous = true`",
            open.address
        ));
    }
    Some(HttpSource { listeners, token, format, body_bytes_max, connections_max })
}

fn format(table: &mut Table<'_>) -> HookFormat {
    let encodings = [
        ("plain", PayloadEncoding::Plain),
        ("base62", PayloadEncoding::Base62),
        ("base64", PayloadEncoding::Base64),
    ];
    let encoding_there = table.get("payload_encoding");
    let encoding = encoding_there.as_ref().and_then(|value| value.word(&encodings));
    let encoding = encoding.unwrap_or_default();
    let formats = [
        ("auto", HookFormat::Auto(encoding)),
        ("emqx5", HookFormat::Emqx5),
        ("emqx4", HookFormat::Emqx4(encoding)),
        ("rmqtt", HookFormat::Rmqtt),
        ("nanomq", HookFormat::NanoMq(encoding)),
    ];
    let format = table.or("format", HookFormat::Auto(encoding), |value| value.word(&formats));
    let Some(value) = encoding_there else { return format };
    match format {
        HookFormat::Emqx5 => value.wrong("has no effect on EMQX 5, whose payloads are text"),
        HookFormat::Rmqtt => value.wrong("has no effect on RMQTT, whose payloads are always base64"),
        HookFormat::NanoMq(PayloadEncoding::Base62) => value.wrong::<()>(
            "cannot be \"base62\" for NanoMQ, whose base 62 writes different bytes alike; let it send `base64`",
        ),
        HookFormat::Auto(_) | HookFormat::Emqx4(_) | HookFormat::NanoMq(_) => None,
    };
    format
}
