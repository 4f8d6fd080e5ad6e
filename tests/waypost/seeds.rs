//! The pages that Waypost was made after, as they stand: EMQX's tutorials of the HTTP integration and of the Webhook, the
//! webhook plugin of EMQX 4, and a guide with two URLs and a token.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::flask::{Flask, printed_body};
use crate::support::http::Server;
use crate::support::mosquitto::mosquitto_pub;
use crate::support::mqtt_js::{MqttSub, mqtt_pub};
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

/// A gateway whose devices connect straight to it.
fn gateway(mqtt: u16, rest: &str) -> Waypost {
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{mqtt}\"]\n\n{rest}"
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    gateway
}

#[test]
fn the_tutorial_of_the_http_integration_prints_hello_http_server() {
    let (mqtt, http) = (free_port(), free_port());
    let gateway = gateway(
        mqtt,
        &format!(
            "[rules.my_rule]\nsql = 'SELECT * FROM \"t/#\"'\nsinks = [\"my_httpserver\"]\n\n\
             [sinks.my_httpserver]\nurl = \"http://localhost:{http}\"\nbody = \"${{payload.msg}}\"\n"
        ),
    );
    let flask = Flask::start(gateway.directory(), http);
    mqtt_pub(mqtt, &["-i", "emqx_c", "-t", "t/1", "-m", "{ \"msg\": \"hello HTTP Server\" }"]);
    let lines = eventually("one request", || flask.requests(), |lines| !lines.is_empty());
    assert_eq!(lines, ["got post request:  b'hello HTTP Server'"]);
    gateway.drained("my_httpserver");
}

/// What the page of the Webhook shows, in its order.
fn page_of_the_webhook() -> [Value; 6] {
    let props = || json!({ "User-Property": {} });
    let message = |event: &str| {
        json!({"username":"undefined","topic":"t/1","timestamp":1,"qos":0,"publish_received_at":1,"pub_props":props(),
            "peerhost":"127.0.0.1","payload":"{ \"msg\": \"Hello Webhook\" }","node":"plant-7",
            "metadata":{"rule_id":"my-webhook"},"id":"","flags":{"retain":false,"dup":false},"event":event,"clientid":"emqx_c"})
    };
    let mut dropped = message("message.dropped");
    dropped["reason"] = "no_subscribers".into();
    [
        json!({"username":"undefined","timestamp":1,"sockname":"","receive_maximum":1,"proto_ver":5,"proto_name":"MQTT",
            "peername":"","node":"plant-7","mountpoint":"undefined","metadata":{"rule_id":"my-webhook"},"keepalive":1,
            "is_bridge":false,"expiry_interval":0,"event":"client.connected","connected_at":1,"conn_props":props(),
            "clientid":"emqx_c","clean_start":true}),
        json!({"username":"undefined","timestamp":1,"sockname":"","reason_code":"success","proto_ver":5,"proto_name":"MQTT",
            "peername":"","node":"plant-7","metadata":{"rule_id":"my-webhook"},"keepalive":1,"expiry_interval":0,
            "event":"client.connack","conn_props":props(),"clientid":"emqx_c","clean_start":true}),
        json!({"username":"undefined","topic":"t/1","timestamp":1,"result":"allow","peerhost":"127.0.0.1","node":"plant-7",
            "metadata":{"rule_id":"my-webhook"},"event":"client.check_authz_complete","clientid":"emqx_c",
            "authz_source":"default","action":"publish"}),
        message("message.publish"),
        dropped,
        json!({"username":"undefined","timestamp":1,"sockname":"","reason":"normal","proto_ver":5,"proto_name":"MQTT",
            "peername":"","node":"plant-7","metadata":{"rule_id":"my-webhook"},"event":"client.disconnected",
            "disconnected_at":1,"disconn_props":props(),"clientid":"emqx_c"}),
    ]
}

/// Same keys and types, and the same values where the page cannot have others; later versions of EMQX have more keys.
#[track_caller]
fn as_on_the_page(body: &Value, page: &Value) {
    const LATER: [&str; 3] = ["peername", "connected_at", "client_attrs"];
    const OF_THE_RUN: [&str; 11] = [
        "timestamp",
        "sockname",
        "peername",
        "connected_at",
        "disconnected_at",
        "publish_received_at",
        "id",
        "keepalive",
        "receive_maximum",
        "conn_props",
        "disconn_props",
    ];
    for (key, expected) in page.as_object().unwrap() {
        let same = std::mem::discriminant(&body[key]) == std::mem::discriminant(expected);
        assert!(same, "{key}: {} and {expected} in {body}", body[key]);
        if !OF_THE_RUN.contains(&key.as_str()) {
            assert_eq!(&body[key], expected, "{key} in {body}");
        }
    }
    let more: Vec<_> =
        body.as_object().unwrap().keys().filter(|key| page.get(key).is_none()).collect();
    assert!(more.iter().all(|key| LATER.contains(&key.as_str())), "{more:?} in {body}");
}

