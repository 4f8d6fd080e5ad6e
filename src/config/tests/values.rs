//! What good configs mean.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::{SOURCE, good, parsed, surroundings};
use crate::config::{
    Config, MqttTransport, Order, Report, Sink, Source, load, parse, records_per_second_max,
};
use crate::template::Escape;

#[track_caller]
fn sink(text: &str) -> Sink {
    let (config, _) = good(&format!("{SOURCE}[webhooks.cloud]\n{text}"));
    config.sinks.get("cloud").unwrap().clone()
}

#[test]
fn a_webhook_is_a_rule_and_a_sink_of_its_name() {
    let (config, warnings) = good(&format!(
        "{SOURCE}[webhooks.cloud]\nurl = \"http://127.0.0.1:5000\"\nsources = [\"local\"]\ntopics = [\"t/#\"]\n\
         [webhooks.copy]\nsink = \"cloud\"\n"
    ));
    assert_eq!(warnings, []);
    let rules: Vec<_> =
        config.rules.iter().map(|(name, rule)| format!("{name}: {rule:?}")).collect();
    assert_eq!(
        rules,
        [
            r#"cloud: Rule { sources: ["local"], events: [MessagePublish], topics: ["t/#"], narrowed: Messages, program: None, sinks: ["cloud"] }"#,
            r##"copy: Rule { sources: [], events: [MessagePublish], topics: ["#"], narrowed: Messages, program: None, sinks: ["cloud"] }"##,
        ]
    );
    assert_eq!(config.sinks.keys().map(ToString::to_string).collect::<Vec<_>>(), ["cloud"]);
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let (config, _) = good(&format!("[gateway]\ndata_dir = \"data\"\n{SOURCE}"));
    assert_eq!(config.gateway.data_dir, std::path::Path::new("/etc/waypost/data"));
    assert_eq!(config.gateway.admin_socket, std::path::Path::new("/etc/waypost/data/admin.sock"));
    assert_eq!(config.gateway.name, "host-1");
}

#[test]
fn the_url_of_a_broker_says_transport_host_and_port() {
    for (url, transport, host, port) in [
        ("mqtt://broker", MqttTransport::Tcp, "broker", 1883),
        ("mqtts://10.0.0.1:8884/", MqttTransport::Tls, "10.0.0.1", 8884),
        ("mqtt://[::1]:1884", MqttTransport::Tcp, "::1", 1884),
        ("ws://b/mqtt?x=1", MqttTransport::WebSocket { path: "/mqtt?x=1".into() }, "b", 80),
        ("wss://b:9001", MqttTransport::WebSocketTls { path: "/".into() }, "b", 9001),
    ] {
        let (config, _) = good(&format!("[sources.a]\ntype = \"mqtt\"\nurl = \"{url}\"\n"));
        let Some(Source::Mqtt(source)) = config.sources.get("a") else { panic!("{url}") };
        assert_eq!(
            (&source.transport, &*source.host, source.port),
            (&transport, host, port),
            "{url}"
        );
    }
}

#[test]
fn placeholders_in_the_path_of_a_url_become_the_path_template() {
    let data = json!({ "clientid": "c/1", "topic": "t" });
    for (text, url, path) in [
        ("url = \"http://h/api\"", "http://h/api", None),
        ("url = \"http://h/api\"\npath = \"/v1\"", "http://h/api", Some("/v1")),
        ("url = \"http://h:1/d/${clientid}?t=${topic}\"", "http://h:1/", Some("/d/c%2F1?t=t")),
        ("url = \"http://h/d/${clientid}/\"\npath = \"/x\"", "http://h/", Some("/d/c%2F1/x")),
        ("url = \"http://${env:HOST}/a\"", "http://api.example.com/a", None),
    ] {
        let request = sink(text).request;
        let rendered = request.path.map(|path| path.render(&data, Escape::Url));
        assert_eq!((request.url.as_str(), rendered.as_deref()), (url, path), "{text}");
    }
}

#[test]
fn a_secret_comes_from_a_file_or_a_variable_and_is_no_template() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "f1l3${topic}\r\n").unwrap();
    let text = format!(
        "{SOURCE}[sinks.a]\nurl = \"http://h\"\nauth = {{ bearer = {{ file = \"token\" }} }}\n\
         headers = {{ x-key = {{ env = \"TOKEN\" }}, y = \"k ${{env:TOKEN}} ${{topic}}\" }}\n\
         [sinks.b]\nurl = \"http://h\"\nauth = {{ username = \"me\", password = {{ env = \"TOKEN\" }} }}\n"
    );
    let (config, _) = parse(&text, &surroundings(folder.path().to_owned())).unwrap();
    let data = json!({ "topic": "t/1", "clientid": "c" });
    let headers = |sink: &str| -> Vec<String> {
        let request = &config.sinks.get(sink).unwrap().request;
        let templates = request.headers.iter();
        let templates = templates.map(|(name, value)| {
            format!("{}: {}", name.source(), value.render(&data, Escape::None))
        });
        let secrets = request.credentials.iter().map(|credential| {
            let value = credential.value(&credential.secret).unwrap();
            format!("{}: {}", credential.header, value.to_str().unwrap())
        });
        templates.chain(secrets).collect()
    };
    let secret = "s3cr3t${clientid}";
    let expected = [
        format!("y: k {secret} t/1"),
        format!("x-key: {secret}"),
        "authorization: Bearer f1l3${topic}".to_owned(),
    ];
    assert_eq!(headers("a"), expected);
    assert_eq!(headers("b"), ["authorization: Basic bWU6czNjcjN0JHtjbGllbnRpZH0="]);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("s3cr3t") && !shown.contains("f1l3") && !shown.contains("bWU6"),
        "{shown}"
    );
}

