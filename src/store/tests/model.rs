//! The queue against a model, with restarts: whatever order things come in, the books balance and nothing that was
//! acknowledged is lost, altered or given twice as another.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// One step.
#[derive(Debug, Clone)]
enum Step {
    Append {
        records: u64,
        payload_bytes: usize,
    },
    /// Takes records from the first that waits on.
    Read {
        records: usize,
    },
    /// Settles every record in flight whose number leaves this remainder by three.
    Settle {
        remainder: u64,
    },
    /// Gives back everything in flight.
    Release,
    /// Closes and opens.
    Restart,
    /// Drops without a close and opens: the latest settlements may be forgotten.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_u64, 0..6000_usize)
            .prop_map(|(records, payload_bytes)| Step::Append { records, payload_bytes }),
        3 => (1..60_usize).prop_map(|records| Step::Read { records }),
        3 => (0..3_u64).prop_map(|remainder| Step::Settle { remainder }),
        1 => Just(Step::Release),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

/// What the queue must look like.
#[derive(Debug, Default)]
struct Expected {
    /// What waits or is in flight, by number.
    waiting: BTreeMap<u64, u64>,
    in_flight: BTreeSet<u64>,
    /// Settled since the last restart: a crash may bring them back.
    unsure: BTreeMap<u64, u64>,
    next: u64,
}

fn open_small(dir: &Path) -> Queue {
    let mut store = open_store(dir);
    store.generation_bytes_max = 100 * 1024;
    let sink = SinkName::new("cloud").unwrap();
    store.open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap()
}

async fn apply(step: &Step, queue: &mut Queue, expected: &mut Expected, dir: &Path) {
    match *step {
        Step::Append { records, payload_bytes } => {
            let first = expected.next;
            let end = first + records;
            append(queue, (first..end).map(|n| incompressible(n, payload_bytes)).collect()).await;
            expected.waiting.extend((first..end).map(|number| (number, number)));
            expected.next = end;
        }
        Step::Read { records } => {
            let read = queue.read(RecordNumber(0), limit(records)).await.unwrap();
            let numbers: Vec<u64> = read.iter().map(|record| record.number.0).collect();
            let first: Vec<u64> = expected.waiting.keys().copied().take(numbers.len()).collect();
            assert_eq!(numbers, first, "the first that wait, in order");
            assert_eq!(numbers.is_empty(), expected.waiting.is_empty());
            expected.in_flight.extend(numbers);
        }
        Step::Settle { remainder } => {
            let chosen = |number: &u64| number % 3 == remainder;
            let numbers: Vec<u64> = expected.in_flight.iter().copied().filter(chosen).collect();
            let settled: Vec<_> = numbers.iter().copied().map(RecordNumber).collect();
            queue.settle_delivered(&settled);
            for number in numbers {
                expected.in_flight.remove(&number);
                let record = expected.waiting.remove(&number).unwrap();
                expected.unsure.insert(number, record);
            }
        }
        Step::Release => {
            let numbers: Vec<_> = expected.in_flight.iter().copied().map(RecordNumber).collect();
            queue.release(&numbers);
            expected.in_flight.clear();
        }
        Step::Restart => {
            queue.close().await;
            *queue = reopened(queue, dir);
            expected.in_flight.clear();
            expected.unsure.clear();
        }
        Step::Crash => {
            *queue = reopened(queue, dir);
            expected.in_flight.clear();
            let unsure = std::mem::take(&mut expected.unsure);
            let back = waiting(queue).await;
            let back: BTreeSet<u64> = back.iter().map(|record| record.number.0).collect();
            expected.waiting.extend(unsure.into_iter().filter(|(number, _)| back.contains(number)));
        }
    }
}

/// A queue in place of another one, which is dropped first.
fn reopened(queue: &mut Queue, dir: &Path) -> Queue {
    let elsewhere = TempDir::new().unwrap();
    drop(std::mem::replace(queue, open_small(elsewhere.path())));
    open_small(dir)
}

#[test]
fn the_queue_does_what_its_model_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = std::env::var("WAYPOST_TEST_CASES").map_or(24, |cases| cases.parse().unwrap());
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..40);
    let result = runner.run(&steps, |steps| {
        runtime.block_on(async {
            let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
            let mut queue = open_small(dir.path());
            let mut expected = Expected { next: 1, ..Expected::default() };
            for step in &steps {
                apply(step, &mut queue, &mut expected, dir.path()).await;
                let snapshot = queue.snapshot();
                assert_conserved(&snapshot);
                assert_eq!(snapshot.queued, expected.waiting.len() as u64, "after {step:?}");
            }
            let found = waiting(&queue).await;
            let numbers: Vec<u64> = found.iter().map(|record| record.number.0).collect();
            assert_eq!(numbers, expected.waiting.keys().copied().collect::<Vec<_>>());
            for record in found {
                let id = u128::from(record.number.0).to_be_bytes();
                assert_eq!(
                    record.record.event.message().unwrap().id,
                    id,
                    "record {:?}",
                    record.number
                );
            }
        });
        Ok(())
    });
    result.unwrap();
}
