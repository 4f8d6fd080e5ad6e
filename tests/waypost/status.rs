//! What `waypost status`, `waypost rule show` and `waypost graph` say of a gateway that runs.

use expect_test::expect;
use serde_json::Value;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

fn gateway(port: u16, rest: &str) -> Waypost {
    Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n{rest}"
    ))
}

fn webhook(topic: &str, service: &Server) -> String {
    format!(
        "[webhooks.cloud]\ntopics = [\"{topic}\"]\nurl = \"{}\"\nqueue = {{ max_bytes = \"64MiB\" }}\n",
        service.url()
    )
}

#[track_caller]
fn publish(port: u16, topic: &str, payload: &str) {
    assert!(mosquitto_pub(port, &["-q", "1", "-t", topic, "-m", payload]), "{topic}");
}

/// What a command prints, without what differs each time: ports, times, rates, and how wide columns are because of those.
#[track_caller]
fn printed(gateway: &Waypost, arguments: &[&str], ports: &[(u16, &str)]) -> String {
    let output = gateway.run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let config = regex::escape(gateway.config_path().to_str().unwrap());
    let config = regex::Regex::new(&format!(r"\s+--config\s+{config}")).unwrap();
    let mut text = config.replace_all(&text, " --config CONFIG").into_owned();
    for (port, name) in ports {
        text = text.replace(&port.to_string(), name);
    }
    for (pattern, stands) in [
        (r"\(waypost [^)]*\)", "(waypost VERSION, pid PID, store STORE)"),
        (r"up \d+ s", "up TIME"),
        (r"\d+ s ago|just now", "WHEN"),
        (r"next attempt in [\d.]+ s|an attempt is under way", "next attempt in TIME"),
        (r"suspended for \d+ s", "suspended for TIME"),
        (r"\d+ attempts in \d+ s", "N attempts in TIME"),
        (r"by hand for \d+ s", "by hand for TIME"),
        (r"degraded for \d+ s", "degraded for TIME"),
        (r"(\S) {2,}", "$1  "),
        (r"(  WHEN  )\S+", "${1}RATE"),
        (r"(cloud  ok  )\S+  \S+(  50)", "${1}RATE  RATE$2"),
        (r#"POST http[^"\s]*"#, "POST URL"),
        (r"(% of 64.0 MiB  )\S+  \S+", "${1}RATE  RATE"),
        (r"((?:matched|passed|failed)  \d+  ).*", "${1}RATES"),
        (r"<?\d+(?:\.\d)?/s", "RATE"),
    ] {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, stands).into_owned();
    }
    text
}

