//! Delivery, acknowledgement and sessions against a real broker.

use rumqttc::QoS;

use super::BOTH;
use super::mosquitto::{Mosquitto, publish};
use super::rig::{Rig, config, numbered, text};
use crate::config::MqttProtocol;
use crate::source::Problem;

#[tokio::test]
async fn events_arrive_in_order_and_acknowledged_ones_never_again() {
    for protocol in BOTH {
        let mosquitto = Mosquitto::start("").await;
        let mut rig = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        rig.connected().await;
        let sent = numbered(0..500);
        publish(mosquitto.port, QoS::AtLeastOnce, sent.iter().map(|m| ("t/1", m.clone()))).await;
        assert_eq!(rig.accept_payloads(500).await, sent, "{protocol:?}");
        rig.stop().await;

        let mut rig = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        rig.connected().await;
        publish(mosquitto.port, QoS::AtLeastOnce, [("t/1", "last".to_owned())]).await;
        assert_eq!(rig.accept_payloads(1).await, ["last"], "{protocol:?}");
        assert_eq!(rig.health.metrics.redelivered.get(), 0);
        rig.stop().await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_before_a_kill_comes_again_in_order() {
    for protocol in BOTH {
        let mosquitto = Mosquitto::start("max_inflight_messages 100").await;
        let mut rig = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        rig.connected().await;
        let sent = numbered(0..50);
        publish(mosquitto.port, QoS::AtLeastOnce, sent.iter().map(|m| ("t/1", m.clone()))).await;
        assert_eq!(rig.accept_payloads(7).await, sent[..7], "{protocol:?}");
        let mut held = Vec::new();
        while held.len() < 43 {
            held.push(rig.next().await);
        }
        // Everything but the eighth is durable: nothing behind that may be acknowledged.
        let eighth = held.remove(0);
        for incoming in held {
            incoming.custody.accept();
        }
        rig.kill().await;
        drop(eighth);

        let mut rig = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        rig.connected().await;
        // The broker may not have read the first seven acknowledgements either.
        let mut again = Vec::new();
        while again.last() != sent.last() {
            let event = rig.accept().await;
            assert!(event.message().unwrap().dup, "{protocol:?}: {event:?}");
            again.push(text(&event));
        }
        assert!(again.len() >= 43, "{protocol:?}: only {again:?}");
        assert_eq!(again, sent[50 - again.len()..], "{protocol:?}");
        assert_eq!(rig.health.metrics.redelivered.get(), u64::try_from(again.len()).unwrap());
        assert_eq!(rig.problems(Problem::SessionLost), 0);
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_restarts_is_found_again_and_its_session_resumed() {
    for protocol in BOTH {
        let mut mosquitto = Mosquitto::start("").await;
        let mut rig = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        rig.connected().await;
        publish(mosquitto.port, QoS::AtLeastOnce, [("t/1", "before".to_owned())]).await;
        let held = rig.next().await;
        mosquitto.stop();
        let why = rig.disconnected().await;
        assert!(why.contains("closed") || why.contains("refuses connections"), "{why}");
        // Its acknowledgement belongs to a connection that is gone.
        held.custody.accept();
        mosquitto.start_again().await;
        rig.connected().await;
        let again = rig.accept().await;
        assert_eq!(
            (text(&again).as_str(), again.message().unwrap().dup),
            ("before", true),
            "{protocol:?}"
        );
        publish(mosquitto.port, QoS::AtLeastOnce, [("t/1", "after".to_owned())]).await;
        assert_eq!(rig.accept_payloads(1).await, ["after"]);
        assert_eq!(rig.health.metrics.reconnects.get(), 1, "{protocol:?}");
        assert_eq!(rig.problems(Problem::SessionLost), 0, "{protocol:?}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_session_that_the_broker_lost_is_counted_and_subscribed_anew() {
    let mut mosquitto = Mosquitto::start("autosave_interval 1800").await;
    let mut rig = Rig::start(config(mosquitto.port, MqttProtocol::V5), &["t/#"]);
    rig.connected().await;
    mosquitto.kill();
    rig.disconnected().await;
    mosquitto.start_again().await;
    rig.connected().await;
    assert_eq!(rig.problems(Problem::SessionLost), 1);
    publish(mosquitto.port, QoS::AtLeastOnce, [("t/1", "after".to_owned())]).await;
    assert_eq!(rig.accept_payloads(1).await, ["after"]);
    rig.stop().await;
}

#[tokio::test]
async fn two_gateways_with_one_client_id_are_told_so() {
    for protocol in BOTH {
        let mosquitto = Mosquitto::start("").await;
        let one = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        one.connected().await;
        let other = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        let guess = "again and again: does another client use our client id?";
        one.until("told", |state| state.detail().is_some_and(|why| why.contains(guess))).await;
        one.stop().await;
        other.connected().await;
        other.stop().await;
    }
}

#[tokio::test]
async fn several_brokers_are_served_side_by_side() {
    let (east, west) = (Mosquitto::start("").await, Mosquitto::start("").await);
    let mut from_east = Rig::start(config(east.port, MqttProtocol::V5), &["t/#"]);
    let mut from_west = Rig::start(config(west.port, MqttProtocol::V311), &["t/#"]);
    from_east.connected().await;
    from_west.connected().await;
    publish(east.port, QoS::AtLeastOnce, [("t/1", "east".to_owned())]).await;
    assert_eq!(from_east.accept_payloads(1).await, ["east"]);
    drop(east);
    from_east.disconnected().await;
    publish(west.port, QoS::AtLeastOnce, [("t/1", "west".to_owned())]).await;
    assert_eq!(from_west.accept_payloads(1).await, ["west"]);
    from_east.stop().await;
    from_west.stop().await;
}
