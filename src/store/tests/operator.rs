//! What an operator does to queues, and looking at their files without opening them.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::store::{Dropped, OfflineQueue, stored_queues};

fn cloud() -> SinkName {
    SinkName::new("cloud").unwrap()
}

/// Every file under a folder, with its content and when it was last written.
fn files(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), modified));
        }
    }
    found
}

fn numbers(records: &[StoredRecord]) -> Vec<u64> {
    records.iter().map(|record| record.number.0).collect()
}

#[tokio::test]
async fn the_files_of_a_queue_show_what_waits_while_it_runs_and_after_and_are_left_as_they_are() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let queue = store.open_queue(&cloud(), &options(WhenFull::Block, 1 << 30)).unwrap();
    // Several generations, and a record of many chunks.
    for number in 1..=40 {
        append(&queue, vec![incompressible(number, 400 * 1024)]).await;
    }
    let read = queue.read(RecordNumber(0), limit(25)).await.unwrap();
    let delivered: Vec<_> = read.iter().map(|record| record.number).collect();
    queue.settle_delivered(&delivered);
    append(&queue, vec![incompressible(41, 100)]).await;

    let expected: Vec<u64> = (delivered.len() as u64 + 1..=41).collect();
    let check = || {
        let before = files(&dir.path().join("queues"));
        let offline = OfflineQueue::read(dir.path(), &cloud()).unwrap();
        let found = offline.records(RecordNumber(0), 1000).unwrap();
        assert_eq!(numbers(&found), expected);
        for record in &found {
            assert_eq!(
                record.record,
                incompressible(record.number.0, record.record.event.payload().unwrap().len()),
                "{:?}",
                record.number
            );
        }
        assert_eq!(numbers(&offline.records(RecordNumber(40), 1).unwrap()), [40]);
        let counts = stored_queues(dir.path(), |_| true).unwrap();
        assert_eq!(counts.len(), 1);
        assert_eq!((counts[0].sink.as_str(), counts[0].records), ("cloud", expected.len() as u64));
        assert_eq!(offline.store_id(), store.id());
        before == files(&dir.path().join("queues"))
    };
    // The queue's own thread may write meanwhile.
    check();
    queue.close().await;
    assert!(check(), "files have changed");
}

#[tokio::test]
async fn what_is_dropped_for_an_operator_is_old_enough_not_in_flight_counted_and_gone_for_good() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let queue = store.open_queue(&cloud(), &options(WhenFull::Block, 1 << 30)).unwrap();
    append(&queue, (1..=100).map(|number| record(number, 10)).collect()).await;
    let in_flight = queue.read(RecordNumber(50), limit(1)).await.unwrap();
    assert_eq!(in_flight[0].number.0, 50);

    let hour = queue.drop_older_than(Duration::from_hours(1)).await.unwrap();
    assert_eq!(hour, Dropped { dropped: 0, in_flight: 0 });
    let all = queue.drop_older_than(Duration::ZERO).await.unwrap();
    assert_eq!(all, Dropped { dropped: 99, in_flight: 1 });
    let snapshot = queue.snapshot();
    assert_eq!((snapshot.queued, snapshot.dropped["operator"]), (1, 99));
    assert!(!queue.is_empty());

    drop(queue);
    let queue = store.open_queue(&cloud(), &options(WhenFull::Block, 1 << 30)).unwrap();
    assert_eq!(queue.snapshot().recovered, 1, "dropped records are back after a crash");
}

#[tokio::test]
async fn a_queue_that_was_removed_and_comes_back_goes_on_with_its_numbers() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    for round in 0..3 {
        let queue = store.open_queue(&cloud(), &options(WhenFull::Block, 1 << 30)).unwrap();
        assert_eq!(queue.snapshot().recovered, 0, "round {round}");
        append(&queue, (1..=10).map(|number| record(number, 10)).collect()).await;
        let read = queue.read(RecordNumber(0), limit(10)).await.unwrap();
        assert_eq!(read[0].number.0, round * 10 + 1, "a record number is used twice");
        queue.settle_delivered(&read.iter().map(|record| record.number).collect::<Vec<_>>());
        while !queue.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        store.remove_queue(&queue).unwrap();
        let left: u64 = files(&dir.path().join("queues/cloud"))
            .values()
            .map(|(bytes, _)| bytes.len() as u64)
            .sum();
        assert!(left < 100, "{left} bytes are left of a removed queue");
    }
}

#[tokio::test]
async fn the_settings_of_a_queue_change_while_it_is_open() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let small = options(WhenFull::DropNewest, 16 << 20);
    let queue = store.open_queue(&cloud(), &small).unwrap();
    let megabytes = |count: u64| (1..=count).map(|number| incompressible(number, 1 << 20));
    for record in megabytes(20) {
        append(&queue, vec![record]).await;
    }
    let full = queue.snapshot();
    assert!(full.dropped["queue_full"] > 0, "{full:?}");

    queue.change(&options(WhenFull::DropNewest, 64 << 20));
    for durability in [Durability::Process, Durability::Power, Durability::Process] {
        queue.change(&config::Queue { durability, ..options(WhenFull::DropNewest, 64 << 20) });
        for record in megabytes(3) {
            append(&queue, vec![record]).await;
        }
    }
    let larger = queue.snapshot();
    assert_eq!(larger.dropped["queue_full"], full.dropped["queue_full"], "dropped with room");
    assert_eq!((larger.queued, larger.bytes_max), (full.queued + 9, 64 << 20));
    queue.close().await;
    drop(queue);
    let queue = store.open_queue(&cloud(), &small).unwrap();
    assert_eq!(queue.snapshot().recovered, larger.queued);
}
