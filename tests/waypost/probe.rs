//! What `waypost probe` finds out, and that nobody notices.

use std::path::Path;
use std::process::{Command, Output};

use expect_test::expect;
use serde_json::Value;

use crate::support::certificates::Certificates;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::Mosquitto;
use crate::support::proxy::Proxy;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// What was printed, without what differs between two runs.
fn told(output: &Output, ports: &[(u16, &str)]) -> String {
    let code = output.status.code().unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut text = String::new();
    for line in out.lines() {
        text += &without_time(line);
        text.push('\n');
    }
    let text = format!("exit {code}\n--- stdout\n{text}--- stderr\n{error}");
    // The resolver of a machine without network.
    let mut text =
        text.replace("Temporary failure in name resolution", "Name or service not known");
    for (port, name) in ports {
        text = text.replace(&format!(":{port}"), &format!(":{name}"));
    }
    without_random(&without_random(&text, "-probe-", 4), "sample probe", 8)
}

/// `  ok      tcp             0.3 ms  text` without the time.
fn without_time(line: &str) -> String {
    let Some((before, after)) = line.split_once(" ms  ") else { return line.to_owned() };
    let before = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end();
    format!("{before:<19}  TIME  {after}")
}

fn without_random(text: &str, before: &str, length: usize) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (random, rest) = part.split_at(length);
        assert!(random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{random} in {text}");
        out += &format!("{before}{}{rest}", "x".repeat(length));
    }
    out
}

