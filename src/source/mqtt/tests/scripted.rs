//! What a well-behaved broker never does, or only at the worst moment.

use std::time::Duration;

use super::BOTH;
use super::peer::{DISCONNECT, PUBACK, PUBCOMP, PUBREC, Peer, packet};
use super::rig::{Rig, config, within};
use crate::config::MqttProtocol;
use crate::event::Qos;
use crate::source::{Problem, SourceState};

#[tokio::test]
async fn nothing_of_a_dead_connection_is_acknowledged_on_the_next() {
    for protocol in BOTH {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut first = peer.welcome(false).await;
        for id in 1..=5 {
            first.publish(b"t/old", 1, id, b"old").await;
        }
        drop(first);
        let mut second = peer.welcome(false).await;
        for id in 1..=2 {
            second.publish(b"t/new", 1, id, b"new").await;
        }
        // Whatever came of the old ones is durable now; the new ones are not.
        let mut new = Vec::new();
        while new.len() < 2 {
            let incoming = rig.next().await;
            match incoming.event.message().unwrap().topic.as_str() {
                "t/old" => incoming.custody.accept(),
                _ => new.push(incoming),
            }
        }
        second.publish(b"t/new", 0, 0, b"behind").await;
        assert_eq!(rig.accept_payloads(1).await, ["behind"], "{protocol:?}");
        for incoming in new {
            incoming.custody.accept();
        }
        let stopping = tokio::spawn(rig.stop());
        let mut acknowledged = Vec::new();
        while let Some((PUBACK, body)) = second.answer_pings().await {
            acknowledged.push(body[1]);
        }
        assert_eq!(acknowledged, [1, 2], "{protocol:?}");
        drop(second);
        stopping.await.unwrap();
    }
}