#[test]
fn the_page_of_the_webhook_shows_what_a_publishing_client_causes_in_order() {
    let (mqtt, http) = (free_port(), free_port());
    let gateway = gateway(
        mqtt,
        &format!("[webhooks.my-webhook]\nevents = \"all\"\nurl = \"http://localhost:{http}\"\n"),
    );
    let flask = Flask::start(gateway.directory(), http);
    mqtt_pub(mqtt, &["-i", "emqx_c", "-t", "t/1", "-m", "{ \"msg\": \"Hello Webhook\" }"]);
    let page = page_of_the_webhook();
    let shown = || -> Vec<Value> {
        let bodies = flask.requests();
        let bodies = bodies.iter().map(|line| serde_json::from_str(&printed_body(line)).unwrap());
        let on_page = |body: &Value| page.iter().any(|shown| shown["event"] == body["event"]);
        bodies.filter(on_page).collect()
    };
    let bodies = eventually("all events", shown, |bodies| bodies.len() >= page.len());
    assert_eq!(bodies.len(), page.len(), "{bodies:#?}");
    for (body, expected) in bodies.iter().zip(&page) {
        as_on_the_page(body, expected);
    }
    let [.., publish, dropped, _] = bodies.as_slice() else { panic!("six events") };
    assert_eq!(publish["id"], dropped["id"]);
    gateway.drained("my-webhook");
}

#[test]
fn the_rules_of_the_plugin_forward_foo_bar_and_not_a_b_d() {
    let (mqtt, service) = (free_port(), Server::start());
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("emqx_web_hook.conf");
    let conf = format!(
        "web.hook.url = {}\n\
         web.hook.rule.message.publish.1 = {{\"action\": \"on_message_publish\", \"topic\": \"a/b/c\"}}\n\
         web.hook.rule.message.publish.2 = {{\"action\": \"on_message_publish\", \"topic\": \"foo/#\"}}\n",
        service.url()
    );
    std::fs::write(&plugin, conf).unwrap();
    let imported = command().args(["import", "emqx4"]).arg(&plugin).output().unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let config = String::from_utf8(imported.stdout).unwrap();
    // The broker of the import is somebody else's; here devices connect straight to Waypost.
    let (_, rest) = config.split_once("\n[sinks.").unwrap();
    let gateway = gateway(mqtt, &format!("[sinks.{rest}"));
    for topic in ["a/b/d", "foo/bar", "fo/bar", "a/b/c"] {
        assert!(mosquitto_pub(mqtt, &["-q", "1", "-i", "c1", "-t", topic, "-m", topic]));
    }
    let bodies = eventually("both", || service.records(), |records| records.len() >= 2);
    let mut topics: Vec<_> = bodies.iter().map(|body| body["topic"].as_str().unwrap()).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["a/b/c", "foo/bar"]);
    let expected = json!({"action":"message_publish","node":"plant-7","from_client_id":"c1","from_username":null,
        "topic":"foo/bar","qos":1,"retain":false,"payload":"foo/bar"});
    let mut body = bodies.iter().find(|body| body["topic"] == "foo/bar").unwrap().clone();
    assert!(body.as_object_mut().unwrap().remove("ts").unwrap().is_u64());
    assert_eq!(body, expected);
    gateway.drained("web_hook");
}

/// The tables of the plugin's documentation.
fn tables() -> BTreeMap<&'static str, Vec<&'static str>> {
    let connect = "clientid username ipaddress keepalive proto_ver";
    let message = "from_client_id from_username topic qos retain payload ts";
    let table = |more: &str| -> Vec<&'static str> {
        let text: &'static str = Box::leak(format!("action {more}").into_boxed_str());
        let mut keys: Vec<_> = text.split(' ').collect();
        keys.sort_unstable();
        keys
    };
    BTreeMap::from([
        ("client_connect", table(connect)),
        ("client_connack", table(&format!("{connect} conn_ack"))),
        ("client_connected", table(&format!("{connect} connected_at"))),
        ("client_disconnected", table("clientid username reason")),
        ("client_subscribe", table("clientid username topic opts")),
        ("client_unsubscribe", table("clientid username topic")),
        ("session_subscribed", table("clientid username topic opts")),
        ("session_unsubscribe", table("clientid username topic")),
        ("session_terminated", table("clientid username reason")),
        ("message_publish", table(message)),
        ("message_delivered", table(&format!("clientid username {message}"))),
        ("message_acked", table(&format!("clientid {message}"))),
    ])
}

/// A client that subscribes, unsubscribes and disconnects, byte by byte: MQTT 3.1.1.
fn subscribes_and_unsubscribes(port: u16) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut ask = |packet: &[u8], answer_bytes: usize| {
        stream.write_all(packet).unwrap();
        let mut answer = vec![0; answer_bytes];
        stream.read_exact(&mut answer).unwrap();
    };
    ask(b"\x10\x0e\0\x04MQTT\x04\x02\0\x1e\0\x02u1", 4);
    ask(b"\x82\x08\0\x01\0\x03u/#\x01", 5);
    ask(b"\xa2\x07\0\x02\0\x03u/#", 4);
    ask(b"\xe0\0", 0);
}

