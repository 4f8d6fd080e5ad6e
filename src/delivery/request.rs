//! The bytes of a request: where it goes, its headers, its body and the id under which a receiver dedupes. Pure.
//!
//! A request is rendered once and sent as often as it takes: every attempt has the same id, address and body. All
//! records of a batch have the same address and headers; one that renders others starts the next batch.
//! What a message says never reaches scheme, host or port, and cannot leave the path segment it stands in.

use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use prometheus::IntCounter;
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::warn;
use url::Url;

use crate::config;
use crate::event::json::BodyFormat;
use crate::name::SinkName;
use crate::store::{RecordNumber, StoredRecord, record_id};
use crate::template::{Escape, Template, request_path};

/// A request without what differs between attempts.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Stands for exactly this set of records; the record's own id when it is one.
    pub(super) id: HeaderValue,
    /// Where it goes.
    pub(super) target: Arc<Target>,
    /// What it carries.
    pub(super) body: Bytes,
    /// The same compressed, once it was needed.
    pub(super) encoded: OnceCell<Bytes>,
}

/// Address and headers of a request. Headers with secrets are added when it is sent.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    /// The same; `None` when it is too long to be sent.
    pub(super) uri: Option<Uri>,
    pub(super) headers: HeaderMap,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Only the names of the headers: values may open doors.
        let headers: Vec<_> = self.headers.keys().collect();
        write!(formatter, "Target({}, {headers:?})", self.url)
    }
}

/// Form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GET and DELETE.
    Nothing,
    Single,
    JsonArray,
    Ndjson,
}

/// Headers that frame the message or belong to the connection: theirs to say is the client's.
const CONNECTION_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Renders the requests of one sink, one at a time, record by record.
#[derive(Debug)]
pub(super) struct Renderer {
    sink: SinkName,
    request: config::Request,
    headers: Vec<(HeaderName, Template)>,
    form: Form,
    format: BodyFormat,
    bytes_max: usize,
    /// A record's id without its number.
    id_prefix: String,
    /// The target of every request, where no template depends on the record.
    fixed_target: Option<Arc<Target>>,
    dropped_headers: IntCounter,
    told_of_dropped_header: bool,
    // The request being rendered.
    body: Vec<u8>,
    target: Option<Arc<Target>>,
    record_id: String,
}

impl Renderer {
    /// For the sink `sink` of the store `store_id`; `node` is the gateway's name in bodies.
    pub(super) fn new(
        sink: &SinkName,
        config: &config::Sink,
        store_id: &str,
        node: Arc<str>,
        dropped_headers: IntCounter,
    ) -> Self {
        let request = config.request.clone();
        let form = match (config.batch.records_max.get(), config.batch.format) {
            _ if !request.method.has_body() => Form::Nothing,
            (1, _) => Form::Single,
            (_, config::BatchFormat::JsonArray) => Form::JsonArray,
            (_, config::BatchFormat::Ndjson) => Form::Ndjson,
        };
        let (payload_as, undefined_as) = (request.payload_as, request.undefined_as);
        let mut renderer = Self {
            sink: sink.clone(),
            headers: Vec::new(),
            form,
            format: BodyFormat { payload_as, undefined_as, node },
            bytes_max: config.batch.bytes_max.get(),
            id_prefix: record_id(store_id, sink, RecordNumber(0)).trim_end_matches('0').to_owned(),
            fixed_target: None,
            dropped_headers,
            told_of_dropped_header: false,
            body: Vec::new(),
            target: None,
            record_id: String::new(),
            request,
        };
        renderer.headers = renderer.checked_headers();
        if renderer.target_templates().all(is_literal) {
            renderer.fixed_target = Some(Arc::new(renderer.render_target(&Value::Null)));
        }
        renderer
    }

    /// Adds a record to the request. `false` when it belongs into the next one: the body would grow past
    /// `batch.bytes_max`, or it goes elsewhere. The first always fits.
    pub(super) fn add(&mut self, record: &StoredRecord) -> bool {
        let needs_data = self.fixed_target.is_none() || self.request.body.is_some();
        let data = needs_data.then(|| self.format.template_data(&record.record));
        if !self.goes_along(data.as_ref()) {
            return false;
        }
        let before = self.body.len();
        self.separate();
        self.write_element(record, data.as_ref());
        let closing = usize::from(self.form == Form::JsonArray);
        if before > 0 && self.body.len() + closing > self.bytes_max {
            self.body.truncate(before);
            return false;
        }
        true
    }

    /// The request with the records that [`Self::add`] took, whose numbers these are. Not without any.
    pub(super) fn finish(&mut self, numbers: &[RecordNumber]) -> Message {
        if self.form == Form::JsonArray {
            self.body.push(b']');
        }
        // The scratch buffer stays, with its capacity.
        let body = Bytes::copy_from_slice(&self.body);
        self.body.clear();
        let target = self.target.take().expect("a request has a record");
        Message { id: self.request_id(numbers), target, body, encoded: OnceCell::new() }
    }

    /// Whether a record that renders like this has the target of the request; the first gives it its own.
    fn goes_along(&mut self, data: Option<&Value>) -> bool {
        let target = match (&self.fixed_target, data) {
            (Some(fixed), _) => Arc::clone(fixed),
            (None, data) => Arc::new(self.render_target(data.unwrap_or(&Value::Null))),
        };
        let first = self.target.get_or_insert_with(|| Arc::clone(&target));
        Arc::ptr_eq(first, &target) || *first == target
    }

