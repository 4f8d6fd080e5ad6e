//! Coming from other brokers, from the command line.

use expect_test::expect;

use crate::support::waypost::command;

/// As EMQX 5.8 keeps the webhook page's three parts, and a bridge of 5.0 besides.
const CLUSTER: &str = r##"
rule_engine {
  ignore_sys_message = true
  rules.my-webhook_WH_D {
    actions = ["http:my-webhook_WH_D", {args {topic = "x"}, function = republish}]
    description = ""
    metadata {created_at = 1728553475206}
    sql = """~
      SELECT
        payload.temp as temp, topic
      FROM
        "plant/#"
      WHERE payload.temp > 30~"""
  }
}
connectors {
  http {
    my-webhook_WH_D {
      connect_timeout = "15s"
      enable_pipelining = 100
      headers { "content-type" = "application/json", connection = "keep-alive", authorization = "Bearer x" }
      pool_size = 8
      pool_type = random
      resource_opts { health_check_interval = "15s" }
      ssl { enable = true, verify = verify_none, cacertfile = "etc/ca.pem" }
      url = "https://127.0.0.1:5000/api"
    }
  }
}
actions {
  http {
    my-webhook_WH_D {
      connector = my-webhook_WH_D
      enable = true
      parameters { method = post, path = "/v1/${topic}", body = "{\"temp\": ${temp}}", headers {}, max_retries = 2 }
      resource_opts { inflight_window = 100, max_buffer_bytes = "8MB", request_ttl = "45s", worker_pool_size = 4 }
    }
  }
  kafka_producer { k { connector = k } }
}
bridges.webhook.old { enable = false, url = "http://127.0.0.1:5001/${topic}", method = put, local_topic = "old/#" }
listeners.tcp.default { bind = "0.0.0.0:1883" }
"##;

