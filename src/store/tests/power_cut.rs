//! Power cuts. A child process runs the real store under `strace`, which records every write, sync, rename and so on.
//! Then, at random points of the recording, the data directory is put together as a disk could show it after a power
//! cut there, opened with the real store, and checked: every acknowledged record is there, under its number.
//!
//! `WAYPOST_TEST_CUTS` sets the cuts per recording (250 by default, two recordings).

mod disk;
mod recording;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use disk::{Disk, Model};
use recording::Call;

use super::*;

const DIR: &str = "WAYPOST_TEST_POWER_DIR";
const SEED: &str = "WAYPOST_TEST_POWER_SEED";
/// Small, so that a recording has several generations.
const GENERATION_BYTES: u64 = 192 * 1024;

fn open_small(dir: &Path) -> Queue {
    let mut store = open_store(dir);
    store.generation_bytes_max = GENERATION_BYTES;
    let sink = SinkName::new("cloud").unwrap();
    store.open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap()
}

/// A record that says its number and hardly compresses.
fn noisy(number: u64) -> Record {
    let mut random = fastrand::Rng::with_seed(number);
    let bytes = if random.u8(..) == 0 { 40_000 } else { random.usize(10..1500) };
    incompressible(number, bytes)
}

/// The child's part; does nothing in an ordinary run. Opens, appends, settles and reopens, and writes a line to the
/// file `marks` for everything that was acknowledged (`a FIRST END`), and before anything is settled (`s FIRST END`).
#[tokio::test]
async fn workload_for_the_recorder() {
    let Some(dir) = env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let seed = env::var(SEED).unwrap().parse().unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mark = |text: String| {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(dir.join("marks"))?;
        file.write_all(text.as_bytes())
    };
    let mut next = 1;
    let mut settled = 1;
    for life in 0..3 {
        let queue = open_small(&dir.join("data"));
        for _ in 0..30 {
            let end = next + random.u64(1..20);
            append(&queue, (next..end).map(noisy).collect()).await;
            mark(format!("a {next} {end}\n")).unwrap();
            next = end;
            if random.u8(0..3) == 0 {
                let upto = random.u64(settled..next);
                mark(format!("s {settled} {upto}\n")).unwrap();
                let numbers: Vec<_> = (settled..upto).map(RecordNumber).collect();
                queue.settle_delivered(&numbers);
                settled = upto;
            }
        }
        if life % 2 == 0 {
            queue.close().await;
        }
    }
}

/// Runs the workload under `strace`.
fn record_workload(seed: u64, with_sync: bool) -> Vec<Call> {
    let dir = TempDir::new().unwrap();
    let trace = dir.path().join("trace");
    fs::create_dir(dir.path().join("data")).unwrap();
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-y", "-xx", "-s", "16777216", "-o"])
        .arg(&trace)
        .args(["-e", recording::CALLS, "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "store::tests::power_cut::workload_for_the_recorder"])
        .env(DIR, dir.path())
        .env(SEED, seed.to_string());
    if !with_sync {
        strace.env("WAYPOST_TEST_WITHOUT_SYNC", "1");
    }
    let output = strace.output().expect("strace is installed (Debian package `strace`)");
    assert!(output.status.success(), "workload {seed}: {output:?}");
    let trace = fs::read(&trace).unwrap();
    recording::parse(&trace, dir.path())
}

/// What the marks up to a cut promise.
#[derive(Debug, Default)]
struct Promised {
    acknowledged: u64,
    settled: u64,
}

fn promised(calls: &[Call]) -> Promised {
    let mut promised = Promised { acknowledged: 1, settled: 1 };
    for call in calls {
        let Call::Write { path, bytes, .. } = call else { continue };
        if path != Path::new("marks") {
            continue;
        }
        let line = String::from_utf8(bytes.clone()).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let end = words[2].parse().unwrap();
        match words[0] {
            "a" => promised.acknowledged = end,
            _ => promised.settled = end,
        }
    }
    promised
}

/// Opens what a cut left and says what is wrong with it.
async fn check(dir: &Path, promised: &Promised) -> Result<(), String> {
    let dir = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_small(&dir)).await;
    let queue = opened.map_err(|error| format!("open panicked: {error}"))?;
    let found: BTreeMap<u64, Arc<StoredRecord>> =
        waiting(&queue).await.into_iter().map(|record| (record.number.0, record)).collect();
    for number in promised.settled..promised.acknowledged {
        match found.get(&number) {
            None => return Err(format!("record {number} of {promised:?} is gone")),
            Some(found) if found.record != noisy(number) => {
                return Err(format!("record {number} is another one"));
            }
            Some(_) => {}
        }
    }
    assert_conserved(&queue.snapshot());
    let taken = queue.append(vec![noisy(1)]).await;
    matches!(taken, Ok(Ok(_))).then_some(()).ok_or_else(|| "takes no records".to_owned())
}

/// Cuts a recording at random points; gives back what went wrong.
async fn cut(calls: &[Call], seed: u64, cuts: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut failures = Vec::new();
    for number in 0..cuts {
        let at = random.usize(0..=calls.len());
        let model = Model::ALL[number % Model::ALL.len()];
        // Synced files of a test need no real disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        let mut disk = Disk::default();
        for call in &calls[..at] {
            disk.apply(call);
        }
        disk.cut(model, &mut random).write_to(dir.path());
        let promised = promised(&calls[..at]);
        if let Err(why) = check(&dir.path().join("data"), &promised).await {
            failures.push(format!("seed {seed}, cut {number} at call {at}, {model:?}: {why}"));
        }
    }
    failures
}

/// The recording has what can go wrong: generations made and removed, and acknowledgements.
fn assert_is_telling(calls: &[Call]) {
    let is_generation = |path: &Path| path.parent() == Some(Path::new("data/queues/cloud"));
    let made = |call: &&Call| matches!(call, Call::MakeDir { path } if is_generation(path));
    let removed = |call: &&Call| matches!(call, Call::Remove { path } if is_generation(path));
    let (made, removed) = (calls.iter().filter(made).count(), calls.iter().filter(removed).count());
    let promised = promised(calls);
    assert!(made >= 3 && removed >= 1, "{made} generations made, {removed} removed");
    assert!(promised.acknowledged > 500 && promised.settled > 100, "{promised:?}");
}

fn cuts_per_recording() -> usize {
    env::var("WAYPOST_TEST_CUTS").map_or(250, |cuts| cuts.parse().unwrap())
}

#[tokio::test]
async fn every_acknowledged_record_survives_a_power_cut_at_any_moment() {
    for seed in [1, 2] {
        let calls = record_workload(seed, true);
        assert_is_telling(&calls);
        let failures = cut(&calls, seed, cuts_per_recording()).await;
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }
}

#[tokio::test]
async fn without_the_sync_power_cuts_lose_acknowledged_records() {
    let calls = record_workload(3, false);
    let failures = cut(&calls, 3, 30).await;
    assert!(failures.len() > 10, "the check would not notice: {failures:?}");
}
