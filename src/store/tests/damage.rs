//! Damaged files: whatever happens to them, the queue opens, and every acknowledged record is there or counted as lost.

use std::path::PathBuf;

use super::overload::SmallDisk;
use super::*;

const RECORDS: u64 = 400;

fn open_counting(dir: &Path) -> (Queue, Metrics) {
    let metrics = Metrics::new();
    let config = StoreConfig {
        data_dir: dir.to_owned(),
        commit_window_max: Duration::ZERO,
        dead_letters_bytes_max: DEAD_LETTER_BYTES,
    };
    let mut store = Store::open(config, metrics.store.clone()).unwrap();
    store.generation_bytes_max = 200 * 1024;
    let sink = SinkName::new("cloud").unwrap();
    let queue = store.open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap();
    (queue, metrics)
}

/// A queue of a few generations, closed.
async fn sound_queue(dir: &Path) {
    let (queue, _) = open_counting(dir);
    for first in (1..RECORDS).step_by(8) {
        append(&queue, (first..first + 8).map(|n| incompressible(n, 1000)).collect()).await;
    }
    queue.close().await;
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Files of the queue that hold something.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Opens a damaged copy: all records are there with their content, or counted as lost. Says how many are there.
async fn assert_told(dir: &Path, what: &str) -> u64 {
    let opening = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_counting(&opening)).await;
    let (queue, metrics) = opened.unwrap_or_else(|_| panic!("{what}: open panicked"));
    let mut present = 0;
    let mut from = 0;
    let mut failed = 0;
    loop {
        match queue.peek(RecordNumber(from), limit(100)).await {
            Ok(read) if read.is_empty() => break,
            Ok(read) => {
                for record in &read {
                    let id = u128::from(record.number.0).to_be_bytes();
                    assert_eq!(
                        record.record.event.message().unwrap().id,
                        id,
                        "{what}: wrong content"
                    );
                    present += 1;
                    from = record.number.0 + 1;
                }
            }
            // The newest is being repaired.
            Err(StoreError::Unavailable { .. }) if failed < 100 => {
                failed += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
    let lost = metrics.store.repairs("lost_records").get();
    assert!(present + lost >= RECORDS, "{what}: {present} present, {lost} lost of {RECORDS}");
    assert_conserved(&queue.snapshot());
    let next = queue.appended().borrow().0;
    assert!(next > RECORDS, "{what}: number {next} would be used again");
    append(&queue, vec![record(1, 10)]).await;
    present
}

/// A repair needs room. Where there is none it waits, and saves as much as it would have saved at once.
#[tokio::test]
async fn damage_found_on_a_full_disk_loses_no_more_than_on_another() {
    let Some(disk) = SmallDisk::mount() else { return };
    let sound = TempDir::new().unwrap();
    sound_queue(sound.path()).await;
    let all = files(&sound.path().join("queues"));
    let mut random = fastrand::Rng::with_seed(12);
    for round in 0..20 {
        let victim = &all[round % all.len()];
        let name = victim.strip_prefix(sound.path()).unwrap();
        let (kind, seed) = (round % 4, random.u64(..));
        let damaged = |dir: &Path| {
            copy_tree(sound.path(), dir);
            damage(&dir.join(name), kind, &mut fastrand::Rng::with_seed(seed));
        };
        let elsewhere = TempDir::new().unwrap();
        damaged(elsewhere.path());
        let what = format!("round {round}, damage {kind} of {}", name.display());
        let expected = assert_told(elsewhere.path(), &what).await;

        let data = disk.path().join("data");
        damaged(&data);
        drop(fs::remove_file(data.join("ballast")));
        disk.fill();
        let (queue, _) = open_counting(&data);
        drop(queue.peek(RecordNumber(0), limit(1)).await);
        drop(queue);
        disk.clear();
        let present = assert_told(&data, &what).await;
        assert!(present >= expected, "{what}: {present} records instead of {expected}");
        fs::remove_dir_all(&data).unwrap();
    }
}

/// Damages a file somewhere, in one of four ways.
fn damage(path: &Path, kind: usize, random: &mut fastrand::Rng) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let at = random.usize(..bytes.len());
    match kind {
        0 => bytes[at] ^= 1 << random.u8(0..8),
        1 => bytes.truncate(at),
        2 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
        }
        _ => bytes.clear(),
    }
    fs::write(path, &bytes).unwrap();
    at
}

#[tokio::test]
async fn damage_anywhere_is_repaired_or_counted() {
    let sound = TempDir::new().unwrap();
    sound_queue(sound.path()).await;
    let queue_dir = sound.path().join("queues");
    let all = files(&queue_dir);
    let rounds: usize = std::env::var("WAYPOST_TEST_DAMAGES").map_or(90, |n| n.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..rounds {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        copy_tree(sound.path(), dir.path());
        let victim = &all[random.usize(..all.len())];
        let path = dir.path().join(victim.strip_prefix(sound.path()).unwrap());
        let kind = round % 4;
        let at = damage(&path, kind, &mut random);
        let name = victim.strip_prefix(&queue_dir).unwrap().display();
        let what = format!("round {round}, damage {kind} at {at} of {name}");
        assert_told(dir.path(), &what).await;
    }
}

/// Wherever the process ended while it carried a generation over.
#[tokio::test]
async fn a_repair_that_was_cut_off_is_ended_at_the_next_start() {
    for is_damaged_one_away in [false, true] {
        let dir = TempDir::new().unwrap();
        sound_queue(dir.path()).await;
        let queue_dir = dir.path().join("queues/cloud");
        let id = generation::list(&queue_dir).unwrap()[0].to_string();
        let (place, unfinished) = (queue_dir.join(&id), queue_dir.join(format!("unfinished-{id}")));
        if is_damaged_one_away {
            fs::rename(&place, &unfinished).unwrap();
        } else {
            fs::create_dir(&unfinished).unwrap();
            fs::write(unfinished.join("db"), "half").unwrap();
        }
        let (queue, metrics) = open_counting(dir.path());
        assert_eq!(waiting(&queue).await.len() as u64, RECORDS, "away: {is_damaged_one_away}");
        assert_eq!(metrics.store.repairs("lost_records").get(), 0);
        assert!(!unfinished.exists(), "away: {is_damaged_one_away}");
    }
}

#[tokio::test]
async fn an_unfinished_snapshot_is_removed_before_the_open() {
    let dir = TempDir::new().unwrap();
    sound_queue(dir.path()).await;
    for file in files(&dir.path().join("queues")) {
        if file.file_name().unwrap() == "db" {
            fs::write(file.with_file_name("snap.0000000000000001.generating"), b"half").unwrap();
        }
    }
    let (queue, metrics) = open_counting(dir.path());
    assert_eq!(waiting(&queue).await.len() as u64, RECORDS);
    assert!(metrics.store.repairs("unfinished_snapshot").get() >= 2);
    assert_eq!(metrics.store.repairs("set_aside").get(), 0);
}

#[tokio::test]
async fn no_value_ever_becomes_a_blob() {
    let dir = TempDir::new().unwrap();
    sound_queue(dir.path()).await;
    let (queue, _) = open_counting(dir.path());
    append(&queue, vec![incompressible(1, 3 << 20)]).await;
    let blobs = |path: &PathBuf| path.parent().is_some_and(|dir| dir.ends_with("blobs"));
    assert_eq!(files(dir.path()).into_iter().find(blobs), None);
}
