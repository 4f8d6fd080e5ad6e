//! The queue through its public face, on a real disk.

#![expect(clippy::as_conversions, reason = "counts of a test fit any integer")]

mod damage;
mod golden;
mod kill;
mod letters;
mod model;
mod operator;
mod overload;
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
use crate::event::{Event, Message, Qos, Record};
use crate::metrics::{Metrics, QueueSnapshot};
use crate::name::{RuleName, SourceName};
use crate::topic::Topic;

const DEAD_LETTER_BYTES: NonZeroU64 = NonZeroU64::new(64 << 20).unwrap();

fn record(number: u64, payload_bytes: usize) -> Record {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(payload_bytes.max(payload.len()), b'x');
    let event = Event::published(
        SourceName::new("local").unwrap(),
        UnixMillis(number),
        Message {
            id: u128::from(number).to_be_bytes(),
            topic: Topic::new("t/1").unwrap(),
            payload: Bytes::from(payload),
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            client_id: None,
            username: None,
            peer: None,
            properties: None,
        },
    );
    Record {
        rule: RuleName::new("all").unwrap(),
        event: Arc::new(event),
        output: None,
        replay: None,
    }
}

/// A record whose payload does not compress.
fn incompressible(number: u64, payload_bytes: usize) -> Record {
    let mut record = record(number, 0);
    let mut event = Arc::unwrap_or_clone(record.event);
    let mut random = fastrand::Rng::with_seed(number);
    event.message_mut().payload = (0..payload_bytes).map(|_| random.u8(..)).collect();
    record.event = Arc::new(event);
    record
}

fn options(when_full: WhenFull, bytes_max: u64) -> config::Queue {
    let bytes_max = bytes_max.try_into().unwrap();
    config::Queue { bytes_max, when_full, durability: Durability::Power }
}

fn open_store(dir: &Path) -> Store {
    let commit_window_max = Duration::from_millis(5);
    let config = StoreConfig {
        data_dir: dir.to_owned(),
        commit_window_max,
        dead_letters_bytes_max: DEAD_LETTER_BYTES,
    };
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
    let noisy = |size: usize| incompressible(7, size);
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
    for group in 0..60_u64 {
        let numbers = group * 500..(group + 1) * 500;
        append(&queue, numbers.map(|number| incompressible(number, 1000)).collect()).await;
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
    let config = StoreConfig {
        data_dir: dir.path().to_owned(),
        commit_window_max: Duration::ZERO,
        dead_letters_bytes_max: DEAD_LETTER_BYTES,
    };
    let error = Store::open(config, Metrics::new().store).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, StoreError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&pid), "{error}");
}

#[tokio::test]
async fn ages_go_on_over_a_restart_and_belong_to_the_oldest_that_waits() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    assert!(queue.snapshot().oldest_age_seconds.abs() < f64::EPSILON, "nothing waits");
    append(&queue, vec![record(1, 10)]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    append(&queue, vec![record(2, 10)]).await;
    let age = queue.snapshot().oldest_age_seconds;
    assert!((0.3..5.0).contains(&age), "{age}");
    queue.close().await;
    drop(queue);
    let queue = open(dir.path());
    let age = queue.snapshot().oldest_age_seconds;
    assert!((0.3..10.0).contains(&age), "{age} after a restart");
    queue.settle_delivered(&[RecordNumber(1)]);
    append(&queue, vec![record(3, 10)]).await;
    queue.settle_delivered(&[RecordNumber(2)]);
    let younger = queue.snapshot().oldest_age_seconds;
    assert!(younger < age, "{younger} of record 3, {age} of record 1");
}

#[tokio::test]
async fn a_backlog_that_nobody_reads_has_the_age_of_its_oldest_record() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    append(&queue, vec![record(1, 10)]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // More than is kept in memory.
    for first in (2..).step_by(10).take(10) {
        append(&queue, (first..first + 10).map(|number| record(number, 200_000)).collect()).await;
    }
    let age = queue.snapshot().oldest_age_seconds;
    assert!(age > 0.3, "{age}");
}

#[tokio::test]
async fn the_first_read_after_an_append_needs_no_disk() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    append(&queue, (1..=100).map(|number| record(number, 100)).collect()).await;
    // Removed under its feet: whoever opened a file now would fail.
    fs::remove_dir_all(dir.path().join("queues/cloud")).unwrap();
    let read = queue.read(RecordNumber(1), limit(100)).await.unwrap();
    assert_eq!(read.len(), 100);
}

#[tokio::test]
async fn an_idle_queue_commits_its_cursor_within_a_second() {
    let dir = TempDir::new().unwrap();
    let queue = open(dir.path());
    append(&queue, (1..=10).map(|number| record(number, 100)).collect()).await;
    queue.settle_delivered(&[1, 2, 3].map(RecordNumber));
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Without a close, which would commit it.
    drop(queue);
    let queue = open(dir.path());
    assert_eq!(waiting(&queue).await.first().unwrap().number.0, 4);
}

#[tokio::test]
async fn process_durability_keeps_records_over_a_restart_and_syncs_on_a_period() {
    let dir = TempDir::new().unwrap();
    let sink = SinkName::new("cloud").unwrap();
    let options =
        config::Queue { durability: Durability::Process, ..options(WhenFull::DropOldest, 1 << 30) };
    let queue = open_store(dir.path()).open_queue(&sink, &options).unwrap();
    for first in (1..2000).step_by(100) {
        append(&queue, (first..first + 100).map(|n| incompressible(n, 1000)).collect()).await;
    }
    drop(queue);
    let queue = open_store(dir.path()).open_queue(&sink, &options).unwrap();
    assert_eq!(waiting(&queue).await.len(), 2000);
}
