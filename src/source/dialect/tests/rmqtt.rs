//! RMQTT 0.24, as its plugins have sent it (`tests/peers/rmqtt`).

use expect_test::expect;

use super::{Dialect, Format, check, check_topics, told};

/// Bodies of the web hook.
const BODIES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rmqtt/bodies.jsonl"));

#[test]
fn what_rmqtts_plugin_has_sent_is_recognised_and_read() {
    let bodies: Vec<&str> = BODIES.lines().collect();
    check(
        Format::default(),
        &bodies,
        &expect![[r#"
            {"event":"message.publish","flags":{"dup":false,"retain":false},"payload":"{\"clean_session\":true,\"clientid\":\"watcher\",\"connected_at\":1795701808900,\"ipaddress\":\"127.0.0.1:55432\",\"keepalive\":60,\"node\":0,\"proto_ver\":4,\"session_present\":false,\"time\":\"2026-11-26 14:03:28.900\",\"username\":\"undefined\"}","publish_received_at":1795701808903,"qos":1,"topic":"$SYS/brokers/0/clients/watcher/connected"}
            {"clientid":"line/7","created_at":1795701809950,"event":"session.created","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","username":"device"}
            {"clean_start":true,"clientid":"line/7","event":"client.connack","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"reason_code":"success","username":"device"}
            {"clean_start":true,"clientid":"line/7","event":"client.connect","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"username":"device"}
            {"clean_start":true,"clientid":"line/7","connected_at":1795701809950,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"username":"device"}
            {"clientid":"line/7","event":"session.subscribed","node":"0","opts":{"nl":0,"qos":1,"rap":0,"rh":0},"peerhost":"127.0.0.1","peername":"127.0.0.1:55440","qos":1,"topic":"t/#","username":"device"}
            {"clientid":"line/7","event":"client.subscribe","node":"0","opts":{"nl":0,"qos":1,"rap":0,"rh":0},"peerhost":"127.0.0.1","peername":"127.0.0.1:55440","qos":1,"topic":"t/#","username":"device"}
            {"clientid":"line/7","event":"client.unsubscribe","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","topic":"u/#","username":"device"}
            {"clean_start":true,"clientid":"pump","event":"client.connect","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4}
            {"clean_start":true,"clientid":"pump","connected_at":1795701810949,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4}
            {"clean_start":true,"clientid":"pump","event":"client.connack","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4,"reason_code":"success"}
            {"clientid":"line/7","event":"message.acked","flags":{"dup":false,"retain":false},"from_clientid":"pump","node":"0","payload":"hello é","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","publish_received_at":1795701810958,"qos":1,"topic":"t/1","username":"device"}
            {"clientid":"pump","event":"message.publish","flags":{"dup":false,"retain":false},"payload":"hello é","peerhost":"127.0.0.1","peername":"127.0.0.1:55450","publish_received_at":1795701810958,"qos":1,"topic":"t/1"}
            {"clientid":"line/7","event":"message.delivered","flags":{"dup":false,"retain":false},"from_clientid":"pump","node":"0","payload":"hello é","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","publish_received_at":1795701810958,"qos":1,"topic":"t/1","username":"device"}
            {"clientid":"pump","disconnected_at":1795701810960,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55450","reason":"normal"}
            {"clientid":"pump","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55450","reason":"normal"}
            {"clientid":"line/7","disconnected_at":1795701811980,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            {"clientid":"line/7","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            {"clientid":"twin","event":"client.subscribe","node":"0","opts":{"qos":1},"peerhost":"127.0.0.1","peername":"127.0.0.1:36008","qos":1,"topic":"t/2"}
            {"clientid":"twin","event":"session.subscribed","node":"0","opts":{"qos":1},"peerhost":"127.0.0.1","peername":"127.0.0.1:36008","qos":1,"topic":"t/2"}
            {"clientid":"twin","disconnected_at":1795701814018,"event":"client.disconnected","node":"0","peername":"127.0.0.1:36008","reason":"takenover"}
            ignored
        "#]],
    );
    let format = Format { dialect: Some(Dialect::Rmqtt), ..Format::default() };
    for body in bodies {
        assert_eq!(told(format, body), told(Format::default(), body));
    }
}

#[test]
fn the_topics_of_rmqtt_are_read() {
    let recorded =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rmqtt/topics.txt"));
    let messages: Vec<_> = recorded.lines().map(|line| line.split_once(' ').unwrap()).collect();
    check_topics(
        &messages,
        &expect![[r#"
            rmqtt: {"clientid":"line/7","created_at":1795701809950,"event":"session.created","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","username":"device"}
            rmqtt: {"clean_start":true,"clientid":"line/7","connected_at":1795701809950,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55440","proto_ver":5,"username":"device"}
            rmqtt: {"clientid":"line/7","event":"session.subscribed","node":"0","opts":{"nl":0,"qos":1,"rap":0,"rh":0},"peerhost":"127.0.0.1","peername":"127.0.0.1:55440","qos":1,"topic":"t/#","username":"device"}
            rmqtt: {"clean_start":true,"clientid":"pump","connected_at":1795701810949,"event":"client.connected","keepalive":60,"node":"0","peername":"127.0.0.1:55450","proto_ver":4}
            rmqtt: {"clientid":"pump","disconnected_at":1795701810960,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55450","reason":"normal"}
            rmqtt: {"clientid":"pump","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55450","reason":"normal"}
            rmqtt: {"clientid":"line/7","disconnected_at":1795701811980,"event":"client.disconnected","node":"0","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            rmqtt: {"clientid":"line/7","event":"session.terminated","node":"0","peerhost":"127.0.0.1","peername":"127.0.0.1:55440","reason":"tcp_closed","username":"device"}
            rmqtt: {"clientid":"twin","event":"session.subscribed","node":"0","opts":{"qos":1},"peerhost":"127.0.0.1","peername":"127.0.0.1:36008","qos":1,"topic":"t/2"}
            rmqtt: {"clientid":"twin","disconnected_at":1795701814018,"event":"client.disconnected","node":"0","peername":"127.0.0.1:36008","reason":"takenover"}
        "#]],
    );
}
