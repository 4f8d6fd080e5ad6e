//! `/v1/queues`: what waits, for people and tools to look at, and dropping it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refusal;
use super::server::Views;
use crate::event::json::{BodyFormat, EventFormat, PayloadAs, UndefinedAs};
use crate::name::SinkName;
use crate::store::{
    Dropped, OfflineQueue, Queue, ReadLimit, RecordNumber, StoreError, StoredQueue, StoredRecord,
};

/// Path of the list on the admin socket.
pub const QUEUES_PATH: &str = "/v1/queues";
/// Most records of one answer.
pub const PAGE_RECORDS_MAX: usize = 1000;
/// Most bytes of the events of one answer.
const PAGE_BYTES_MAX: NonZeroUsize = NonZeroUsize::new(4 << 20).expect("not zero");

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueRow {
    /// Its sink.
    pub sink: String,
    /// The config has that sink, as far as that is known.
    pub has_sink: bool,
    /// Records that wait or are in flight.
    pub records: u64,
    /// Age of the oldest.
    pub oldest_age_seconds: f64,
    /// Bytes on disk.
    pub bytes: u64,
    /// What it may take; none where nobody has opened it.
    pub bytes_max: Option<u64>,
    /// Why it takes no records now.
    pub unavailable: Option<String>,
}

impl QueueRow {
    /// Of a queue that was read from its files.
    #[must_use]
    pub fn stored(queue: &StoredQueue, has_sink: bool) -> Self {
        Self {
            sink: queue.sink.to_string(),
            has_sink,
            records: queue.records,
            oldest_age_seconds: queue.oldest_age_seconds,
            bytes: queue.bytes,
            bytes_max: None,
            unavailable: None,
        }
    }

    fn open(sink: &SinkName, queue: &Queue) -> Self {
        let counts = queue.snapshot();
        Self {
            sink: sink.to_string(),
            has_sink: true,
            records: counts.queued,
            oldest_age_seconds: counts.oldest_age_seconds,
            bytes: counts.bytes,
            bytes_max: Some(counts.bytes_max),
            unavailable: queue.unavailable(),
        }
    }
}

/// One record that waits or is in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedRecord {
    /// Under which receivers know it.
    pub record_id: String,
    /// The sink it waits for.
    pub sink: String,
    /// Its number in the queue.
    pub number: u64,
    /// When it was accepted: milliseconds since 1970.
    pub accepted_at: u64,
    /// How long it has been here, by the queue's clock.
    pub age_seconds: f64,
    /// The rule that sent it here.
    pub rule: String,
    /// The source of its event.
    pub source: String,
    /// The topic of its event, where that has one.
    pub topic: Option<String>,
    /// The default body of a request with it.
    pub body: Value,
}

/// Where records come from, for showing them.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The queue's sink.
    pub sink: &'a SinkName,
    /// The id of the store.
    pub store_id: &'a str,
    /// The gateway's name.
    pub node: Arc<str>,
    /// The queue's age clock.
    pub age_now_ms: u64,
}

impl QueuedRecord {
    /// A record as it is shown.
    #[must_use]
    pub fn of(stored: &StoredRecord, origin: &Origin<'_>) -> Self {
        let (payload_as, undefined_as) = (PayloadAs::Auto, UndefinedAs::Undefined);
        let (events, node) = (EventFormat::default(), Arc::clone(&origin.node));
        let format = BodyFormat { events, payload_as, undefined_as, node };
        let age_ms = origin.age_now_ms.saturating_sub(stored.age_ms);
        let event = &stored.record.event;
        Self {
            record_id: stored.record_id(origin.store_id, origin.sink).to_string(),
            sink: origin.sink.to_string(),
            number: stored.number.0,
            accepted_at: stored.accepted_at.0,
            age_seconds: Duration::from_millis(age_ms).as_secs_f64(),
            rule: stored.record.rule.to_string(),
            source: event.source.to_string(),
            topic: event.topic().map(str::to_owned),
            body: format.template_data(&stored.record),
        }
    }
}

/// What became of records that were to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropAnswer {
    /// Dropped and counted.
    pub dropped: u64,
    /// Old enough, but in flight: they stay.
    pub in_flight: u64,
}

impl From<Dropped> for DropAnswer {
    fn from(dropped: Dropped) -> Self {
        Self { dropped: dropped.dropped, in_flight: dropped.in_flight }
    }
}

/// Drops what is in a queue that has no sink.
pub type LeftOverDropper = Arc<
    dyn Fn(SinkName, Duration) -> BoxFuture<'static, Result<Dropped, StoreError>> + Send + Sync,
>;

/// What the handlers work on.
#[derive(Clone)]
pub struct Queues {
    /// Those that are open.
    pub open: Arc<dyn Fn() -> BTreeMap<SinkName, Queue> + Send + Sync>,
    /// Those that have records and no sink.
    pub left_over: Arc<dyn Fn() -> Vec<StoredQueue> + Send + Sync>,
    /// For one of those.
    pub drop_left_over: LeftOverDropper,
    /// Where all of them are.
    pub data_dir: PathBuf,
    /// The gateway's name.
    pub node: Arc<str>,
    /// The id of the store.
    pub store_id: Arc<str>,
}

