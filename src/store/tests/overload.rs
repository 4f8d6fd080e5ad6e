//! The quota is reached, or the disk is full.

use std::process::Command;

use super::*;
use crate::config::QUEUE_BYTES_MIN;
use crate::event::Replay;

/// Least quota there is, so that the tests write little.
const QUOTA: u64 = QUEUE_BYTES_MIN;

fn open_with(dir: &Path, when_full: WhenFull, bytes_max: u64) -> Queue {
    let sink = SinkName::new("cloud").unwrap();
    open_store(dir).open_queue(&sink, &options(when_full, bytes_max)).unwrap()
}

fn group(first: u64) -> Vec<Record> {
    (first..first + 100).map(|number| incompressible(number, 2000)).collect()
}

/// Appends groups of 100 records until `bytes` were sent or one is not answered within a second.
async fn fill(queue: &Queue, bytes: u64) -> Option<Receipt> {
    for first in (1..bytes / 2000).step_by(100) {
        let mut receipt = queue.append(group(first));
        match tokio::time::timeout(Duration::from_secs(1), &mut receipt).await {
            Ok(answer) => assert_eq!(answer.unwrap().unwrap(), Appended::Settled),
            Err(_) => return Some(receipt),
        }
        let snapshot = queue.snapshot();
        assert_conserved(&snapshot);
        assert!(snapshot.bytes <= snapshot.bytes_max, "over its quota: {snapshot:?}");
    }
    None
}

#[tokio::test]
async fn drop_oldest_drops_the_oldest_chunks_and_keeps_what_is_in_flight() {
    let dir = TempDir::new().unwrap();
    let queue = open_with(dir.path(), WhenFull::DropOldest, QUOTA);
    append(&queue, group(1)).await;
    let taken = queue.read(RecordNumber(0), limit(10)).await.unwrap();
    assert_eq!(taken.len(), 10);
    assert!(fill(&queue, 3 * QUOTA).await.is_none());
    let snapshot = queue.snapshot();
    assert!(snapshot.dropped["queue_full"] > 0, "{snapshot:?}");
    let left = waiting(&queue).await;
    let numbers: Vec<u64> = left.iter().map(|record| record.number.0).collect();
    assert_eq!(numbers[..10], (1..=10).collect::<Vec<_>>(), "in flight");
    let rest = &numbers[10..];
    let after_gap = rest.iter().position(|number| *number > 100).unwrap();
    let kept = &rest[after_gap..];
    assert!(kept.windows(2).all(|two| two[1] == two[0] + 1), "a gap behind the oldest");
    // A chunk at a time: what is kept is most of what the quota allows.
    assert!(kept.len() > 1500, "only {} kept", kept.len());
    assert_eq!(snapshot.queued, left.len() as u64);
}

#[tokio::test]
async fn drop_newest_keeps_what_is_there() {
    let dir = TempDir::new().unwrap();
    let queue = open_with(dir.path(), WhenFull::DropNewest, QUOTA);
    assert!(fill(&queue, 2 * QUOTA).await.is_none());
    let snapshot = queue.snapshot();
    assert!(snapshot.dropped["queue_full"] > 0, "{snapshot:?}");
    let left = waiting(&queue).await;
    assert_eq!(left[0].number.0, 1);
    assert_eq!(snapshot.queued, left.len() as u64);
    assert_eq!(snapshot.enqueued, snapshot.queued + snapshot.dropped["queue_full"]);
}

#[tokio::test]
async fn block_withholds_the_receipt_until_there_is_room() {
    let dir = TempDir::new().unwrap();
    let queue = open_with(dir.path(), WhenFull::Block, QUOTA);
    let withheld = fill(&queue, 2 * QUOTA).await.expect("it never blocked");
    assert_eq!(queue.snapshot().dropped.values().sum::<u64>(), 0);
    take_all(&queue).await;
    let answer = tokio::time::timeout(Duration::from_secs(20), withheld).await.unwrap();
    assert_eq!(answer.unwrap().unwrap(), Appended::Settled);
    assert_conserved(&queue.snapshot());
}

