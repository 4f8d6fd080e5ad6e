use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const OWN: &str = "waypost";

fn shown(read: Option<Result<Said, Refusal>>) -> String {
    match read {
        None => "nothing".to_owned(),
        Some(Err(refusal)) => format!("refused: {refusal}"),
        Some(Ok(said)) => {
            format!("{} {}", said.kind.name(), serde_json::Value::Object(said.columns))
        }
    }
}

/// Reads lines one after the other.
#[track_caller]
fn check(learned: &mut Learned, lines: &[(&str, &str)], expected: &Expect) {
    let mut text = String::new();
    for (topic, line) in lines {
        let read = learned.read(topic, line.as_bytes(), OWN);
        text += &(shown(read) + "\n");
    }
    expected.assert_eq(&text);
}

#[test]
fn a_client_that_connects_is_read_from_the_notice_of_either_version() {
    let notice = |line| (NOTICES, line);
    check(
        &mut Learned::default(),
        &[
            notice(
                "1700000000: New client connected from 10.0.0.9:50123 as pump-1 (p2, c1, k60, u'device').",
            ),
            notice("1700000000: New client connected from ::1:50123 as pump-1 (p5, c0, k0)."),
            notice(
                "1700000000: New bridge connected from 10.0.0.9:50123 as edge (p1, c1, k65535).",
            ),
            notice(
                "2026-11-24T12:00:00: New client connected from 10.0.0.9:50123 as pump-1 (p2, c1, k60).",
            ),
            notice("New client connected from 10.0.0.9:50123 as pump-1 (p2, c1, k60)."),
            notice(
                "1700000000: New client connected from 10.0.0.9:1 as a pump (p as b) (p2, c1, k60, u'x y').  ",
            ),
            notice(
                "1700000000: New client connected from 10.0.0.9:1 as a pump (p as b) (p2, c1, k60, u'x y').",
            ),
            notice(
                "1700000000: New client connected from 10.0.0.9:1 as line\nbreak: as, (p2 (p2, c1, k60, u'it's (p2, c1').1').",
            ),
            // The user may be called `b (p2, c1, k60, u'c`, or the client `a (p2, c1, k60, u'b`.
            notice(
                "1700000000: New client connected from 10.0.0.9:1 as a (p2, c1, k60, u'b (p2, c1, k60, u'c').",
            ),
            notice("1700000000: New client connected from 10.0.0.9:1 as pump-1 (p9, c1, k60)."),
            notice("1700000000: New client connected from 10.0.0.9:1 as pump-1 (p2, c1, k70000)."),
            notice("1700000000: New client connected from 10.0.0.9:1 as  (p2, c1, k60)."),
            notice("1700000000: New connection from 10.0.0.9:50123 on port 1883."),
            notice("1700000000: Opening ipv4 listen socket on port 1883."),
            notice("mosquitto version 2.0.11 starting"),
            notice("Outgoing messages are being dropped for client x: Client y disconnected."),
            notice(
                "1700000000: Outgoing messages are being dropped for client x: Client y disconnected.",
            ),
            notice(
                "1700000000: Client connection from 10.0.0.9 failed: error:0A000126:SSL routines::unexpected eof.",
            ),
        ],
        &expect![[r#"
            client.connected {"clean_start":true,"clientid":"pump-1","connected_at":1700000000000,"is_bridge":false,"keepalive":60,"peername":"10.0.0.9:50123","proto_name":"MQTT","proto_ver":4,"username":"device"}
            client.connected {"clean_start":false,"clientid":"pump-1","connected_at":1700000000000,"is_bridge":false,"keepalive":0,"peername":"[::1]:50123","proto_name":"MQTT","proto_ver":5}
            client.connected {"clean_start":true,"clientid":"edge","connected_at":1700000000000,"is_bridge":true,"keepalive":65535,"peername":"10.0.0.9:50123","proto_name":"MQIsdp","proto_ver":3}
            client.connected {"clean_start":true,"clientid":"pump-1","is_bridge":false,"keepalive":60,"peername":"10.0.0.9:50123","proto_name":"MQTT","proto_ver":4}
            client.connected {"clean_start":true,"clientid":"pump-1","is_bridge":false,"keepalive":60,"peername":"10.0.0.9:50123","proto_name":"MQTT","proto_ver":4}
            refused: the line is none that this broker is known to write, or was cut off
            client.connected {"clean_start":true,"clientid":"a pump (p as b)","connected_at":1700000000000,"is_bridge":false,"keepalive":60,"peername":"10.0.0.9:1","proto_name":"MQTT","proto_ver":4,"username":"x y"}
            client.connected {"clean_start":true,"clientid":"line\nbreak: as, (p2","connected_at":1700000000000,"is_bridge":false,"keepalive":60,"peername":"10.0.0.9:1","proto_name":"MQTT","proto_ver":4,"username":"it's (p2, c1').1"}
            refused: could mean more than one client: spaces or parentheses in an id make the line ambiguous
            refused: the line is none that this broker is known to write, or was cut off
            refused: the line is none that this broker is known to write, or was cut off
            refused: the line is none that this broker is known to write, or was cut off
            nothing
            nothing
            nothing
            nothing
            nothing
            nothing
        "#]],
    );
}

#[test]
fn a_client_that_leaves_is_read_with_the_reason_in_the_words_of_version_2_0() {
    let mut learned = Learned::default();
    assert_eq!(learned.read(VERSION, b"mosquitto version 2.0.18", OWN), None);
    let line = |text: &'static str| (NOTICES, text);
    check(
        &mut learned,
        &[
            line("1700000000: Client pump-1 disconnected."),
            line("1700000000: Client pump-1 closed its connection."),
            line("1700000000: Client pump-1 has exceeded timeout, disconnecting."),
            line("1700000000: Client pump-1 disconnected due to protocol error."),
            line("1700000000: Client pump-1 disconnected due to malformed packet."),
            line("1700000000: Client pump-1 disconnected, not authorised."),
            line("1700000000: Client pump-1 disconnected due to oversize packet."),
            line("1700000000: Client pump-1 disconnected due to out of memory."),
            line(
                "1700000000: Client pump-1 disconnected due to using not allowed feature (QoS too high, retain not supported, or bad AUTH method).",
            ),
            line("1700000000: Client pump-1 been disconnected by administrative action."),
            line("1700000000: Client pump-1 disconnected: Connection reset by peer."),
            line("1700000000: Bad socket read/write on client pump-1: Invalid arguments provided."),
            (ERRORS, "1700000000: Client pump-1 already connected, closing old connection."),
            line("1700000000: Expiring client pump-1 due to timeout."),
            // In 2.0 it is the id.
            line("1700000000: Client pump [10.0.0.9:50123] disconnected."),
            line("1700000000: Client a b\nc (p2 disconnected."),
            line("1700000000: Client <unknown> closed its connection."),
            line("1700000000: Client pump-1 has gone fishing."),
            line("1700000000: Client pump-1 disconn"),
            line("1700000000: Client  disconnected."),
            // Either of two clients.
            line("1700000000: Client a disconnected: b closed its connection."),
        ],
        &expect![[r#"
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"normal"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"tcp_closed"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"keepalive_timeout"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"protocol_error"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"malformed_packet"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"not_authorized"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"frame_too_large"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"out_of_memory"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"feature_not_allowed"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"kicked"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"tcp_closed"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"socket_error"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"reason":"takenover"}
            session.terminated {"clientid":"pump-1","reason":"expired"}
            client.disconnected {"clientid":"pump [10.0.0.9:50123]","disconnected_at":1700000000000,"reason":"normal"}
            client.disconnected {"clientid":"a b\nc (p2","disconnected_at":1700000000000,"reason":"normal"}
            nothing
            refused: the line is none that this broker is known to write, or was cut off
            refused: the line is none that this broker is known to write, or was cut off
            refused: the line is none that this broker is known to write, or was cut off
            refused: could mean more than one client: spaces or parentheses in an id make the line ambiguous
        "#]],
    );
}

#[test]
fn a_client_that_leaves_is_read_with_its_address_in_the_words_of_version_2_1() {
    let mut learned = Learned::default();
    assert_eq!(learned.read(VERSION, b"mosquitto version 2.1.2", OWN), None);
    let line = |text: &'static str| (NOTICES, text);
    check(
        &mut learned,
        &[
            line("1700000000: Client pump-1 [10.0.0.9:50123] disconnected."),
            line(
                "1700000000: Client pump-1 [::1:50123] disconnected: connection closed by client.",
            ),
            line("1700000000: Client pump-1 [10.0.0.9:50123] disconnected: exceeded timeout."),
            line("1700000000: Client pump-1 [10.0.0.9:50123] disconnected: session taken over."),
            line("1700000000: Client pump-1 [10.0.0.9:50123] disconnected: administrative action."),
            line(
                "1700000000: Client pump-1 [10.0.0.9:50123] disconnected: used disallowed feature (QoS too high, retain not supported, or bad AUTH method).",
            ),
            line(
                "1700000000: Client pump-1 [10.0.0.9:50123] disconnected: bad socket read/write: Invalid arguments.",
            ),
            line("1700000000: Client a [b] [10.0.0.9:50123] disconnected."),
            line("1700000000: Client x [not an address] disconnected."),
        ],
        &expect![[r#"
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"normal"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"[::1]:50123","reason":"tcp_closed"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"keepalive_timeout"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"takenover"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"kicked"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"feature_not_allowed"}
            client.disconnected {"clientid":"pump-1","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"socket_error"}
            client.disconnected {"clientid":"a [b]","disconnected_at":1700000000000,"peername":"10.0.0.9:50123","reason":"normal"}
            refused: the line is none that this broker is known to write, or was cut off
        "#]],
    );
}

#[test]
fn an_address_behind_an_id_may_be_a_part_of_it_until_the_version_is_known() {
    let line = "1700000000: Client pump [10.0.0.9:50123] disconnected.";
    for (version, expected) in [
        ("", Err(Refusal::Ambiguous)),
        ("mosquitto version 2.0.22", Ok("pump [10.0.0.9:50123]")),
        ("mosquitto version 2.1.0", Ok("pump")),
        ("mosquitto version 3.0", Ok("pump")),
    ] {
        let mut learned = Learned::default();
        assert_eq!(learned.read(VERSION, version.as_bytes(), OWN), None);
        let read = learned.read(NOTICES, line.as_bytes(), OWN).unwrap();
        let id = read.map(|said| said.text("clientid").unwrap().to_owned());
        assert_eq!(id, expected.map(str::to_owned), "{version}");
    }
}

#[test]
fn subscriptions_are_read_once_it_is_known_whether_lines_have_times() {
    let mut learned = Learned::default();
    check(
        &mut learned,
        &[
            (SUBSCRIBED, "1700000000: pump-1 1 t/#"),
            (SUBSCRIBED, "1700000000: waypost 1 $SYS/broker/log/N"),
            (NOTICES, "1700000000: New connection from 10.0.0.9:50123 on port 1883."),
            (SUBSCRIBED, "1700000000: pump-1 1 t/#"),
            (SUBSCRIBED, "1700000000: pump-1 0 $share/g/t/+"),
            (UNSUBSCRIBED, "1700000000: pump-1 t/#"),
            (SUBSCRIBED, "1700000000: pump-1 3 t/#"),
            (SUBSCRIBED, "1700000000: pump-1 1 t/#/x"),
            (UNSUBSCRIBED, "1700000000: pump-1"),
            // The client may be `a`, with the filter `b 0 t`.
            (SUBSCRIBED, "1700000000: a 1 b 0 t"),
            (UNSUBSCRIBED, "1700000000: a b c"),
            (SUBSCRIBED, "1700000000: a b 1 t/#"),
        ],
        &expect![[r#"
            refused: could mean more than one client: spaces or parentheses in an id make the line ambiguous
            nothing
            nothing
            session.subscribed {"clientid":"pump-1","qos":1,"topic":"t/#"}
            session.subscribed {"clientid":"pump-1","qos":0,"topic":"$share/g/t/+"}
            session.unsubscribed {"clientid":"pump-1","topic":"t/#"}
            refused: the line is none that this broker is known to write, or was cut off
            refused: the line is none that this broker is known to write, or was cut off
            refused: the line is none that this broker is known to write, or was cut off
            refused: could mean more than one client: spaces or parentheses in an id make the line ambiguous
            refused: could mean more than one client: spaces or parentheses in an id make the line ambiguous
            session.subscribed {"clientid":"a b","qos":1,"topic":"t/#"}
        "#]],
    );
    let mut without_times = Learned::default();
    check(
        &mut without_times,
        &[
            (NOTICES, "New client connected from 10.0.0.9:1 as 1700000000: x (p2, c1, k60)."),
            (SUBSCRIBED, "1700000000:x 1 t"),
        ],
        &expect![[r#"
            client.connected {"clean_start":true,"clientid":"1700000000: x","is_bridge":false,"keepalive":60,"peername":"10.0.0.9:1","proto_name":"MQTT","proto_ver":4}
            session.subscribed {"clientid":"1700000000:x","qos":1,"topic":"t"}
        "#]],
    );
}

#[test]
fn a_line_that_may_have_been_cut_off_is_refused() {
    let id = "x".repeat(1200);
    let whole = format!("1700000000: Client {id} disconnected. disconnected.");
    // The first 999 bytes end like a whole line.
    let cut = format!(
        "1700000000: Client {} disconnected.",
        &id[..999 - "1700000000: Client  disconnected.".len()]
    );
    for line in [whole, cut] {
        let read = Learned::default().read(NOTICES, line.as_bytes(), OWN);
        assert_eq!(read, Some(Err(Refusal::Truncated)), "{} bytes", line.len());
    }
}

/// Ids as clients may choose them, to the annoyance of whoever reads logs.
fn any_id() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(" ".to_owned()),
        Just(" (p".to_owned()),
        Just("(p2, c1, k60)".to_owned()),
        Just(", u'x'".to_owned()),
        Just(").".to_owned()),
        Just(" disconnected.".to_owned()),
        Just(" disconnected: ".to_owned()),
        Just(" as ".to_owned()),
        Just(" [10.0.0.9:1]".to_owned()),
        Just("\n".to_owned()),
        Just(" 1 ".to_owned()),
        Just(": ".to_owned()),
        "[a-zé]{1,3}",
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_give_an_event_or_a_refusal_or_nothing(
        topic in proptest::sample::select(vec![NOTICES, ERRORS, SUBSCRIBED, UNSUBSCRIBED, VERSION]),
        start in proptest::sample::select(vec!["", "1: Client ", "New client connected from ", "1: New bridge connected from 1:1 as "]),
        rest: Vec<u8>,
    ) {
        let line = [start.as_bytes(), &rest].concat();
        let mut learned = Learned::default();
        drop(learned.read(topic, &line, OWN));
    }

    #[test]
    fn whatever_a_client_is_called_no_line_of_a_broker_gives_another_one(
        id in any_id(),
        user in proptest::option::of(any_id()),
        is_new in any::<bool>(),
        says_version in any::<bool>(),
    ) {
        let mut learned = Learned::default();
        if says_version {
            let version = if is_new { "mosquitto version 2.1.0" } else { "mosquitto version 2.0.22" };
            learned.read(VERSION, version.as_bytes(), OWN);
        }
        let address = if is_new { " [10.0.0.9:1]" } else { "" };
        let user = user.map_or(String::new(), |user| format!(", u'{user}'"));
        let lines = [
            (NOTICES, format!("1700000000: New client connected from 10.0.0.9:1 as {id} (p2, c1, k60{user}).")),
            (SUBSCRIBED, format!("1700000000: {id} 1 a/b")),
            (UNSUBSCRIBED, format!("1700000000: {id} a/b")),
            (NOTICES, format!("1700000000: Client {id}{address} disconnected.")),
            (NOTICES, format!("1700000000: Client {id}{address} disconnected: Connection reset by peer.")),
        ];
        for (topic, line) in lines {
            let read = learned.read(topic, line.as_bytes(), OWN);
            if let Some(Ok(said)) = read {
                prop_assert_eq!(said.text("clientid"), Some(&*id), "{}", line);
            }
        }
    }
}