/// Runs the program beside the file above.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cluster.hocon"), CLUSTER).unwrap();
        Self(directory)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = command().args(arguments).current_dir(self.0.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn an_emqx_5_becomes_a_config() {
    let (code, config, report) = Place::new().run(&["import", "emqx5", "cluster.hocon"]);
    assert_eq!(code, 0, "{report}");
    expect![[r##"
        # Written by `waypost import`. The report says what differs; `waypost check` checks it.

        # From the URL of the broker (`--broker`).
        [sources.emqx]
        type = "mqtt"
        url = "mqtt://127.0.0.1:1883"

        # From connectors.http.my-webhook_WH_D.
        [connectors.my-webhook_wh_d]
        url = "https://127.0.0.1:5000/api"
        headers.authorization = "Bearer x"
        headers.content-type = "application/json"
        timeouts.connect = "15s"
        # tls = { ca_file = "etc/ca.pem" }

        # From actions.http.my-webhook_WH_D.
        [sinks.my-webhook_wh_d]
        connector = "my-webhook_wh_d"
        method = "POST"
        path = "/v1/${topic}"
        body = "{\"temp\": ${temp}}"
        queue.max_bytes = "32 MiB"

        # From bridges.webhook.old.
        # Not on: it is disabled in EMQX.
        #~ [sinks.old]
        #~ url = "http://127.0.0.1:5001/${topic}"
        #~ method = "PUT"

        # From rule_engine.rules.my-webhook_WH_D.
        [rules.my-webhook_wh_d]
        sql = '''
        SELECT
          payload.temp as temp, topic
        FROM
          "plant/#"
        WHERE payload.temp > 30'''
        sinks = ["my-webhook_wh_d"]

        # From bridges.webhook.old.local_topic.
        # Not on: `waypost check` says of rules.old.sinks[0]: there is no sink `old`; known are `my-webhook_wh_d`.
        #~ [rules.old]
        #~ topics = ["old/#"]
        #~ sinks = ["old"]
    "##]].assert_eq(&config);
}

#[test]
fn what_is_not_the_same_on_emqx_5_is_reported() {
    let (_, _, report) = Place::new().run(&["import", "emqx5", "cluster.hocon"]);
    expect![[r#"
        Carried over:
          the URL of the broker (`--broker`): [sources.emqx]
          connectors.http.my-webhook_WH_D: [connectors.my-webhook_wh_d]
          actions.http.my-webhook_WH_D: [sinks.my-webhook_wh_d]
          rule_engine.rules.my-webhook_WH_D: [rules.my-webhook_wh_d]
        Means something else here:
          all: an event is kept on disk until it is delivered or its queue is full; EMQX gives up after `request_ttl` and keeps nothing over a restart
          all: EMQX drops an event on any answer but 2xx, 429 and 503; here what such answers do is the sink's to say, and by default nothing is lost
          all: rules see messages as a subscriber does: `clientid`, `username`, `peerhost` and `peername` of the publisher are undefined unless devices connect to Waypost itself (`type = "broker"`)
          all: certificates of https services are always verified; EMQX does so only with `verify = verify_peer`
          connectors.http.my-webhook_WH_D: is named my-webhook_wh_d here, in metrics and bodies too
          connectors.http.my-webhook_WH_D.headers.authorization: stands in the config as it is: better { file = ".." } or { env = ".." }
          actions.http.my-webhook_WH_D: is named my-webhook_wh_d here, in metrics and bodies too
          actions.http.my-webhook_WH_D.resource_opts.max_buffer_bytes: was for each of 4 workers in memory; here 32 MiB on disk
          rule_engine.rules.my-webhook_WH_D: is named my-webhook_wh_d here, in metrics and bodies too
          sinks.my-webhook_wh_d.queue.max_bytes: 32 MiB is little for a queue: at 100 records of 256 bytes a second it is full in 21 minutes, and then the oldest are dropped
        Left out:
          actions.kafka_producer.k: is of type kafka_producer; Waypost delivers over HTTP only
          rule_engine.ignore_sys_message: topics that start with `$` match only filters that do
          listeners: settings of the broker, not of rules and webhooks
          connectors.http.my-webhook_WH_D.headers.connection: the connection is Waypost's to manage
          connectors.http.my-webhook_WH_D.ssl: copy the files to this machine, then take the `#` before `tls` away
          connectors.http.my-webhook_WH_D.ssl.verify: TLS 1.2 and 1.3 with the ciphers of rustls, always verified
          connectors.http.my-webhook_WH_D.enable_pipelining: connections and requests in flight are a sink's `concurrency` and `order`
          connectors.http.my-webhook_WH_D.pool_size: connections and requests in flight are a sink's `concurrency` and `order`
          connectors.http.my-webhook_WH_D.pool_type: connections and requests in flight are a sink's `concurrency` and `order`
          connectors.http.my-webhook_WH_D.resource_opts: a sink is judged by its answers, and probed slowly while it fails
          actions.http.my-webhook_WH_D.parameters.max_retries: EMQX does not use it either; see `retry`
          actions.http.my-webhook_WH_D.resource_opts.inflight_window: connections and requests in flight are a sink's `concurrency` and `order`
          actions.http.my-webhook_WH_D.resource_opts.request_ttl: events are kept until they are delivered; see `timeouts.request`
          rule_engine.rules.my-webhook_WH_D.actions: republish: Waypost publishes nothing to brokers
          rule_engine.rules.my-webhook_WH_D.description: says nothing that a config needs
          rule_engine.rules.my-webhook_WH_D.metadata: says nothing that a config needs
          bridges.webhook.old: [sinks.old] is there as a comment: it is disabled in EMQX
          bridges.webhook.old.local_topic: [rules.old] is there as a comment: `waypost check` says of rules.old.sinks[0]: there is no sink `old`; known are `my-webhook_wh_d`
    "#]].assert_eq(&report);
}

#[test]
fn what_was_imported_passes_check_and_no_file_is_written_over() {
    let place = Place::new();
    let run = |arguments: &[&str]| place.run(arguments);
    let (_, config, report) = run(&["import", "emqx5", "cluster.hocon"]);
    let (code, report_2, error) =
        run(&["import", "emqx5", "cluster.hocon", "--output", "waypost.toml"]);
    assert_eq!((code, error.as_str(), &report_2), (0, "", &report));
    assert_eq!(std::fs::read_to_string(place.0.path().join("waypost.toml")).unwrap(), config);
    let (code, _, error) = run(&["check", "--config", "waypost.toml"]);
    assert_eq!(code, 0, "{error}");
    let (code, out, error) = run(&["import", "emqx5", "cluster.hocon", "--output", "waypost.toml"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("waypost.toml: cannot be written"), "{error}");
    std::fs::write(place.0.path().join("bad.hocon"), "a = 1\nb").unwrap();
    let (code, _, error) = run(&["import", "emqx5", "bad.hocon"]);
    assert_eq!(
        (code, error.as_str()),
        (1, "error: bad.hocon: line 2: `=` is missing behind `b`\n")
    );
}

/// As the plugin's documentation writes it, and as a container is given it.
const WEB_HOOK: &str = r#"
## The web hook
web.hook.url = http://127.0.0.1:5000/hook
web.hook.headers.content-type = application/json
web.hook.headers.x-site = "plant 7"
web.hook.body.encoding_of_payload_field = base62
web.hook.pool_size = 32
web.hook.rule.client.connected.1 = {"action": "on_client_connected"}
web.hook.rule.message.publish.1 = {"action": "on_message_publish"}
EMQX_WEB__HOOK__RULE__MESSAGE__PUBLISH__2='{"action": "on_message_publish", "topic": "plant/#"}'
"#;

/// The place with the hook imported, and the report.
fn with_web_hook() -> (Place, String) {
    let place = Place::new();
    std::fs::write(place.0.path().join("web_hook.conf"), WEB_HOOK).unwrap();
    let (code, report, error) =
        place.run(&["import", "emqx4", "web_hook.conf", "--output", "waypost.toml"]);
    assert_eq!((code, error.as_str()), (0, ""));
    (place, report)
}

#[test]
fn the_web_hook_of_emqx_4_becomes_a_config() {
    let (place, report) = with_web_hook();
    assert!(report.contains("web.hook.pool_size"), "{report}");
    let (code, _, error) = place.run(&["check", "--config", "waypost.toml"]);
    assert_eq!(code, 0, "{error}");
    let config = std::fs::read_to_string(place.0.path().join("waypost.toml")).unwrap();
    expect![[r##"
        # Written by `waypost import`. The report says what differs; `waypost check` checks it.

        # From the URL of the broker (`--broker`).
        [sources.emqx]
        type = "mqtt"
        url = "mqtt://127.0.0.1:1883"

        # From web.hook.url.
        [sinks.web_hook]
        url = "http://127.0.0.1:5000/hook"
        event_format = "emqx4"
        payload_as = "base62"
        headers.x-site = "plant 7"

        # From web.hook.rule.client.connected.1.
        [rules.client-connected-1]
        events = ["client.connected"]
        sinks = ["web_hook"]

        # From web.hook.rule.message.publish.1.
        [rules.message-publish-1]
        events = ["message.publish"]
        sinks = ["web_hook"]

        # From web.hook.rule.message.publish.2.
        [rules.message-publish-2]
        events = ["message.publish"]
        topics = ["plant/#"]
        sinks = ["web_hook"]
    "##]]
    .assert_eq(&config);
    std::fs::write(place.0.path().join("web_hook.conf"), "hook = 1").unwrap();
    let (code, _, error) = place.run(&["import", "emqx4", "web_hook.conf"]);
    assert_eq!(code, 1);
    assert!(error.contains("no line is `web.hook.KEY = VALUE`"), "{error}");
}

#[test]
fn what_was_a_web_hook_of_emqx_4_sends_its_bodies() {
    let (place, _) = with_web_hook();
    let mut bodies = Vec::new();
    let event = r#"{"event":"message.publish","topic":"plant/1","payload":"hello","qos":1,"flags":{"retain":true},
        "node":"n","publish_received_at":1700000000000,"timestamp":1700000000000,"clientid":"c1"}"#;
    let (_, connected, _) = place.run(&["rule", "sample", "client.connected"]);
    for (rule, event) in [("message-publish-2", event), ("client-connected-1", &connected)] {
        std::fs::write(place.0.path().join("event.json"), event).unwrap();
        let arguments = ["rule", "test", "--json", "--rule", rule, "--event", "event.json"];
        let (code, answer, error) =
            place.run(&[&arguments[..], &["--config", "waypost.toml"]].concat());
        assert_eq!(code, 0, "{error}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let body: serde_json::Value =
            serde_json::from_str(answer["requests"][0]["body"].as_str().unwrap()).unwrap();
        bodies.push(body);
    }
    expect![[r#"
        [
          {
            "action": "message_publish",
            "from_client_id": "c1",
            "from_username": null,
            "node": "n",
            "payload": "aGVsbGP",
            "qos": 1,
            "retain": true,
            "topic": "plant/1",
            "ts": 1700000000000
          },
          {
            "action": "client_connected",
            "clientid": "c_emqx",
            "connected_at": 1694681417714,
            "ipaddress": "192.168.0.10",
            "keepalive": 60,
            "node": "plant-7",
            "proto_ver": 5,
            "username": "u_emqx"
          }
        ]"#]]
    .assert_eq(&format!("{:#}", serde_json::Value::from(bodies)));
}

/// As the data export of EMQX 4.4 writes it, and a rule of 4.2 besides.
const EXPORT_4: &str = r##"{
  "version": "4.4", "date": "2023-04-01 10:00:00",
  "rules": [
    {"id": "rule:1234", "rawsql": "SELECT payload.temp as temp, clientid\nFROM \"plant/#\"\nWHERE payload.temp > 30",
     "actions": [
       {"id": "data_to_webserver_1", "name": "data_to_webserver", "fallbacks": [{"id": "x", "name": "inspect", "args": {}}],
        "args": {"$resource": "resource:77", "path": "/v1/${temp}", "method": "PUT", "headers": {"x-site": "seven"},
                 "body": "{\"t\":${temp}}"}},
       {"id": "republish_2", "name": "republish", "args": {"target_topic": "x", "target_qos": 0}, "fallbacks": []}],
     "enabled": true, "description": "hot pumps"},
    {"id": "rule:old", "rawsql": "SELECT * FROM \"t\"", "enabled": false, "description": "",
     "actions": [{"id": "w", "name": "data_to_webserver", "args": {"$resource": "resource:77", "payload_tmpl": "${payload}"}}]}
  ],
  "resources": [
    {"id": "resource:77", "type": "web_hook", "created_at": 1680000000000, "description": "",
     "config": {"url": "https://127.0.0.1:5000/api", "connect_timeout": "5s", "request_timeout": "5s", "pool_size": 8,
                "verify": false, "enable_pipelining": true, "cacertfile": {"file": "-----BEGIN", "filename": "ca.pem"},
                "certfile": "", "keyfile": ""}},
    {"id": "resource:88", "type": "backend_mysql", "config": {"server": "127.0.0.1"}, "created_at": null, "description": ""}
  ],
  "users": [{"username": "admin"}], "blacklist": []
}"##;

/// What is said of the export.
fn of_export(more: &[&str]) -> (Place, (i32, String, String)) {
    let place = Place::new();
    std::fs::write(place.0.path().join("export.json"), EXPORT_4).unwrap();
    let said = place.run(&[&["import", "emqx4", "export.json"], more].concat());
    (place, said)
}

#[test]
fn the_rules_of_an_emqx_4_become_a_config() {
    let (_, (code, config, report)) = of_export(&[]);
    assert_eq!(code, 0, "{report}");
    expect![[r##"
        # Written by `waypost import`. The report says what differs; `waypost check` checks it.

        # From the URL of the broker (`--broker`).
        [sources.emqx]
        type = "mqtt"
        url = "mqtt://127.0.0.1:1883"

        # From resources[resource:77].
        [connectors.resource-77]
        url = "https://127.0.0.1:5000/api"
        timeouts.connect = "5s"

        # From rules[rule:1234].actions[0].
        [sinks.data_to_webserver_1]
        connector = "resource-77"
        timeouts.request = "5s"
        method = "PUT"
        path = "/v1/${temp}"
        headers.x-site = "seven"
        body = "{\"t\":${temp}}"

        # From rules[rule:1234].
        [rules.rule-1234]
        sql = '''
        SELECT payload.temp as temp, clientid
        FROM "plant/#"
        WHERE payload.temp > 30'''
        sinks = ["data_to_webserver_1"]

        # From rules[rule:old].actions[0].
        [sinks.w]
        connector = "resource-77"
        timeouts.request = "5s"
        body = "${payload}"

        # From rules[rule:old].
        # Not on: it is disabled in EMQX.
        #~ [rules.rule-old]
        #~ sql = "SELECT * FROM \"t\""
        #~ sinks = ["w"]
    "##]]
    .assert_eq(&config);
}

#[test]
fn what_is_not_the_same_for_rules_of_an_emqx_4_is_reported() {
    let (_, (_, _, report)) = of_export(&[]);
    expect![[r#"
        Carried over:
          the URL of the broker (`--broker`): [sources.emqx]
          resources[resource:77]: [connectors.resource-77]
          rules[rule:1234].actions[0]: [sinks.data_to_webserver_1]
          rules[rule:1234]: [rules.rule-1234]
          rules[rule:old].actions[0]: [sinks.w]
        Means something else here:
          all: an action makes the client wait for the service and loses what fails; here an event is kept on disk until it is delivered or its queue is full
          all: rules see messages as a subscriber does: `clientid`, `username` and `peerhost` of the publisher are undefined unless devices connect to Waypost itself (`type = "broker"`)
          all: `SELECT *` gives the columns of EMQX 6, which are more than those of EMQX 4
          all: certificates of https services are always verified; EMQX does so only with `verify`
          resources[resource:77]: is named resource-77 here, in metrics and bodies too
          rules[rule:1234]: is named rule-1234 here, in metrics and bodies too
          rules[rule:old]: is named rule-old here, in metrics and bodies too
          sinks.w: no rule and no webhook sends anything to this sink
        Left out:
          blacklist, users: settings of the broker, not of rules
          resources[resource:77].config.cacertfile: write `ca.pem` to a file and name it in `tls` of [connectors.resource-77]
          resources[resource:77].config.enable_pipelining: requests in flight are a sink's `concurrency`
          resources[resource:77].config.pool_size: requests in flight are a sink's `concurrency`
          resources[resource:77].config.verify: certificates are always verified
          resources[resource:77].created_at: says nothing that a config needs
          resources[resource:77].description: says nothing that a config needs
          resources[resource:88]: is of type backend_mysql; Waypost delivers over HTTP only
          rules[rule:1234].actions[0].fallbacks: what cannot be delivered is kept; see dead letters
          rules[rule:1234].actions[1]: republish: Waypost publishes nothing to brokers
          rules[rule:1234].description: says nothing that a config needs
          rules[rule:old].description: says nothing that a config needs
          rules[rule:old]: [rules.rule-old] is there as a comment: it is disabled in EMQX
    "#]]
    .assert_eq(&report);
}

#[test]
fn what_was_imported_of_rules_of_an_emqx_4_passes_check_and_no_json_is_an_error() {
    let (place, (code, _, error)) = of_export(&["--output", "waypost.toml"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let (code, _, error) = place.run(&["check", "--config", "waypost.toml"]);
    assert_eq!(code, 0, "{error}");
    std::fs::write(place.0.path().join("export.json"), "{\"rules\": [").unwrap();
    let (code, _, error) = place.run(&["import", "emqx4", "export.json"]);
    assert_eq!(code, 1);
    let expected = "error: export.json: not JSON, and so no export of rules: EOF while parsing a list at line 1 column 11\n";
    assert_eq!(error, expected);
}

#[test]
fn the_archive_of_a_data_export_is_read_as_the_file_in_it() {
    let place = Place::new();
    let folder = place.0.path().join("emqx-export-2024-01-01");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("META.hocon"), "version = \"5.8.1\"").unwrap();
    std::fs::copy(place.0.path().join("cluster.hocon"), folder.join("cluster.hocon")).unwrap();
    let tar = |archive: &str, what: &str| {
        let arguments = ["-czf", archive, what];
        let status =
            std::process::Command::new("tar").args(arguments).current_dir(place.0.path()).status();
        assert!(status.unwrap().success());
    };
    tar("export.tar.gz", "emqx-export-2024-01-01");
    let from_file = place.run(&["import", "emqx5", "cluster.hocon"]);
    assert_eq!(place.run(&["import", "emqx5", "export.tar.gz"]), from_file);
    tar("other.tar.gz", "emqx-export-2024-01-01/META.hocon");
    let (code, _, error) = place.run(&["import", "emqx5", "other.tar.gz"]);
    assert_eq!(
        (code, error.as_str()),
        (1, "error: other.tar.gz: is an archive without a `cluster.hocon`\n")
    );
    std::fs::write(place.0.path().join("broken.tar.gz"), [0x1f, 0x8b, 8, 0, 1]).unwrap();
    let (code, _, error) = place.run(&["import", "emqx5", "broken.tar.gz"]);
    let expected =
        "error: broken.tar.gz: is not an archive of EMQX's data export: it cannot be unpacked\n";
    assert_eq!((code, error.as_str()), (1, expected));
}
