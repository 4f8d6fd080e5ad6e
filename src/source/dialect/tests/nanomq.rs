//! `NanoMQ`.

use expect_test::expect;

use super::{Dialect, Format, check, check_topics};

#[test]
fn a_payload_of_nanomq_that_is_no_text_arrives_byte_by_byte() {
    // cJSON writes bytes above 0x7F as they are.
    let body = b"{\"action\":\"message_publish\",\"from_client_id\":\"c\",\"topic\":\"t\",\"qos\":1,\"payload\":\"\x01\\u0002\xff\xfe\\n\"}";
    let told = Format::default().read(body).unwrap();
    assert_eq!(told.events[0].payload.as_deref(), Some(&b"\x01\x02\xff\xfe\n"[..]));
    // Anywhere else it is no JSON.
    let body = b"{\"action\":\"client_connect\",\"clientid\":\"\xff\"}";
    assert!(Format::default().read(body).is_err());
}

#[test]
fn what_nanomqs_web_hook_sends_is_read() {
    let bodies = [
        r#"{"proto_ver":4,"keepalive":60,"conn_ack":"success","username":"undefined","clientid":"nanomq-1","action":"client_connack"}"#,
        r#"{"reason":"abnormal","username":"u","clientid":"nanomq-1","action":"client_disconnected"}"#,
        r#"{"reason":"normal","username":"u","clientid":"nanomq-1","action":"client_disconnected"}"#,
        r#"{"ts":1650609267000,"topic":"a/b","retain":false,"qos":1,"action":"message_publish","from_username":"undefined","from_client_id":null,"payload":"hello"}"#,
        r#"{"ts":1650609267000,"topic":"a/b","retain":false,"qos":1,"action":"message_publish","from_username":"undefined","from_client_id":"c","payload":null}"#,
    ];
    let format = Format { dialect: Some(Dialect::NanoMq), ..Format::default() };
    check(
        format,
        &bodies,
        &expect![[r#"
        {"clientid":"nanomq-1","event":"client.connack","keepalive":60,"proto_ver":4,"reason_code":"success"}
        {"clientid":"nanomq-1","event":"client.disconnected","username":"u"}
        {"clientid":"nanomq-1","event":"client.disconnected","reason":"normal","username":"u"}
        {"event":"message.publish","flags":{"retain":false},"payload":"hello","publish_received_at":1650609267000,"qos":1,"topic":"a/b"}
        {"clientid":"c","event":"message.publish","flags":{"retain":false},"publish_received_at":1650609267000,"qos":1,"topic":"a/b"}
    "#]],
    );
}

#[test]
fn the_topics_of_nanomq_are_read() {
    check_topics(
        &[
            // As a real one was seen to write.
            (
                "$SYS/brokers/client_status/mqttui-15e4034f",
                r#"{"status":"online", "username":"(null)", "ts":1778965423967,"proto_name":"MQTT","keepalive":60,"return_code":"0","proto_ver":4,"client_id":"mqttui-15e4034f","clean_start":1, "IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/client_status/mqttui-15e4034f",
                r#"{"status":"offline", "username":"(null)","ts":1778965419761,"reason_code":"0","client_id":"mqttui-15e4034f","IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/client_status/a/b",
                r#"{"status":"offline", "username":"u","ts":1778965419761,"reason_code":"8d","client_id":"a/b","IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/connected",
                r#"{"username":"u", "ts":1650609267000,"proto_name":"MQTT","keepalive":60,"return_code":"86","proto_ver":4,"client_id":"c","clean_start":1, "IPv4":"127.0.0.1"}"#,
            ),
            (
                "$SYS/brokers/disconnected",
                r#"{"username":"u","ts":1650609267000,"reason_code":"8b","client_id":"c"}"#,
            ),
            // A quote in the id, which it does not escape.
            ("$SYS/brokers/client_status/a\"b", r#"{"status":"offline","client_id":"a"b"}"#),
            ("$SYS/brokers/client_status/c", r#"{"status":"asleep","client_id":"c"}"#),
            ("$SYS/brokers/client_status/c", r#"{"status":"online","client_id":"d"}"#),
        ],
        &expect![[r#"
            nanomq: {"clean_start":true,"clientid":"mqttui-15e4034f","connected_at":1778965423967,"event":"client.connected","keepalive":60,"peerhost":"127.0.0.1","proto_name":"MQTT","proto_ver":4}
            nanomq: {"clientid":"mqttui-15e4034f","disconnected_at":1778965419761,"event":"client.disconnected","peerhost":"127.0.0.1","reason":"normal"}
            nanomq: {"clientid":"a/b","disconnected_at":1778965419761,"event":"client.disconnected","peerhost":"127.0.0.1","reason":"keepalive_timeout","username":"u"}
            nanomq: {"clean_start":true,"clientid":"c","event":"client.connack","keepalive":60,"peerhost":"127.0.0.1","proto_name":"MQTT","proto_ver":4,"reason_code":"fail","username":"u"}
            nanomq: {"clientid":"c","disconnected_at":1650609267000,"event":"client.disconnected","username":"u"}
            nanomq: not the JSON of an event: expected `,` or `}` at line 1 column 36
            nanomq: `status` must be `online` or `offline`
            nanomq: `client_id` must be the one in the topic
        "#]],
    );
}
