//! The bodies of brokers' web hooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::body::Body;
use super::fields::Fields;
use super::{Dialect, Refusal, Said, base62, emqx4, emqx5, nanomq, rmqtt_words};
use crate::config::{HookFormat, PayloadEncoding};
use crate::event::EventKind;

/// How to read bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format {
    /// Whose they are; `None` recognises each.
    pub dialect: Option<Dialect>,
    /// Of EMQX 4 and NanoMQ. RMQTT's payloads are base64, EMQX 5's text.
    pub payload_encoding: PayloadEncoding,
}

/// What a request says.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    /// Its events, in their order.
    pub events: Vec<Said>,
    /// Objects that a broker is known to send and that are no events here.
    pub ignored: usize,
}

/// Why a request says nothing: the first thing that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {number}: {refusal}")]
pub struct RefusedBody {
    /// Which event of the body, from 1.
    pub number: usize,
    /// What is wrong with it.
    #[source]
    pub refusal: Refusal,
}

impl From<&HookFormat> for Format {
    fn from(config: &HookFormat) -> Self {
        let (dialect, payload_encoding) = match *config {
            HookFormat::Auto(encoding) => (None, encoding),
            HookFormat::Emqx5 => (Some(Dialect::Emqx5), PayloadEncoding::Plain),
            HookFormat::Emqx4(encoding) => (Some(Dialect::Emqx4), encoding),
            HookFormat::NanoMq(encoding) => (Some(Dialect::NanoMq), encoding),
            HookFormat::Rmqtt => (Some(Dialect::Rmqtt), PayloadEncoding::Base64),
        };
        Self { dialect, payload_encoding }
    }
}

impl Format {
    /// Reads the body of a request: one object, an array of objects, or one object after another (NDJSON). All of it or
    /// nothing: a sender that gets an answer other than success sends all of it again.
    pub fn read(self, bytes: &[u8]) -> Result<Told, RefusedBody> {
        let refused = |number| move |refusal| RefusedBody { number, refusal };
        let mut told = Told::default();
        for (index, body) in Body::read(bytes).map_err(refused(1))?.into_iter().enumerate() {
            match self.one(body).map_err(refused(index + 1))? {
                Some(said) => told.events.push(said),
                None => told.ignored += 1,
            }
        }
        Ok(told)
    }

    /// What one object says of something that its place tells.
    pub(super) fn told_as(self, action: &str, bytes: &[u8]) -> Result<Option<Said>, Refusal> {
        let mut bodies = Body::read(bytes)?;
        match (bodies.pop(), bodies.is_empty()) {
            (Some(mut body), true) => {
                body.fields.insert("action".to_owned(), action.into());
                self.one(body)
            }
            _ => Err(Refusal::NotJson("must be one object".to_owned())),
        }
    }

    /// One object; `None` when it is no event here.
    fn one(self, body: Body) -> Result<Option<Said>, Refusal> {
        let fields = Fields(&body.fields);
        let (event, action) = (fields.text("event")?, fields.text("action")?);
        let dialect = match (self.dialect, event, action) {
            (Some(Dialect::Emqx5), None, _) => return Err(Refusal::OtherFormat("event")),
            // An authorisation event of EMQX 5 has an `action`, too.
            (Some(Dialect::Emqx5) | None, Some(_), _) => Dialect::Emqx5,
            (Some(_), _, None) => return Err(Refusal::OtherFormat("action")),
            (Some(dialect), _, Some(_)) => dialect,
            (None, None, Some(_)) if rmqtt_words::is_meant(fields) => Dialect::Rmqtt,
            (None, None, Some(_)) => Dialect::Emqx4,
            (None, None, None) => return Err(Refusal::NoKind),
        };
        let mut said = match dialect {
            Dialect::Emqx5 => {
                let name = event.unwrap_or_default();
                let kind = EventKind::named(name);
                let kind = kind.ok_or_else(|| Refusal::unknown_kind(name))?;
                emqx5::event(kind, fields)?
            }
            Dialect::Rmqtt if action == Some(rmqtt_words::NO_EVENT) => return Ok(None),
            Dialect::Rmqtt => rmqtt_words::said(action.unwrap_or_default(), fields)?,
            Dialect::NanoMq => nanomq::hook(action.unwrap_or_default(), fields)?,
            Dialect::Emqx4 | Dialect::Mosquitto => emqx4::said(action.unwrap_or_default(), fields)?,
        };
        let encoding = match dialect {
            Dialect::Emqx5
                if said.columns.remove("payload_encoding").as_ref().is_some_and(is_base64) =>
            {
                PayloadEncoding::Base64
            }
            Dialect::Emqx5 => PayloadEncoding::Plain,
            Dialect::Rmqtt => PayloadEncoding::Base64,
            _ => self.payload_encoding,
        };
        let payload = body.payload.map(|payload| decode(encoding, payload));
        said.payload = payload.transpose()?;
        Ok(Some(said))
    }
}

fn is_base64(encoding: &Value) -> bool {
    encoding.as_str() == Some("base64")
}

fn decode(encoding: PayloadEncoding, payload: Vec<u8>) -> Result<bytes::Bytes, Refusal> {
    let wrong = |should| Refusal::Wrong { column: "payload", should };
    let decoded = match encoding {
        PayloadEncoding::Plain => payload,
        PayloadEncoding::Base62 => base62::decode(&payload)
            .ok_or_else(|| wrong("in EMQX 4's base 62, as `payload_encoding` says"))?,
        PayloadEncoding::Base64 => BASE64.decode(&payload).map_err(|_| wrong("base64"))?,
    };
    Ok(decoded.into())
}