/// Reads and settles everything. On a full disk a read may have to wait until what was settled gives its room back.
async fn take_all(queue: &Queue) -> u64 {
    let mut taken = 0;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let read = match queue.read(RecordNumber(0), limit(500)).await {
            Ok(read) => read,
            Err(error) => {
                assert!(std::time::Instant::now() < deadline, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if read.is_empty() {
            return taken;
        }
        taken += read.len() as u64;
        let numbers: Vec<_> = read.iter().map(|record| record.number).collect();
        queue.settle_delivered(&numbers);
    }
}

/// A file system of 64 MiB; `None` where this process may not mount one.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Somebody else's data takes what is left.
    pub(super) fn fill(&self) {
        let mut size = 64_u64 << 20;
        while size > 0 {
            let mut options = fs::OpenOptions::new();
            let mut file = options.append(true).create(true).open(self.somebody_else()).unwrap();
            if io::Write::write_all(&mut file, &vec![1; size.try_into().unwrap()]).is_err() {
                size /= 2;
            }
        }
    }

    /// Somebody else's data goes away.
    pub(super) fn clear(&self) {
        fs::remove_file(self.somebody_else()).unwrap();
    }

    fn somebody_else(&self) -> PathBuf {
        self.0.path().join("somebody-else")
    }

    pub(super) fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "waypost-test"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            Some(Self(dir))
        } else {
            eprintln!("skipped: mounting a small tmpfs needs root");
            None
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn a_full_disk_drops_what_the_policy_says_and_acknowledged_records_stay() {
    let Some(disk) = SmallDisk::mount() else { return };
    let queue = open_with(disk.path(), WhenFull::DropNewest, 1 << 30);
    assert!(fill(&queue, 80 << 20).await.is_none());
    let full = queue.snapshot();
    assert!(full.dropped["disk_full"] > 0, "{full:?}");
    assert_eq!(take_all(&queue).await, full.queued, "what was acknowledged is delivered");
    until_taken(&queue).await;
    assert_conserved(&queue.snapshot());
}

#[tokio::test]
async fn a_full_disk_makes_drop_oldest_give_up_the_oldest() {
    let Some(disk) = SmallDisk::mount() else { return };
    let queue = open_with(disk.path(), WhenFull::DropOldest, 1 << 30);
    assert!(fill(&queue, 120 << 20).await.is_none());
    let full = queue.snapshot();
    assert!(full.dropped["disk_full"] > 0, "{full:?}");
    let left = waiting(&queue).await;
    assert!(left[0].number.0 > 100, "the oldest went first");
    assert_eq!(left.len() as u64, full.queued);
}

#[tokio::test]
async fn a_full_disk_makes_block_wait_until_somebody_frees_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let other = disk.path().join("somebody-else");
    fs::write(&other, vec![1; 30 << 20]).unwrap();
    let queue = open_with(disk.path(), WhenFull::Block, 1 << 30);
    let withheld = fill(&queue, 80 << 20).await.expect("it never blocked");
    fs::remove_file(&other).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), withheld).await.unwrap();
    assert_eq!(answer.unwrap().unwrap(), Appended::Settled);
    assert_eq!(queue.snapshot().dropped.values().sum::<u64>(), 0);
    assert_eq!(waiting(&queue).await.len() as u64, queue.snapshot().queued);
}

#[tokio::test]
async fn a_full_disk_does_not_stop_the_start() {
    let Some(disk) = SmallDisk::mount() else { return };
    let queue = open_with(disk.path(), WhenFull::DropNewest, 1 << 30);
    append(&queue, group(1)).await;
    queue.close().await;
    drop(queue);
    disk.fill();
    let queue = open_with(disk.path(), WhenFull::DropNewest, 1 << 30);
    assert_eq!(waiting(&queue).await.len(), 100);
}

/// Appends until a record is taken, not dropped.
async fn until_taken(queue: &Queue) {
    let queued = queue.snapshot().queued;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while queue.snapshot().queued == queued {
        assert!(std::time::Instant::now() < deadline, "takes nothing: {:?}", queue.snapshot());
        append(queue, vec![record(1, 10)]).await;
    }
}

#[tokio::test]
async fn replayed_records_push_out_nothing_and_leave_room_under_every_policy() {
    for policy in
        [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::DeadLetter, WhenFull::Block]
    {
        let dir = TempDir::new().unwrap();
        let store = open_store(dir.path());
        let sink = SinkName::new("cloud").unwrap();
        let queue = store.open_queue(&sink, &options(policy, 32 << 20)).unwrap();
        let replayed = |number| {
            let record_id = record_id("old1", &sink, RecordNumber(number));
            let replay = Some(Arc::new(Replay { record_id, edited_from: None }));
            Record { replay, ..incompressible(number, 500_000) }
        };
        let mut taken = 0;
        loop {
            let answer = queue.append_replayed(vec![replayed(taken)]).await.unwrap().unwrap();
            if answer == Appended::NoRoom {
                break;
            }
            taken += 1;
            assert!(taken < 64, "{policy:?}: no end of room");
        }
        assert!(taken > 8, "{policy:?}: only {taken} taken");
        // What is kept free is for live traffic.
        for number in 0..5 {
            append(&queue, vec![incompressible(number, 500_000)]).await;
        }
        let QueueSnapshot { enqueued, replayed, queued, dropped, .. } = queue.snapshot();
        assert_eq!((enqueued, replayed, queued), (taken + 5, taken, taken + 5), "{policy:?}");
        assert_eq!(dropped.values().sum::<u64>(), 0, "{policy:?}");
        queue.close().await;
    }
}
