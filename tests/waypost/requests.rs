//! What a request is: method, connection, TLS, proxy, credentials.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Version;
use serde_json::Value;

use crate::support::certificates::Certificates;
use crate::support::device::Device;
use crate::support::http::{Reply, Request, Server};
use crate::support::http2::AnyVersion;
use crate::support::proxy::Proxy;
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

/// A gateway with the embedded broker; not running yet.
pub struct Gateway {
    pub waypost: Waypost,
    broker_port: u16,
}

impl Gateway {
    /// With one webhook `cloud` for `t/#` to `url`; `sink` are further lines of it.
    pub fn with_sink(url: &str, sink: &str) -> Self {
        Self::with(&format!(
            "[webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{url}\"\n{FAST}{sink}\n"
        ))
    }

    pub fn with(config: &str) -> Self {
        let broker_port = free_port();
        let waypost = Waypost::prepare(&format!(
            "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{broker_port}\"]\n\n{config}"
        ));
        Self { waypost, broker_port }
    }

    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.waypost.directory().join(name), text).unwrap();
    }

    pub fn launch(&mut self) {
        self.waypost.launch();
    }

    /// Publishes `count` messages and waits until they are acknowledged.
    pub fn publish(&self, topic: &str, count: u64) {
        let device = Device::start(self.broker_port, "d1", topic, count, Duration::ZERO);
        let count = usize::try_from(count).unwrap();
        eventually("all acknowledged", || device.acknowledged().len(), |acked| *acked == count);
        device.stop();
    }

    pub fn sink(&self) -> Value {
        self.waypost.status()["sinks"]["cloud"].clone()
    }

    /// Waits until the sink tells of this error.
    #[track_caller]
    pub fn tells(&self, error: &str) {
        let told =
            |sink: &Value| sink["last_error"].as_str().is_some_and(|last| last.contains(error));
        eventually(error, || self.sink(), told);
    }
}

pub const FAST: &str =
    "timeouts.request = \"5s\"\nretry = { initial = \"20ms\", max = \"100ms\" }\n";

/// `connect` is a key of the sink's own connections.
const FAST_TO_CONNECT: &str = "timeouts.connect = \"2s\"\n";

/// Delivers three messages through a sink with these lines; gives the requests.
pub fn delivered(sink: &str) -> Vec<Request> {
    let service = Server::start();
    let mut gateway = Gateway::with_sink(&service.url(), sink);
    gateway.launch();
    gateway.publish("t/1", 3);
    gateway.waypost.drained("cloud");
    service.requests()
}

#[test]
fn each_method_is_used_and_get_and_delete_carry_no_body() {
    for (method, has_body) in [("POST", true), ("PUT", true), ("GET", false), ("DELETE", false)] {
        let sink = format!(
            "method = \"{method}\"\npath = \"/d/${{clientid}}\"\nquery = {{ n = \"${{payload.n}}\" }}"
        );
        let requests = delivered(&sink);
        assert_eq!(requests.len(), 3, "{method}");
        for (n, request) in requests.iter().enumerate() {
            assert_eq!((&*request.method, request.body.is_empty()), (method, !has_body));
            assert_eq!(request.target, format!("/d/d1?n={n}"), "{method}");
            assert_eq!(request.headers.contains_key("content-type"), has_body, "{method}");
            assert!(request.headers["webhook-id"].ends_with(&format!("-cloud-{}", n + 1)));
        }
    }
}

#[test]
fn sinks_of_one_connector_share_its_connections_url_headers_and_credentials() {
    let service = Server::start();
    let sinks = |connection: &str| {
        let sink = |name: &str| {
            format!(
                "[webhooks.{name}]\ntopics = [\"{name}/#\"]\npath = \"/{name}\"\n{FAST}{connection}\n"
            )
        };
        sink("a") + &sink("b") + "headers = { X-Site = \"b's own\" }\n"
    };
    let connector = format!(
        "[connectors.api]\nurl = \"{}/v1\"\nauth = {{ bearer = \"s3cret\" }}\n",
        service.url()
    );
    let shared = connector
        + "headers = { x-site = \"everybody's\", x-node = \"${node}\" }\n"
        + &sinks("connector = \"api\"");
    for (config, connections) in
        [(shared, 1), (sinks(&format!("url = \"{}/v1\"", service.url())), 2)]
    {
        let before = (service.requests().len(), service.connections());
        let mut gateway = Gateway::with(&config);
        gateway.launch();
        for name in ["a", "b"] {
            gateway.publish(&format!("{name}/1"), 1);
            gateway.waypost.drained(name);
        }
        let requests = service.requests().split_off(before.0);
        let targets: Vec<_> = requests.iter().map(|request| &*request.target).collect();
        assert_eq!(targets, ["/v1/a", "/v1/b"]);
        assert_eq!(service.connections() - before.1, connections, "{config}");
        if connections == 1 {
            let header =
                |name: &str| requests.iter().map(|r| r.headers[name].clone()).collect::<Vec<_>>();
            assert_eq!(header("authorization"), ["Bearer s3cret"; 2]);
            assert_eq!(header("x-site"), ["everybody's", "b's own"]);
            assert_eq!(header("x-node"), ["plant-7"; 2]);
        }
    }
}

