//! Whether a service would take what a sink sends, found out over connections made as the sink makes them, and without
//! sending it anything.

use std::sync::Arc;

use http::{StatusCode, Uri};
use prometheus::IntCounter;
use url::Url;

use super::client::{Answer, Client};
use super::outcome::{Outcome, TransportError, Trouble, classify};
use super::request::{Renderer, fixed_part};
use crate::clock::UnixMillis;
use crate::config::{self, Meaning};
use crate::event::Record;
use crate::name::SinkName;
use crate::steps::{Ending, Stage, Step, Watch};
use crate::store::{RecordNumber, StoredRecord};

/// What was found out about a sink.
#[derive(Debug)]
pub struct Probe {
    /// What was asked for, without its query, which may open doors.
    pub url: String,
    /// One after another; the first that failed is the last.
    pub steps: Vec<Step>,
}

/// A record to send although nothing has happened.
#[derive(Debug)]
pub struct Sample {
    /// The record.
    pub record: Record,
    /// The gateway's name.
    pub node: String,
}

/// Connects, asks for the headers of the sink's URL and, where there is a sample, sends that.
pub async fn probe(name: &SinkName, sink: &config::Sink, sample: Option<Sample>) -> Probe {
    let watch = Watch::new();
    let client = Client::watched(name, sink, watch.clone());
    let (url, headers) = fixed_part(&sink.request);
    let shown = without_query(&url);
    watch.aim(Stage::Http);
    let answered = match url.as_str().parse::<Uri>() {
        Ok(uri) => client.head(uri, headers).await,
        Err(_) => Err(TransportError::UrlTooLong),
    };
    match answered {
        Ok(answer) => {
            let (ending, text) = told(sink, answer);
            watch.end(ending, || text);
        }
        Err(error) => watch.end(Ending::Failed, || with_advice(&error)),
    }
    let failed = watch.steps().iter().any(|step| step.ending == Ending::Failed);
    if let (Some(sample), false) = (sample, failed) {
        send(name, sink, &client, sample, &watch).await;
    }
    Probe { url: shown, steps: watch.steps() }
}

fn with_advice(error: &TransportError) -> String {
    let advice = match error {
        TransportError::NameNotResolved => "check the URL and the DNS",
        TransportError::Refused => "does the service run, and is this its port?",
        TransportError::Unreachable => "is the uplink there?",
        TransportError::ConnectTimeout => "is a firewall in between, or the service down?",
        TransportError::RequestTimeout => "the service is there and is silent: is it overloaded?",
        TransportError::Closed => "is this the port of an HTTP service?",
        TransportError::NotHttp => {
            "is this the port of an HTTP service, and plain or TLS as the URL says?"
        }
        // They say what to do themselves.
        TransportError::Tls(_)
        | TransportError::UrlTooLong
        | TransportError::ClockNotSet
        | TransportError::Other(_) => return error.to_string(),
    };
    format!("{error}: {advice}")
}

fn without_query(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.to_string()
}

/// What an answer to HEAD says of the requests that a sink sends.
fn told(sink: &config::Sink, answer: Answer) -> (Ending, String) {
    let status = answer.status;
    let words = in_words(status);
    let method = sink.request.method.name();
    match status.as_u16() {
        200..=299 => (Ending::Done, format!("HEAD answers {words}")),
        405 | 501 => {
            let normal =
                format!("{} to HEAD is normal where only {method} is taken", status.as_u16());
            (Ending::Done, format!("reachable ({normal})"))
        }
        404 => (
            Ending::Unsure,
            format!(
                "HEAD answers {words}: nothing is at this URL, or only {method} is taken there; `--send-sample` tells"
            ),
        ),
        401 | 403 if !sink.request.signing_keys.is_empty() => (
            Ending::Unsure,
            format!(
                "HEAD answers {words}: check the credentials, or the service wants a signature, which HEAD has none of; \
                 `--send-sample` tells"
            ),
        ),
        300..=399 | 401 | 403 | 407 | 429 | 500..=599 => {
            (Ending::Failed, format!("HEAD: {}", trouble(sink, answer)))
        }
        _ => (
            Ending::Unsure,
            format!("HEAD answers {words}, which says nothing of {method}; `--send-sample` tells"),
        ),
    }
}

fn in_words(status: StatusCode) -> String {
    let reason = status.canonical_reason();
    reason.map_or_else(
        || status.as_u16().to_string(),
        |reason| format!("{} ({reason})", status.as_u16()),
    )
}

/// Why an answer is no success, in the words that `status` has for it.
fn trouble(sink: &config::Sink, answer: Answer) -> String {
    let Answer { status, headers, excerpt } = answer;
    match classify(&sink.on_status, status, &headers, excerpt, UnixMillis::now()) {
        Outcome::Delivered => in_words(status),
        Outcome::Retry { trouble: Trouble { why, .. }, .. }
        | Outcome::Split(Trouble { why, .. })
        | Outcome::Reject(Trouble { why, .. })
        | Outcome::Suspend(Trouble { why, .. }) => why,
    }
}

async fn send(
    name: &SinkName,
    sink: &config::Sink,
    client: &Client,
    sample: Sample,
    watch: &Watch,
) {
    let dropped = IntCounter::new("dropped", "Headers left out.").expect("a plain name");
    // No store has such an id: a receiver never takes the sample for a record.
    let store = format!("probe{:08x}", fastrand::u32(..));
    let mut renderer = Renderer::new(name, sink, &store, Arc::from(sample.node), dropped);
    let number = RecordNumber(1);
    let (accepted_at, record) = (UnixMillis::now(), sample.record);
    renderer.add(&StoredRecord { number, accepted_at, age_ms: 0, record });
    let message = renderer.finish(&[number]);
    let method = sink.request.method.name();
    watch.aim(Stage::Sample);
    match client.send(&message).await {
        Ok(answer) if sink.on_status.meaning(answer.status.as_u16()) == Meaning::Delivered => {
            let id = message.id.to_str().unwrap_or_default();
            let words = in_words(answer.status);
            watch.done(|| format!("{method} answers {words}: the sample {id} is delivered"));
        }
        Ok(answer) => watch.end(Ending::Failed, || format!("{method}: {}", trouble(sink, answer))),
        Err(error) => watch.end(Ending::Failed, || with_advice(&error)),
    }
}
