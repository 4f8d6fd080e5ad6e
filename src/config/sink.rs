//! `[sinks.NAME]`, and the same keys in a `[webhooks.NAME]`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;

use super::reader::{Table, Value};
use super::{
    Batch, BatchFormat, Durability, Method, Order, Queue, Request, Retry, Sink, Timeouts, WhenFull,
};
use crate::event::json::{PayloadAs, UndefinedAs};
use crate::template::{Template, join_path};

const EXAMPLE: &str = "https://api.example.com/hook";
const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_hours(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Largest quota that a queue gets without being asked. What a queue gets does not depend on the other sinks: one
/// sink more must not make the others drop what they hold.
const QUEUE_BYTES_DEFAULT_MAX: u64 = 4 << 30;
/// Least quota that a queue can work in: it takes and gives back space in steps of some MiB.
pub const QUEUE_BYTES_MIN: u64 = 16 * MIB;

/// Every key of a sink: with `sink = "NAME"` none of them may stand in a webhook.
pub(super) const KEYS: [&str; 15] = [
    "url",
    "method",
    "path",
    "query",
    "headers",
    "auth",
    "body",
    "payload_as",
    "undefined_as",
    "batch",
    "queue",
    "timeouts",
    "retry",
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
pub(super) fn sink(table: &mut Table<'_>, queue_bytes_default: NonZeroU64) -> Option<Sink> {
    let request = request(table);
    let batch = batch(table.table("batch"));
    let queue = queue(table.table("queue"), queue_bytes_default);
    let timeouts = timeouts(table.table("timeouts"));
    let retry = retry(table.table("retry"));
    let four = NonZeroUsize::new(4).expect("not zero");
    let concurrency = table.or("concurrency", four, |value| value.count(1024));
    let orders = [("key", Order::Key), ("sink", Order::Sink), ("none", Order::None)];
    let order = table.or("order", Order::default(), |value| value.word(&orders));
    Some(Sink { request: request?, batch, queue, timeouts, retry, concurrency, order })
}

fn request(table: &mut Table<'_>) -> Option<Request> {
    let there = table.require("url", &format!("{EXAMPLE:?}"));
    let url = there.as_ref().and_then(address);
    let methods = [("POST", Method::Post), ("PUT", Method::Put)];
    let method = table.or("method", Method::Post, |value| value.word(&methods));
    let path_value = table.get("path");
    let path = match &path_value {
        None => Some(None),
        Some(value) => value.template().map(Some),
    };
    let query = table.query();
    let mut headers = table.headers();
    authorize(table, &mut headers);
    let body = table.get("body").and_then(|value| value.template());
    let payload_forms = [
        ("auto", PayloadAs::Auto),
        ("text", PayloadAs::Text),
        ("json", PayloadAs::Json),
        ("base64", PayloadAs::Base64),
    ];
    let payload_as = table.or("payload_as", PayloadAs::Auto, |value| value.word(&payload_forms));
    let undefined_forms = [
        ("undefined", UndefinedAs::Undefined),
        ("null", UndefinedAs::Null),
        ("absent", UndefinedAs::Absent),
    ];
    let undefined_as =
        table.or("undefined_as", UndefinedAs::Undefined, |value| value.word(&undefined_forms));
    let (url, url_template) = url?;
    if let (Some(value), true) = (&path_value, url.query().is_some()) {
        return value
            .wrong("is joined to the end of `url`, which has a query: put the query into `query`");
    }
    let path = match (url_template, path?) {
        (None, path) => path,
        (Some(url_path), path) => {
            let whole = path.map_or(url_path.clone(), |path| join_path(&url_path, path.source()));
            Template::parse(&whole).ok()
        }
    };
    Some(Request { url, method, path, query, headers, body, payload_as, undefined_as })
}

/// The URL of a service; where its path has placeholders, the URL without it, and the path as template text.
fn address(value: &Value<'_>) -> Option<(Url, Option<String>)> {
    const SCHEMES: [&str; 2] = ["http", "https"];
    let text = value.with_environment(value.raw_text()?, true)?;
    let authority = text.find("://").map_or(0, |colon| colon + "://".len());
    let path_start = text.get(authority..).and_then(|rest| rest.find(['/', '?', '#']));
    let (base, path) = text.split_at(path_start.map_or(text.len(), |start| authority + start));
    if base.contains("${") {
        return value.wrong(
            "placeholders may stand in the path and the query only: what a message says must not choose the host",
        );
    }
    let templated = path.contains("${");
    let whole = if templated { base } else { &text };
    let credentials = "`auth = { username = \"..\", password = { file = \"..\" } }`";
    let url = value.url_of(whole, EXAMPLE, &SCHEMES, credentials)?;
    if url.port() == Some(0) {
        return value.wrong("the port must not be 0");
    }
    if !templated {
        return Some((url, None));
    }
    if path.contains('#') {
        return value.wrong("must not have a fragment (`#...`): it would not be sent");
    }
    value.template_of(path)?;
    Some((url, Some(path.to_owned())))
}

/// `auth = { bearer = SECRET }` or `auth = { username = "..", password = SECRET }`, as an `authorization` header.
fn authorize(table: &mut Table<'_>, headers: &mut Vec<(String, Template)>) {
    let Some(value) = table.get("auth") else { return };
    let Some(mut auth) = value.table() else { return };
    let (bearer, username, password) =
        (auth.get("bearer"), auth.get("username"), auth.get("password"));
    auth.finish();
    let header = match (bearer, username, password) {
        (Some(bearer), None, None) => {
            bearer.secret().map(|secret| format!("Bearer {}", secret.expose()))
        }
        (None, Some(username), Some(password)) => basic(&username, &password),
        _ => value.wrong_secret("must have either `bearer`, or `username` and `password`"),
    };
    let Some(header) = header else { return };
    if header.chars().any(char::is_control) {
        value.wrong_secret::<()>("must not have line breaks or control characters");
    } else if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        value.wrong_secret::<()>(
            "sets the `authorization` header, which stands in `headers` as well",
        );
    } else {
        headers.push(("authorization".to_owned(), Template::secret(&header)));
    }
}

/// RFC 7617
fn basic(username: &Value<'_>, password: &Value<'_>) -> Option<String> {
    let (user, secret) = (username.nonempty_text(), password.secret());
    let (user, secret) = (user?, secret?);
    if user.contains(':') {
        return username.wrong("must not have a `:` in it (RFC 7617)");
    }
    Some(format!("Basic {}", BASE64.encode(format!("{user}:{}", secret.expose()))))
}

fn batch(mut table: Table<'_>) -> Batch {
    let one = NonZeroUsize::MIN;
    let mebibyte = NonZeroUsize::new(1 << 20).expect("not zero");
    let formats = [("json_array", BatchFormat::JsonArray), ("ndjson", BatchFormat::Ndjson)];
    let batch = Batch {
        records_max: table.or("max_records", one, |value| value.count(10_000)),
        bytes_max: table.or("max_bytes", mebibyte, |value| {
            NonZeroUsize::new(usize::try_from(value.size(1024..=64 * MIB)?).ok()?)
        }),
        linger: table
            .or("linger", Duration::from_secs(1), |value| value.period(Duration::ZERO..=HOUR)),
        format: table.or("format", BatchFormat::default(), |value| value.word(&formats)),
    };
    table.finish();
    batch
}

fn queue(mut table: Table<'_>, bytes_default: NonZeroU64) -> Queue {
    let policies = [
        ("drop_oldest", WhenFull::DropOldest),
        ("drop_newest", WhenFull::DropNewest),
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

fn timeouts(mut table: Table<'_>) -> Timeouts {
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        connect: table.or("connect", seconds(10), |value| value.period(100 * MILLISECOND..=HOUR)),
        request: table.or("request", seconds(60), |value| value.period(100 * MILLISECOND..=HOUR)),
        idle: table.or("idle", seconds(20), |value| value.period(Duration::ZERO..=HOUR)),
    };
    table.finish();
    timeouts
}

fn retry(mut table: Table<'_>) -> Retry {
    let path = table.path().to_owned();
    let retry = Retry {
        initial: table
            .or("initial", Duration::from_secs(1), |value| value.period(10 * MILLISECOND..=HOUR)),
        max: table
            .or("max", Duration::from_mins(1), |value| value.period(100 * MILLISECOND..=24 * HOUR)),
        multiplier: table.or("multiplier", 2.0, |value| value.decimal(1.0..=10.0)),
    };
    if retry.max < retry.initial {
        table.reader.problem_with(&format!("{path}.max"), "must not be shorter than `initial`");
    }
    table.finish();
    retry
}