#[test]
fn a_certificate_is_verified_against_the_authority_and_the_name_of_the_config() {
    let certificates = Certificates::new();
    certificates.issue("service.example");
    let service = Server::start_tls(certificates.server("service.example", false));
    let ca = certificates.file("ca.pem");
    let mut gateway = Gateway::with_sink(&service.url(), FAST_TO_CONNECT);
    gateway.launch();
    gateway.publish("t/1", 3);
    gateway.tells("comes from an authority that is not trusted here: set `tls.ca_file`");
    let tls = |tls: &str| format!("{FAST_TO_CONNECT}tls = {{ {tls} }}");
    for (sink, error) in [
        (
            tls(&format!("ca_file = \"{ca}\"")),
            Some("is for another host name: set `tls.server_name`"),
        ),
        (tls(&format!("ca_file = \"{ca}\", server_name = \"service.example\"")), None),
    ] {
        gateway.waypost.kill();
        reconfigure(&gateway, &service.url(), &sink);
        gateway.launch();
        match error {
            Some(error) => gateway.tells(error),
            None => gateway.waypost.drained("cloud"),
        }
    }
    assert_eq!(service.sequence("d1"), [0, 1, 2]);
    assert!(
        service.requests().iter().all(|request| request.headers["host"].starts_with("127.0.0.1:"))
    );
}

/// Gives the sink other lines; takes effect with the next launch.
pub fn reconfigure(gateway: &Gateway, url: &str, sink: &str) {
    gateway.waypost.configure(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{url}\"\n{FAST}{sink}\n",
        gateway.broker_port
    ));
}

#[test]
fn a_client_certificate_is_shown_and_a_renewed_one_is_used_without_a_restart() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    certificates.issue("127.0.0.1");
    certificates.issue("plant-7");
    strangers.issue("plant-7");
    let service = Server::start_tls(certificates.server("127.0.0.1", true));
    let ca = certificates.file("ca.pem");
    let mut gateway =
        Gateway::with_sink(&service.url(), &format!("tls = {{ ca_file = \"{ca}\" }}"));
    gateway.launch();
    gateway.publish("t/1", 3);
    gateway.tells("is a client certificate wanted");
    gateway.waypost.kill();

    let copy = |gateway: &Gateway, from: &Certificates| {
        for (file, name) in [("plant-7.pem", "cert.pem"), ("plant-7.key", "key.pem")] {
            gateway.file(name, &std::fs::read_to_string(from.file(file)).unwrap());
        }
    };
    copy(&gateway, &strangers);
    let identity = "cert_file = \"cert.pem\", key_file = \"key.pem\"";
    reconfigure(&gateway, &service.url(), &format!("tls = {{ ca_file = \"{ca}\", {identity} }}"));
    gateway.waypost.launch();
    gateway.tells("or another one than `tls.cert_file`");
    copy(&gateway, &certificates);
    gateway.waypost.drained("cloud");
    assert_eq!(service.sequence("d1"), [0, 1, 2]);
}

#[test]
fn a_certificate_that_is_not_valid_yet_points_at_the_clock_and_loses_nothing() {
    let certificates = Certificates::new();
    certificates.issue_from("127.0.0.1", 2020);
    let service = Server::start_tls(certificates.server("127.0.0.1", false));
    let tls = format!("tls = {{ ca_file = \"{}\" }}", certificates.file("ca.pem"));
    let mut gateway = Gateway::with_sink(&service.url(), &tls);
    let mut early = Command::new("faketime");
    early.args(["--exclude-monotonic", "-f", "@2001-01-01 00:00:10"]).arg(command().get_program());
    gateway.waypost.launch_with(early);
    gateway.publish("t/1", 3);
    gateway.tells("is not valid yet: is this machine's clock right?");
    assert_eq!(gateway.sink()["queued"], 3);
    gateway.waypost.kill();
    gateway.launch();
    gateway.waypost.drained("cloud");
    assert_eq!(service.sequence("d1"), [0, 1, 2]);
}

