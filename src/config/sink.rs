//! `[sinks.NAME]`, and the same keys in a `[webhooks.NAME]`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use toml::de::DeValue;

use super::connector::{Connector, Connectors};
use super::reader::{Table, Value};
use super::schema::Form;
use super::template::Headers;
use super::{
    BATCH_COLUMNS, Batch, BatchFormat, Compression, Durability, Method, Order, Queue, Request,
    Retry, Secret, Sink, Timeouts, WhenFull, policy,
};
use crate::event::catalogue::Profile;
use crate::event::json::{EventFormat, PayloadAs, UndefinedAs};
use crate::signature::SigningKey;
use crate::template::{Template, join_path};

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_hours(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Largest quota that a queue gets without being asked. What a queue gets does not depend on the other sinks: one
/// sink more must not make the others drop what they hold.
const QUEUE_BYTES_DEFAULT_MAX: u64 = 4 << 30;
/// Least quota that a queue can work in: it takes and gives back space in steps of some MiB.
pub const QUEUE_BYTES_MIN: u64 = 16 * MIB;

/// Every key of a sink: with `sink = "NAME"` none of them may stand in a webhook.
pub(super) const KEYS: [&str; 26] = [
    "connector",
    "url",
    "tls",
    "proxy",
    "http_version",
    "method",
    "path",
    "query",
    "headers",
    "auth",
    "body",
    "sign",
    "compression",
    "event_format",
    "emqx4_profile",
    "payload_as",
    "undefined_as",
    "batch",
    "queue",
    "timeouts",
    "retry",
    "on_status",
    "canary",
    "reject_storm",
    "concurrency",
    "order",
];

/// The quota of a queue that names none: a tenth of the partition of the data directory, from 16 MiB to 4 GiB.
pub(super) fn queue_bytes_default(partition_bytes: Option<u64>) -> NonZeroU64 {
    let tenth = partition_bytes.unwrap_or(QUEUE_BYTES_DEFAULT_MAX) / 10 / MIB * MIB;
    let bytes = tenth.clamp(QUEUE_BYTES_MIN, QUEUE_BYTES_DEFAULT_MAX);
    NonZeroU64::new(bytes).expect("clamped above zero")
}

/// Takes the keys of a sink out of `table`; finishing it is the caller's.
pub(super) fn sink(
    table: &mut Table<'_>,
    connectors: &Connectors,
    queue_bytes_default: NonZeroU64,
) -> Option<Sink> {
    let mut timeouts_table = table.table("timeouts");
    let connector = connectors.of_sink(table, &mut timeouts_table);
    let request_timeout = timeouts_table
        .or("request", Duration::from_mins(1), |value| value.period(100 * MILLISECOND..=HOUR));
    timeouts_table.finish();
    let connection = connector.as_ref().map(|connector| connector.connection.clone());
    let timeouts = connector.as_ref().map(|connector| Timeouts {
        connect: connector.connect_timeout,
        request: request_timeout,
        idle: connector.idle_timeout,
    });
    let request = request(table, connector);
    let batch = batch(table.table("batch"));
    let queue = queue(table.table("queue"), queue_bytes_default);
    let retry = retry(table.table("retry"));
    let on_status = policy::on_status(table.get("on_status"));
    let canary = policy::canary(table.table("canary"));
    let reject_storm = policy::reject_storm(table);
    let four = NonZeroUsize::new(4).expect("not zero");
    let concurrency = table.or("concurrency", four, |value| value.count(1024));
    let orders = [("key", Order::Key), ("sink", Order::Sink), ("none", Order::None)];
    let order = table.or("order", Order::default(), |value| value.word(&orders));
    Some(Sink {
        connection: connection?,
        request: request?,
        batch,
        queue,
        timeouts: timeouts?,
        retry,
        on_status,
        canary,
        reject_storm,
        concurrency,
        order,
    })
}

fn request(table: &mut Table<'_>, connector: Option<Connector>) -> Option<Request> {
    let methods = [
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("GET", Method::Get),
        ("DELETE", Method::Delete),
    ];
    let method = table.or("method", Method::Post, |value| value.word(&methods));
    let path_value = table.get("path");
    let path = match &path_value {
        None => Some(None),
        Some(value) => value.template().map(Some),
    };
    let query = table.query();
    let body = table.get("body").and_then(|value| value.template());
    let signing_keys = table.or("sign", Vec::new(), signing_keys);
    let compressions =
        [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let compression = table.or("compression", Compression::None, |value| value.word(&compressions));
    let payload_forms = [
        ("auto", PayloadAs::Auto),
        ("text", PayloadAs::Text),
        ("json", PayloadAs::Json),
        ("base64", PayloadAs::Base64),
        ("base62", PayloadAs::Base62),
    ];
    let payload_as = table.or("payload_as", PayloadAs::Auto, |value| value.word(&payload_forms));
    let undefined_forms = [
        ("undefined", UndefinedAs::Undefined),
        ("null", UndefinedAs::Null),
        ("absent", UndefinedAs::Absent),
    ];
    let event_format = event_format(table);
    let undefined_as =
        table.or("undefined_as", event_format.undefined_as(), |value| value.word(&undefined_forms));
    let Connector { url, url_path, headers, .. } = connector?;
    let Headers { templates: headers, credentials } = headers;
    if let (Some(value), true) = (&path_value, url.query().is_some()) {
        return value
            .wrong("is joined to the end of `url`, which has a query: put the query into `query`");
    }
    let path = match (url_path, path?) {
        (None, path) => path,
        (Some(url_path), path) => {
            let whole = path.map_or(url_path.clone(), |path| join_path(&url_path, path.source()));
            Template::parse(&whole).ok()
        }
    };
    Some(Request {
        url,
        method,
        path,
        query,
        headers,
        credentials,
        signing_keys,
        compression,
        body,
        event_format,
        payload_as,
        undefined_as,
    })
}

/// `event_format`, with `emqx4_profile` where it is EMQX 4's.
fn event_format(table: &mut Table<'_>) -> EventFormat {
    let formats =
        [("emqx5", EventFormat::Emqx5), ("emqx4", EventFormat::Emqx4(Profile::default()))];
    let format = table.or("event_format", EventFormat::default(), |value| value.word(&formats));
    let Some(profile) = table.get("emqx4_profile") else { return format };
    if format == EventFormat::Emqx5 {
        profile.warn_of_key("has no effect: it is for `event_format = \"emqx4\"`");
    }
    match (format, profile.word(&[("code", Profile::Code), ("docs", Profile::Docs)])) {
        (EventFormat::Emqx4(_), Some(profile)) => EventFormat::Emqx4(profile),
        _ => format,
    }
}

/// One secret, or a list of some.
fn signing_keys(value: &Value<'_>) -> Option<Vec<Secret>> {
    let key = |value: &Value<'_>| {
        let secret = value.secret()?;
        match SigningKey::new(secret.expose()) {
            Ok(_) => Some(secret),
            Err(error) => value.wrong_secret(error.to_string()),
        }
    };
    value.may_be(Form::List);
    value.may_be(Form::Secret);
    value.elements_may_be(Form::Secret);
    match value.content {
        DeValue::Array(_) => value.some("leave it out to sign nothing", key),
        _ => Some(vec![key(value)?]),
    }
}

fn batch(mut table: Table<'_>) -> Batch {
    let one = NonZeroUsize::MIN;
    let mebibyte = NonZeroUsize::new(1 << 20).expect("not zero");
    let format = batch_format(&mut table);
    let batch = Batch {
        records_max: table.or("max_records", one, |value| value.count(10_000)),
        bytes_max: table.or("max_bytes", mebibyte, |value| {
            NonZeroUsize::new(usize::try_from(value.size(1024..=64 * MIB)?).ok()?)
        }),
        linger: table
            .or("linger", Duration::from_secs(1), |value| value.period(Duration::ZERO..=HOUR)),
        format,
    };
    table.finish();
    batch
}

/// `format`, with `template` and `separator` where it is a template.
fn batch_format(table: &mut Table<'_>) -> BatchFormat {
    #[derive(Clone, Copy)]
    enum Word {
        JsonArray,
        Ndjson,
        Template,
    }
    let words =
        [("json_array", Word::JsonArray), ("ndjson", Word::Ndjson), ("template", Word::Template)];
    let format = table.or("format", Word::JsonArray, |value| value.word(&words));
    let (template, separator) = (table.get("template"), table.get("separator"));
    if let Word::Template = format {
        let template = if let Some(value) = template {
            value.template_with(&BATCH_COLUMNS, "a batch")
        } else {
            let key = format!("{}.template", table.path());
            let message = "is missing; for example `template = '{\"records\": [${records}]}'`";
            table.reader.problem_with(&key, message);
            None
        };
        let separator = separator.and_then(|value| value.text()).unwrap_or_else(|| ",".to_owned());
        return template.map_or(BatchFormat::default(), |template| BatchFormat::Template {
            template,
            separator,
        });
    }
    for value in [template, separator].into_iter().flatten() {
        value.wrong_key("is for `format = \"template\"`");
    }
    match format {
        Word::Ndjson => BatchFormat::Ndjson,
        Word::JsonArray | Word::Template => BatchFormat::JsonArray,
    }
}

fn queue(mut table: Table<'_>, bytes_default: NonZeroU64) -> Queue {
    let policies = [
        ("drop_oldest", WhenFull::DropOldest),
        ("drop_newest", WhenFull::DropNewest),
        ("dead_letter", WhenFull::DeadLetter),
        ("block", WhenFull::Block),
    ];
    let durabilities = [("power", Durability::Power), ("process", Durability::Process)];
    let queue = Queue {
        bytes_max: table.or("max_bytes", bytes_default, |value| {
            NonZeroU64::new(value.size(QUEUE_BYTES_MIN..=1 << 50)?)
        }),
        when_full: table.or("when_full", WhenFull::default(), |value| value.word(&policies)),
        durability: table
            .or("durability", Durability::default(), |value| value.word(&durabilities)),
    };
    table.finish();
    queue
}

fn retry(mut table: Table<'_>) -> Retry {
    let path = table.path().to_owned();
    let retry = Retry {
        initial: table
            .or("initial", Duration::from_secs(1), |value| value.period(10 * MILLISECOND..=HOUR)),
        max: table
            .or("max", Duration::from_mins(1), |value| value.period(100 * MILLISECOND..=24 * HOUR)),
        multiplier: table.or("multiplier", 2.0, |value| value.decimal(1.0..=10.0)),
        attempts_max: policy::attempts_max(&mut table),
        age_max: policy::age_max(&mut table),
    };
    if retry.max < retry.initial {
        table.reader.problem_with(&format!("{path}.max"), "must not be shorter than `initial`");
    }
    table.finish();
    retry
}
