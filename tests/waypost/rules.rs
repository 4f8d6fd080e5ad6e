//! The rule language, from the command line.

use expect_test::{expect, expect_file};

use crate::support::eventually;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::{Waypost, command};

#[track_caller]
fn rule(arguments: &[&str]) -> (i32, String, String) {
    let output = command().arg("rule").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_reference_of_the_functions_is_what_the_program_prints() {
    let (code, page, error) = rule(&["functions", "--markdown"]);
    assert_eq!((code, error.as_str()), (0, ""));
    expect_file!["../../config/rule-functions.md"].assert_eq(&page);
}

#[test]
fn one_function_is_told_about_and_a_wrong_name_is_answered() {
    let (code, text, _) = rule(&["functions", "substr"]);
    assert_eq!(code, 0);
    expect![[r#"
        substr(text: text, start: integer[, length: integer]) -> text

          The rest from a character on, counted from 0, or so many characters of it. A negative
          number is an error.

          substr('abcdef', 2) = 'cdef'
          substr('abcdef', 2, 3) = 'cde'
    "#]]
    .assert_eq(&text);
    let wrong = ["substring", "schema_decode", "spb_decode", "xyzzy"];
    let told: Vec<_> = wrong.map(|name| rule(&["functions", name])).into_iter().collect();
    assert!(told.iter().all(|(code, out, _)| *code == 1 && out.is_empty()), "{told:?}");
    let errors: String = told.into_iter().map(|(_, _, error)| error).collect();
    expect![[r#"
        error: there is no function `substring`; did you mean `substr`?
        error: `schema_decode` of EMQX is not available here: it needs the schema registry of EMQX Enterprise; send the payload on as it is, or as `base64_encode(payload)`, and decode it at the receiver
        error: `spb_decode` of EMQX is not available here: it needs the schema registry of EMQX Enterprise; send the payload on as it is, or as `base64_encode(payload)`, and decode it at the receiver
        error: there is no function `xyzzy`; `waypost rule functions` lists them
    "#]].assert_eq(&errors);
}

#[test]
fn the_functions_are_listed_by_family() {
    let (code, table, _) = rule(&["functions"]);
    assert_eq!(code, 0);
    assert!(table.lines().count() > 140, "{table}");
    let texts = table.lines().find(|line| line.contains("substr("));
    let expected =
        "Texts                 substr(text: text, start: integer[, length: integer]) -> text";
    assert_eq!(texts, Some(expected));
}

/// What `rule test` says of an event from a file.
#[track_caller]
fn tested(sql: &str, event: &str, more: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("event.json"), event).unwrap();
    let output = command()
        .args(["rule", "test", "--sql", sql, "--event", "event.json"])
        .args(more)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    format!("exit {code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_rule_is_tried_on_an_event() {
    const EVENT: &str =
        r#"{"topic": "plant/7/temp", "qos": 1, "payload": "{\"temp\": 31.5, \"tags\": [\"a\"]}"}"#;
    let sql =
        "SELECT topic(2) as pump, payload.temp as temp FROM \"plant/#\" WHERE payload.temp > 30";
    expect![[r#"
        exit 0
        {
          "pump": "7",
          "temp": 31.5
        }
    "#]]
    .assert_eq(&tested(sql, EVENT, &[]));
    expect![[r#"
        exit 0
        {"outcome":"matched","outputs":[{"pump":"7","temp":31.5}]}
    "#]]
    .assert_eq(&tested(sql, EVENT, &["--json"]));
    expect![[r#"
        exit 1
        not matched, because `payload.temp > 40` is false: it compares 31.5 > 40
    "#]]
    .assert_eq(&tested(
        "SELECT * FROM \"plant/#\" WHERE qos = 1 and payload.temp > 40",
        EVENT,
        &[],
    ));
    expect![[r#"
        exit 1
        not matched, because FROM "office/#" does not have the topic `plant/7/temp`
    "#]]
    .assert_eq(&tested("SELECT * FROM \"office/#\"", EVENT, &[]));
    expect![[r#"
        exit 0
        {"outcome":"not_matched","because":"FROM \"plant/#\" does not have the topic `$events/client/connected`"}
    "#]]
    .assert_eq(&tested(sql, EVENT, &["--event-topic", "$events/client/connected", "--json"]));
    expect![[r#"
        exit 1
        error: `-` needs numbers, not a text, "plant/7/temp"
    "#]]
    .assert_eq(&tested("SELECT topic - 1 as x FROM \"plant/#\"", EVENT, &[]));
}

#[test]
fn a_wrong_rule_is_shown_with_every_place_that_is_wrong() {
    let sql = "SELECT\n  uper(topic) as a,\n  substr(topic) as b\nFROM \"plant/#\"";
    expect![[r#"
        exit 1
        error: there is no function `uper`; did you mean `upper`?
         --> sql:2:3
          |
        2 |   uper(topic) as a,
          |   ^^^^

        `substr` takes 2 or 3 arguments, not 1: substr(text: text, start: integer[, length: integer]) -> text
         --> sql:3:3
          |
        3 |   substr(topic) as b
          |   ^^^^^^
    "#]]
    .assert_eq(&tested(sql, "{}", &[]));
}

/// A gateway with a Mosquitto, the rules and a service that all of them may name as `cloud`.
fn gateway(rules: &str, sink: &str) -> (Mosquitto, Server, Waypost) {
    let broker = Mosquitto::start("");
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n[sinks.cloud]\nurl = \"{}\"\n{sink}\n{rules}",
        broker.url(),
        service.url(),
    ));
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
    (broker, service, gateway)
}

fn publish(broker: &Mosquitto, topic: &str, payload: &str) {
    assert!(broker.publish(&["-q", "1", "-t", topic, "-m", payload]));
}

#[test]
fn what_a_rule_selects_is_delivered_and_what_it_does_not_want_is_not() {
    let (broker, service, gateway) = gateway(
        r#"
        [rules.hot]
        sql = '''
        SELECT topic(2) AS pump, payload.temp AS temp   -- only what matters
        FROM "plant/#" WHERE payload.temp > 30
        '''
        sinks = ["cloud"]
        [rules.each]
        sql = 'FOREACH payload.parts AS part DO part.n AS n INCASE part.n > 1 FROM "parts"'
        sinks = ["cloud"]
        [rules.whole]
        sql = "SELECT * FROM 'parts' WHERE qos = 1"
        sinks = ["cloud"]
        "#,
        "concurrency = 1\norder = \"sink\"",
    );
    publish(&broker, "plant/7/temp", r#"{"temp": 12}"#);
    publish(&broker, "plant/8/temp", "no json");
    publish(&broker, "plant/9/temp", r#"{"temp": 31.5}"#);
    publish(&broker, "parts", r#"{"parts": [{"n": 1}, {"n": 2}, {"n": 3}]}"#);
    let records = eventually("four records", || service.records(), |records| records.len() == 4);
    assert_eq!(records[0], serde_json::json!({ "pump": "9", "temp": 31.5 }));
    assert_eq!(records[1], serde_json::json!({ "n": 2 }));
    assert_eq!(records[2], serde_json::json!({ "n": 3 }));
    assert_eq!(records[3]["metadata"]["rule_id"], "whole");
    assert_eq!(records[3]["topic"], "parts");
    gateway.drained("cloud");
    let metrics = gateway.metrics();
    let count = |name: &str, labels: &str| metrics.get(name, labels).unwrap();
    assert_eq!(count("waypost_rule_matched_total", "rule=\"hot\""), 3.0);
    assert_eq!(count("waypost_rule_passed_total", "rule=\"hot\""), 1.0);
    assert_eq!(count("waypost_rule_failed_total", "reason=\"not_json\",rule=\"hot\""), 1.0);
    assert_eq!(count("waypost_rule_failed_total", "reason=\"wrong_type\",rule=\"hot\""), 0.0);
    assert_eq!(count("waypost_rule_passed_total", "rule=\"each\""), 1.0);
    assert_eq!(gateway.status()["rules"]["hot"]["failed"], 1);
}

#[test]
fn templates_and_batches_work_on_what_a_rule_selects_and_it_survives_a_kill() {
    let (broker, service, mut gateway) = gateway(
        r#"
        [rules.hot]
        sql = 'SELECT clientid, payload.temp AS temp, topic(2) AS pump FROM "plant/#"'
        sinks = ["cloud", "batched"]
        [sinks.batched]
        url = "URL"
        batch = { max_records = 10, linger = "50ms" }
        "#
        .replace("URL", "http://127.0.0.1:9")
        .as_str(),
        r#"body = '{"t":${temp},"p":"${pump}"}'"#,
    );
    service.answer(|_| Reply::Status(503));
    publish(&broker, "plant/7/temp", r#"{"temp": 31.5}"#);
    gateway.until("waypost_queue_enqueued_total", "sink=\"cloud\"", |enqueued| enqueued == 1.0);
    gateway.kill();
    gateway.configure(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n\
         [sinks.cloud]\nurl = \"{}\"\nbody = '{{\"t\":${{temp}},\"p\":\"${{pump}}\"}}'\n\
         [sinks.batched]\nurl = \"{}\"\nbatch = {{ max_records = 10, linger = \"50ms\" }}\n\
         [rules.hot]\nsql = 'SELECT temp, pump FROM \"nothing\"'\nsinks = [\"cloud\", \"batched\"]\n",
        broker.url(),
        service.url(),
        service.url(),
    ));
    service.answer(|_| Reply::Status(200));
    gateway.launch();
    gateway.drained("cloud");
    gateway.drained("batched");
    let requests = service.requests().into_iter().filter(|request| request.accepted);
    let bodies: Vec<_> = requests.map(|request| String::from_utf8(request.body).unwrap()).collect();
    let single = bodies.iter().find(|body| **body == r#"{"t":31.5,"p":"7"}"#);
    assert!(single.is_some(), "{bodies:?}");
    let batch = bodies.iter().find(|body| body.starts_with('[')).unwrap();
    let batch: serde_json::Value = serde_json::from_str(batch).unwrap();
    assert_eq!((&batch[0]["temp"], &batch[0]["clientid"]), (&31.5.into(), &"undefined".into()));
    assert!(batch[0]["record_id"].as_str().unwrap().ends_with("-batched-1"), "{batch}");
}

/// A config with a rule, in a folder of its own, and what a command says of it.
#[track_caller]
fn with_config(rule: &str, arguments: &[&str], event: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "[gateway]\nname = \"plant-7\"\n[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n\
         [sinks.cloud]\nurl = \"https://api.example.com/pumps/${{pump}}\"\nauth = {{ bearer = {{ env = \"PATH\" }} }}\n\
         headers = {{ x-gateway = \"seven\" }}\nbody = '{{\"t\":${{temp}}}}'\n{rule}"
    );
    std::fs::write(directory.path().join("waypost.toml"), config).unwrap();
    std::fs::write(directory.path().join("event.json"), event).unwrap();
    let output = command()
        .args(arguments)
        .args(["--config", "waypost.toml"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    format!("exit {code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

const HOT: &str = r#"
[rules.hot]
sql = '''
SELECT topic(2) AS pump, payload.temp AS temp
FROM "plant/#" WHERE payload.temp > 30 AND (qos = 1 OR NOT is_null(clientid))
'''
sinks = ["cloud"]
"#;

const HOT_EVENT: &str = r#"{"topic": "plant/a b", "qos": 1, "payload": "{\"temp\": 31}"}"#;

#[test]
fn a_rule_of_the_config_is_tried_with_the_requests_it_would_send() {
    let arguments = ["rule", "test", "--rule", "hot", "--event", "event.json"];
    expect![[r#"
        exit 0
        {
          "pump": "a b",
          "temp": 31
        }

        to cloud, which is not asked:
        POST https://api.example.com/pumps/a%20b
        authorization: ***
        content-type: application/json
        x-gateway: ***

        {"t":31}
    "#]]
    .assert_eq(&with_config(HOT, &arguments, HOT_EVENT));
    let json = with_config(HOT, &[arguments.as_slice(), &["--json"]].concat(), HOT_EVENT);
    expect![[r#"
        exit 0
        {"outcome":"matched","outputs":[{"pump":"a b","temp":31}],"requests":[{"body":"{\"t\":31}","headers":{"authorization":"***","content-type":"application/json","x-gateway":"***"},"method":"POST","sink":"cloud","url":"https://api.example.com/pumps/a%20b"}]}
    "#]].assert_eq(&json);
    let cold = with_config(HOT, &arguments, r#"{"topic": "plant/1", "payload": "{}"}"#);
    expect![[r#"
        exit 1
        not matched, because `payload.temp > 30` is false: undefined > 30, and what is undefined compares with nothing
    "#]].assert_eq(&cold);
    let unknown =
        with_config(HOT, &["rule", "test", "--rule", "cold", "--event", "event.json"], "{}");
    expect![[r#"
        exit 1
        error: there is no rule `cold`; there are hot
    "#]]
    .assert_eq(&unknown);
}

#[test]
fn a_rule_is_explained_in_words() {
    expect![[r#"
        exit 0
        hot, for every source,
        takes events with the topic
          of messages: plant/#
        and keeps those where
          all of these hold
            payload.temp is greater than 30
            one of these holds
              qos is 1
              this does not hold
                is_null(clientid)
        puts out one object with
          pump: topic(2)
          temp: payload.temp
        and sends it to cloud
    "#]]
    .assert_eq(&with_config(HOT, &["rule", "explain", "hot"], ""));
    let foreach = "[rules.each]\nsql = 'FOREACH payload.list AS l DO l.x AS pump, 1 AS temp INCASE l.x IN (1, 2) FROM \"$events/client_connected\", \"a/+\"'\nsinks = [\"cloud\"]\n";
    expect![[r#"
        exit 0
        each, for every source,
        takes events with the topic
          $events/client/connected
          of messages: a/+
        walks the elements of the last of
          l: payload.list
        and keeps the elements where
          l.x is one of 1, 2
        puts out for each element one object with
          pump: l.x
          temp: 1
        and sends it to cloud
    "#]]
    .assert_eq(&with_config(foreach, &["rule", "explain", "each"], ""));
}

#[test]
fn the_tests_of_a_rule_are_run_by_check_and_do_not_keep_it_from_running() {
    let tests = r#"
[[rules.hot.tests]]
event = '{"topic": "plant/7", "qos": 1, "payload": "{\"temp\": 31}"}'
output = '{"pump": "7", "temp": 31.0}'
[[rules.hot.tests]]
event = '{"topic": "plant/7", "qos": 1, "payload": "{\"temp\": 12}"}'
output = 'null'
"#;
    expect![[r#"
        exit 0
        waypost.toml: ok (1 source, 1 rule, 1 sink)
        warning: sinks.cloud.batch.max_records: is 1: at a round trip of 50 ms at most 80 records a second are delivered, at 200 ms 20; with `concurrency = 64` 1280 and 320 (`batch.max_records = 1` written out keeps it so without a warning)
         --> waypost.toml:6:1
          |
        6 | [sinks.cloud]
          | ^^^^^^^^^^^^^
    "#]]
    .assert_eq(&with_config(&format!("{HOT}{tests}"), &["check"], ""));
    let wrong = r#"
[[rules.hot.tests]]
event = '{"topic": "plant/7", "qos": 1, "payload": "{\"temp\": 31}"}'
output = '{"pump": "8", "temp": 31}'
[[rules.hot.tests]]
event = '{"topic": "plant/7", "payload": "x"}'
output = 'null'
"#;
    expect![[r#"
        exit 78
        warning: sinks.cloud.batch.max_records: is 1: at a round trip of 50 ms at most 80 records a second are delivered, at 200 ms 20; with `concurrency = 64` 1280 and 320 (`batch.max_records = 1` written out keeps it so without a warning)
         --> waypost.toml:6:1
          |
        6 | [sinks.cloud]
          | ^^^^^^^^^^^^^
        error: rules.hot.tests[0]: expected {"pump":"8","temp":31}, got {"pump":"7","temp":31}
          --> waypost.toml:19:1
           |
        19 | [[rules.hot.tests]]
           | ^^^^^^^^^^^^^^^^^^^

        error: rules.hot.tests[1]: expected null, got an error: the payload is not JSON at byte 0: "x"
          --> waypost.toml:22:1
           |
        22 | [[rules.hot.tests]]
           | ^^^^^^^^^^^^^^^^^^^
    "#]].assert_eq(&with_config(&format!("{HOT}{wrong}"), &["check"], ""));
    expect![[r#"
        exit 0
        hot, for every source,
        takes events with the topic
          of messages: plant/#
        and keeps those where
          all of these hold
            payload.temp is greater than 30
            one of these holds
              qos is 1
              this does not hold
                is_null(clientid)
        puts out one object with
          pump: topic(2)
          temp: payload.temp
        and sends it to cloud
    "#]]
    .assert_eq(&with_config(&format!("{HOT}{wrong}"), &["rule", "explain", "hot"], ""));
}

#[test]
fn samples_of_events_can_be_tried() {
    let (code, sample, _) = rule(&["sample", "client.connected"]);
    assert_eq!(code, 0);
    let sql = "SELECT clientid FROM \"$events/client_connected\" WHERE keepalive = 60";
    let told = tested(sql, &sample, &["--event-topic", "$events/client/connected", "--json"]);
    assert_eq!(told, "exit 0\n{\"outcome\":\"matched\",\"outputs\":[{\"clientid\":\"c_emqx\"}]}\n");
    let (code, list, _) = rule(&["sample"]);
    assert_eq!((code, list.lines().count()), (0, 24), "{list}");
    let (code, _, error) = rule(&["sample", "client.conected"]);
    assert_eq!(code, 1);
    assert_eq!(
        error,
        "error: there is no event `client.conected`; did you mean `client.connected`?\n"
    );
}
