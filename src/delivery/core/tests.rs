//! The core against a model of the queue and of a service that misbehaves. No runtime, no socket.

mod policy;
mod simulation;
mod steering;

use super::*;
use crate::config::Order;
use simulation::{Fault, Simulation};

const ORDERS: [Order; 3] = [Order::Key, Order::Sink, Order::None];

/// Seeds of each of the two campaigns; `WAYPOST_TEST_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("WAYPOST_TEST_SEEDS").map_or(300, |count| count.parse().unwrap())
}

#[test]
fn under_random_faults_every_record_arrives_in_order_and_nothing_is_sent_beside_a_probe() {
    let mut given_up = 0_u64;
    for seed in 0..seeds() {
        let order = ORDERS[usize::try_from(seed % 3).unwrap()];
        let records_max = [1, 3, 7][usize::try_from(seed / 3 % 3).unwrap()];
        println!("seed {seed}: {order:?}, batches of {records_max}");
        let mut simulation = Simulation::new(seed, order, records_max);
        let mut appended = 0;
        let mut steps = 0;
        while appended < 200 || !simulation.queue.unsettled.is_empty() {
            if appended < 200 && simulation.random.u8(..8) == 0 {
                let key = simulation.random.u8(..6).to_string();
                simulation.queue.append(&key);
                appended += 1;
            }
            // Some runs of failures, some of success.
            let is_over = appended == 200;
            simulation.failing_percent = if is_over { 0 } else { [0, 30, 95][(steps / 200) % 3] };
            simulation.step();
            steps += 1;
            if steps > 200_000 {
                simulation.drain();
            }
        }
        assert!(simulation.queue.marked.is_empty(), "{:?}", simulation.queue.marked);
        given_up += u64::try_from(simulation.given_up.len()).unwrap();
    }
    assert_eq!(given_up, 0, "of 200 for each seed");
}

#[test]
fn the_waiting_records_go_back_to_the_queue_while_the_sink_fails_and_are_read_again() {
    let mut simulation = Simulation::with(1, Order::None, 1, |sink| {
        sink.concurrency = NonZeroUsize::new(2).unwrap();
    });
    for _ in 0..50 {
        simulation.queue.append("a");
    }
    let now = simulation.now;
    let core = &mut simulation.core;
    let read = core.next_read(RecordNumber(51), now).unwrap();
    core.apply(Event::Read(simulation.queue.read(&read)), now);
    let (first, second) = (core.next_attempt(now).unwrap(), core.next_attempt(now).unwrap());
    let fails = || Fault::Refused.outcome();

    core.apply(Event::Answered(first, fails()), now);
    let released = core.take_effects().released;
    assert_eq!(released, (3..=50).map(RecordNumber).collect::<Vec<_>>());
    assert!(core.next_read(RecordNumber(51), now).is_none(), "nothing is read while it fails");

    core.apply(Event::Answered(second, fails()), now);
    let due = now + Duration::from_secs(1);
    let probe = core.next_attempt(due).unwrap();
    assert_eq!(probe.batch.numbers, [RecordNumber(1)]);
    assert!(core.next_attempt(due).is_none());
    core.apply(Event::Answered(probe, Outcome::Delivered), due);
    let read = core.next_read(RecordNumber(51), due).unwrap();
    assert_eq!(read.from, RecordNumber(3));
    assert_eq!(core.next_attempt(due).unwrap().batch.numbers, [RecordNumber(2)]);
}

#[test]
fn records_of_a_read_that_comes_back_after_a_failure_are_given_back() {
    let mut simulation = Simulation::new(1, Order::None, 1);
    for _ in 0..3000 {
        simulation.queue.append("a");
    }
    let now = simulation.now;
    let core = &mut simulation.core;
    let appended = RecordNumber(3001);
    let read = core.next_read(appended, now).unwrap();
    core.apply(Event::Read(simulation.queue.read(&read)), now);
    let mut attempts = Vec::new();
    while let Some(attempt) = core.next_attempt(now) {
        attempts.push(attempt);
        if attempts.len() < 600 {
            core.apply(Event::Answered(attempts.pop().unwrap(), Outcome::Delivered), now);
            let settled = core.take_effects();
            simulation.queue.take(&settled);
        }
        if core.window.waiting().records < 500 {
            break;
        }
    }
    let late = core.next_read(appended, now).expect("the window is half empty");
    let late = simulation.queue.read(&late);
    let count = late.len();
    let attempt = attempts.pop().or_else(|| core.next_attempt(now)).unwrap();
    let fails = Fault::Status(500).outcome();
    core.apply(Event::Answered(attempt, fails), now);
    core.take_effects();
    core.apply(Event::Read(late), now);
    assert_eq!(core.take_effects().released.len(), count);
    assert_eq!(core.window.waiting().records, 0);
}

#[test]
fn a_batch_waits_for_company_until_it_is_full_or_its_first_record_has_lingered() {
    let mut simulation = Simulation::new(1, Order::None, 3);
    let now = simulation.now;
    let core = &mut simulation.core;
    let mut append_and_read = |core: &mut Core, now| {
        simulation.queue.append("a");
        let read = core.next_read(RecordNumber(simulation.queue.appended), now).unwrap();
        core.apply(Event::Read(simulation.queue.read(&read)), now);
    };
    append_and_read(core, now);
    append_and_read(core, now + Duration::from_millis(15));
    assert!(core.next_attempt(now + Duration::from_millis(19)).is_none());
    assert_eq!(core.wake_at(now), Some(now + Duration::from_millis(20)));
    let batch = core.next_attempt(now + Duration::from_millis(20)).unwrap().batch;
    assert_eq!(batch.numbers, [RecordNumber(1), RecordNumber(2)]);

    for _ in 0..3 {
        append_and_read(core, now);
    }
    assert_eq!(core.next_attempt(now).unwrap().batch.numbers.len(), 3, "full: nothing to wait for");
}

#[test]
fn reading_stays_within_a_span_of_the_oldest_record_that_hangs() {
    let mut simulation = Simulation::new(1, Order::None, 100);
    let now = simulation.now;
    let core = &mut simulation.core;
    for _ in 0..SPAN_MAX + 5000 {
        simulation.queue.append("a");
    }
    let appended = RecordNumber(simulation.queue.appended);
    let mut hanging = None;
    loop {
        if let Some(read) = core.next_read(appended, now) {
            core.apply(Event::Read(simulation.queue.read(&read)), now);
        }
        let Some(attempt) = core.next_attempt(now) else { break };
        if hanging.is_none() {
            hanging = Some(attempt);
        } else {
            core.apply(Event::Answered(attempt, Outcome::Delivered), now);
            let effects = core.take_effects();
            simulation.queue.take(&effects);
        }
    }
    assert_eq!(hanging.unwrap().batch.first(), RecordNumber(1));
    assert!(core.from.0 >= SPAN_MAX, "it reads ahead: {:?}", core.from);
    assert!(core.from.0 <= SPAN_MAX + 2048, "and not for ever: {:?}", core.from);
}