    fn separate(&mut self) {
        match self.form {
            Form::JsonArray => self.body.push(if self.body.is_empty() { b'[' } else { b',' }),
            Form::Nothing | Form::Single | Form::Ndjson => {}
        }
    }

    fn write_element(&mut self, record: &StoredRecord, data: Option<&Value>) {
        match (&self.request.body, data) {
            _ if self.form == Form::Nothing => {}
            (Some(template), Some(data)) => {
                let text = template.render(data, Escape::None);
                let line = self.form == Form::Ndjson;
                // A line break would end the line of an NDJSON batch.
                self.body.extend(
                    text.bytes()
                        .map(|byte| if line && b"\r\n".contains(&byte) { b' ' } else { byte }),
                );
            }
            _ if self.form == Form::Single => {
                self.format.write_object(&record.record, None, &mut self.body);
            }
            _ => {
                self.record_id.clear();
                self.record_id.push_str(&self.id_prefix);
                self.record_id.push_str(&record.number.0.to_string());
                self.format.write_object(&record.record, Some(&self.record_id), &mut self.body);
            }
        }
        if self.form == Form::Ndjson {
            self.body.push(b'\n');
        }
    }

    /// `<store id>-<sink>-<number>`, and for several `<store id>-<sink>-<first>-<count>-<hash of the numbers>`.
    fn request_id(&self, numbers: &[RecordNumber]) -> HeaderValue {
        let prefix = &self.id_prefix;
        let id = match numbers {
            [] => panic!("a request has a record"),
            [one] => format!("{prefix}{}", one.0),
            [first, ..] => format!("{prefix}{}-{}-{:016x}", first.0, numbers.len(), hash(numbers)),
        };
        HeaderValue::try_from(id).expect("store ids, names and numbers are header characters")
    }

    fn target_templates(&self) -> impl Iterator<Item = &Template> {
        let query = self.request.query.iter().map(|(_, value)| value);
        let headers = self.headers.iter().map(|(_, value)| value);
        self.request.path.iter().chain(query).chain(headers)
    }

    fn render_target(&mut self, data: &Value) -> Target {
        let url = render_url(&self.request, data);
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        let content_type = match self.form {
            Form::Nothing => None,
            Form::Single | Form::JsonArray => Some("application/json"),
            Form::Ndjson => Some("application/x-ndjson"),
        };
        let content_type = content_type.map(HeaderValue::from_static);
        headers.extend(content_type.map(|value| (CONTENT_TYPE, value)));
        let mut unfit = Vec::new();
        for (name, template) in &self.headers {
            match HeaderValue::try_from(template.render(data, Escape::None)) {
                Ok(value) => drop(headers.insert(name, value)),
                Err(_) => unfit.push(name.clone()),
            }
        }
        for name in unfit {
            self.tell_of_dropped_header(
                name.as_str(),
                "its value has a line break or control character",
            );
        }
        // What `Url` gives is a URI of RFC 3986, and the only limit beyond is the length.
        let uri = Uri::try_from(url.as_str()).ok();
        Target { url, uri, headers }
    }

    fn checked_headers(&mut self) -> Vec<(HeaderName, Template)> {
        let configured = std::mem::take(&mut self.request.headers);
        let mut headers = Vec::new();
        for (name, value) in configured {
            match HeaderName::try_from(&name) {
                Ok(parsed) if CONNECTION_HEADERS.contains(&parsed.as_str()) => {
                    self.tell_of_dropped_header(&name, "it belongs to the connection");
                }
                Ok(parsed) => headers.push((parsed, value)),
                Err(_) => self.tell_of_dropped_header(&name, "it is no header name"),
            }
        }
        headers
    }

    /// Counts each, and tells of the first.
    fn tell_of_dropped_header(&mut self, name: &str, why: &str) {
        self.dropped_headers.inc();
        if !std::mem::replace(&mut self.told_of_dropped_header, true) {
            warn!(sink = %self.sink, header = name, why, "request header left out");
        }
    }
}

fn is_literal(template: &Template) -> bool {
    template.placeholders().next().is_none()
}

/// The sink's URL with path and query rendered.
fn render_url(request: &config::Request, data: &Value) -> Url {
    let mut url = request.url.clone();
    if let Some(template) = &request.path {
        let joined = request_path(url.path(), &template.render(data, Escape::Url));
        let (path, query) = match joined.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (joined.as_str(), None),
        };
        url.set_path(&without_dot_segments(path));
        if let Some(query) = query {
            url.set_query(Some(query));
        }
    }
    if !request.query.is_empty() {
        let mut query = url.query().unwrap_or_default().to_owned();
        for (name, value) in &request.query {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
            query.push('=');
            query.push_str(&value.render(data, Escape::Url));
        }
        url.set_query(Some(&query));
    }
    url
}

/// A client id of `..` must not climb out of its folder, and URLs read `%2e%2e` as `..` too: such a segment is
/// encoded once more, so that it stays one segment and still tells what it was.
fn without_dot_segments(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        match plain.as_str() {
            "." => "%252E",
            ".." => "%252E%252E",
            _ => segment,
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// FNV-1a, 64 bits, over the numbers in big-endian: the same in every version of Waypost.
fn hash(numbers: &[RecordNumber]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = numbers.iter().flat_map(|number| number.0.to_be_bytes());
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests;