#[test]
fn a_probe_beside_the_running_gateway_tells_each_step_and_disturbs_nobody() {
    let (broker, service) = (Mosquitto::start(""), Server::start());
    let gateway = Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://localhost:{}\"\nclient_id = \"plant-7\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\", \"u/+\"]\nurl = \"{}/d/${{clientid}}?key=secret\"\n\
         headers = {{ x-key = \"k\" }}\n",
        broker.port,
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
    assert!(broker.publish(&["-q", "1", "-r", "-t", "t/1", "-m", "retained"]));
    gateway.until("waypost_records_delivered_total", "sink=\"cloud\"", |records| records == 1.0);
    let before = service.requests().len();

    let output = gateway.run(&["probe"]);

    expect![[r#"
        exit 0
        --- stdout
        source local: mqtt://localhost:BROKER
          ok      name       TIME  127.0.0.1
          ok      tcp        TIME  127.0.0.1:BROKER
          ok      mqtt       TIME  MQTT 5 accepts `plant-7-probe-xxxx`
          ok      subscribe  TIME  `t/#`, `u/+`

        sink cloud: http://127.0.0.1:SERVICE/d/
          ok      tcp        TIME  127.0.0.1:SERVICE
          ok      http       TIME  HEAD answers 200 (OK)
        --- stderr
    "#]]
    .assert_eq(
        &told(&output, &[(broker.port, "BROKER"), (service.port, "SERVICE")])
            .replace("::1, 127.0.0.1", "127.0.0.1")
            .replace("[::1]:", "127.0.0.1:"),
    );
    let asked: Vec<_> = service.requests().split_off(before);
    let asked: Vec<_> =
        asked.iter().map(|request| (&*request.method, &*request.target, &*request.body)).collect();
    assert_eq!(asked, [("HEAD", "/d/", &b""[..])]);
    assert!(broker.publish(&["-q", "1", "-t", "t/2", "-m", "after"]));
    gateway.until("waypost_records_delivered_total", "sink=\"cloud\"", |records| records == 2.0);
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("waypost_source_reconnects_total", "source=\"local\""), Some(0.0));
}

/// A broker that lets in `plant` with the password `right`.
fn with_a_password(folder: &Path) -> Mosquitto {
    let users = folder.join("users");
    let mut made = Command::new("mosquitto_passwd");
    made.args(["-c", "-b"]).arg(&users).args(["plant", "right"]);
    assert!(made.status().unwrap().success());
    Mosquitto::start(&format!("password_file {}", users.display()))
}

#[test]
fn what_is_wrong_with_a_broker_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let strict = with_a_password(folder.path());
    // Mosquitto's `acl_file` grants every subscription, and keeps back what it does not allow.
    let narrow = free_port();
    let _narrow = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{narrow}\"]\n\
         access = [{{ allow = true, topics = [\"allowed/#\"] }}]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:1\"\n"
    ));
    let missing = Server::scripted(|_| Reply::Status(404));
    let nobody = free_port();
    let gateway = Waypost::prepare(&format!(
        "[sources.a-password]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{strict}\"\nusername = \"plant\"\n\
         password = {{ file = \"pw\" }}\n\n\
         [sources.b-rights]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{narrow}\"\n\n\
         [sources.c-nobody]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{nobody}\"\n\n\
         [sources.d-name]\ntype = \"mqtt\"\nurl = \"mqtts://broker.invalid\"\n\n\
         [sources.e-http]\ntype = \"mqtt\"\nurl = \"ws://127.0.0.1:{missing}/mqtt\"\n\n\
         [webhooks.cloud]\ntopics = [\"allowed/#\", \"other/#\", \"$share/g/x\"]\nurl = \"{}\"\n",
        Server::start().url(),
        strict = strict.port,
        missing = missing.port,
    ));
    std::fs::write(gateway.directory().join("pw"), "wrong").unwrap();

    let sources = ["a-password", "b-rights", "c-nobody", "d-name", "e-http"];
    let told = sources.map(|source| {
        let ports = [
            (strict.port, "STRICT"),
            (narrow, "NARROW"),
            (nobody, "NOBODY"),
            (missing.port, "MISSING"),
        ];
        told(&gateway.run(&["probe", source]), &ports)
    });

    expect![[r#"
        exit 1
        --- stdout
        source a-password: mqtt://127.0.0.1:STRICT
          ok      tcp        TIME  127.0.0.1:STRICT
          failed  mqtt       TIME  the broker does not let this client in: check `username`, `password` and `client_id`, and the broker's access rules (this probe came as `waypost-probe-xxxx`: with the gateway's own client id it would throw the gateway out)
        --- stderr
        error: 1 of 1 connection failed

        exit 1
        --- stdout
        source b-rights: mqtt://127.0.0.1:NARROW
          ok      tcp        TIME  127.0.0.1:NARROW
          ok      mqtt       TIME  MQTT 5 accepts `waypost-probe-xxxx`
          failed  subscribe  TIME  the broker refuses the subscription `other/#` (not authorized): allow it for this client, or take it out of the rules
          unsure  subscribe  TIME  `$share/g/x` is not tried: what others of its group wait for would come here
        --- stderr
        error: 1 of 1 connection failed

        exit 1
        --- stdout
        source c-nobody: mqtt://127.0.0.1:NOBODY
          failed  tcp        TIME  127.0.0.1:NOBODY refuses connections: is the broker running, and is this its port?
        --- stderr
        error: 1 of 1 connection failed

        exit 1
        --- stdout
        source d-name: mqtts://broker.invalid:8883
          failed  name       TIME  the name `broker.invalid` cannot be resolved: failed to lookup address information: Name or service not known; check the URL and the DNS
        --- stderr
        error: 1 of 1 connection failed

        exit 1
        --- stdout
        source e-http: ws://127.0.0.1:MISSING/mqtt
          ok      tcp        TIME  127.0.0.1:MISSING
          failed  websocket  TIME  `ws://127.0.0.1:MISSING/mqtt` answers HTTP 404 instead of opening a WebSocket: check the path
        --- stderr
        error: 1 of 1 connection failed
    "#]].assert_eq(&told.join("\n"));
}

#[test]
fn a_service_with_the_certificate_of_an_authority_is_told_what_it_needs() {
    let certificates = Certificates::new();
    certificates.issue_authority("authority");
    let service = Server::start_tls(certificates.server("authority", false));
    let gateway = Waypost::prepare(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:1883\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    let output = gateway.run(&["probe", "cloud"]);
    let told = String::from_utf8_lossy(&output.stdout);
    let why = "TLS: the server's certificate is that of an authority (`openssl req -x509` makes such): \
               give the server one of its own, with CA:FALSE, issued by that authority\n";
    assert!(told.ends_with(why), "{told}");
}

#[test]
fn what_is_wrong_with_a_service_is_told_with_what_to_do() {
    let certificates = Certificates::new();
    certificates.issue("127.0.0.1");
    let encrypted = Server::start_tls(certificates.server("127.0.0.1", false));
    let refusing = Server::scripted(|_| Reply::Status(401));
    let portal = Server::scripted(|_| {
        Reply::With(302, vec!["location: http://portal.example/login?id=1".to_owned()])
    });
    let post_only = Server::scripted(|_| Reply::Status(405));
    let missing = Server::scripted(|_| Reply::Status(404));
    let nobody = free_port();
    let webhook = |name: &str, url: &str| {
        format!("[webhooks.{name}]\ntopics = [\"t/#\"]\nurl = \"{url}\"\n\n")
    };
    let gateway = Waypost::prepare(
        &[
            "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:1883\"]\n\n".to_owned(),
            webhook("a-refused", &format!("http://127.0.0.1:{nobody}")),
            webhook("b-token", &refusing.url()),
            webhook("c-portal", &portal.url()),
            webhook("d-authority", &encrypted.url()),
            webhook("e-name", "https://service.invalid/hook"),
            webhook("f-plain", &format!("https://127.0.0.1:{}", missing.port)),
            webhook("g-post", &post_only.url()),
            webhook("h-missing", &format!("{}/nothing", missing.url())),
        ]
        .concat(),
    );

    let output = gateway.run(&["probe"]);

    let ports = [
        (nobody, "NOBODY"),
        (refusing.port, "REFUSING"),
        (portal.port, "PORTAL"),
        (encrypted.port, "ENCRYPTED"),
        (post_only.port, "POST"),
        (missing.port, "MISSING"),
    ];
    expect![[r#"
        exit 1
        --- stdout
        source devices: 127.0.0.1:1883
          nothing to dial: devices connect to it

        sink a-refused: http://127.0.0.1:NOBODY/
          failed  tcp        TIME  connection refused: does the service run, and is this its port?

        sink b-token: http://127.0.0.1:REFUSING/
          ok      tcp        TIME  127.0.0.1:REFUSING
          failed  http       TIME  HEAD: status 401 (Unauthorized): check the credentials

        sink c-portal: http://127.0.0.1:PORTAL/
          ok      tcp        TIME  127.0.0.1:PORTAL
          failed  http       TIME  HEAD: status 302 (Found) redirects to `portal.example`: a captive portal, or the URL has moved

        sink d-authority: https://127.0.0.1:ENCRYPTED/
          ok      tcp        TIME  127.0.0.1:ENCRYPTED
          failed  tls        TIME  TLS: the server's certificate comes from an authority that is not trusted here: set `tls.ca_file` to it

        sink e-name: https://service.invalid/hook
          failed  name       TIME  host name not resolved: check the URL and the DNS

        sink f-plain: https://127.0.0.1:MISSING/
          ok      tcp        TIME  127.0.0.1:MISSING
          failed  tls        TIME  TLS: the connection ended during the handshake: does this port speak TLS?

        sink g-post: http://127.0.0.1:POST/
          ok      tcp        TIME  127.0.0.1:POST
          ok      http       TIME  reachable (405 to HEAD is normal where only POST is taken)

        sink h-missing: http://127.0.0.1:MISSING/nothing
          ok      tcp        TIME  127.0.0.1:MISSING
          unsure  http       TIME  HEAD answers 404 (Not Found): nothing is at this URL, or only POST is taken there; `--send-sample` tells
        --- stderr
        error: 6 of 9 connections failed
    "#]].assert_eq(&told(&output, &ports));
}

#[test]
fn a_sample_is_sent_when_asked_for_and_looks_like_no_record_of_the_gateway() {
    let service = Server::start();
    let refusing =
        Server::scripted(|request| Reply::Status(if request.method == "HEAD" { 405 } else { 422 }));
    let gateway = Waypost::prepare(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:1883\"]\n\n\
         [rules.hot]\nsql = 'SELECT payload.temp AS temp FROM \"t/#\" WHERE temp > 30'\nsinks = [\"picky\"]\n\n\
         [rules.all]\nsql = 'SELECT topic, payload FROM \"plant/+/#\"'\nsinks = [\"cloud\"]\n\n\
         [sinks.cloud]\nurl = \"{}/hook\"\n\n\
         [sinks.picky]\nurl = \"{}\"\n\n\
         [webhooks.strict]\nurl = \"{}\"\ntopics = [\"t/#\"]\n",
        service.url(),
        service.url(),
        refusing.url()
    ));

    let output = gateway.run(&["probe", "--send-sample"]);

    let ports = [(service.port, "SERVICE"), (refusing.port, "REFUSING")];
    expect![[r#"
        exit 1
        --- stdout
        source devices: 127.0.0.1:1883
          nothing to dial: devices connect to it

        sink cloud: http://127.0.0.1:SERVICE/hook
          ok      tcp        TIME  127.0.0.1:SERVICE
          ok      http       TIME  HEAD answers 200 (OK)
          ok      tcp        TIME  127.0.0.1:SERVICE
          ok      sample     TIME  POST answers 200 (OK): the sample probexxxxxxxx-cloud-1 is delivered

        sink picky: http://127.0.0.1:SERVICE/
          ok      tcp        TIME  127.0.0.1:SERVICE
          ok      http       TIME  HEAD answers 200 (OK)
          unsure  sample     TIME  not sent: the rule `hot` makes nothing of the sample; `waypost rule test` tries a rule with events of yours

        sink strict: http://127.0.0.1:REFUSING/
          ok      tcp        TIME  127.0.0.1:REFUSING
          ok      http       TIME  reachable (405 to HEAD is normal where only POST is taken)
          ok      tcp        TIME  127.0.0.1:REFUSING
          failed  sample     TIME  POST: status 422 (Unprocessable Entity)
        --- stderr
        error: 1 of 4 connections failed
    "#]].assert_eq(&told(&output, &ports));
    let posted = service.requests().into_iter().filter(|request| request.method == "POST");
    let posted: Vec<_> = posted.collect();
    assert_eq!(posted.len(), 1, "{posted:?}");
    let body =
        serde_json::json!({ "topic": "plant/sample/sample", "payload": "{\"sample\":true}" });
    assert_eq!(posted[0].records(), [body]);
    let id = &posted[0].headers["webhook-id"];
    assert!(id.starts_with("probe") && id.ends_with("-cloud-1"), "{id}");
}

#[test]
fn one_name_is_probed_alone_as_json_and_through_the_proxy_of_its_sink() {
    let (service, proxy) = (Server::start(), Proxy::start(None));
    let gateway = Waypost::prepare(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:1883\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://nowhere.invalid:{}/x\"\n\n\
         [webhooks.behind]\ntopics = [\"t/#\"]\nurl = \"{}/x\"\nproxy = \"{}\"\n",
        service.port,
        service.url(),
        proxy.url()
    ));
    let output = gateway.run(&["probe", "behind", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["probed"].as_array().unwrap().len(), 1, "{told}");
    let steps = told["probed"][0]["steps"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["tcp", "http"]);
    assert!(steps.len() == 2 && told["probed"][0]["steps"][0]["took_ms"].is_number());
    let served = eventually("the proxy was asked", || proxy.served(), |served| !served.is_empty());
    assert!(served[0].starts_with("HEAD http://127.0.0.1:"), "{served:?}");

    let output = gateway.run(&["probe", "behnd"]);
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: there is no source, webhook or sink `behnd`; there are `devices`, `behind`, `cloud`
    "#]]
    .assert_eq(&self::told(&output, &[]));
}
