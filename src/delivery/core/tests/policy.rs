//! Who is guilty, and what it costs to find out.

use std::num::NonZeroU32;

use super::super::*;
use super::simulation::{Fault, Simulation};
use super::{ORDERS, seeds};
use crate::config::Order;

const FAULTS: [Fault; 8] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(404),
    Fault::Status(401),
    Fault::Status(302),
    Fault::Status(400),
    Fault::Hang,
    Fault::Reset,
];

#[test]
fn one_poison_record_is_given_up_whatever_it_does_and_the_others_arrive_once_in_order() {
    for fault in FAULTS.into_iter().chain([Fault::Status(413)]) {
        for order in ORDERS {
            for (records_max, keys) in [(1, 1), (1, 5), (16, 1), (16, 5), (64, 5)] {
                for poison in [1, 2, 17, 39, 40] {
                    let case = format!("{fault:?} for {poison}, {order:?}, {records_max}, {keys}");
                    println!("{case}");
                    let mut simulation = Simulation::new(poison, order, records_max);
                    simulation.append(40, keys);
                    simulation.service.poison.insert(poison, fault);
                    // Somebody must come after the last record to tell it from a broken service.
                    simulation.run_for(Duration::from_millis(100));
                    simulation.append(20, keys);
                    let news = simulation.drain_with_news();
                    assert_eq!(simulation.given_up(), [poison], "{case}");
                    let arrivals: Vec<_> = simulation.arrivals.iter().collect();
                    assert_eq!(arrivals.len(), 59 + news, "{case}");
                    assert!(arrivals.iter().all(|(_, times)| **times == 1), "{case}");
                    assert!(simulation.overtaken <= 3, "{case}: {} overtook", simulation.overtaken);
                    for numbers in simulation.delivered.values() {
                        assert!(numbers.is_sorted(), "{case}: {numbers:?}");
                    }
                }
            }
        }
    }
}

#[test]
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bound is a logarithm"
)]
fn one_poison_record_costs_no_more_than_two_log2_n_requests_and_those_that_prove_it() {
    for records_max in [16, 100, 1000] {
        for poison in [1, 2, 7, records_max / 2, records_max - 1, records_max] {
            for fault in FAULTS.into_iter().chain([Fault::Status(413)]) {
                let count = u64::try_from(records_max).unwrap();
                let mut simulation = Simulation::new(1, Order::Key, records_max);
                simulation.append(2 * count, 50);
                let poison_number = u64::try_from(poison).unwrap();
                simulation.service.poison.insert(poison_number, fault);
                let news = simulation.drain_with_news();
                // Two would have done, and one for each of the news; what carries the poison alone is to prove it.
                let alone = simulation.requests_of_one[&poison_number];
                let extra = simulation.requests.saturating_sub(alone + 2 + news);
                let bound = (2.0 * (records_max as f64).log2()).floor() as usize;
                assert!(extra <= bound, "{extra} for {poison} of {records_max}, {fault:?}");
            }
        }
    }
}

#[test]
fn nothing_is_given_up_while_the_service_is_broken_for_everything() {
    let faults = FAULTS.into_iter().filter(|fault| *fault != Fault::Status(400));
    for fault in faults.chain([Fault::Refused, Fault::Busy]) {
        for order in ORDERS {
            for records_max in [1, 16] {
                let case = format!("{fault:?}, {order:?}, {records_max}");
                println!("{case}");
                let mut simulation = Simulation::new(7, order, records_max);
                simulation.append(100, 5);
                simulation.run_for(Duration::from_millis(30));
                simulation.service.broken = Some(fault);
                simulation.append(100, 5);
                // Ten times what it takes to find a record guilty.
                simulation.run_for(Duration::from_secs(3));
                simulation.service.broken = None;
                let took = simulation.drain();
                assert_eq!(simulation.given_up(), [0_u64; 0], "{case}");
                assert_eq!(simulation.arrivals.len(), 200, "{case}");
                assert!(took < Duration::from_secs(30), "{case}: {took:?}");
            }
        }
    }
}

#[test]
fn a_deploy_that_rejects_everything_costs_no_more_than_the_storm_limit() {
    for status in [400, 413, 422] {
        for order in ORDERS {
            for records_max in [1, 16] {
                for limit in [1, 5, 50] {
                    let case = format!("{status}, {order:?}, {records_max}, {limit}");
                    let mut simulation = Simulation::with(3, order, records_max, |sink| {
                        sink.reject_storm = NonZeroU32::new(limit).unwrap();
                    });
                    simulation.append(200, 5);
                    simulation.service.broken = Some(Fault::Status(status));
                    simulation.run_for(Duration::from_secs(5));
                    let given_up = simulation.given_up.len();
                    assert!(given_up < usize::try_from(limit).unwrap(), "{case}: {given_up}");
                    assert!(simulation.requests < 400, "{case}: {}", simulation.requests);
                    simulation.service.broken = None;
                    simulation.drain();
                    assert_eq!(simulation.given_up.len(), given_up, "{case}: afterwards");
                    assert_eq!(simulation.arrivals.len(), 200 - given_up, "{case}");
                }
            }
        }
    }
}

