//! Pausing, resuming and hurrying, by hand.

use super::*;

#[test]
fn pausing_at_random_loses_nothing_and_keeps_the_order() {
    for seed in 0..60_u64 {
        let order = ORDERS[usize::try_from(seed % 3).unwrap()];
        println!("seed {seed}: {order:?}");
        let mut simulation = Simulation::new(seed, order, 3);
        let (mut appended, mut steps) = (0, 0);
        while appended < 100 || !simulation.queue.unsettled.is_empty() {
            if appended < 100 && simulation.random.u8(..8) == 0 {
                let key = simulation.random.u8(..6).to_string();
                simulation.queue.append(&key);
                appended += 1;
            }
            let is_over = appended == 100;
            simulation.failing_percent = if is_over { 0 } else { 30 };
            if simulation.random.u8(..20) == 0 {
                let is_paused = !is_over && simulation.random.bool();
                simulation.core.set_paused(is_paused);
            }
            if simulation.random.u8(..50) == 0 {
                let now = simulation.now;
                simulation.core.retry_now(now);
            }
            simulation.step();
            steps += 1;
            if steps > 200_000 {
                simulation.drain();
            }
        }
        assert!(simulation.queue.marked.is_empty(), "{:?}", simulation.queue.marked);
    }
}

#[test]
fn a_paused_sink_holds_nothing_but_what_is_in_flight_and_asks_for_nothing() {
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
    let first = core.next_attempt(now).unwrap();
    core.set_paused(true);
    assert_eq!(core.take_effects().released, (2..=50).map(RecordNumber).collect::<Vec<_>>());
    assert!(core.next_attempt(now).is_none());
    assert!(core.next_read(RecordNumber(51), now).is_none());
    assert_eq!(core.wake_at(now), None);

    core.apply(Event::Answered(first, Fault::Refused.outcome()), now);
    let late = now + Duration::from_mins(10);
    assert!(core.next_attempt(late).is_none(), "not even a probe");
    core.set_paused(false);
    assert_eq!(core.next_attempt(late).unwrap().batch.numbers, [RecordNumber(1)]);
}

#[test]
fn hurrying_ends_the_wait_for_the_next_probe() {
    let mut simulation = Simulation::new(1, Order::None, 1);
    simulation.queue.append("a");
    let now = simulation.now;
    let core = &mut simulation.core;
    let read = core.next_read(RecordNumber(2), now).unwrap();
    core.apply(Event::Read(simulation.queue.read(&read)), now);
    let first = core.next_attempt(now).unwrap();
    let Outcome::Retry { trouble, .. } = Fault::Refused.outcome() else { panic!("may pass") };
    let outcome = Outcome::Retry { after: Some(Duration::from_mins(1)), trouble };
    core.apply(Event::Answered(first, outcome), now);
    let soon = now + Duration::from_millis(1);
    assert!(core.next_attempt(soon).is_none());
    core.retry_now(soon);
    assert!(core.next_attempt(soon).is_some());
}