#[test]
fn the_default_quota_is_a_tenth_of_the_partition() {
    let quota = sink("url = \"http://h\"").queue.bytes_max.get();
    assert_eq!(quota, (8 << 30) / 10 / (1 << 20) * (1 << 20));
}

#[test]
fn the_most_a_sink_can_deliver_follows_from_the_round_trip() {
    let mut sink = sink("url = \"http://h\"\nbatch.max_records = 10");
    let round_trip = Duration::from_millis(50);
    assert_eq!(records_per_second_max(&sink, round_trip), 800);
    sink.order = Order::Sink;
    assert_eq!(records_per_second_max(&sink, round_trip), 200);
    assert!(records_per_second_max(&sink, Duration::ZERO) > 0);
}

#[cfg(feature = "broker")]
#[test]
fn a_broker_without_users_is_open_on_loopback_and_with_users_only_when_it_says_so() {
    use crate::password::PasswordHash;
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$/mR6x5K8bTDPGw8yWcCzCw";
    assert!(PasswordHash::new(hash).is_ok());
    let users = format!("users = [{{ username = \"a\", password_hash = \"{hash}\" }}]");
    for (listen, rest, anonymous) in [
        ("127.0.0.1:1883", "", true),
        ("[::1]:1883", "", true),
        ("0.0.0.0:1883", "allow_anonymous = true", true),
        ("0.0.0.0:1883", &*users, false),
        ("127.0.0.1:1883", &*users, false),
        ("127.0.0.1:1883", &*format!("{users}\nallow_anonymous = true"), true),
    ] {
        let (config, _) =
            good(&format!("[sources.a]\ntype = \"broker\"\nlisten = [\"{listen}\"]\n{rest}\n"));
        let Some(Source::Broker(broker)) = config.sources.get("a") else { panic!("{listen}") };
        assert_eq!(broker.allow_anonymous, anonymous, "{listen} {rest}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_report_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waypost.toml");
    let report = |path: &std::path::Path| load(path).unwrap_err().to_string();
    assert!(report(&path).contains("there is no file"), "{}", report(&path));
    std::fs::write(&path, b"[gateway]\nname = \"\xff\"\n").unwrap();
    assert!(report(&path).contains("is not UTF-8 text: see line 2"), "{}", report(&path));
    std::fs::write(&path, vec![b'#'; 5 << 20]).unwrap();
    assert!(report(&path).contains("is longer than 4 MiB"), "{}", report(&path));
    assert_eq!(Report::EXIT_CODE, 78);
}

/// Pieces from which almost-configs are made.
const PIECES: [&str; 40] = [
    "[sources.a]\n",
    "[sinks.b]\n",
    "[webhooks.c]\n",
    "[rules.d]\n",
    "[gateway]\n",
    "[log]\n",
    "[metrics]\n",
    "[store]\n",
    "type",
    "url",
    "listen",
    "users",
    "topics",
    "sinks",
    "sink",
    "batch",
    "queue",
    "headers",
    "auth",
    "path",
    "body",
    "max_bytes",
    " = ",
    " = ",
    "\n",
    "\n",
    "\"mqtt\"",
    "\"broker\"",
    "\"mqtt://h\"",
    "\"http://h/${clientid}\"",
    "[",
    "]",
    "{ ",
    " }",
    ", ",
    "\"12MiB\"",
    "12",
    "${env:X",
    "true",
    "ä",
];

proptest! {
    #[test]
    fn any_text_is_a_config_or_a_report(text in "(.|\n){0,200}") {
        prop_assert!(says_something(parsed(&text)));
    }

    #[test]
    fn anything_like_a_config_is_a_config_or_a_report(
        pieces in prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..60),
    ) {
        prop_assert!(says_something(parsed(&pieces.concat())));
    }

    #[test]
    fn any_bytes_in_a_file_are_a_config_or_a_report(bytes: Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waypost.toml");
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(says_something(load(&path)));
    }
}

fn says_something(result: Result<(Config, Vec<super::Warning>), Report>) -> bool {
    match result {
        Ok((config, warnings)) => !format!("{config:?}{warnings:?}").is_empty(),
        Err(report) => !report.to_string().is_empty(),
    }
}

#[test]
fn files_with_certificates_and_keys_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["broker".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let damaged = certificate.replace("\nMII", "\n!!!");
    for (cert, key, problem) in [
        (&certificate, &key, None),
        (&key, &key, Some("cert.pem has none in it")),
        (&certificate, &certificate, Some("key.pem has none in it")),
        (&damaged, &key, Some("cert.pem is damaged")),
    ] {
        std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        let text = "[sources.a]\ntype = \"mqtt\"\nurl = \"mqtts://h\"\n\
                    tls = { cert_file = \"cert.pem\", key_file = \"key.pem\" }\n";
        let report = parse(text, &surroundings(folder.path().to_owned())).err();
        let report = report.map(|report| report.to_string());
        match (&report, problem) {
            (None, None) => {}
            (Some(report), Some(problem)) => assert!(report.contains(problem), "{report}"),
            _ => panic!("{problem:?} and {report:?}"),
        }
    }
}