#[test]
fn a_handshake_that_never_ends_is_given_up_after_the_connect_timeout() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", service.local_addr().unwrap());
    // A request may take much longer.
    let mut gateway = Gateway::with_sink(&url, "timeouts.connect = \"500ms\"");
    gateway.launch();
    gateway.publish("t/1", 3);
    let started = Instant::now();
    gateway.tells("timeout while connecting");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(gateway.sink()["queued"], 3);
}

#[test]
fn http_2_is_spoken_where_tls_agrees_on_it_and_without_tls_only_when_asked_for() {
    let certificates = Certificates::new();
    certificates.issue("127.0.0.1");
    let tls = format!("tls = {{ ca_file = \"{}\" }}\n", certificates.file("ca.pem"));
    for (offered, sink, expected) in [
        (Some(&["h2", "http/1.1"][..]), "", Version::HTTP_2),
        (Some(&["http/1.1"]), "", Version::HTTP_11),
        (Some(&["h2", "http/1.1"]), "http_version = \"1.1\"", Version::HTTP_11),
        (Some(&["h2", "http/1.1"]), "http_version = \"2\"", Version::HTTP_2),
        (None, "", Version::HTTP_11),
        (None, "http_version = \"2\"", Version::HTTP_2),
    ] {
        let server = offered.map(|protocols| {
            let mut server = certificates.server("127.0.0.1", false);
            server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            server
        });
        let (scheme, tls) = if server.is_some() { ("https", &*tls) } else { ("http", "") };
        let service = AnyVersion::start(server);
        let url = format!("{scheme}://127.0.0.1:{}/hook", service.port);
        let mut gateway = Gateway::with_sink(&url, &format!("{tls}{sink}"));
        gateway.launch();
        gateway.publish("t/1", 20);
        gateway.waypost.drained("cloud");
        assert_eq!(service.versions(), [expected; 20], "{offered:?} {sink}");
        assert!(service.header("webhook-id").iter().all(|id| id.contains("-cloud-")));
    }
}

#[test]
fn a_service_without_http_2_is_told_of_where_only_that_is_wanted() {
    let certificates = Certificates::new();
    certificates.issue("127.0.0.1");
    let service = Server::start_tls(certificates.server("127.0.0.1", false));
    let ca = certificates.file("ca.pem");
    let sink = format!("tls = {{ ca_file = \"{ca}\" }}\nhttp_version = \"2\"");
    let mut gateway = Gateway::with_sink(&service.url(), &sink);
    gateway.launch();
    gateway.publish("t/1", 1);
    gateway.tells("does not offer HTTP/2: leave `http_version` out");
}

#[test]
fn everything_goes_through_the_proxy_of_the_config_and_none_of_the_environment() {
    let certificates = Certificates::new();
    certificates.issue("127.0.0.1");
    let secure = Server::start_tls(certificates.server("127.0.0.1", false));
    let plain = Server::start();
    let ca = format!("tls = {{ ca_file = \"{}\" }}\n", certificates.file("ca.pem"));
    for (service, tls, first_line) in [
        (&plain, "", format!("POST {}/ HTTP/1.1", plain.url())),
        (&secure, &*ca, format!("CONNECT 127.0.0.1:{} HTTP/1.1", secure.port)),
    ] {
        // `proxy:first` and `proxy:second` of RFC 7617.
        let (first, second) = ("Basic cHJveHk6Zmlyc3Q=", "Basic cHJveHk6c2Vjb25k");
        let proxy = Proxy::start(Some(first));
        let sink = format!(
            "{tls}proxy = {{ url = \"{}\", username = \"proxy\", password = {{ file = \"pw\" }} }}",
            proxy.url()
        );
        let mut gateway = Gateway::with_sink(&service.url(), &sink);
        gateway.file("pw", "wrong\n");
        gateway.launch();
        gateway.publish("t/1", 2);
        gateway.tells("407");
        assert_eq!(service.requests().len(), 0);
        gateway.file("pw", "first\n");
        gateway.waypost.drained("cloud");
        assert_eq!(proxy.served()[0], first_line);
        assert!(
            service
                .requests()
                .iter()
                .all(|r| !r.headers.contains_key("proxy-authorization") || tls.is_empty())
        );

        gateway.waypost.kill();
        proxy.want(second);
        gateway.file("pw", "second\n");
        gateway.launch();
        gateway.publish("t/1", 1);
        gateway.waypost.drained("cloud");
        let ids =
            service.requests().into_iter().map(|request| request.headers["webhook-id"].clone());
        assert_eq!(ids.collect::<BTreeSet<_>>().len(), 3);
    }
    // Variables of the environment lead nowhere: nobody listens there.
    let mut gateway = Gateway::with_sink(&plain.url(), "");
    let mut misled = command();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    {
        misled.env(name, format!("http://127.0.0.1:{}", free_port()));
    }
    gateway.waypost.launch_with(misled);
    gateway.publish("t/1", 1);
    gateway.waypost.drained("cloud");
}