#[test]
fn many_poison_records_in_a_row_hold_up_nobody_for_ever() {
    for fault in [Fault::Status(400), Fault::Status(500), Fault::Status(404), Fault::Reset] {
        for order in ORDERS {
            for records_max in [1, 16] {
                let case = format!("{fault:?}, {order:?}, {records_max}");
                println!("{case}");
                let mut simulation = Simulation::with(5, order, records_max, |sink| {
                    sink.reject_storm = NonZeroU32::new(20).unwrap();
                });
                simulation.append(120, 4);
                let poison: Vec<u64> = (1..=60).collect();
                simulation.service.poison = poison.iter().map(|it| (*it, fault)).collect();
                simulation.run_for(Duration::from_millis(100));
                simulation.append(40, 4);
                simulation.drain_with_news();
                assert_eq!(simulation.given_up(), poison, "{case}");
            }
        }
    }
}

#[test]
fn under_poison_and_outages_nothing_but_poison_is_given_up_and_the_rest_arrives() {
    let faults: Vec<_> = FAULTS.into_iter().filter(|fault| *fault != Fault::Status(400)).collect();
    for seed in 0..seeds() {
        let order = ORDERS[usize::try_from(seed % 3).unwrap()];
        let records_max = [1, 4, 30][usize::try_from(seed / 3 % 3).unwrap()];
        println!("seed {seed}: {order:?}, batches of {records_max}");
        let mut simulation = Simulation::new(seed, order, records_max);
        for number in 1..=400 {
            if simulation.random.u8(..80) == 0 {
                let all: Vec<_> = FAULTS.into_iter().chain([Fault::Status(413)]).collect();
                let fault = all[simulation.random.usize(..all.len())];
                simulation.service.poison.insert(number, fault);
            }
        }
        while simulation.queue.appended < 400 {
            simulation.append(10, 6);
            let is_broken = simulation.random.u8(..4) == 0;
            let fault = faults[simulation.random.usize(..faults.len())];
            simulation.service.broken = is_broken.then_some(fault);
            let millis = simulation.random.u64(100..2000);
            simulation.run_for(Duration::from_millis(millis));
        }
        simulation.service.broken = None;
        simulation.drain_with_news();
        let mut poison = simulation.service.poison.clone();
        poison.retain(|number, _| *number < 400);
        let expected: Vec<_> = poison.into_keys().filter(|it| *it < 400).collect();
        let given_up: Vec<_> = simulation.given_up().into_iter().filter(|it| *it < 400).collect();
        let (bad, innocent): (Vec<_>, Vec<_>) =
            given_up.into_iter().partition(|number| expected.contains(number));
        assert_eq!(bad, expected, "seed {seed}");
        assert_eq!(innocent, [0; 0], "seed {seed}");
    }
}

#[test]
fn batches_find_the_size_that_a_thin_link_carries() {
    for fault in [Fault::Hang, Fault::Status(413), Fault::Reset] {
        for order in ORDERS {
            let mut simulation = Simulation::new(2, order, 256);
            simulation.append(6000, 20);
            simulation.service.too_many = Some((40, fault));
            simulation.drain();
            assert_eq!(simulation.given_up(), [0_u64; 0], "{fault:?}, {order:?}");
            // 6000 in requests of 32 are 188.
            let (requests, sizes) = (simulation.requests, &simulation.sizes);
            assert!(requests < 460, "{fault:?}, {order:?}: {requests} of {sizes:?}");
            simulation.service.too_many = None;
            simulation.append(20_000, 20);
            simulation.drain();
            assert_eq!(simulation.core.size.limit(), 256, "{fault:?}, {order:?}: grown again");
        }
    }
}

#[test]
fn what_was_tried_as_often_as_allowed_is_given_up() {
    for fault in [Fault::Status(503), Fault::Hang, Fault::Reset] {
        for records_max in [1, 8] {
            let mut simulation = Simulation::with(4, Order::Key, records_max, |sink| {
                sink.retry.attempts_max = NonZeroU32::new(3);
            });
            simulation.append(8, 1);
            simulation.service.broken = Some(fault);
            simulation.drain();
            assert_eq!(simulation.given_up().len(), 8, "{fault:?}, {records_max}");
            let reasons = simulation.given_up.values();
            let reasons: BTreeSet<_> = reasons.map(|(reason, _)| *reason).collect();
            assert_eq!(reasons, [DeadLetterReason::MaxAttempts].into(), "{fault:?}, {records_max}");
        }
    }
}