#[test]
fn every_event_of_the_plugin_has_the_keys_of_its_table() {
    let (mqtt, service) = (free_port(), Server::start());
    let url = service.url();
    let gateway = gateway(
        mqtt,
        &format!(
            "[webhooks.docs]\nevents = \"all\"\nevent_format = \"emqx4\"\nemqx4_profile = \"docs\"\nurl = \"{url}/docs\"\n\n\
             [webhooks.code]\nevents = \"all\"\nevent_format = \"emqx4\"\nurl = \"{url}/code\"\n"
        ),
    );
    let tables = tables();
    let bodies_of = |target: &str| -> Vec<Value> {
        let requests = service.requests().into_iter().filter(|request| request.target == target);
        requests.flat_map(|request| request.records()).collect()
    };
    let actions = || -> Vec<String> {
        bodies_of("/docs").iter().map(|body| body["action"].as_str().unwrap().to_owned()).collect()
    };
    let subscriber = MqttSub::start(mqtt, &["-i", "sub_c", "-t", "t/#", "-q", "1"]);
    eventually("subscribed", actions, |actions| actions.contains(&"session_subscribed".to_owned()));
    mqtt_pub(mqtt, &["-i", "pub_c", "-t", "t/1", "-q", "1", "-m", "hello"]);
    subscribes_and_unsubscribes(mqtt);
    eventually("acked", actions, |actions| actions.contains(&"message_acked".to_owned()));
    drop(subscriber);
    let missing = || -> Vec<&str> {
        let seen = actions();
        tables.keys().copied().filter(|action| !seen.contains(&(*action).to_owned())).collect()
    };
    eventually("every event of the plugin", missing, Vec::is_empty);
    for body in bodies_of("/docs") {
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        match tables.get(body["action"].as_str().unwrap()) {
            Some(table) => assert_eq!(&keys, table, "{body}"),
            None => assert_eq!(body["extension"], "waypost", "{body}"),
        }
        assert!(body.get("username").is_none_or(|name| name == "undefined"), "{body}");
        if let Some(at) = body.get("connected_at") {
            assert!(at.as_u64().unwrap() < 100_000_000_000, "seconds: {body}");
        }
    }
    for body in bodies_of("/code") {
        assert_eq!(body["node"], "plant-7");
        assert!(body.get("username").is_none_or(Value::is_null), "{body}");
    }
    let delivered =
        bodies_of("/code").into_iter().find(|body| body["action"] == "message_delivered");
    let delivered = delivered.unwrap();
    assert_eq!(
        (&delivered["clientid"], &delivered["from_client_id"], &delivered["payload"]),
        (&"sub_c".into(), &"pub_c".into(), &"hello".into())
    );
    gateway.drained("docs");
    gateway.drained("code");
}

#[test]
fn the_two_urls_of_the_guide_get_their_own_events_with_the_token() {
    let (mqtt, service) = (free_port(), Server::start());
    let url = service.url();
    let others = [
        "client.connect",
        "client.connack",
        "client.connected",
        "client.disconnected",
        "client.subscribe",
        "client.unsubscribe",
        "session.subscribed",
        "session.unsubscribed",
        "message.delivered",
        "message.acked",
        "message.dropped",
    ];
    let headers = "headers = { token = \"abc123\", userId = \"7\" }";
    let gateway = gateway(
        mqtt,
        &format!(
            "[webhooks.publish]\nurl = \"{url}/webhook/publishHook\"\n{headers}\n\n\
             [webhooks.events]\nevents = {others:?}\nurl = \"{url}/webhook/eventHook\"\n{headers}\n"
        ),
    );
    mqtt_pub(mqtt, &["-i", "pub_c", "-t", "t/1", "-q", "1", "-m", "hello"]);
    let events_at = |target: &str| -> Vec<String> {
        let requests = service.requests().into_iter().filter(|request| request.target == target);
        let records = requests.flat_map(|request| request.records());
        records.map(|record| record["event"].as_str().unwrap().to_owned()).collect()
    };
    let expected = [
        "client.connect",
        "client.connected",
        "client.connack",
        "message.dropped",
        "client.disconnected",
    ];
    let at_events = || events_at("/webhook/eventHook");
    let events = eventually("the events", at_events, |events| events.len() >= expected.len());
    assert_eq!(events, expected);
    let at_publish = || events_at("/webhook/publishHook");
    let events = eventually("the message", at_publish, |events| !events.is_empty());
    assert_eq!(events, ["message.publish"]);
    for request in service.requests() {
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        assert_eq!((header("token"), header("userid")), (Some("abc123"), Some("7")));
    }
    gateway.drained("events");
}
