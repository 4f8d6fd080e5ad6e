//! A real Mosquitto, and what goes wrong with one: limits, access, overlaps, retained messages, a slow store.

use std::num::NonZeroU32;
use std::process::Command;
use std::time::Duration;

use rumqttc::QoS;

use super::BOTH;
use super::mosquitto::{Mosquitto, free_port, publish, publish_with};
use super::rig::{Rig, config, numbered, text};
use crate::config::{MqttProtocol, Secret};
use crate::source::{Problem, SourceState};

#[tokio::test]
async fn overlapping_filters_bring_a_message_once() {
    let cases: [(&[&str], &[&str]); 3] = [
        (&["a/+", "+/b", "a/b"], &["a/b", "a/x", "x/b", "a/b"]),
        (&["c/#", "c/d", "c", "e"], &["c/d", "c", "c/x/y", "e"]),
        (&["a/+", "+/b", "$share/group/s/1/x"], &["s/1/x", "a/b"]),
    ];
    for protocol in BOTH {
        for (filters, topics) in cases {
            let mosquitto = Mosquitto::start("allow_duplicate_messages true").await;
            let mut rig = Rig::start(config(mosquitto.port, protocol), filters);
            rig.connected().await;
            for topic in topics {
                publish(mosquitto.port, QoS::AtLeastOnce, [(*topic, (*topic).to_owned())]).await;
            }
            // A copy would have come before this.
            let end = topics[topics.len() - 1];
            publish(mosquitto.port, QoS::AtLeastOnce, [(end, "end".to_owned())]).await;
            let arrived = rig.accept_payloads(topics.len() + 1).await;
            assert_eq!(arrived[..topics.len()], *topics, "{protocol:?} {filters:?}");
            assert_eq!(arrived[topics.len()], "end", "{protocol:?} {filters:?}");
            rig.stop().await;
        }
    }
}

