//! What the broker is to other clients: subscriptions, shared ones, retained messages. With Mosquitto's clients.

use super::client::{Device, Login, PATIENCE, Seen, Version, WATCH, answer, publish};
use super::mosquitto::Mosquitto;
use super::{Running, config};
use crate::config::BrokerSource;

/// Flag of a PUBLISH.
const RETAIN: u8 = 1;

/// A `mosquitto_sub` that prints topic, retain flag and payload.
fn subscriber(broker: &Running, filter: &str, version: &str) -> Mosquitto {
    let arguments = ["-t", filter, "-V", version, "-F", "%t %r %p"];
    Mosquitto::start("mosquitto_sub", "127.0.0.1", broker, &arguments)
}

async fn device(broker: &Running, id: &str) -> Device {
    Device::connect(broker.address, Login::new(Version::V5, id)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_sub_gets_what_devices_publish_in_both_versions() {
    for version in ["mqttv311", "mqttv5"] {
        let mut broker = Running::start().await;
        let _events = broker.accept_all();
        let mut device = device(&broker, "d").await;
        let subscriber = subscriber(&broker, "plant/#", version);
        let mut subscriber = subscriber.ready(&mut device, "plant/probe").await;
        device.publish("office/1", 1, 1, b"not wanted").await;
        device.publish("plant/1", 1, 2, b"wanted").await;
        loop {
            let line = subscriber.line().await;
            if line.ends_with(" probe") {
                continue;
            }
            assert_eq!(line, "plant/1 0 wanted");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_reaches_later_subscribers_until_it_is_cleared() {
    for version in [Version::V311, Version::V5] {
        let mut broker = Running::start().await;
        let _events = broker.accept_all();
        let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
        for (id, payload) in [(1, &b"old"[..]), (2, b"new")] {
            device.send(&publish(version, "plant/state", 1, id, RETAIN, payload)).await;
            assert_eq!(device.see(PATIENCE).await.packet_id(), id);
        }
        for name in ["mqttv311", "mqttv5"] {
            let mut subscriber = subscriber(&broker, "plant/+", name);
            assert_eq!(subscriber.line().await, "plant/state 1 new");
        }
        device.send(&publish(version, "plant/state", 1, 3, RETAIN, b"")).await;
        assert_eq!(device.see(PATIENCE).await.packet_id(), 3);
        let mut late = Device::connect(broker.address, Login::new(version, "late")).await;
        assert_eq!(late.subscribe("plant/+").await, 1);
        assert_eq!(late.see(WATCH).await, Seen::Nothing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_of_qos_2_is_neither_retained_nor_passed_on() {
    let mut broker = Running::start().await;
    let mut subscriber = device(&broker, "s").await;
    assert_eq!(subscriber.subscribe("t").await, 1);
    let mut publisher = device(&broker, "d").await;
    publisher.send(&publish(Version::V5, "t", 2, 1, RETAIN, b"refused")).await;
    broker.next().await.custody.refuse();
    assert_eq!(answer(publisher.see(PATIENCE).await).2, 0x97);
    assert_eq!(subscriber.see(WATCH).await, Seen::Nothing);
    assert_eq!(subscriber.subscribe("t").await, 1);
    assert_eq!(subscriber.see(WATCH).await, Seen::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_do_not_wait_for_the_disk() {
    let mut broker = Running::start().await;
    let mut subscriber = device(&broker, "s").await;
    assert_eq!(subscriber.subscribe("t").await, 1);
    let mut publisher = device(&broker, "d").await;
    publisher.publish("t", 1, 1, b"at once").await;
    assert_eq!(subscriber.message().await.1, b"at once");
    assert_eq!(publisher.see(WATCH).await, Seen::Nothing);
    broker.next().await.custody.refuse();
    assert_eq!(answer(publisher.see(PATIENCE).await).2, 0x97);
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_clients_are_told_whether_messages_can_be_retained() {
    for (retained_messages_max, expected) in [(10, true), (0, false)] {
        let broker =
            Running::with(BrokerSource { retained_messages_max, ..config() }, &["#"]).await;
        let mut device = Device::open(broker.address, Version::V5).await;
        let connack = device.connack(Login::new(Version::V5, "d")).await;
        assert_eq!(connack.retain_available(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_shared_subscription_take_turns() {
    let mut broker = Running::start().await;
    let _events = broker.accept_all();
    let (mut a, mut b) = (device(&broker, "a").await, device(&broker, "b").await);
    for member in [&mut a, &mut b] {
        assert_eq!(member.subscribe("$share/group/t/#").await, 1);
    }
    let mut publisher = device(&broker, "d").await;
    for id in 1..=4 {
        publisher.publish("t/1", 0, 0, format!("{id}").as_bytes()).await;
    }
    let mut got = Vec::new();
    for member in [&mut a, &mut b] {
        for _ in 0..2 {
            got.push(String::from_utf8(member.message().await.1).unwrap());
        }
    }
    got.sort();
    assert_eq!(got, ["1", "2", "3", "4"]);

    drop(a);
    for id in 5..=8 {
        publisher.publish("t/1", 1, id, b"later").await;
        assert_eq!(publisher.see(PATIENCE).await.packet_id(), id);
    }
    for _ in 5..=8 {
        assert_eq!(b.message().await.1, b"later");
    }
}
