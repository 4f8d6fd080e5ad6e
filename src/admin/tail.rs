//! Looking on: `waypost tail`. One JSON object a line, for as long as the other side reads.

use std::convert::Infallible;
use std::time::Duration;

use super::server::Views;
use super::{Refusal, Status};
use crate::name::{RuleName, SinkName};
use crate::tail::{Listener, Wanted};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Where lines come from.
pub const TAIL_PATH: &str = "/v1/tail";

/// An empty line comes after so long without another: a reader that has gone is noticed, and so is a dead gateway.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// What somebody wants to see; everything by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailQuery {
    /// Only what concerns this sink.
    pub sink: Option<String>,
    /// Only what concerns this rule.
    pub rule: Option<String>,
}

impl TailQuery {
    /// The path with this query.
    #[must_use]
    pub fn path(&self) -> String {
        let pairs = [("sink", &self.sink), ("rule", &self.rule)];
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))));
        format!("{TAIL_PATH}?{}", query.finish())
    }

    fn parse(query: &str) -> Self {
        let mut wanted = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "sink" => wanted.sink = Some(value.into_owned()),
                "rule" => wanted.rule = Some(value.into_owned()),
                _ => {}
            }
        }
        wanted
    }

    /// With names that there are.
    fn check(self, status: &Status) -> Result<Wanted, Refusal> {
        let mut wanted = Wanted::default();
        if let Some(sink) = self.sink {
            let found = status.sinks.contains_key(&sink).then(|| SinkName::new(&sink).ok());
            let known = status.sinks.keys().map(String::as_str);
            wanted.sink =
                Some(found.flatten().ok_or_else(|| Refusal::unknown("sink", &sink, known))?);
        }
        if let Some(rule) = self.rule {
            let found = status.rules.contains_key(&rule).then(|| RuleName::new(&rule).ok());
            let known = status.rules.keys().map(String::as_str);
            wanted.rule =
                Some(found.flatten().ok_or_else(|| Refusal::unknown("rule", &rule, known))?);
        }
        Ok(wanted)
    }
}

pub(super) fn routes() -> Router<Views> {
    Router::new().route(TAIL_PATH, get(tail))
}

async fn tail(State(views): State<Views>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let wanted = TailQuery::parse(&query.unwrap_or_default()).check(&(views.status)())?;
    let listener = views.tail.listen(wanted);
    let listener = listener.map_err(|error| Refusal::conflict(error.to_string()))?;
    // The first goes at once: whoever asks knows that what happens from now on is seen.
    let hello =
        futures_util::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"\n")) });
    let lines = futures_util::stream::unfold(listener, |mut listener| async {
        let line = next(&mut listener).await;
        Some((Ok(line), listener))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(hello, lines));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn next(listener: &mut Listener) -> Bytes {
    match tokio::time::timeout(HEARTBEAT, listener.next()).await {
        Err(_) => Bytes::from_static(b"\n"),
        Ok(line) => {
            let mut json = serde_json::to_vec(&line).expect("a line is plain data");
            json.push(b'\n');
            json.into()
        }
    }
}
