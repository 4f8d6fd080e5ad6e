//! The bodies of EMQX 4's webhook plugin.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::{BodyFormat, PayloadAs};
use crate::event::catalogue::{Field4, From4, PAYLOAD_ENCODING, Profile};
use crate::event::{Event, What};

impl BodyFormat {
    /// Visits every key of the body in its order.
    pub(super) fn version4<'event>(
        &'event self,
        event: &'event Event,
        profile: Profile,
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let body = &event.kind().entry().version4;
        let documented = profile == Profile::Docs;
        visit("action", Cell::Text(if documented { body.action_docs } else { body.action }));
        if !documented || body.ours {
            visit("node", self.common(event, "node"));
        }
        if body.ours {
            // Nobody who reads the plugin's documentation finds it there.
            visit("extension", Cell::Text("waypost"));
        }
        for field in body.fields.iter().filter(|field| field.documented || !documented) {
            self.field(event, *field, profile, visit);
        }
    }

    fn field<'event>(
        &'event self,
        event: &'event Event,
        field: Field4,
        profile: Profile,
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let value = match field.from {
            From4::Column(name) => Cell::of(event, name),
            From4::Moment(name) => match (profile, Cell::of(event, name).into_value().as_u64()) {
                (_, None) if !field.documented => return,
                (_, None) => Cell::Undefined,
                (Profile::Code, Some(milliseconds)) => Cell::Integer(milliseconds),
                (Profile::Docs, Some(milliseconds)) => Cell::Integer(milliseconds / 1000),
            },
            From4::Address => Cell::owned_text(address(event)),
            From4::Retain => retain(event),
            From4::Options => options(event),
            From4::NoOptions => match Cell::of(event, "opts") {
                Cell::Undefined => Cell::OwnedJson(json!({})),
                known => known,
            },
            From4::Payload => return self.payload4(event, visit),
        };
        visit(field.key, value);
    }

    /// The plugin does not say how a payload is encoded: it is configured. Only where bytes that are no text must not be
    /// lost does the body say so.
    fn payload4<'event>(
        &'event self,
        event: &'event Event,
        visit: &mut impl FnMut(&str, Cell<'event>),
    ) {
        let Some(payload) = event.payload() else { return visit("payload", Cell::Undefined) };
        let (value, encoding) = self.payload(payload);
        visit("payload", value);
        let configured = matches!(self.payload_as, PayloadAs::Base64 | PayloadAs::Base62);
        if let Some(encoding) = encoding.filter(|_| !configured) {
            visit(PAYLOAD_ENCODING, Cell::Text(encoding));
        }
    }
}

fn address(event: &Event) -> Option<String> {
    let text = |name| match Cell::of(event, name) {
        Cell::Json(Value::String(text)) => Some(text.clone()),
        Cell::OwnedText(text) => Some(text),
        _ => None,
    };
    text("peerhost").or_else(|| {
        let peer = text("peername")?;
        match peer.parse::<SocketAddr>() {
            Ok(address) => Some(address.ip().to_string()),
            Err(_) => peer.rsplit_once(':').map(|(host, _)| host.to_owned()),
        }
    })
}

fn retain(event: &Event) -> Cell<'_> {
    match &event.what {
        What::Published(message) => Cell::Bool(message.retain),
        What::Other(occurrence) => {
            let flags = occurrence.columns().get("flags");
            flags.and_then(|flags| flags.get("retain")).map_or(Cell::Undefined, Cell::Json)
        }
    }
}

fn options(event: &Event) -> Cell<'_> {
    match (Cell::of(event, "opts"), Cell::of(event, "qos")) {
        (Cell::Undefined, Cell::Undefined) => Cell::Undefined,
        (Cell::Undefined, qos) => {
            let mut options = Map::new();
            options.insert("qos".to_owned(), qos.into_value());
            if let Cell::Json(properties) = Cell::of(event, "sub_props") {
                options.insert("sub_props".to_owned(), properties.clone());
            }
            Cell::OwnedJson(Value::Object(options))
        }
        (known, _) => known,
    }
}
