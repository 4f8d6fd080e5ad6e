//! What the embedded broker tells of messages that it drops, and which events it makes after a reload.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::events_of_devices::{CLEAN, Rig, connect5, named};
use crate::support::eventually;
use crate::support::mosquitto::mosquitto_pub;

/// Messages that wait for a subscriber that is away.
const OFFLINE_MESSAGES_MAX: usize = 256;

/// A PUBLISH of MQTT 5.
fn publish(topic: &str, qos: u8, packet_id: u16, payload: &str) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend(topic.as_bytes());
    body.extend(packet_id.to_be_bytes());
    body.push(0);
    body.extend(payload.as_bytes());
    let mut packet = vec![0x30 | (qos << 1), u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

/// Asks and reads an answer of `bytes`.
fn ask(stream: &mut TcpStream, packet: &[u8], bytes: usize) {
    stream.write_all(packet).unwrap();
    stream.read_exact(&mut vec![0; bytes]).unwrap();
}

/// A subscriber of `t/#` with QoS 1 that goes away and keeps its session for so many seconds.
fn away(rig: &Rig, client_id: &str, kept: u8) {
    let (mut stream, _) = rig.connect(&connect5(client_id, 0, &[0x11, 0, 0, 0, kept]));
    ask(&mut stream, b"\x82\x09\0\x01\0\0\x03t/#\x01", 6);
    stream.write_all(b"\xe0\0").unwrap();
    let gone = || named(rig, "client.disconnected").iter().any(|it| it["clientid"] == client_id);
    eventually("it is away", gone, |gone| *gone);
}

fn told(records: &[Value], columns: [&str; 3]) -> Vec<[String; 3]> {
    let text = |it: &Value, column| it[column].as_str().unwrap_or_default().to_owned();
    records.iter().map(|it| columns.map(|column| text(it, column))).collect()
}

#[test]
fn what_a_session_that_is_away_loses_is_told_with_the_reason() {
    let rig = Rig::start("", r#"["delivery.dropped", "client.disconnected"]"#);
    away(&rig, "sub", 60);
    let (mut device, _) = rig.connect(&connect5("pub", CLEAN, b""));
    for number in 0..OFFLINE_MESSAGES_MAX + 2 {
        let packet_id = u16::try_from(number + 1).unwrap();
        ask(&mut device, &publish("t/1", 1, packet_id, &number.to_string()), 4);
    }
    let dropped = || named(&rig, "delivery.dropped");
    let lost = eventually("two lost", dropped, |dropped| dropped.len() >= 2);
    // The oldest go.
    let columns = ["reason", "payload", "clientid"];
    let expected = [["queue_full", "0", "sub"], ["queue_full", "1", "sub"]];
    assert_eq!(told(&lost, columns), expected);
    assert_eq!(lost[0]["from_clientid"], "pub");

    rig.gateway.drained("cloud");
}

#[test]
fn what_waits_in_a_session_that_expires_is_told_as_dropped() {
    let rig =
        Rig::start("", r#"["delivery.dropped", "client.disconnected", "session.terminated"]"#);
    away(&rig, "sub", 4);
    assert!(mosquitto_pub(rig.mqtt, &["-q", "1", "-i", "pub", "-t", "t/1", "-m", "waits"]));
    let dropped = rig.event("delivery.dropped");
    let columns = ["reason", "payload", "clientid"];
    assert_eq!(told(&[dropped], columns), [["session_terminated", "waits", "sub"]]);
    let ended = || named(&rig, "session.terminated").into_iter().find(|it| it["clientid"] == "sub");
    let ended = eventually("the session has ended", ended, Option::is_some).unwrap();
    assert_eq!(ended["reason"], "expired");
    rig.gateway.drained("cloud");
}

#[test]
fn a_publisher_over_its_window_is_told_of_and_hung_up_on() {
    let events = r#"["message.dropped", "client.disconnected"]"#;
    let rig = Rig::start("", events);
    let (mut device, _) = rig.connect(&connect5("pub", CLEAN, b""));
    // Never released, so that each stays in flight.
    for packet_id in 1..=1000 {
        ask(&mut device, &publish("t/1", 2, packet_id, "x"), 4);
    }
    device.write_all(&publish("t/1", 1, 1001, "over")).unwrap();
    let over = || named(&rig, "message.dropped").into_iter().find(|it| it["payload"] == "over");
    let over = eventually("it is told", over, Option::is_some).unwrap();
    assert_eq!(
        (&over["reason"], &over["clientid"]),
        (&"receive_maximum_exceeded".into(), &"pub".into())
    );
    assert_eq!(rig.event("client.disconnected")["reason"], "receive_maximum_exceeded");
    rig.gateway.drained("cloud");
}

#[test]
fn a_reload_that_wants_more_events_gets_them_of_clients_that_are_there_and_no_more_of_what_it_gave_up()
 {
    let rig = Rig::start("", r#"["client.connected"]"#);
    let (mut device, _) = rig.connect(&connect5("dev", CLEAN, b""));
    rig.event("client.connected");
    ask(&mut device, b"\x82\x09\0\x01\0\0\x03a/#\x01", 6);

    let reload = |webhook: &str| {
        rig.gateway.configure(&format!(
            "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{}\"]\n\n{webhook}",
            rig.mqtt
        ));
        let output = rig.gateway.run(&["reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let url = rig.service.url();
    reload(&format!(
        "[rules.more]\nsql = 'SELECT event, clientid, topic, reason FROM \"$events/session/subscribed\", \
         \"$events/client/disconnected\", \"$events/message/delivered\"'\nsinks = [\"cloud\"]\n\n\
         [sinks.cloud]\nurl = \"{url}\"\n"
    ));
    ask(&mut device, b"\x82\x09\0\x02\0\0\x03b/#\x01", 6);
    assert_eq!(rig.event("session.subscribed")["topic"], "b/#", "not what was before");
    assert!(mosquitto_pub(rig.mqtt, &["-q", "1", "-i", "pub", "-t", "a/1", "-m", "x"]));
    let delivered = rig.event("message.delivered");
    assert_eq!((&delivered["clientid"], &delivered["topic"]), (&"dev".into(), &"a/1".into()));

    // Back to what it was: a client that connects is told of, one that subscribes is not.
    reload(&format!("[webhooks.cloud]\nevents = [\"client.connected\"]\nurl = \"{url}\"\n"));
    let (mut other, _) = rig.connect(&connect5("other", CLEAN, b""));
    ask(&mut other, b"\x82\x09\0\x01\0\0\x03c/#\x01", 6);
    drop(rig.connect(&connect5("last", CLEAN, b"")));
    let connected = || {
        let clients = named(&rig, "client.connected");
        clients.iter().map(|it| it["clientid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("the last", connected, |clients| clients.iter().any(|it| it == "last"));
    rig.gateway.drained("cloud");
    assert_eq!(named(&rig, "session.subscribed").len(), 1);
    let mut gone: Vec<_> =
        named(&rig, "client.disconnected").iter().map(|it| it["clientid"].clone()).collect();
    gone.dedup();
    assert_eq!(gone, ["pub"], "of the second config only");
}