#[test]
fn a_rotated_key_is_read_again_after_401_without_a_restart_and_without_a_pause() {
    let service = Server::start();
    let wants = |key: &'static str| {
        move |request: &Request| {
            let good = request.headers["authorization"] == format!("Bearer {key}")
                && request.headers["x-key"] == key;
            Reply::Status(if good { 200 } else { 401 })
        }
    };
    service.answer(wants("old"));
    let sink = "auth = { bearer = { file = \"key\" } }\nheaders = { x-key = { file = \"key\" } }";
    let mut gateway = Gateway::with_sink(&service.url(), sink);
    gateway.file("key", "old\n");
    gateway.launch();
    gateway.publish("t/1", 5);
    gateway.waypost.drained("cloud");

    gateway.file("key", "new\n");
    service.answer(wants("new"));
    gateway.publish("t/1", 5);
    gateway.waypost.drained("cloud");
    assert_eq!(service.records().len(), 10);
    assert_eq!(gateway.sink()["last_error"], Value::Null, "never suspended");

    // The service changes its key first; until the file follows, the sink is suspended and keeps everything.
    service.answer(wants("newest"));
    gateway.publish("t/1", 5);
    gateway.tells("401");
    gateway.file("key", "newest\n");
    gateway.waypost.drained("cloud");
    assert_eq!(service.records().len(), 15);
    let log = gateway.waypost.log();
    assert!(log.contains("secret read again from its file"), "{log}");
}

#[test]
fn secrets_and_texts_of_the_environment_stand_where_the_config_names_them() {
    let service = Server::start();
    let sink = "auth = { username = \"plant-7\", password = { env = \"HOOK_PASSWORD\" } }\n\
                headers = { x-key = \"Key ${env:HOOK_KEY}\", x-topic = \"${topic}\" }\n\
                path = \"/${env:HOOK_SITE}/${clientid}\"\nbody = \"${env:HOOK_SITE} ${topic}\"\n";
    let mut gateway = Gateway::with_sink("http://127.0.0.1:${env:HOOK_PORT}", sink);
    let mut with_variables = command();
    with_variables
        .env("HOOK_PORT", service.port.to_string())
        .env("HOOK_PASSWORD", "s3cret")
        // No template, whatever it looks like.
        .env("HOOK_KEY", "${topic}")
        .env("HOOK_SITE", "north")
        .env("topic", "wrong");
    gateway.waypost.launch_with(with_variables);
    gateway.publish("t/1", 1);
    gateway.waypost.drained("cloud");
    let request = &service.requests()[0];
    // `plant-7:s3cret`, as RFC 7617 has it.
    assert_eq!(request.headers["authorization"], "Basic cGxhbnQtNzpzM2NyZXQ=");
    assert_eq!(request.headers["x-key"], "Key ${topic}");
    assert_eq!(request.headers["x-topic"], "t/1");
    assert_eq!((&*request.target, &*request.body), ("/north/d1", &b"north t/1"[..]));
}

#[test]
fn no_value_of_a_header_shows_in_checks_status_errors_and_logs() {
    let service = Server::scripted(|_| Reply::Status(401));
    let sink = "auth = { bearer = { file = \"key\" } }\nheaders = { x-key = \"hunter2\", x-other = \"Token hunter2\", \
                content-type = \"text/shown\" }\npath = \"/?key=hunter2\"\n";
    let mut gateway = Gateway::with_sink(&service.url(), sink);
    gateway.file("key", "hunter2\n");
    gateway.launch();
    gateway.publish("t/1", 1);
    gateway.tells("401");
    assert_eq!(service.requests()[0].headers["x-other"], "Token hunter2");
    let status = gateway.waypost.run(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let shown = gateway.waypost.log() + &gateway.waypost.status().to_string() + &status;
    assert!(!shown.contains("hunter2"), "{shown}");

    // Every mistake in the line shows the line, without its values.
    reconfigure(
        &gateway,
        &service.url(),
        "headers = { x-a = \"hunter2 ${nothing}\", \"x b\" = \"hunter2\" }\n",
    );
    let output = gateway.waypost.run(&["check"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text.contains("there is no column `nothing`") && text.contains("is no header name"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}
