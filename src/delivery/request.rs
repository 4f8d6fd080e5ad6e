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
use serde_json::{Value, json};
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
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// GET and DELETE.
    Nothing,
    Single,
    JsonArray,
    Ndjson,
    /// The records, with this between them, in a template of their own.
    Around {
        template: Template,
        separator: String,
    },
}

/// The name of a header: mostly known before there is a record.
#[derive(Debug, Clone)]
enum Name {
    Fixed(HeaderName),
    Rendered(Template),
}

/// Headers that frame the message, belong to the connection or tell a repeated request from a new one: theirs to say is
/// the client's.
const RESERVED_HEADERS: [&str; 13] = [
    "connection",
    "content-length",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Renders the requests of one sink, one at a time, record by record.
#[derive(Debug)]
pub(super) struct Renderer {
    sink: SinkName,
    request: config::Request,
    headers: Vec<(Name, Template)>,
    form: Form,
    /// What stands around the records of a body, at most, in bytes.
    frame_bytes: usize,
    /// Templates see the record's id among the columns.
    shows_record_id: bool,
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
    /// The id of its first record.
    first_id: String,
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
        let form = match (config.batch.records_max.get(), &config.batch.format) {
            _ if !request.method.has_body() => Form::Nothing,
            (1, _) => Form::Single,
            (_, config::BatchFormat::JsonArray) => Form::JsonArray,
            (_, config::BatchFormat::Ndjson) => Form::Ndjson,
            (_, config::BatchFormat::Template { template, separator }) => {
                Form::Around { template: template.clone(), separator: separator.clone() }
            }
        };
        let format = BodyFormat {
            events: request.event_format,
            payload_as: request.payload_as,
            undefined_as: request.undefined_as,
            node,
        };
        let mut renderer = Self {
            sink: sink.clone(),
            headers: Vec::new(),
            form,
            frame_bytes: 0,
            shows_record_id: false,
            format,
            bytes_max: config.batch.bytes_max.get(),
            id_prefix: record_id(store_id, sink, RecordNumber(0))
                .as_str()
                .trim_end_matches('0')
                .to_owned(),
            fixed_target: None,
            dropped_headers,
            told_of_dropped_header: false,
            body: Vec::new(),
            target: None,
            record_id: String::new(),
            first_id: String::new(),
            request,
        };
        renderer.headers = renderer.checked_headers();
        renderer.frame_bytes = renderer.frame_bytes(config.batch.records_max.get());
        let names_it = |template: &Template| {
            template.placeholders().any(|place| place.column() == Some("record_id"))
        };
        // As in the default body, where an element of a batch has it and a single record does not.
        renderer.shows_record_id = config.batch.records_max.get() > 1
            || renderer.target_templates().chain(&renderer.request.body).any(names_it);
        if renderer.target_templates().all(is_literal) {
            renderer.fixed_target = Some(Arc::new(renderer.render_target(&Value::Null)));
        }
        renderer
    }

    /// Adds a record to the request. `false` when it belongs into the next one: the body would grow past
    /// `batch.bytes_max`, or it goes elsewhere. The first always fits.
    pub(super) fn add(&mut self, record: &StoredRecord) -> bool {
        let needs_data = self.fixed_target.is_none() || self.request.body.is_some();
        self.record_id.clear();
        if let Some(replay) = &record.record.replay {
            self.record_id.push_str(replay.record_id.as_str());
        } else {
            self.record_id.push_str(&self.id_prefix);
            self.record_id.push_str(&record.number.0.to_string());
        }
        let data = needs_data.then(|| self.template_data(record));
        if !self.goes_along(data.as_ref()) {
            return false;
        }
        let before = self.body.len();
        self.separate();
        self.write_element(record, data.as_ref());
        if before > 0 && self.body.len() + self.frame_bytes > self.bytes_max {
            self.body.truncate(before);
            return false;
        }
        true
    }

    /// The request with the records that [`Self::add`] took, whose numbers these are. Not without any.
    pub(super) fn finish(&mut self, numbers: &[RecordNumber]) -> Message {
        let id = match numbers {
            [_] => header_value(&self.first_id),
            _ => self.batch_id(numbers),
        };
        if self.form == Form::JsonArray {
            self.body.push(b']');
        }
        let body = match &self.form {
            Form::Around { template, .. } => {
                let records = String::from_utf8_lossy(&self.body);
                self.framed(template, &records, numbers.len(), id.to_str().unwrap_or_default())
            }
            // The scratch buffer stays, with its capacity.
            _ => Bytes::copy_from_slice(&self.body),
        };
        self.body.clear();
        let target = self.target.take().expect("a request has a record");
        Message { id, target, body, encoded: OnceCell::new() }
    }

    /// Whether a record that renders like this has the target of the request; the first gives it its own.
    fn goes_along(&mut self, data: Option<&Value>) -> bool {
        let target = match (&self.fixed_target, data) {
            (Some(fixed), _) => Arc::clone(fixed),
            (None, data) => Arc::new(self.render_target(data.unwrap_or(&Value::Null))),
        };
        if self.target.is_none() {
            self.first_id.clone_from(&self.record_id);
        }
        let first = self.target.get_or_insert_with(|| Arc::clone(&target));
        Arc::ptr_eq(first, &target) || *first == target
    }

    fn separate(&mut self) {
        match &self.form {
            Form::JsonArray => self.body.push(if self.body.is_empty() { b'[' } else { b',' }),
            Form::Around { separator, .. } if !self.body.is_empty() => {
                self.body.extend_from_slice(separator.as_bytes());
            }
            Form::Nothing | Form::Single | Form::Ndjson | Form::Around { .. } => {}
        }
    }

    /// The body of a batch template.
    fn framed(&self, template: &Template, records: &str, count: usize, id: &str) -> Bytes {
        let node = &*self.format.node;
        let data = json!({ "records": records, "count": count, "batch_id": id, "node": node });
        template.render(&data, Escape::None).into()
    }

    fn frame_bytes(&self, records_max: usize) -> usize {
        match &self.form {
            Form::JsonArray => "]".len(),
            Form::Around { template, .. } => {
                let longest = self.batch_id(&[RecordNumber(u64::MAX), RecordNumber(u64::MAX)]);
                let longest =
                    longest.to_str().unwrap_or_default().len() + records_max.to_string().len();
                self.framed(template, "", records_max, &"x".repeat(longest)).len()
            }
            Form::Nothing | Form::Single | Form::Ndjson => 0,
        }
    }

    /// The columns that templates see.
    fn template_data(&self, record: &StoredRecord) -> Value {
        let mut data = self.format.template_data(&record.record);
        if let (true, Some(columns)) = (self.shows_record_id, data.as_object_mut()) {
            columns.insert("record_id".to_owned(), self.record_id.as_str().into());
        }
        data
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
            _ => self.format.write_object(&record.record, Some(&self.record_id), &mut self.body),
        }
        if self.form == Form::Ndjson {
            self.body.push(b'\n');
        }
    }

    /// `<store id>-<sink>-<first number>-<count>-<hash of the numbers>`: of replayed records, too, the numbers that
    /// they have in the queue now.
    fn batch_id(&self, numbers: &[RecordNumber]) -> HeaderValue {
        let first = numbers.first().expect("a request has a record").0;
        let (prefix, count, hash) = (&self.id_prefix, numbers.len(), hash(numbers));
        header_value(&format!("{prefix}{first}-{count}-{hash:016x}"))
    }

    fn target_templates(&self) -> impl Iterator<Item = &Template> {
        let query = self.request.query.iter().map(|(_, value)| value);
        let headers = self.headers.iter().map(|(_, value)| value);
        let names = self.headers.iter().filter_map(|(name, _)| match name {
            Name::Fixed(_) => None,
            Name::Rendered(template) => Some(template),
        });
        self.request.path.iter().chain(query).chain(headers).chain(names)
    }

    fn render_target(&mut self, data: &Value) -> Target {
        let url = render_url(&self.request, data);
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        let content_type = match self.form {
            Form::Nothing => None,
            Form::Single | Form::JsonArray | Form::Around { .. } => Some("application/json"),
            Form::Ndjson => Some("application/x-ndjson"),
        };
        let content_type = content_type.map(HeaderValue::from_static);
        headers.extend(content_type.map(|value| (CONTENT_TYPE, value)));
        let mut unfit = Vec::new();
        for (name, template) in &self.headers {
            let name = match name {
                Name::Fixed(name) => name.clone(),
                Name::Rendered(template) => {
                    let name = template.render(data, Escape::None);
                    match header_name(&name) {
                        Ok(name) => name,
                        Err(why) => {
                            unfit.push((name, why));
                            continue;
                        }
                    }
                }
            };
            if let Ok(value) = HeaderValue::try_from(template.render(data, Escape::None)) {
                headers.insert(name, value);
            } else {
                let why = "its value has a line break or control character";
                unfit.push((name.as_str().to_owned(), why));
            }
        }
        for (name, why) in unfit {
            self.tell_of_dropped_header(&name, why);
        }
        // What `Url` gives is a URI of RFC 3986, and the only limit beyond is the length.
        let uri = Uri::try_from(url.as_str()).ok();
        Target { url, uri, headers }
    }

    fn checked_headers(&mut self) -> Vec<(Name, Template)> {
        let configured = std::mem::take(&mut self.request.headers);
        let mut headers = Vec::new();
        for (name, value) in configured {
            if name.placeholders().next().is_some() {
                headers.push((Name::Rendered(name), value));
                continue;
            }
            match header_name(name.source()) {
                Ok(parsed) => headers.push((Name::Fixed(parsed), value)),
                Err(why) => self.tell_of_dropped_header(name.source(), why),
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

fn header_value(id: &str) -> HeaderValue {
    HeaderValue::try_from(id).expect("store ids, names and numbers are header characters")
}

/// A name that a request may have, or why not.
fn header_name(name: &str) -> Result<HeaderName, &'static str> {
    match HeaderName::try_from(name) {
        Ok(parsed) if RESERVED_HEADERS.contains(&parsed.as_str()) => {
            Err("it belongs to the connection, or is set by Waypost")
        }
        Ok(parsed) => Ok(parsed),
        Err(_) => Err("it is no header name"),
    }
}

fn is_literal(template: &Template) -> bool {
    template.placeholders().next().is_none()
}

/// Address and headers as far as no placeholder has a say in them: the path ends with the last whole segment before one.
pub(super) fn fixed_part(request: &config::Request) -> (Url, HeaderMap) {
    let mut fixed = request.clone();
    fixed.path = request.path.as_ref().and_then(|path| {
        let Some(first) = path.placeholders().next() else { return Some(path.clone()) };
        let before = path.source().get(..first.position()).unwrap_or_default();
        let before = before.split('?').next().unwrap_or_default();
        let whole = before.get(..=before.rfind('/')?)?;
        Template::parse(whole).ok()
    });
    fixed.query.retain(|(_, value)| is_literal(value));
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers.iter().filter(|(n, v)| is_literal(n) && is_literal(v)) {
        let value = HeaderValue::try_from(value.render(&Value::Null, Escape::None));
        if let (Ok(name), Ok(value)) = (header_name(name.source()), value) {
            headers.insert(name, value);
        }
    }
    (render_url(&fixed, &Value::Null), headers)
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
