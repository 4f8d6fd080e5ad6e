//! The worker with a real queue and a real service that misbehaves, and what several test modules need.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    reason = "shared with the tests that drive the real binary, which use other parts of it"
)]
#[path = "../../../tests/waypost/support/http.rs"]
mod http;
mod worker;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use super::Client;
use super::request::Renderer;
use crate::clock::UnixMillis;
use crate::config;
use crate::event::json::{EventFormat, PayloadAs, UndefinedAs};
use crate::event::{Event, Message, Qos, Record};
use crate::metrics::Metrics;
use crate::name::{RuleName, SinkName, SourceName};
use crate::store::{RecordNumber, StoredRecord};
use crate::topic::Topic;

/// Record `number` of the client `key`, with its number as payload.
pub(super) fn record(number: u64, key: &str) -> Arc<StoredRecord> {
    let record = Record {
        rule: RuleName::new("rule").unwrap(),
        event: event(number, key),
        output: None,
        replay: None,
    };
    let number = RecordNumber(number);
    Arc::new(StoredRecord { number, accepted_at: UnixMillis(7), age_ms: 0, record })
}

/// The event of record `number` of the client `key`.
pub(super) fn event(number: u64, key: &str) -> Arc<Event> {
    Arc::new(Event::published(
        SourceName::new("local").unwrap(),
        UnixMillis(1_694_681_417_728),
        Message {
            id: u128::from(number).to_be_bytes(),
            topic: Topic::new("t/1").unwrap(),
            payload: number.to_string().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            client_id: Some(key.into()),
            username: None,
            peer: None,
            properties: None,
        },
    ))
}

/// A sink that posts single records to `url` with short delays; tests change what they are about.
pub(super) fn sink_config(url: &str) -> config::Sink {
    config::Sink {
        connection: config::Connection {
            connector: None,
            tls: config::TlsClient::default(),
            http_version: config::HttpVersion::Auto,
            proxy: None,
        },
        request: config::Request {
            url: url.parse().unwrap(),
            method: config::Method::Post,
            path: None,
            query: Vec::new(),
            headers: Vec::new(),
            credentials: Vec::new(),
            signing_keys: Vec::new(),
            compression: config::Compression::None,
            body: None,
            event_format: EventFormat::Emqx5,
            payload_as: PayloadAs::Auto,
            undefined_as: UndefinedAs::Undefined,
        },
        batch: batch_config(1, Duration::ZERO),
        queue: config::Queue {
            bytes_max: NonZeroU64::new(64 << 20).unwrap(),
            when_full: config::WhenFull::DropOldest,
            durability: config::Durability::Process,
        },
        timeouts: config::Timeouts {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(5),
            idle: Duration::from_secs(5),
        },
        retry: config::Retry {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(50),
            multiplier: 2.0,
            attempts_max: None,
            age_max: None,
        },
        on_status: config::StatusPolicy::default(),
        canary: config::Canary {
            failures: NonZeroU32::new(5).unwrap(),
            period: Duration::from_millis(300),
        },
        reject_storm: NonZeroU32::new(50).unwrap(),
        concurrency: NonZeroUsize::new(4).unwrap(),
        order: config::Order::Key,
    }
}

/// Batches of up to 1 MB as a JSON array.
pub(super) fn batch_config(records_max: usize, linger: Duration) -> config::Batch {
    config::Batch {
        records_max: NonZeroUsize::new(records_max).unwrap(),
        bytes_max: NonZeroUsize::new(1_000_000).unwrap(),
        linger,
        format: config::BatchFormat::JsonArray,
    }
}

/// The sink's name in all tests.
pub(super) fn sink_name() -> SinkName {
    SinkName::new("cloud").unwrap()
}

/// What sends the requests of the sink.
pub(super) fn client(config: &config::Sink) -> Client {
    let sinks = [(sink_name(), config.clone())].into();
    Client::all(&sinks).remove(&sink_name()).unwrap()
}

/// A renderer of the store `a1b2`.
pub(super) fn renderer(config: &config::Sink) -> Renderer {
    let dropped_headers = Metrics::new().sink(&sink_name()).headers_dropped;
    Renderer::new(&sink_name(), config, "a1b2", "plant-7".into(), dropped_headers)
}
