//! The queue through its public face, on a real disk.

mod power_cut;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::clock::UnixMillis;
use crate::config::{Durability, WhenFull};
use crate::event::{Event, Qos, Record};
use crate::metrics::{Metrics, QueueSnapshot};
use crate::name::{RuleName, SourceName};
use crate::topic::Topic;

fn record(number: u64, payload_bytes: usize) -> Record {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(payload_bytes.max(payload.len()), b'x');
    let event = Event {
        id: u128::from(number).to_be_bytes(),
        source: SourceName::new("local").unwrap(),
        received_at: UnixMillis(number),
        topic: Topic::new("t/1").unwrap(),
        payload: Bytes::from(payload),
        qos: Qos::AtLeastOnce,
        retain: false,
        dup: false,
        client_id: None,
        username: None,
        peer: None,
        properties: None,
    };
    Record { rule: RuleName::new("all").unwrap(), event: Arc::new(event) }
}

fn options(when_full: WhenFull, bytes_max: u64) -> config::Queue {
    let bytes_max = bytes_max.try_into().unwrap();
    config::Queue { bytes_max, when_full, durability: Durability::Power }
}

fn open_store(dir: &Path) -> Store {
    let commit_window_max = Duration::from_millis(5);
    let config = StoreConfig { data_dir: dir.to_owned(), commit_window_max };
    Store::open(config, Metrics::new().store).unwrap()
}

fn open(dir: &Path) -> Queue {
    let sink = SinkName::new("cloud").unwrap();
    open_store(dir).open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap()
}

fn limit(records: usize) -> ReadLimit {
    let many = NonZeroUsize::new(16 << 20).unwrap();
    ReadLimit { records_max: NonZeroUsize::new(records).unwrap(), bytes_max: many }
}

async fn append(queue: &Queue, records: Vec<Record>) {
    assert_eq!(queue.append(records).await.unwrap().unwrap(), Appended::Settled);
}

/// Reads everything that waits, without taking it.
async fn waiting(queue: &Queue) -> Vec<Arc<StoredRecord>> {
    let mut all: Vec<Arc<StoredRecord>> = Vec::new();
    loop {
        let from = all.last().map_or(0, |record| record.number.0 + 1);
        let read = queue.peek(RecordNumber(from), limit(1000)).await.unwrap();
        if read.is_empty() {
            return all;
        }
        all.extend(read);
    }
}

#[track_caller]
fn assert_conserved(snapshot: &QueueSnapshot) {
    let left = snapshot.delivered + snapshot.dropped.values().sum::<u64>() + snapshot.queued;
    assert_eq!(snapshot.recovered + snapshot.enqueued, left, "{snapshot:?}");
}

#[tokio::test]
async fn what_was_appended_is_read_in_order_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    for group in 0..20_u64 {
        append(&queue, (0..50).map(|i| record(group * 50 + i, 300)).collect()).await;
    }
    assert_holds_all(&waiting(&queue).await, "before the restart");
    assert_conserved(&queue.snapshot());
    queue.close().await;
    drop(queue);
    let queue = open(dir.path());
    assert_holds_all(&waiting(&queue).await, "after the restart");
    assert_conserved(&queue.snapshot());
}

#[track_caller]
fn assert_holds_all(all: &[Arc<StoredRecord>], when: &str) {
    assert_eq!(all.len(), 1000, "{when}");
    for (number, found) in (0..).zip(all) {
        assert_eq!(found.number.0, number + 1, "{when}");
        assert_eq!(found.record, record(number, 300), "{when}");
    }
}

#[tokio::test]
async fn settled_records_stay_away_after_a_restart_also_when_settled_out_of_order() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    append(&queue, (1..=10).map(|number| record(number, 10)).collect()).await;
    let settled = [1, 2, 4, 7, 8].map(RecordNumber);
    queue.settle_delivered(&settled);
    queue.close().await;
    drop(queue);
    let queue = open(dir.path());
    let left: Vec<u64> = waiting(&queue).await.iter().map(|record| record.number.0).collect();
    assert_eq!(left, [3, 5, 6, 9, 10]);
    assert_eq!(queue.snapshot().recovered, 5);
}

#[tokio::test]
async fn a_record_larger_than_a_chunk_survives_whole() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    let sizes = [10, 5 << 20, 29 << 10, 31 << 10, 1 << 20, 100];
    let noisy = |size: usize| {
        let mut record = record(0, 0);
        let mut event = Arc::unwrap_or_clone(record.event);
        let mut random = fastrand::Rng::with_seed(u64::try_from(size).unwrap());
        event.payload = (0..size).map(|_| random.u8(..)).collect();
        record.event = Arc::new(event);
        record
    };
    append(&queue, sizes.map(noisy).to_vec()).await;
    queue.close().await;
    drop(queue);
    let queue = open(dir.path());
    let all = waiting(&queue).await;
    assert_eq!(all.len(), sizes.len());
    for (found, size) in all.iter().zip(sizes) {
        assert_eq!(found.record, noisy(size), "record of {size} bytes");
    }
}

#[tokio::test]
async fn a_drained_backlog_gives_its_disk_back() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    let mut random = fastrand::Rng::with_seed(1);
    for group in 0..60_u64 {
        let noisy = |i| {
            let mut record = record(group * 500 + i, 0);
            let mut event = Arc::unwrap_or_clone(record.event);
            event.payload = (0..1000).map(|_| random.u8(..)).collect();
            record.event = Arc::new(event);
            record
        };
        append(&queue, (0..500).map(noisy).collect()).await;
    }
    let full = queue.snapshot().bytes;
    assert!(full > 30_000_000, "{full}");
    let mut from = RecordNumber(0);
    let mut seen = 0;
    loop {
        let read = queue.read(from, limit(500)).await.unwrap();
        let Some(last) = read.last() else { break };
        from = RecordNumber(last.number.0 + 1);
        seen += read.len();
        let numbers: Vec<_> = read.iter().map(|record| record.number).collect();
        queue.settle_delivered(&numbers);
    }
    assert_eq!(seen, 30_000);
    assert_conserved(&queue.snapshot());
    queue.close().await;
    let left = queue.snapshot().bytes;
    assert!(left <= 14 << 20, "{left} of {full} bytes left");
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_data_directory() {
    let dir = TempDir::new().unwrap();
    let _held = open_store(dir.path());
    let config = StoreConfig { data_dir: dir.path().to_owned(), commit_window_max: Duration::ZERO };
    let error = Store::open(config, Metrics::new().store).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, StoreError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&pid), "{error}");
}
