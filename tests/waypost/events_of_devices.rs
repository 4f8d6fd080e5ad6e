//! What the embedded broker tells of its devices beside their messages, through the config file.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::http::Server;
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::{Waypost, hash_password};
use crate::support::{eventually, free_port};

pub struct Rig {
    pub mqtt: u16,
    pub service: Server,
    pub gateway: Waypost,
}

impl Rig {
    pub fn start(source: &str, events: &str) -> Self {
        let (mqtt, service) = (free_port(), Server::start());
        let gateway = Waypost::start(&format!(
            "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{mqtt}\"]\n{source}\n\n\
             [webhooks.cloud]\nevents = {events}\nurl = \"{}\"\n",
            service.url()
        ));
        gateway
            .until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
        Self { mqtt, service, gateway }
    }

    /// Waits for `count` events and gives them.
    #[track_caller]
    pub fn events(&self, count: usize) -> Vec<Value> {
        let records = || self.service.records();
        let names =
            |records: &[Value]| records.iter().map(|it| it["event"].clone()).collect::<Vec<_>>();
        let records = eventually("events", records, |records| records.len() >= count);
        assert_eq!(records.len(), count, "{:?}", names(&records));
        records
    }

    /// Waits for an event of a kind and gives it.
    #[track_caller]
    pub fn event(&self, kind: &str) -> Value {
        let find = || self.service.records().into_iter().find(|record| record["event"] == kind);
        eventually(kind, find, Option::is_some).unwrap()
    }

    pub fn connect(&self, packet: &[u8]) -> (TcpStream, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.mqtt)).unwrap();
        stream.write_all(packet).unwrap();
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let mut answer = vec![0; head[1].into()];
        stream.read_exact(&mut answer).unwrap();
        (stream, answer)
    }
}