#[test]
fn attempts_that_did_not_reach_the_service_or_its_credentials_do_not_count() {
    for fault in [Fault::Refused, Fault::Status(401), Fault::Status(302)] {
        let mut simulation = Simulation::with(4, Order::Key, 4, |sink| {
            sink.retry.attempts_max = NonZeroU32::new(2);
        });
        simulation.append(20, 3);
        simulation.service.broken = Some(fault);
        simulation.run_for(Duration::from_secs(5));
        assert_eq!(simulation.given_up(), [0_u64; 0], "{fault:?}");
        simulation.service.broken = None;
        simulation.drain();
        assert_eq!(simulation.arrivals.len(), 20, "{fault:?}");
    }
}

#[test]
fn what_is_too_old_is_given_up_whether_the_service_works_or_not() {
    for broken in [None, Some(Fault::Refused), Some(Fault::Status(500))] {
        for records_max in [1, 16] {
            let mut simulation = Simulation::with(4, Order::Key, records_max, |sink| {
                sink.retry.age_max = Some(Duration::from_secs(20));
            });
            simulation.append(3000, 7);
            // Accepted when the age clock began; read when they are too old.
            simulation.now += Duration::from_secs(21);
            simulation.service.broken = broken;
            simulation.drain();
            assert_eq!(simulation.given_up.len(), 3000, "{broken:?}, {records_max}");
            assert_eq!(simulation.requests, 0, "{broken:?}: nothing too old is sent");
        }
    }
    let mut simulation = Simulation::with(4, Order::Key, 1, |sink| {
        sink.retry.age_max = Some(Duration::from_secs(20));
    });
    simulation.append(3000, 7);
    simulation.service.broken = Some(Fault::Status(500));
    simulation.run_for(Duration::from_secs(19));
    assert_eq!(simulation.given_up(), [0_u64; 0], "not old enough");
    simulation.drain();
    assert_eq!(simulation.given_up.len(), 3000, "also while the service is broken");
}

#[test]
fn letters_that_cannot_be_written_keep_their_records_and_hold_up_no_others() {
    let mut simulation = Simulation::new(6, Order::Key, 4);
    simulation.append(200, 9);
    for number in (1..=200).step_by(40) {
        simulation.service.poison.insert(number, Fault::Status(400));
    }
    simulation.letters_work = false;
    simulation.run_for(Duration::from_secs(20));
    let waiting: Vec<_> = simulation.queue.unsettled.keys().map(|number| number.0).collect();
    assert_eq!(waiting, [1, 41, 81, 121, 161], "these stay until their letters are durable");
    simulation.letters_work = true;
    simulation.drain();
    assert_eq!(simulation.given_up(), waiting);
}

#[test]
fn a_service_that_asks_to_wait_blames_no_record() {
    for fault in [Fault::Busy, Fault::Status(429)] {
        let mut simulation = Simulation::new(6, Order::Key, 1);
        simulation.append(100, 9);
        simulation.service.poison.insert(5, fault);
        simulation.run_for(Duration::from_secs(20));
        assert_eq!(simulation.given_up(), [0_u64; 0], "{fault:?}");
        assert_eq!(simulation.arrivals.len(), 89, "{fault:?}: all keys but that of record 5");
        simulation.service.poison.clear();
        simulation.drain();
        assert_eq!(simulation.arrivals.len(), 100, "{fault:?}");
    }
}

#[test]
fn a_service_that_asks_to_wait_is_not_asked_for_parts_of_what_is_suspected_meanwhile() {
    let patient = |config: &mut config::Sink| config.retry.max = Duration::from_mins(1);
    let mut simulation = Simulation::with(6, Order::Key, 32, patient);
    simulation.append(200, 2);
    simulation.service.poison.insert(5, Fault::Status(500));
    while simulation.core.suspects() == 0 {
        simulation.run_for(Duration::from_millis(1));
    }
    simulation.service.poison.insert(5, Fault::BusyForLong);
    let alone = |simulation: &Simulation| simulation.requests_of_one.get(&5).copied();
    assert_eq!(alone(&simulation), None, "nothing is narrowed yet");
    simulation.run_for(Duration::from_secs(25));
    assert_eq!(alone(&simulation), None, "narrowed before the time was over");
    simulation.run_for(Duration::from_mins(5));
    assert_eq!(simulation.arrivals.len(), 102, "all but record 5 and those of its key behind it");
    assert_eq!(simulation.given_up(), [0_u64; 0]);
    simulation.service.poison.clear();
    simulation.drain();
    assert_eq!(simulation.arrivals.len(), 200);
}
