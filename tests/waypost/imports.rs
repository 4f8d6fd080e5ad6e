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
        headers = { "authorization" = "Bearer x", "content-type" = "application/json" }
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

#[test]
fn the_web_hook_of_emqx_4_becomes_rules_that_make_its_bodies() {
    let place = Place::new();
    std::fs::write(place.0.path().join("web_hook.conf"), WEB_HOOK).unwrap();
    let (code, report, error) =
        place.run(&["import", "emqx4", "web_hook.conf", "--output", "waypost.toml"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(
        report.contains("web.hook.rule.client.connected.1: on_client_connected: Waypost"),
        "{report}"
    );
    assert!(report.contains("web.hook.pool_size"), "{report}");
    let (code, _, error) = place.run(&["check", "--config", "waypost.toml"]);
    assert_eq!(code, 0, "{error}");
    let text = std::fs::read_to_string(place.0.path().join("waypost.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    let sql = config["rules"]["message-publish-2"]["sql"].as_str().unwrap();
    let event = r#"{"topic":"plant/1","payload":"hello","qos":1,"flags":{"retain":true},"node":"n",
        "publish_received_at":1700000000000,"clientid":"c1"}"#;
    std::fs::write(place.0.path().join("event.json"), event).unwrap();
    let arguments = ["rule", "test", "--json", "--sql", sql, "--event", "event.json"];
    let (code, answer, error) = place.run(&arguments);
    assert_eq!(code, 0, "{error}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let expected = serde_json::json!({
        "action": "message_publish", "node": "n", "from_client_id": "c1", "from_username": null, "topic": "plant/1",
        "qos": 1, "retain": true, "payload": "aGVsbGP", "ts": 1_700_000_000_000_i64
    });
    assert_eq!(answer["outputs"], serde_json::json!([expected]));
    assert!(config["rules"]["message-publish-1"]["sql"].as_str().unwrap().ends_with("FROM \"#\""));
    std::fs::write(place.0.path().join("web_hook.conf"), "{\"rules\": []}").unwrap();
    let (code, _, error) = place.run(&["import", "emqx4", "web_hook.conf"]);
    assert_eq!(code, 1);
    assert!(error.contains("line 1: `{\"rules\": []}` is not `web.hook.KEY = VALUE`"), "{error}");
}