#[tokio::test]
async fn a_qos_2_message_of_an_earlier_process_is_released_without_a_reconnect() {
    for protocol in BOTH {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.welcome(true).await;
        for id in [1_u16, 700, u16::MAX] {
            talk.send(&packet(0x62, &id.to_be_bytes())).await;
            assert_eq!(talk.expect_id(PUBCOMP).await, id, "{protocol:?}");
        }
        // A whole hand-shake: PUBREC only once the message is durable.
        talk.publish(b"t/2", 2, 9, b"twice").await;
        let incoming = rig.next().await;
        assert_eq!(incoming.event.message().unwrap().qos, Qos::ExactlyOnce);
        incoming.custody.accept();
        assert_eq!(talk.expect_id(PUBREC).await, 9);
        talk.send(&packet(0x62, &9_u16.to_be_bytes())).await;
        assert_eq!(talk.expect_id(PUBCOMP).await, 9);
        assert_eq!(rig.health.metrics.reconnects.get(), 0, "{protocol:?}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_message_that_could_not_be_stored_drops_the_connection_and_is_not_acknowledged() {
    for protocol in BOTH {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.welcome(false).await;
        for id in 1..=3 {
            talk.publish(b"t/1", 1, id, b"x").await;
        }
        let [first, second, third] = [rig.next().await, rig.next().await, rig.next().await];
        third.custody.accept();
        first.custody.accept();
        assert_eq!(talk.expect_id(PUBACK).await, 1);
        second.custody.refuse();
        let hung_up = within("the connection is dropped", talk.answer_pings()).await;
        assert!(hung_up.is_none(), "{protocol:?}: acknowledged out of turn");
        let why = rig.disconnected().await;
        assert!(why.contains("could not be stored"), "{why}");
        assert_eq!(rig.problems(Problem::NotStored), 1);
        let mut again = peer.resume().await;
        again.publish(b"t/1", 1, 2, b"x").await;
        rig.accept().await;
        assert_eq!(again.expect_id(PUBACK).await, 2);
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1_at_once() {
    let new_form = packet(0x20, &[0, 0x84, 0]);
    let old_form = packet(0x20, &[0, 1]);
    for refusal in [new_form, old_form] {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, MqttProtocol::Auto), &["t/#"]);
        let mut talk = peer.connected().await;
        assert_eq!(talk.level, 5);
        talk.send(&refusal).await;
        drop(talk);
        let asked_again = std::time::Instant::now();
        let mut talk = peer.welcome(false).await;
        assert_eq!(talk.level, 4, "after {refusal:?}");
        assert!(asked_again.elapsed() < Duration::from_millis(200), "after {refusal:?}");
        talk.publish(b"t/1", 1, 1, b"x").await;
        rig.accept().await;
        assert_eq!(talk.expect_id(PUBACK).await, 1);
        assert_eq!(rig.problems(Problem::Protocol), 0);
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_is_asked_twice_for_mqtt_5_before_3_1_1() {
    let peer = Peer::bind().await;
    let rig = Rig::start(config(peer.port, MqttProtocol::Auto), &["t/#"]);
    assert_eq!(peer.connected().await.level, 5);
    assert_eq!(peer.connected().await.level, 5);
    let talk = peer.welcome(false).await;
    assert_eq!(talk.level, 4);
    rig.connected().await;
    drop(talk);
    // The same broker after an outage is asked for MQTT 5 first again.
    let talk = peer.welcome(false).await;
    assert_eq!(talk.level, 5);
    rig.connected().await;
    rig.stop().await;
}

#[tokio::test]
async fn another_client_with_our_id_is_told_of_and_left_in_peace() {
    let peer = Peer::bind().await;
    let rig = Rig::start(config(peer.port, MqttProtocol::V5), &["t/#"]);
    let mut talk = peer.welcome(false).await;
    rig.connected().await;
    talk.send(&packet(DISCONNECT, &[0x8e, 0])).await;
    drop(talk);
    let why = rig.disconnected().await;
    assert!(why.contains("another client connected with our client id"), "{why}");
    assert_eq!(rig.problems(Problem::SessionTakenOver), 1);
    let soon = tokio::time::timeout(Duration::from_secs(2), peer.connected()).await;
    assert!(soon.is_err(), "it came back at once");
    rig.stop().await;
}

#[tokio::test]
async fn the_last_words_of_a_broker_are_heard_while_we_write() {
    let peer = Peer::bind().await;
    let mut rig = Rig::start(config(peer.port, MqttProtocol::V5), &["t/#"]);
    let mut talk = peer.welcome(false).await;
    let mut held = Vec::new();
    for id in 1..=50 {
        talk.publish(b"t/1", 1, id, b"x").await;
        held.push(rig.next().await);
    }
    talk.send(&packet(DISCONNECT, &[0x8e, 0])).await;
    drop(talk);
    for incoming in held {
        incoming.custody.accept();
    }
    let why = rig.disconnected().await;
    assert!(why.contains("another client"), "{why}");
    rig.stop().await;
}

#[tokio::test]
async fn a_silent_broker_is_given_up_after_two_keep_alives() {
    let peer = Peer::bind().await;
    let rig = Rig::start(config(peer.port, MqttProtocol::V5), &["t/#"]);
    let mut talk = peer.welcome(false).await;
    rig.connected().await;
    let since = std::time::Instant::now();
    // Read, but never answer.
    while talk.packet().await.is_some() {}
    let why = rig.disconnected().await;
    assert!(why.contains("has not answered pings"), "{why}");
    assert_eq!(rig.problems(Problem::Silent), 1);
    let after = since.elapsed().as_secs();
    assert!((9..=13).contains(&after), "given up after {after} s with a keep-alive of 5 s");
    rig.stop().await;
}

#[tokio::test]
async fn a_broker_that_sends_messages_is_alive_though_it_answers_no_ping() {
    let talks = [MqttProtocol::V5, MqttProtocol::V311].map(|protocol| async move {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.welcome(false).await;
        rig.connected().await;
        // Past the second ping after one that was not answered, with a keep-alive of 5 s.
        for id in 1..=32 {
            talk.publish(b"t/1", 1, id, b"x").await;
            rig.accept().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(rig.problems(Problem::Silent), 0, "given up in {protocol:?}");
        rig.stop().await;
    });
    futures_util::future::join_all(talks).await;
}

#[tokio::test]
async fn a_broker_without_keep_alive_is_not_flooded_with_pings() {
    let peer = Peer::bind().await;
    let rig = Rig::start(config(peer.port, MqttProtocol::V5), &["t/#"]);
    let mut talk = peer.connected().await;
    let no_keep_alive = [0x13, 0, 0];
    talk.connack_with(false, 0, &no_keep_alive).await;
    talk.subscribed(1).await;
    rig.connected().await;
    let mut pings = 0;
    let window = tokio::time::timeout(Duration::from_secs(2), async {
        while let Some((0xc0, _)) = talk.packet().await {
            pings += 1;
            talk.send(&[0xd0, 0]).await;
        }
    });
    assert!(window.await.is_err(), "the connection ended");
    assert!(pings <= 1, "{pings} pings in two seconds");
    rig.stop().await;
}

#[tokio::test]
async fn a_refused_or_lowered_subscription_is_told_with_its_filter() {
    let cases = [
        (MqttProtocol::V5, 0x87, "refuses 1 of 1 subscription: `t/#` (not authorized)"),
        (MqttProtocol::V311, 0x80, "refuses 1 of 1 subscription: `t/#`"),
        (MqttProtocol::V5, 0, "grants `t/#` only QoS 0"),
    ];
    for (protocol, code, expected) in cases {
        let peer = Peer::bind().await;
        let rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.connected().await;
        talk.connack(false, 0).await;
        talk.subscribed(code).await;
        let state = rig.until("degraded", |state| matches!(state, SourceState::Degraded(_))).await;
        let detail = state.detail().unwrap();
        assert!(detail.contains(expected), "{detail}");
        assert_eq!(rig.problems(Problem::SubscriptionRefused), 1);
        rig.stop().await;
    }
}

#[tokio::test]
async fn filters_joined_from_overlapping_ones_are_taken_apart_when_refused() {
    let peer = Peer::bind().await;
    let rig = Rig::start(config(peer.port, MqttProtocol::V5), &["a/+", "+/b", "c"]);
    let mut talk = peer.connected().await;
    talk.connack(false, 0).await;
    talk.subscribed(0x87).await;
    assert_eq!(talk.subscribed, ["+/+", "c"]);
    talk.subscribed(1).await;
    assert_eq!(talk.subscribed, ["a/+", "+/b"]);
    let state = rig.until("degraded", |state| matches!(state, SourceState::Degraded(_))).await;
    let detail = state.detail().unwrap();
    assert!(detail.contains("`+/+`") && detail.contains("`c`"), "{detail}");
    rig.stop().await;
}

#[tokio::test]
async fn each_way_to_be_turned_away_says_what_would_be_right() {
    let cases = [
        (MqttProtocol::V5, 0x86, Problem::NotAuthorized, "`username` and `password`"),
        (MqttProtocol::V5, 0x87, Problem::NotAuthorized, "does not let this client in"),
        (MqttProtocol::V5, 0x85, Problem::NotAuthorized, "`client_id`"),
        (MqttProtocol::V5, 0x89, Problem::Closed, "ServerBusy"),
        (MqttProtocol::V5, 0x84, Problem::Protocol, "does not speak MQTT 5: set `protocol`"),
        (MqttProtocol::V311, 1, Problem::Protocol, "does not speak MQTT 3.1.1"),
        (MqttProtocol::V311, 2, Problem::NotAuthorized, "`client_id`"),
        (MqttProtocol::V311, 3, Problem::Closed, "service unavailable"),
        (MqttProtocol::V311, 4, Problem::NotAuthorized, "`username` and `password`"),
        (MqttProtocol::V311, 5, Problem::NotAuthorized, "does not let this client in"),
    ];
    for (protocol, code, problem, expected) in cases {
        let peer = Peer::bind().await;
        let rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.connected().await;
        talk.connack(false, code).await;
        let why = rig.disconnected().await;
        assert!(why.contains(expected), "{protocol:?} {code:#x}: {why}");
        assert_eq!(rig.problems(problem), 1, "{protocol:?} {code:#x}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_mqtt_is_a_protocol_problem_and_never_a_busy_loop() {
    for protocol in BOTH {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            &[0xff; 64],
            &[0x30, 0x05, 0, 1, b't', 0, 0],
        ];
        for answer in answers {
            let peer = Peer::bind().await;
            let rig = Rig::start(config(peer.port, protocol), &["t/#"]);
            let mut talk = peer.connected().await;
            talk.send(answer).await;
            drop(talk);
            rig.disconnected().await;
            let told = rig.problems(Problem::Protocol) + rig.problems(Problem::Closed);
            assert_eq!(told, 1, "{protocol:?} {answer:?}");
            let mut attempts = 0;
            let window = tokio::time::timeout(Duration::from_secs(1), async {
                loop {
                    peer.connected().await.send(answer).await;
                    attempts += 1;
                }
            });
            assert!(window.await.is_err());
            assert!(attempts <= 4, "{attempts} attempts in a second, {protocol:?} {answer:?}");
            rig.stop().await;
        }
    }
}

#[tokio::test]
async fn a_message_with_an_impossible_topic_holds_nothing_up() {
    for protocol in BOTH {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.welcome(false).await;
        talk.publish(b"t/+", 1, 1, b"wild").await;
        talk.publish(b"t/1", 1, 2, b"good").await;
        assert_eq!(rig.accept_payloads(1).await, ["good"]);
        assert_eq!(talk.expect_id(PUBACK).await, 1, "{protocol:?}");
        assert_eq!(talk.expect_id(PUBACK).await, 2, "{protocol:?}");
        assert_eq!(rig.problems(Problem::Protocol), 1);
        assert_eq!(rig.health.metrics.received.get(), 1);
        rig.stop().await;
    }
}

#[tokio::test]
async fn it_stops_at_once_whatever_the_broker_does() {
    const SOON: Duration = Duration::from_millis(600);
    for protocol in BOTH {
        let peer = Peer::bind().await;
        let rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let silent = peer.connected().await;
        let took = rig.stop().await;
        assert!(took < SOON, "{protocol:?}: {took:?} without a CONNACK");
        drop(silent);

        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.welcome(false).await;
        talk.publish(b"t/1", 1, 1, b"x").await;
        let held = rig.next().await;
        let took = rig.stop().await;
        assert!(took < SOON, "{protocol:?}: {took:?} with a commit that does not end");
        drop(held);
        assert_eq!(talk.answer_pings().await.map(|(kind, _)| kind), Some(DISCONNECT));

        drop(peer);
        let rig = Rig::start(config(1, protocol), &["t/#"]);
        rig.disconnected().await;
        let took = rig.stop().await;
        assert!(took < SOON, "{protocol:?}: {took:?} while waiting to reconnect");
    }
}

#[tokio::test]
async fn a_commit_that_ends_while_stopping_is_still_acknowledged() {
    for protocol in BOTH {
        let peer = Peer::bind().await;
        let mut rig = Rig::start(config(peer.port, protocol), &["t/#"]);
        let mut talk = peer.welcome(false).await;
        talk.publish(b"t/1", 1, 1, b"x").await;
        let held = rig.next().await;
        let stopping = tokio::spawn(rig.stop());
        tokio::task::yield_now().await;
        held.custody.accept();
        assert_eq!(talk.expect_id(PUBACK).await, 1, "{protocol:?}");
        talk.expect(DISCONNECT).await;
        drop(talk);
        stopping.await.unwrap();
    }
}