/// CONNECT of MQTT 5: client id, flags, properties.
pub fn connect5(client_id: &str, flags: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05".to_vec();
    body.extend([flags, 0, 30, u8::try_from(properties.len()).unwrap()]);
    body.extend(properties);
    body.extend([0, u8::try_from(client_id.len()).unwrap()]);
    body.extend(client_id.as_bytes());
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

/// Flag of a CONNECT.
pub const CLEAN: u8 = 2;

fn words(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let word = |it: &Value| {
        text(it.get("reason").or_else(|| it.get("reason_code")).unwrap_or(&Value::Null))
    };
    events.iter().map(|it| (text(&it["event"]), word(it))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(event, word)| ((*event).to_owned(), (*word).to_owned())).collect()
}

#[test]
fn the_end_of_a_connection_has_emqx_words_for_why() {
    let rig = Rig::start("", r#"["client.disconnected"]"#);
    // It says good-bye.
    let (mut stream, _) = rig.connect(&connect5("a", CLEAN, b""));
    stream.write_all(b"\xe0\0").unwrap();
    // rmqtt waits for the client to close, up to one and a half keep-alives.
    drop(stream);
    assert_eq!(rig.events(1)[0]["reason"], "normal");
    // It says good-bye and why.
    let (mut stream, _) = rig.connect(&connect5("a", CLEAN, b""));
    stream.write_all(b"\xe0\x08\x04\x06\x1f\0\x03why").unwrap();
    drop(stream);
    let with_will = &rig.events(2)[1];
    assert_eq!(with_will["reason"], "disconnect_with_will_message");
    assert_eq!(with_will["disconn_props"], json!({ "Reason-String": "why", "User-Property": {} }));
    // It just goes.
    drop(rig.connect(&connect5("a", CLEAN, b"")));
    assert_eq!(rig.events(3)[2]["reason"], "tcp_closed");
    // It speaks nonsense, for which EMQX has no word of its own.
    let (mut stream, _) = rig.connect(&connect5("a", CLEAN, b""));
    stream.write_all(b"\xf7\xff\xff\xff\xff").unwrap();
    assert_eq!(rig.events(4)[3]["reason"], "internal_error");
    // It comes again, with its session or without.
    let first = rig.connect(&connect5("a", 0, b"\x11\0\0\0\x3c"));
    let second = rig.connect(&connect5("a", 0, b"\x11\0\0\0\x3c"));
    assert_eq!(rig.events(5)[4]["reason"], "takenover");
    let third = rig.connect(&connect5("a", CLEAN, b""));
    assert_eq!(rig.events(6)[5]["reason"], "discarded");
    drop((first, second, third));
    assert_eq!(rig.events(7)[6]["reason"], "tcp_closed");
    rig.gateway.drained("cloud");
}

#[test]
fn connections_of_one_client_are_told_in_order_and_each_to_its_end() {
    let rig = Rig::start("", r#"["client.connected", "client.disconnected"]"#);
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(rig.connect(&connect5("a", CLEAN, b"")));
    }
    drop(open);
    let events = rig.events(40);
    let connected: Vec<bool> = events.iter().map(|it| it["event"] == "client.connected").collect();
    let expected: Vec<bool> = (0..40).map(|number| number % 2 == 0).collect();
    assert_eq!(connected, expected);
    let peers = |pair: &[Value]| (pair[0]["peername"].clone(), pair[1]["peername"].clone());
    for pair in events.chunks(2) {
        let (connected, disconnected) = peers(pair);
        assert_eq!(connected, disconnected);
    }
    rig.gateway.drained("cloud");
}

#[test]
fn a_connection_has_its_columns_and_a_refused_one_its_reason() {
    let source = format!(
        "users = [{{ username = \"u\", password_hash = '{}' }}]\nallow_anonymous = true",
        hash_password("secret")
    );
    let events = r#"["client.connect", "client.connack", "client.connected", "client.check_authn_complete"]"#;
    let rig = Rig::start(&source, events);
    // Session expiry 60 s, receive maximum 10, user property a = b; kept alive for 30 s.
    let properties = b"\x11\0\0\0\x3c\x21\0\x0a\x26\0\x01a\0\x01b";
    let (stream, _) = rig.connect(&connect5("dev", CLEAN, properties));
    let events = rig.events(4);
    let expected = [
        ("client.connect", ""),
        ("client.check_authn_complete", "success"),
        ("client.connected", ""),
        ("client.connack", "success"),
    ];
    assert_eq!(words(&events), pairs(&expected));
    let connected = &events[2];
    let props = json!({
        "Session-Expiry-Interval": 60, "Receive-Maximum": 10, "User-Property": { "a": "b" },
        "User-Property-Pairs": [{ "key": "a", "value": "b" }],
    });
    assert_eq!(connected["conn_props"], props);
    assert_eq!(connected["peername"], stream.local_addr().unwrap().to_string());
    assert_eq!(connected["sockname"], stream.peer_addr().unwrap().to_string());
    let number = |name: &str| connected[name].as_u64().unwrap();
    assert_eq!(
        (
            number("proto_ver"),
            number("keepalive"),
            number("receive_maximum"),
            number("expiry_interval")
        ),
        (5, 30, 10, 60)
    );
    assert_eq!((&connected["clean_start"], &connected["is_bridge"]), (&true.into(), &false.into()));
    assert_eq!(events[3]["expiry_interval"], 60_000);
    assert_eq!(events[1]["is_anonymous"], true);

    // A wrong password, and MQTT 3.1.1.
    let (_, answer) = rig.connect(b"\x10\x17\0\x04MQTT\x04\xc2\0\x1e\0\x03bad\0\x01u\0\x03not");
    assert_eq!(answer[1], 4);
    let events = rig.events(7);
    let expected = [
        ("client.connect", ""),
        ("client.check_authn_complete", "bad_username_or_password"),
        ("client.connack", "bad_username_or_password"),
    ];
    assert_eq!(words(&events[4..]), pairs(&expected));
    let refused = &events[6];
    assert_eq!((&refused["clientid"], &refused["username"]), (&"bad".into(), &"u".into()));
    assert_eq!((&refused["proto_ver"], refused.get("connected_at")), (&4.into(), None));

    // What rmqtt refuses before anybody is asked.
    let (_, answer) = rig.connect(&connect5("x", CLEAN, b"\x15\0\x01m"));
    assert_eq!(answer[1], 0x8C);
    let events = rig.events(9);
    let expected = [("client.connect", ""), ("client.connack", "bad_authentication_method")];
    assert_eq!(words(&events[7..]), pairs(&expected));
    rig.gateway.drained("cloud");
}

/// `mosquitto_sub`, in a session that it comes back to.
struct Subscriber(Child);

impl Subscriber {
    fn start(port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "5", "-q", "1"])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn end(mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_message_is_told_of_on_its_whole_way_under_one_id() {
    let events = r#"["message.publish", "message.delivered", "message.acked", "message.dropped", "session.subscribed", "client.check_authz_complete"]"#;
    let rig = Rig::start("access = [{ allow = true }]", events);
    let subscriber = Subscriber::start(rig.mqtt, &["-i", "sub", "-t", "t/#", "-t", "$share/g/x"]);
    let filters_told = || {
        let records = named(&rig, "session.subscribed");
        records.iter().map(|it| it["topic"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let filters = eventually("both filters", filters_told, |filters| filters.len() == 2);
    assert_eq!(filters, ["t/#", "$share/g/x"]);
    let message = ["-V", "5", "-q", "2", "-i", "pub", "-t", "t/1", "-m", "hello"];
    assert!(mosquitto_pub(rig.mqtt, &message));
    let acked = rig.event("message.acked");
    let (publish, delivered) = (rig.event("message.publish"), rig.event("message.delivered"));
    for told in [&delivered, &acked] {
        for column in ["id", "topic", "qos", "payload", "flags", "pub_props", "publish_received_at"]
        {
            assert_eq!(told[column], publish[column], "{column}");
        }
        assert_eq!((&told["clientid"], &told["from_clientid"]), (&"sub".into(), &"pub".into()));
        assert_eq!(told["peerhost"], "127.0.0.1");
    }
    let authz = named(&rig, "client.check_authz_complete");
    let what = |it: &Value| (it["action"].clone(), it["topic"].clone(), it["authz_source"].clone());
    assert!(authz.iter().any(|it| what(it) == ("publish".into(), "t/1".into(), "file".into())));
    assert!(authz.iter().any(|it| what(it) == ("subscribe".into(), "t/#".into(), "file".into())));
    assert_eq!(named(&rig, "message.dropped"), Vec::<Value>::new());
    subscriber.end();
    rig.gateway.drained("cloud");
}

pub fn named(rig: &Rig, kind: &str) -> Vec<Value> {
    rig.service.records().into_iter().filter(|record| record["event"] == kind).collect()
}

#[test]
fn a_message_that_expires_in_a_session_is_told_as_dropped_and_so_are_sessions() {
    let events =
        r#"["delivery.dropped", "session.created", "session.terminated", "client.disconnected"]"#;
    let rig = Rig::start("", events);
    let session = ["-i", "sub", "-t", "t/#", "-c", "-x", "60"];
    let subscriber = Subscriber::start(rig.mqtt, &session);
    rig.event("session.created");
    // It is subscribed once a message has reached it: -W ends it otherwise.
    subscriber.end();
    rig.event("client.disconnected");
    let again = Subscriber::start(rig.mqtt, &[&session[..], &["-E"]].concat());
    let left = || named(&rig, "client.disconnected").len();
    eventually("subscribed and gone", left, |count| *count == 2);
    again.end();
    let message = [
        "-V",
        "5",
        "-q",
        "1",
        "-t",
        "t/1",
        "-m",
        "late",
        "-D",
        "publish",
        "message-expiry-interval",
        "1",
    ];
    assert!(mosquitto_pub(rig.mqtt, &message));
    #[expect(clippy::disallowed_methods, reason = "what expires in MQTT expires in whole seconds")]
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let again = Subscriber::start(rig.mqtt, &session);
    let dropped = rig.event("delivery.dropped");
    assert_eq!((&dropped["reason"], &dropped["payload"]), (&"expired".into(), &"late".into()));
    assert_eq!(dropped["clientid"], "sub");
    again.end();
    // A clean start ends the session that was kept.
    drop(rig.connect(&connect5("sub", CLEAN, b"")));
    let of_sub = |kind: &str| -> Vec<Value> {
        let mut events = named(&rig, kind);
        events.retain(|it| it["clientid"] == "sub");
        events
    };
    let ended = || of_sub("session.terminated").len();
    eventually("both sessions ended", ended, |count| *count == 2);
    assert_eq!(of_sub("session.terminated")[0]["reason"], "discarded");
    assert_eq!(of_sub("session.created").len(), 2);
    rig.gateway.drained("cloud");
}

#[test]
fn a_subscription_is_told_with_its_options_and_its_end_with_what_it_was() {
    let events = r#"["client.subscribe", "client.unsubscribe", "session.subscribed", "session.unsubscribed", "client.ping"]"#;
    let rig = Rig::start("", events);
    let (mut stream, _) = rig.connect(&connect5("a", CLEAN, b""));
    let mut ask = |packet: &[u8], answer_bytes: usize| {
        stream.write_all(packet).unwrap();
        let mut answer = vec![0; answer_bytes];
        stream.read_exact(&mut answer).unwrap();
    };
    // Subscription identifier 7, QoS 1, no local, retain handling 2.
    ask(b"\x82\x0b\0\x01\x02\x0b\x07\0\x03u/#\x25", 6);
    ask(b"\xa2\x08\0\x02\0\0\x03u/#", 6);
    ask(b"\xc0\0", 2);
    let events = rig.events(5);
    let kinds: Vec<_> = events.iter().map(|it| it["event"].as_str().unwrap()).collect();
    let expected = [
        "client.subscribe",
        "session.subscribed",
        "client.unsubscribe",
        "session.unsubscribed",
        "client.ping",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events[0]["opts"], json!({ "qos": 1, "nl": 1, "rap": 0, "rh": 2 }));
    let props = json!({ "Subscription-Identifier": 7, "User-Property": {} });
    assert_eq!((&events[1]["sub_props"], events[1].get("opts")), (&props, None));
    assert!(events[..4].iter().all(|it| it["topic"] == "u/#"));
    assert_eq!(events[3]["qos"], 1);
    rig.gateway.drained("cloud");
}

#[test]
fn topics_of_a_webhook_filter_messages_and_leave_clients_alone() {
    let (mqtt, service) = (free_port(), Server::start());
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{mqtt}\"]\n\n\
         [webhooks.cloud]\nevents = [\"message.publish\", \"message.dropped\", \"client.connected\"]\n\
         topics = [\"wanted/#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    for topic in ["other", "wanted/1"] {
        assert!(mosquitto_pub(mqtt, &["-q", "1", "-i", "c", "-t", topic, "-m", "x"]));
    }
    let records = eventually("four", || service.records(), |records| records.len() >= 4);
    let told: Vec<_> = records
        .iter()
        .map(|it| (it["event"].as_str().unwrap(), it["topic"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ("client.connected", ""),
        ("client.connected", ""),
        ("message.publish", "wanted/1"),
        ("message.dropped", "wanted/1"),
    ];
    assert_eq!(told, expected);
    gateway.drained("cloud");
}

#[test]
fn topics_of_a_webhook_in_the_form_of_emqx_4_filter_subscriptions_too() {
    let events = r#"["client.subscribe", "client.unsubscribe", "session.subscribed", "session.unsubscribed", "client.connected"]"#;
    let (mqtt, service) = (free_port(), Server::start());
    let url = service.url();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{mqtt}\"]\n\n\
         [webhooks.old]\nevents = {events}\ntopics = [\"wanted/#\"]\nevent_format = \"emqx4\"\nurl = \"{url}/old\"\n\n\
         [webhooks.new]\nevents = {events}\ntopics = [\"wanted/#\"]\nurl = \"{url}/new\"\n"
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    let rig = Rig { mqtt, service, gateway };
    let (mut stream, _) = rig.connect(&connect5("a", CLEAN, b""));
    let mut ask = |packet: &[u8], answer_bytes: usize| {
        stream.write_all(packet).unwrap();
        stream.read_exact(&mut vec![0; answer_bytes]).unwrap();
    };
    for (id, topic) in [(1, b"other/a1"), (2, b"wanted/1")] {
        let filter = [&[0, id, 0, 0, 8][..], topic].concat();
        ask(&[&[0x82, 14][..], &filter, &[1]].concat(), 6);
        ask(&[&[0xa2, 13][..], &filter].concat(), 6);
    }
    let told = |path: &'static str, key: &'static str| {
        let requests = rig.service.requests();
        let of_path = requests.iter().filter(|request| request.target == path);
        let records = of_path.flat_map(crate::support::http::Request::records);
        let text = |it: &Value, key| it[key].as_str().unwrap_or_default().to_owned();
        records.map(|it| (text(&it, key), text(&it, "topic"))).collect::<Vec<_>>()
    };
    let old = eventually("five", || told("/old", "action"), |told| told.len() >= 5);
    let new = eventually("nine", || told("/new", "event"), |told| told.len() >= 9);
    let wanted =
        ["client_subscribe", "session_subscribed", "client_unsubscribe", "session_unsubscribed"];
    let mut expected = vec![("client_connected".to_owned(), String::new())];
    expected.extend(wanted.map(|action| (action.to_owned(), "wanted/1".to_owned())));
    assert_eq!(old, expected);
    assert_eq!(new.iter().filter(|(_, topic)| topic == "other/a1").count(), 4, "{new:?}");
    rig.gateway.drained("old");
    assert_eq!(told("/old", "action").len(), 5);
}
