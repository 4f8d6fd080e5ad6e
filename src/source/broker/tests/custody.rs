//! Acknowledged means safe.

use std::time::{Duration, Instant};

use super::client::{BOTH, Device, Login, PATIENCE, Seen, Version, WATCH, answer, packet, puback};
use super::{Running, config};

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