#[tokio::test]
async fn an_oversize_message_is_dropped_and_holds_nothing_up() {
    for protocol in BOTH {
        let mosquitto = Mosquitto::start("").await;
        let mut config = config(mosquitto.port, protocol);
        config.packet_bytes_max = NonZeroU32::new(20_000).unwrap();
        let mut rig = Rig::start(config, &["t/#"]);
        rig.connected().await;
        let messages = ["x".repeat(15_000), "x".repeat(30_000), "small".to_owned()];
        publish(mosquitto.port, QoS::AtLeastOnce, messages.map(|m| ("t/1", m))).await;
        let arrived: Vec<usize> = rig.accept_payloads(2).await.iter().map(String::len).collect();
        assert_eq!(arrived, [15_000, 5], "{protocol:?}");
        // MQTT 5 tells the broker the limit, so it drops by itself.
        let expected = u64::from(protocol == MqttProtocol::V311);
        assert_eq!(rig.problems(Problem::Oversize), expected, "{protocol:?}");
        assert_eq!(rig.health.metrics.reconnects.get(), 0, "{protocol:?}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn retained_messages_come_once_and_not_on_every_connection() {
    for protocol in BOTH {
        let mut mosquitto = Mosquitto::start("").await;
        let retained = [("t/1", "one".to_owned()), ("t/2", "two".to_owned())];
        publish_with(mosquitto.port, QoS::AtLeastOnce, true, retained).await;
        let mut rig = Rig::start(config(mosquitto.port, protocol), &["t/#"]);
        for _ in 0..2 {
            assert!(rig.accept().await.message().unwrap().retain, "{protocol:?}");
        }
        for round in ["first", "second"] {
            mosquitto.stop();
            rig.disconnected().await;
            mosquitto.start_again().await;
            rig.connected().await;
            publish(mosquitto.port, QoS::AtLeastOnce, [("t/3", round.to_owned())]).await;
            loop {
                let event = rig.accept().await;
                if text(&event) == round {
                    break;
                }
                // The broker may have stopped before it read our acknowledgement.
                assert!(event.message().unwrap().dup, "{protocol:?}: {event:?} again");
            }
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_user_name_and_password_let_us_in_and_wrong_ones_are_told() {
    let port = free_port();
    let mosquitto = Mosquitto::start_with(port, |directory| {
        let file = directory.path().join("passwords");
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c", file.to_str().unwrap(), "waypost", "secret"])
            .status();
        assert!(made.unwrap().success());
        let file = file.display();
        format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {file}")
    })
    .await;
    for protocol in BOTH {
        let mut config = config(mosquitto.port, protocol);
        config.username = Some("waypost".to_owned());
        config.password = Some(Secret::new("wrong".to_owned()));
        let rig = Rig::start(config.clone(), &["t/#"]);
        let why = rig.disconnected().await;
        assert!(why.contains("`username`") && why.contains("`password`"), "{why}");
        assert!(!why.contains("wrong"), "{why}");
        assert!(rig.problems(Problem::NotAuthorized) >= 1, "{protocol:?}");
        rig.stop().await;

        config.password = Some(Secret::new("secret".to_owned()));
        let rig = Rig::start(config, &["t/#"]);
        rig.connected().await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn hosts_and_ports_that_are_not_there_are_told_apart() {
    let mut nowhere = config(1, MqttProtocol::Auto);
    let rig = Rig::start(nowhere.clone(), &["t/#"]);
    let why = rig.disconnected().await;
    assert!(why.contains("127.0.0.1:1 refuses connections"), "{why}");
    assert!(rig.problems(Problem::Unreachable) >= 1);
    rig.stop().await;

    nowhere.host = "no-such-host.invalid".to_owned();
    let rig = Rig::start(nowhere, &["t/#"]);
    let why = rig.disconnected().await;
    assert!(why.contains("the name `no-such-host.invalid` cannot be resolved"), "{why}");
    rig.stop().await;
}

#[tokio::test]
async fn qos_0_is_dropped_and_counted_when_the_intake_is_full() {
    for protocol in BOTH {
        let mosquitto = Mosquitto::start("").await;
        let rig = Rig::start_with_intake(config(mosquitto.port, protocol), &["t/#"], 3000);
        rig.connected().await;
        let sent = numbered(0..100);
        publish(mosquitto.port, QoS::AtMostOnce, sent.iter().map(|m| ("t/1", m.clone()))).await;
        let dropped = rig.health.metrics.dropped.clone();
        rig.until("most are dropped", |_| dropped.get() >= 80).await;
        let received = rig.health.metrics.received.get();
        assert_eq!(received - dropped.get(), u64::try_from(rig.incoming.len()).unwrap());
        rig.stop().await;
    }
}

/// Longer than the two keep-alives after which a broker or the library would give the connection up.
const STUCK: Duration = Duration::from_secs(13);

#[tokio::test]
async fn a_store_that_is_stuck_for_long_costs_neither_messages_nor_the_connection() {
    let stuck = |protocol| async move {
        let mosquitto = Mosquitto::start("max_inflight_messages 100").await;
        let mut rig = Rig::start_with_intake(config(mosquitto.port, protocol), &["t/#"], 1000);
        rig.connected().await;
        let sent = numbered(0..400);
        publish(mosquitto.port, QoS::AtLeastOnce, sent.iter().map(|m| ("t/1", m.clone()))).await;
        tokio::time::sleep(STUCK).await;
        assert_eq!(rig.accept_payloads(400).await, sent, "{protocol:?}");
        assert_eq!(rig.health.metrics.reconnects.get(), 0, "{protocol:?}");
        assert_eq!(rig.health.state().0, SourceState::Connected, "{protocol:?}");
        rig.stop().await;
    };
    tokio::join!(stuck(MqttProtocol::V5), stuck(MqttProtocol::V311));
}

#[tokio::test]
async fn a_stuck_store_and_more_than_fits_end_in_a_clean_reconnect() {
    let stuck = |protocol| async move {
        let mosquitto = Mosquitto::start("max_inflight_messages 100").await;
        let mut rig = Rig::start_with_intake(config(mosquitto.port, protocol), &["t/#"], 1000);
        rig.connected().await;
        let big = "x".repeat(100_000);
        let sent: Vec<String> = (0..80).map(|number| format!("{number} {big}")).collect();
        publish(mosquitto.port, QoS::AtLeastOnce, sent.iter().map(|m| ("t/1", m.clone()))).await;
        let why = rig.disconnected().await;
        assert!(why.contains("nothing could be stored"), "{why}");
        assert_eq!(rig.problems(Problem::NotStored), 1);
        // What was handed over before may come twice, but in order and all of it.
        let mut next = 0;
        while next < sent.len() {
            let event = rig.accept().await;
            let payload = text(&event);
            let number: usize = payload.split(' ').next().unwrap().parse().unwrap();
            assert!(number <= next, "{protocol:?}: {number} instead of {next}");
            next = number + 1;
        }
        rig.stop().await;
    };
    tokio::join!(stuck(MqttProtocol::V5), stuck(MqttProtocol::V311));
}

#[tokio::test]
async fn properties_of_mqtt_5_are_kept() {
    let mosquitto = Mosquitto::start("").await;
    let mut rig = Rig::start(config(mosquitto.port, MqttProtocol::V5), &["t/#"]);
    rig.connected().await;
    let published = Command::new("mosquitto_pub")
        .args(["-p", &mosquitto.port.to_string(), "-V", "5", "-q", "1", "-t", "t/1", "-m", "{}"])
        .args(["-D", "publish", "content-type", "application/json"])
        .args(["-D", "publish", "response-topic", "answer/here"])
        .args(["-D", "publish", "correlation-data", "42"])
        .args(["-D", "publish", "payload-format-indicator", "1"])
        .args(["-D", "publish", "user-property", "line", "3"])
        .args(["-D", "publish", "user-property", "line", "4"])
        .status();
    assert!(published.unwrap().success());
    let event = rig.accept().await;
    let properties = event.message().unwrap().properties.as_ref().unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.response_topic.as_deref(), Some("answer/here"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"42"[..]));
    assert_eq!(properties.payload_format_indicator, Some(1));
    let lines = [("line", "3"), ("line", "4")].map(|(key, value)| (key.into(), value.into()));
    assert_eq!(properties.user_properties, lines);
    assert_eq!(
        (event.message().unwrap().client_id.as_deref(), event.message().unwrap().peer),
        (None, None)
    );
    rig.stop().await;
}
