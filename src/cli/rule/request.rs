//! The requests that would leave for what a rule puts out.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use bytes::Bytes;

use super::outcome::Tested;
use crate::clock::UnixMillis;
use crate::config::Config;
use crate::delivery::{Preview, preview};
use crate::event::{Event, Occurrence, Record};
use crate::name::{RuleName, SinkName, SourceName};
use crate::rule::Rule;
use crate::rule::events;
use crate::rule::value::{Map, Value};

/// A request to a sink. `Display` shows it as it would go over the wire, but for secrets.
pub(super) struct Request {
    sink: SinkName,
    preview: Preview,
}

/// One request for each output and sink.
pub(super) fn requests_of(
    config: &Config,
    name: &RuleName,
    rule: &Rule,
    tested: &Tested,
) -> Vec<Request> {
    let Tested::Matched(outputs) = tested else { return Vec::new() };
    let mut requests = Vec::new();
    let as_it_is = rule.program.as_ref().is_none_or(|program| program.selects_all());
    for output in outputs {
        let record = record_of(name, output, as_it_is);
        for sink in &rule.sinks {
            if let Some(there) = config.sinks.get(sink) {
                let preview = preview(sink, there, &config.gateway.name, record.clone());
                requests.push(Request { sink: sink.clone(), preview });
            }
        }
    }
    requests
}

/// A record of an event as it is, or one whose bodies are made of an output alone.
fn record_of(name: &RuleName, output: &Map, as_it_is: bool) -> Record {
    let json = Value::map(output.clone()).to_json();
    let columns = match serde_json::from_slice(&json) {
        Ok(serde_json::Value::Object(mut columns)) if as_it_is => {
            columns.retain(|name, _| {
                output.get(name.as_bytes()).is_some_and(|value| !value.is_undefined())
            });
            columns
        }
        _ => serde_json::Map::new(),
    };
    let source = SourceName::new("test").expect("a name");
    let occurrence = Occurrence::with_columns(events::kind_of(output), columns);
    let event = Arc::new(Event::of(source, UnixMillis::now(), occurrence));
    let output = (!as_it_is).then(|| Bytes::from(json));
    Record { rule: name.clone(), event, output, replay: None }
}

impl Request {
    pub(super) fn to_value(&self) -> Value {
        let text = |text: &str| Value::text_of(text);
        let map = |entries: Vec<(&str, Value)>| {
            let entries = entries.into_iter();
            let owned = entries.map(|(key, value)| (Bytes::copy_from_slice(key.as_bytes()), value));
            Value::map(Map::from_entries(owned.collect()))
        };
        let headers = self.preview.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), text(value))).collect();
        map(vec![
            ("sink", text(self.sink.as_str())),
            ("method", text(self.preview.method)),
            ("url", text(&self.preview.url)),
            ("headers", map(headers)),
            ("body", text(&self.preview.body)),
        ])
    }
}

impl Display for Request {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Preview { method, url, headers, body } = &self.preview;
        writeln!(out, "to {}, which is not asked:\n{method} {url}", self.sink)?;
        for (name, value) in headers {
            writeln!(out, "{name}: {value}")?;
        }
        if body.is_empty() { Ok(()) } else { write!(out, "\n{body}") }
    }
}
