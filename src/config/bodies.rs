//! What requests carry, looked at as a whole: method, body, batch and content type have to fit each other.

use serde_json::Value;

use super::reader::Reader;
use super::{BatchFormat, Compression, Sink};
use crate::template::{Placeholder, Template};

/// Columns that devices choose, and that may have a quote in them.
const FROM_OUTSIDE: [&str; 4] = ["clientid", "payload", "topic", "username"];

/// Reports what is wrong with the requests of the sink whose table is `key`, and warns of what is risky.
pub(super) fn check(reader: &Reader<'_>, key: &str, sink: &Sink) {
    let here = Here { reader, key, sink };
    here.check_method();
    here.check_compression();
    here.check_batch();
    here.check_body();
    here.check_batch_template();
}

struct Here<'a> {
    reader: &'a Reader<'a>,
    key: &'a str,
    sink: &'a Sink,
}

impl Here<'_> {
    fn wrong(&self, part: &str, message: impl Into<String>) {
        self.reader.problem_with(&format!("{}.{part}", self.key), message);
    }

    fn warn(&self, part: &str, message: impl Into<String>) {
        self.reader.warn_of(&format!("{}.{part}", self.key), message);
    }

    fn is_single(&self) -> bool {
        self.sink.batch.records_max.get() == 1
    }

    fn check_method(&self) {
        let method = self.sink.request.method;
        if method.has_body() {
            return;
        }
        let name = method.name();
        if !self.is_single() {
            self.wrong(
                "batch.max_records",
                format!("must be 1 with `method = \"{name}\"`: such a request has no body for several records"),
            );
        }
        if self.sink.request.compression != Compression::None {
            self.wrong(
                "compression",
                format!("has nothing to compress with `method = \"{name}\"`"),
            );
        }
        if self.sink.request.body.is_some() {
            self.wrong("body", format!("cannot be sent with `method = \"{name}\"`"));
        }
    }

    fn check_compression(&self) {
        if self.sink.request.compression != Compression::None
            && self.header("content-encoding").is_some()
        {
            self.wrong(
                "compression",
                "sets the `content-encoding` header, which stands in `headers` as well",
            );
        }
    }

    fn check_batch(&self) {
        for part in ["linger", "format", "template", "separator"] {
            let part = format!("batch.{part}");
            if self.is_single() && self.reader.has(&format!("{}.{part}", self.key)) {
                self.warn(&part, "has no effect while `batch.max_records` is 1");
            }
        }
        let Some(body) = &self.sink.request.body else { return };
        let tells = |place: &Placeholder| matches!(place.column(), None | Some("record_id"));
        if !self.is_single() && !body.placeholders().any(tells) {
            self.warn(
                "body",
                "has no `${record_id}`: the service cannot tell a repeated record of a batch from a new one",
            );
        }
    }

    fn check_body(&self) {
        let Some(body) = &self.sink.request.body else { return };
        let array = !self.is_single() && self.sink.batch.format == BatchFormat::JsonArray;
        let meant_as_json = body.source().trim_start().starts_with(['{', '[']) && self.sends_json();
        if !array && !meant_as_json {
            return;
        }
        match (is_json(&body.filled(|_| "1")), array) {
            (true, _) => {}
            (false, true) => {
                return self.wrong(
                    "body",
                    "is not JSON, whatever stands for its placeholders; `batch.format = \"json_array\"` needs that",
                );
            }
            (false, false) => {
                return self.warn(
                    "body",
                    "is not JSON, whatever stands for its placeholders; if that is meant, set the header `content-type`",
                );
            }
        }
        let quoted = body.placeholders().filter(|place| {
            let is_it = |other: &Placeholder| other.position() == place.position();
            let from_outside = place.column().is_some_and(|column| FROM_OUTSIDE.contains(&column));
            from_outside && is_json(&body.filled(|other| if is_it(other) { "a b" } else { "1" }))
        });
        if let Some(place) = { quoted }.next() {
            self.warn(
                "body",
                format!(
                    "a quote or line break in the value of `{place}` breaks this JSON: write `{}`, without quotes around",
                    place.as_json()
                ),
            );
        }
    }

    fn check_batch_template(&self) {
        let BatchFormat::Template { template, .. } = &self.sink.batch.format else { return };
        let around = |place: &Placeholder| place.column() == Some("records");
        if !template.placeholders().any(around) {
            return self.wrong(
                "batch.template",
                "has no `${records}`, where the records go: for example '{\"records\": [${records}]}'",
            );
        }
        if self.sends_json() && !is_json(&template.filled(|_| "1")) {
            self.warn(
                "batch.template",
                "is not JSON, whatever stands for its placeholders; if that is meant, set the header `content-type`",
            );
        }
    }

    fn sends_json(&self) -> bool {
        self.header("content-type").is_none_or(|value| value.source().contains("json"))
    }

    fn header(&self, name: &str) -> Option<&Template> {
        let headers = &self.sink.request.headers;
        let found = headers.iter().find(|(other, _)| other.source().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}
