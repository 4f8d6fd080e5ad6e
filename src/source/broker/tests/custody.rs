//! Acknowledged means safe.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use super::client::{
    BOTH, Device, Login, PATIENCE, Packet, Seen, Version, WATCH, answer, packet, puback, publish,
};
use super::{Running, config};
use crate::event::{EventKind, What};
use crate::source::broker::acks::PROMISES_MAX;

#[tokio::test(flavor = "multi_thread")]
async fn puback_and_pubrec_wait_for_custody() {
    for version in BOTH {
        for (qos, answer_first) in [(1, 0x40), (2, 0x50)] {
            let mut broker = Running::start().await;
            let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
            device.publish("t/1", qos, 7, b"hello").await;
            let incoming = broker.next().await;
            assert_eq!(device.see(WATCH).await, Seen::Nothing, "{version:?} QoS {qos}");
            incoming.custody.accept();
            let seen = answer(device.see(PATIENCE).await);
            assert_eq!(seen, (answer_first, 7, 0), "{version:?} QoS {qos}");
            broker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_never_acknowledged_with_success() {
    for qos in [1, 2] {
        let mut broker = Running::start().await;
        let mut device = Device::connect(broker.address, Login::new(Version::V5, "d")).await;
        device.publish("t/1", qos, 7, b"hello").await;
        broker.next().await.custody.refuse();
        let (first, packet_id, reason) = answer(device.see(PATIENCE).await);
        assert_eq!((first, packet_id, reason), (if qos == 1 { 0x40 } else { 0x50 }, 7, 0x97));

        device.publish("t/1", qos, 8, b"again").await;
        broker.next().await.custody.accept();
        assert_eq!(answer(device.see(PATIENCE).await).2, 0, "the connection goes on");

        let mut device = Device::connect(broker.address, Login::new(Version::V311, "e")).await;
        device.publish("t/1", qos, 7, b"hello").await;
        drop(broker.next().await);
        assert_eq!(device.see(PATIENCE).await, Seen::Closed, "3.1.1 has no negative answer");
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_device_wait_for_custody_together_and_are_acknowledged_in_order() {
    for version in BOTH {
        let mut broker = Running::start().await;
        let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
        let mut taken = Vec::new();
        for packet_id in 1..=5 {
            device.publish("t/1", 1, packet_id, b"hello").await;
        }
        for _ in 1..=5 {
            taken.push(broker.next().await);
        }
        let first = taken.remove(0);
        taken.into_iter().rev().for_each(|incoming| incoming.custody.accept());
        assert_eq!(device.see(WATCH).await, Seen::Nothing, "{version:?}: the first is not safe");
        first.custody.accept();
        for packet_id in 1..=5 {
            assert_eq!(device.see(PATIENCE).await.packet_id(), packet_id, "{version:?}");
        }
        assert_eq!(broker.context.health.metrics.acknowledged.get(), 5);
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_between_others_is_the_only_one_refused() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V5, "d")).await;
    for packet_id in 1..=3 {
        device.publish("t/1", 1, packet_id, b"hello").await;
    }
    broker.next().await.custody.accept();
    broker.next().await.custody.refuse();
    broker.next().await.custody.accept();
    for expected in [(0x40, 1, 0), (0x40, 2, 0x97), (0x40, 3, 0)] {
        assert_eq!(answer(device.see(PATIENCE).await), expected);
    }

    let mut device = Device::connect(broker.address, Login::new(Version::V311, "e")).await;
    for packet_id in 1..=3 {
        device.publish("t/1", 1, packet_id, b"hello").await;
    }
    broker.next().await.custody.accept();
    broker.next().await.custody.refuse();
    broker.next().await.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(1));
    assert_eq!(device.see(PATIENCE).await, Seen::Closed, "nothing behind it is acknowledged");
    assert_eq!(broker.problems(crate::source::Problem::NotStored), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_hung_up_on_is_told_of_with_the_reason() {
    let mut broker = Running::telling(&[EventKind::ClientDisconnected]).await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("t/1", 1, 1, b"hello").await;
    broker.next().await.custody.refuse();
    assert_eq!(device.see(PATIENCE).await, Seen::Closed);
    let end = broker.next().await.event;
    let What::Other(end) = &end.what else { panic!("{end:?}") };
    assert_eq!(
        (end.kind(), end.text("reason")),
        (EventKind::ClientDisconnected, Some("quota_exceeded"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_custody_is_acknowledged_in_its_turn() {
    let mut broker = Running::with(config(), &["plant/#"]).await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("plant/1", 1, 1, b"wanted").await;
    device.publish("office/1", 1, 2, b"not wanted").await;
    let wanted = broker.next().await;
    assert_eq!(device.see(WATCH).await, Seen::Nothing);
    wanted.custody.accept();
    assert_eq!((device.see(PATIENCE).await, device.see(PATIENCE).await), (puback(1), puback(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_message_waits_is_answered_all_else() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("t/1", 1, 7, b"hello").await;
    let pending = broker.next().await;
    device.send(&packet(0xc0, &[])).await;
    assert_eq!(device.see(PATIENCE).await, Seen::Packet(Packet { first: 0xd0, body: vec![] }));
    assert_eq!(device.subscribe("other/#").await, 1);
    pending.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_has_no_more_than_its_share_of_messages_that_wait() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    let all = u16::try_from(PROMISES_MAX + 1).unwrap();
    for packet_id in 1..=all {
        device.publish("t/1", 1, packet_id, b"x").await;
    }
    broker.until(|| broker.incoming.len() == PROMISES_MAX).await;
    assert_eq!(device.see(WATCH).await, Seen::Nothing);
    assert_eq!(broker.incoming.len(), PROMISES_MAX);
    broker.next().await.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(1));
    broker.until(|| broker.incoming.len() == PROMISES_MAX).await;
    let _events = broker.accept_all();
    for packet_id in 2..=all {
        assert_eq!(device.see(PATIENCE).await, puback(packet_id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_right_behind_connect_is_acknowledged_once_it_is_safe() {
    let mut broker = Running::start().await;
    let mut device = Device::open(broker.address, Version::V311).await;
    let login = Login::new(Version::V311, "d");
    let message = publish(Version::V311, "t/1", 1, 7, 0, b"hello");
    device.send(&[login.packet(), message].concat()).await;
    assert!(matches!(device.see(PATIENCE).await, Seen::Packet(Packet { first: 0x20, .. })));
    let incoming = broker.next().await;
    assert_eq!(device.see(WATCH).await, Seen::Nothing);
    incoming.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_has_said_all_it_has_to_say_still_gets_its_acknowledgements() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("t/1", 1, 7, b"hello").await;
    let incoming = broker.next().await;
    device.io_mut().shutdown().await.unwrap();
    assert_eq!(device.see(WATCH).await, Seen::Nothing);
    incoming.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(7));
    assert_eq!(device.see(PATIENCE).await, Seen::Closed);
}

/// Most devices' stacks hold a small write back until the last one is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn small_packets_in_a_row_are_not_held_back() {
    let mut broker = Running::start().await;
    let _events = broker.accept_all();
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    let mut rounds = Vec::new();
    for packet_id in 1..=21 {
        let started = Instant::now();
        device.publish("t", 0, 0, b"nothing comes back for this").await;
        device.publish("t", 1, packet_id, b"and this is behind it").await;
        assert_eq!(device.see(PATIENCE).await, puback(packet_id));
        rounds.push(started.elapsed());
    }
    rounds.sort_unstable();
    assert!(rounds[10] < Duration::from_millis(20), "{rounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_intake_refuses() {
    let mut broker = Running::start().await;
    broker.incoming.close();
    let mut device = Device::connect(broker.address, Login::new(Version::V5, "d")).await;
    device.publish("t/1", 1, 7, b"hello").await;
    assert_eq!(answer(device.see(PATIENCE).await).2, 0x97);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_wants_is_acknowledged_without_custody() {
    let broker = Running::with(config(), &["plant/#"]).await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("office/1", 1, 7, b"hello").await;
    assert_eq!(device.see(PATIENCE).await, puback(7));
    assert_eq!(broker.incoming.len(), 0);
    let metrics = &broker.context.health.metrics;
    assert_eq!((metrics.received.get(), metrics.acknowledged.get()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_closes_connections_at_once_also_while_custody_is_pending() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("t/1", 1, 7, b"hello").await;
    let _pending = broker.next().await;
    let started = Instant::now();
    broker.stop().await;
    assert_eq!(device.see(PATIENCE).await, Seen::Closed);
    assert!(started.elapsed().as_millis() < 1000, "took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_back_at_once_is_let_in() {
    for version in BOTH {
        let broker = Running::with(config(), &["none"]).await;
        for round in 0..100 {
            // Connecting panics unless the device is let in.
            let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
            if round % 2 == 0 {
                device.send(&packet(0xe0, &[])).await;
            }
        }
        broker.stop().await;
    }
}