impl fmt::Debug for Queues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queues").finish_non_exhaustive()
    }
}

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route(QUEUES_PATH, get(list))
        .route(&format!("{QUEUES_PATH}/{{sink}}/records"), get(records))
        .route(&format!("{QUEUES_PATH}/{{sink}}/drop"), post(drop_records))
}

/// The path for the records from `from` on.
#[must_use]
pub fn records_path(sink: &SinkName, from: u64, records_max: usize) -> String {
    format!("{QUEUES_PATH}/{sink}/records?from={from}&limit={records_max}")
}

/// The path for dropping what came `age` ago or earlier.
#[must_use]
pub fn drop_path(sink: &SinkName, age: Duration) -> String {
    format!("{QUEUES_PATH}/{sink}/drop?older_than_ms={}", age.as_millis())
}

async fn list(State(views): State<Views>) -> Json<Vec<QueueRow>> {
    let open = (views.queues.open)();
    let left_over = (views.queues.left_over)();
    let open = open.iter().map(|(sink, queue)| QueueRow::open(sink, queue));
    let left_over = left_over.iter().map(|queue| QueueRow::stored(queue, false));
    Json(open.chain(left_over).collect())
}

async fn records(
    State(views): State<Views>,
    Path(sink): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<QueuedRecord>>, Refusal> {
    let queues = &views.queues;
    let from = RecordNumber(parameter(query.as_deref(), "from").unwrap_or(0));
    let records_max = parameter(query.as_deref(), "limit").unwrap_or(PAGE_RECORDS_MAX);
    let records_max = NonZeroUsize::new(records_max.clamp(1, PAGE_RECORDS_MAX));
    let records_max = records_max.unwrap_or(NonZeroUsize::MIN);
    match queues.find(&sink)? {
        Found::Open(sink, queue) => {
            let limit = ReadLimit { records_max, bytes_max: PAGE_BYTES_MAX };
            let records = queue.peek(from, limit).await.map_err(|error| cannot(&error))?;
            let records: Vec<&StoredRecord> = records.iter().map(Arc::as_ref).collect();
            let age_now_ms = queue.age_now_ms().unwrap_or_default();
            Ok(Json(queues.shown(&sink, age_now_ms, &records)))
        }
        Found::LeftOver(sink) => {
            let (data_dir, name) = (queues.data_dir.clone(), sink.clone());
            let read = tokio::task::spawn_blocking(move || {
                let queue = OfflineQueue::read(&data_dir, &name)?;
                let records = queue.records(from, records_max.get())?;
                Ok::<_, std::io::Error>((queue.age_now_ms(), records))
            });
            let read =
                read.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
            let (age_now_ms, records) = read.map_err(|error| cannot(&error))?;
            let records: Vec<&StoredRecord> = records.iter().collect();
            Ok(Json(queues.shown(&sink, age_now_ms, &records)))
        }
    }
}

async fn drop_records(
    State(views): State<Views>,
    Path(sink): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<DropAnswer>, Refusal> {
    let age = parameter(query.as_deref(), "older_than_ms").map(Duration::from_millis);
    let age = age.ok_or_else(|| Refusal::conflict("older_than_ms is missing"))?;
    let dropped = match views.queues.find(&sink)? {
        Found::Open(_, queue) => queue.drop_older_than(age).await,
        Found::LeftOver(sink) => (views.queues.drop_left_over)(sink, age).await,
    };
    dropped.map(|dropped| Json(dropped.into())).map_err(|error| cannot(&error))
}

/// Where the records of a sink are.
enum Found {
    Open(SinkName, Queue),
    LeftOver(SinkName),
}

impl Queues {
    fn find(&self, sink: &str) -> Result<Found, Refusal> {
        let open = (self.open)();
        if let Some((name, queue)) = open.iter().find(|(name, _)| name.as_str() == sink) {
            return Ok(Found::Open(name.clone(), queue.clone()));
        }
        let left_over: Vec<_> = (self.left_over)().into_iter().map(|queue| queue.sink).collect();
        if let Some(name) = left_over.iter().find(|name| name.as_str() == sink) {
            return Ok(Found::LeftOver(name.clone()));
        }
        let names = open.keys().chain(&left_over).map(SinkName::as_str);
        Err(Refusal::unknown("queue", sink, names))
    }

    fn shown(
        &self,
        sink: &SinkName,
        age_now_ms: u64,
        records: &[&StoredRecord],
    ) -> Vec<QueuedRecord> {
        let (store_id, node) = (&*self.store_id, Arc::clone(&self.node));
        let origin = Origin { sink, store_id, node, age_now_ms };
        records.iter().map(|record| QueuedRecord::of(record, &origin)).collect()
    }
}

/// A value of the query.
fn parameter<T: FromStr>(query: Option<&str>, name: &str) -> Option<T> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(key, _)| key == name)?.1.parse().ok()
}

fn cannot(error: &dyn std::error::Error) -> Refusal {
    Refusal::conflict(error.to_string())
}
