//! What a request would look like, without a queue and without sending it.

use std::sync::Arc;

use prometheus::IntCounter;

use super::request::Renderer;
use crate::clock::UnixMillis;
use crate::config;
use crate::event::Record;
use crate::name::SinkName;
use crate::store::{RecordNumber, StoredRecord};

/// A request as it would leave for one record, without what differs between attempts and without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// `POST`
    pub method: &'static str,
    /// Where it goes.
    pub url: String,
    /// Names and values; `***` for all values but those that say nothing that opens a door.
    pub headers: Vec<(String, String)>,
    /// What it carries, as text.
    pub body: String,
}

/// Renders a record for a sink; `node` is the gateway's name.
#[must_use]
pub fn preview(name: &SinkName, sink: &config::Sink, node: &str, record: Record) -> Preview {
    let dropped = IntCounter::new("dropped", "Headers left out.").expect("a plain name");
    let mut renderer = Renderer::new(name, sink, "preview", Arc::from(node), dropped);
    let number = RecordNumber(1);
    renderer.add(&StoredRecord { number, accepted_at: UnixMillis::now(), age_ms: 0, record });
    let message = renderer.finish(&[number]);
    let shown = |name: &str, value: &str| {
        let value = if config::shows_header(name) { value } else { "***" };
        (name.to_owned(), value.to_owned())
    };
    let shown_headers = message
        .target
        .headers
        .iter()
        .map(|(name, value)| shown(name.as_str(), &String::from_utf8_lossy(value.as_bytes())));
    let mut headers: Vec<_> = shown_headers.collect();
    let credentials = sink.request.credentials.iter();
    headers.extend(credentials.map(|secret| (secret.header.to_string(), "***".to_owned())));
    headers.sort();
    Preview {
        method: sink.request.method.name(),
        url: message.target.url.to_string(),
        headers,
        body: String::from_utf8_lossy(&message.body).into_owned(),
    }
}