#[test]
fn a_gateway_that_works_says_that_nothing_is_wrong() {
    let (service, port) = (Server::start(), free_port());
    let gateway = gateway(port, &webhook("t/#", &service));
    let device = Device::start(port, "d1", "t/1", 50, std::time::Duration::ZERO);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 50);
    gateway.drained("cloud");
    let rate = |of: &str| {
        let max = |status: &Value| status[of]["max"].as_f64().unwrap();
        let status = gateway.status();
        let (source, rule) = (&status["sources"]["devices"], &status["rules"]["cloud"]);
        [source, rule, &status["sinks"]["cloud"]]
            .into_iter()
            .find(|it| it.get(of).is_some())
            .map(max)
    };
    for of in [
        "received_rate",
        "acknowledged_rate",
        "matched_rate",
        "passed_rate",
        "enqueued_rate",
        "delivered_rate",
    ] {
        eventually(of, || rate(of).unwrap(), |rate| *rate > 0.5);
    }
    expect![[r#"
        plant-7 is ready, up TIME (waypost VERSION, pid PID, store STORE)

        SOURCE  STATE  LAST EVENT  IN/S  RECEIVED  ADDRESS
        devices  connected  WHEN  RATE  50  127.0.0.1:MQTT

        RULE  STATE  IN/S  OUT/S  MATCHED  PASSED  FAILED  TO
        cloud  ok  RATE  RATE  50  50  0  cloud

        SINK  STATE  QUEUED  OLDEST  DISK  IN/S  OUT/S  DEAD  DROPPED
        cloud  ok  0  -  0% of 64.0 MiB  RATE  RATE  0  0

        Nothing is wrong.
    "#]]
    .assert_eq(&printed(&gateway, &["status"], &[(port, "MQTT")]));
}

#[test]
fn refused_credentials_are_told_with_what_to_do() {
    let (service, port) = (Server::scripted(|_| Reply::Status(401)), free_port());
    let gateway = gateway(port, &webhook("t/#", &service));
    publish(port, "t/1", "hello");
    let state = || gateway.status()["sinks"]["cloud"]["state"].clone();
    eventually("suspended", state, |state| state == "suspended");
    let status = gateway.status();
    let notes = status["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    let what = notes[0]["what"].as_str().unwrap();
    assert!(what.contains("status 401 (Unauthorized): check the credentials"), "{what}");
    let advice = notes[0]["advice"].as_str().unwrap();
    let config = gateway.config_path().display().to_string();
    assert_eq!(
        advice.replace(&config, "CONFIG"),
        "it goes on by itself once that is mended; at once with: `waypost sink retry-now cloud --config CONFIG`"
    );
    let text = printed(&gateway, &["status"], &[(service.port, "PORT")]);
    let (_, wrong) = text.split_once("WHAT IS WRONG\n").unwrap();
    expect![[r#"
        * sink cloud: http://127.0.0.1:PORT/: status 401 (Unauthorized): check the
          credentials; suspended for TIME, everything is kept, next attempt in TIME; 1
          record waits
          -> it goes on by itself once that is mended; at once with:
             waypost sink retry-now cloud --config CONFIG
    "#]]
    .assert_eq(wrong);
}

#[test]
fn a_webhook_that_matches_nothing_is_told_and_so_is_a_condition_that_never_holds() {
    let (service, port) = (Server::start(), free_port());
    let sql = "[rules.hot]\nsql = '''SELECT payload.temp AS temp FROM \"t/#\" WHERE payload.temp > 30'''\n\
               sinks = [\"cloud\"]\n";
    let gateway = gateway(port, &format!("{}{sql}", webhook("plant/#", &service)));
    publish(port, "t/1", "{\"temp\": 3}");
    let text = || printed(&gateway, &["status"], &[]);
    let text = eventually("two hints", text, |text| text.contains("rule hot"));
    let (_, hints) = text.split_once("GOOD TO KNOW\n").unwrap();
    expect![[r#"
        * rule cloud: it wants nothing of what came (1 event); its topics: plant/#
          -> the topics of what comes:
             waypost tail --config CONFIG
        * rule hot: its condition never held, with 1 event from its topics
          -> waypost tail --rule hot --config CONFIG
    "#]]
    .assert_eq(hints);
}

#[test]
fn a_refused_subscription_is_told() {
    let (service, port) = (Server::start(), free_port());
    let access = "[[sources.devices.access]]\nallow = true\naction = \"publish\"\n\
                  [[sources.devices.access]]\nallow = true\ntopics = [\"ok/#\"]\n";
    let _broker = gateway(port, &format!("{access}{}", webhook("x", &service)));
    let other = webhook("ok/#", &service).replace("cloud", "other");
    let gateway = Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\n\n{}\n{other}",
        webhook("t/#", &service)
    ));
    let state = || gateway.status()["sources"]["local"]["state"].clone();
    eventually("degraded", state, |state| state == "degraded");
    publish(port, "ok/1", "hello");
    // That the other rule wants nothing of it is no wonder, and not told.
    eventually(
        "received",
        || gateway.status()["sources"]["local"]["received"].clone(),
        |n| *n == 1,
    );
    let text = printed(&gateway, &["status"], &[]);
    let (_, wrong) = text.split_once("WHAT IS WRONG\n").unwrap();
    expect![[r#"
        * source local: degraded for TIME: the broker refuses 1 of 2 subscriptions: `t/#`
          (not authorized): allow it for this client, or take it out of the rules
    "#]]
    .assert_eq(wrong);
}

#[test]
fn dead_letters_drops_and_a_pause_are_in_the_table() {
    let (service, port) = (Server::scripted(|_| Reply::Status(422)), free_port());
    let gateway = gateway(port, &webhook("t/#", &service));
    publish(port, "t/1", "bad");
    let letters = || gateway.status()["sinks"]["cloud"]["dead_letters"]["rejected"].as_u64();
    eventually("a dead letter", letters, |letters| *letters == Some(1));
    let bytes = gateway.status()["sinks"]["cloud"]["dead_letter_bytes"].as_u64().unwrap();
    assert!(bytes > 0);
    gateway.run(&["sink", "pause", "cloud"]);
    let text = printed(&gateway, &["status"], &[(service.port, "PORT")]);
    let (_, sinks) = text.split_once("\nSINK").unwrap();
    expect![[r#"
          STATE  QUEUED  OLDEST  DISK  IN/S  OUT/S  DEAD  DROPPED
        cloud  paused  0  -  0% of 64.0 MiB  RATE  RATE  1  0

        WHAT IS WRONG
        * sink cloud: paused by hand for TIME; nothing waits
          -> waypost sink resume cloud --config CONFIG
        * sink cloud: 1 dead letter (1 rejected)
          -> what the service answered:
             waypost dead-letter list --sink cloud --config CONFIG
    "#]]
    .assert_eq(sinks);
}

#[test]
fn a_rule_shows_its_numbers_and_why_it_failed_last() {
    let (service, port) = (Server::start(), free_port());
    let sql = "[rules.hot]\nsql = '''SELECT payload.temp AS temp FROM \"t/#\" WHERE payload.temp > 30'''\n\
               sinks = [\"cloud\"]\n";
    let gateway = gateway(port, &format!("{}{sql}", webhook("t/#", &service)));
    for payload in ["{\"temp\": 31}", "{\"temp\": 3}", "{\"temp\": 4}", "\u{1b}[2J no JSON"] {
        publish(port, "t/1", payload);
    }
    let report = || {
        let output = gateway.run(&["rule", "show", "hot", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = eventually("rates", report, |report| {
        report["status"]["failed_rate"]["max"].as_f64().unwrap() > 0.0
    });
    assert_eq!(report["status"]["failed_by_reason"]["not_json"], 1, "{report}");
    assert_eq!(report["failures"][0]["payload"], "\\u{1b}[2J no JSON", "{report}");
    let text = printed(&gateway, &["rule", "show", "hot"], &[]);
    expect![[r#"
        rule hot is failing

        FROM  devices
        SQL  SELECT payload.temp AS temp FROM "t/#" WHERE payload.temp > 30
        TO  cloud

        EVENTS  SINCE START  NOW/S  5 MIN/S  MAX/S
        matched  4  RATES
        passed  1  RATES
        failed  1  RATES

        without a result: 2; failed: 1 not_json

        WHY IT FAILED LAST
        * WHEN (not_json): the payload is not JSON at byte 0: "\u001B[2J no JSON"
          message.publish  t/1  \u{1b}[2J no JSON
    "#]]
    .assert_eq(&text);
    let refused = gateway.run(&["rule", "show", "cold"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said, "error: there is no rule `cold`; there are cloud, hot\n");
}

#[test]
fn the_last_failures_of_a_rule_are_few_and_the_newest() {
    let (service, port) = (Server::start(), free_port());
    let sql =
        "[rules.hot]\nsql = '''SELECT payload.temp AS temp FROM \"t/#\"'''\nsinks = [\"cloud\"]\n";
    let gateway = gateway(port, &format!("{}{sql}", webhook("x", &service)));
    for number in 0..12 {
        publish(port, "t/1", &format!("no JSON {number}"));
    }
    let failed = || gateway.status()["rules"]["hot"]["failed"].as_u64();
    eventually("all failed", failed, |failed| *failed == Some(12));
    let output = gateway.run(&["rule", "show", "hot", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failures = report["failures"].as_array().unwrap();
    assert!((1..=5).contains(&failures.len()), "{failures:?}");
}

#[test]
fn the_picture_has_numbers_while_the_gateway_runs_and_none_when_it_does_not() {
    let (service, port) = (Server::start(), free_port());
    let mut gateway = gateway(port, &webhook("t/#", &service));
    publish(port, "t/1", "hello");
    gateway.drained("cloud");
    let graph = |gateway: &Waypost| {
        let output = gateway.run(&["graph", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let live = graph(&gateway);
    assert_eq!(live["live"], true, "{live}");
    let taken: Vec<_> =
        live["nodes"].as_array().unwrap().iter().map(|node| &node["live"]["taken"]).collect();
    assert_eq!(taken, [1, 1, 1], "{live}");
    let text = printed(&gateway, &["graph"], &[(port, "MQTT"), (service.port, "HTTP")]);
    expect![[r#"
        plant-7

        source devices  [connected, 1 in, RATE]  broker 127.0.0.1:MQTT
           -> rule cloud  [ok, 1 in, 1 out, RATE]  t/#
                 -> sink cloud  [ok, 0 queued, 1 delivered, RATE]  POST URL
    "#]]
    .assert_eq(&text);
    gateway.terminate();
    let still = graph(&gateway);
    assert_eq!(still["live"], false, "{still}");
    assert_eq!(still["edges"], live["edges"]);
    let text = printed(
        &gateway,
        &["graph", "--format", "mermaid"],
        &[(port, "MQTT"), (service.port, "HTTP")],
    );
    expect![[r#"
        flowchart LR
            n0(["source devices<br/>broker 127.0.0.1:MQTT"])
            n1["rule cloud<br/>t/#35;"]
            n2[("sink cloud<br/>POST URL")]
            n0 --> n1
            n1 --> n2
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_gateway_tells_how_it_is_through_a_webhook_where_that_is_wanted() {
    let (service, broken, port) =
        (Server::start(), Server::scripted(|_| Reply::Status(401)), free_port());
    let status = format!(
        "[webhooks.ops]\nevents = [\"gateway.status\"]\nurl = \"{}\"\n\n{}",
        service.url(),
        webhook("t/#", &broken)
    );
    let gateway = Waypost::prepare("");
    let rest = format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n{status}"
    );
    gateway.configure(&rest);
    let quiet = gateway.run(&["check"]);
    let said = String::from_utf8_lossy(&quiet.stderr) + String::from_utf8_lossy(&quiet.stdout);
    let warning = "`gateway.status` happens only with `gateway.status_interval`";
    assert!(said.contains(warning), "{said}");

    let text = std::fs::read_to_string(gateway.config_path()).unwrap();
    let text = text.replace("[gateway]\n", "[gateway]\nstatus_interval = \"1s\"\n");
    std::fs::write(gateway.config_path(), text).unwrap();
    let mut gateway = gateway;
    gateway.launch();
    publish(port, "t/1", "hello");
    let last = || service.records().last().cloned().unwrap_or_default();
    let told = eventually("the trouble is told", last, |told| {
        told["problems"].as_array().is_some_and(|problems| !problems.is_empty())
    });
    assert_eq!(told["event"], "gateway.status", "{told}");
    assert_eq!(told["node"], "plant-7", "{told}");
    assert_eq!(told["metadata"]["rule_id"], "ops", "{told}");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"), "{told}");
    let sink = &told["sinks"]["cloud"];
    assert_eq!((&sink["state"], &sink["queued"]), (&"suspended".into(), &1.into()), "{told}");
    assert_eq!(sink["bytes_max"], 64 << 20, "{told}");
    assert_eq!(told["sources"]["devices"]["state"], "connected", "{told}");
    let problem = told["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("sink cloud: "), "{told}");
    assert!(problem.contains("status 401 (Unauthorized): check the credentials"), "{told}");
}

#[test]
fn a_broker_that_no_device_publishes_to_is_told() {
    let (service, port) = (Server::start(), free_port());
    let gateway = gateway(port, &webhook("t/#", &service));
    let text = || printed(&gateway, &["status"], &[(port, "MQTT")]);
    let text = eventually("the silence is told", text, |text| text.contains("GOOD TO KNOW"));
    let (_, hints) = text.split_once("GOOD TO KNOW\n").unwrap();
    expect![[r#"
        * source devices: no device has published anything since the start WHEN
          -> devices connect to 127.0.0.1:MQTT
    "#]]
    .assert_eq(hints);
}

#[test]
fn a_gateway_answers_although_its_config_is_broken_by_now() {
    let (service, port) = (Server::start(), free_port());
    let gateway = gateway(port, &webhook("t/#", &service));
    std::fs::write(gateway.config_path(), "[gateway]\nnam = 1\n").unwrap();
    let refused = gateway.run(&["status"]);
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr);
    let last = said.lines().last().unwrap();
    assert_eq!(last, "`--socket PATH` asks a running Waypost without its config", "{said}");
    let socket = gateway.data_dir().join("admin.sock");
    let answered = gateway.run(&["status", "--socket", socket.to_str().unwrap()]);
    assert!(answered.status.success(), "{answered:?}");
}
