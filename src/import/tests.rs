use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::draft::{name, text};
use super::emqx5;
use crate::config::{self, Surroundings};

fn surroundings() -> Surroundings {
    Surroundings {
        file: "waypost.toml".to_owned(),
        folder: PathBuf::from("/"),
        host: "host".to_owned(),
        variable: Box::new(|_| None),
        partition_bytes: Box::new(|_| Some(1 << 40)),
    }
}

/// The config and the report.
#[track_caller]
fn imported(source: &str) -> (String, String) {
    let imported = emqx5(source, "mqtt://127.0.0.1:1883", &surroundings()).unwrap();
    let parsed = config::parse(&imported.config, &surroundings());
    assert!(parsed.is_ok(), "{}\n{:?}", imported.config, parsed.err());
    (imported.config, imported.notes.to_string())
}

#[test]
fn lists_of_the_api_give_what_the_tables_of_the_file_give() {
    let rule = json!({"sql": "SELECT * FROM \"t/#\"", "actions": ["http:a"]});
    let action = json!({"connector": "c", "parameters": {"path": "/x", "method": "put"}});
    let connector = json!({"url": "http://127.0.0.1:5000"});
    let tables = json!({
        "rule_engine": {"rules": {"r": rule}}, "actions": {"http": {"a": action}}, "connectors": {"http": {"c": connector}}
    });
    let with = |value: &serde_json::Value, more: serde_json::Value| {
        let mut value = value.clone();
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    let lists = json!({
        "rules": [with(&rule, json!({"id": "r", "name": "", "enable": true}))],
        "actions": [with(&action, json!({"name": "a", "type": "http"}))],
        "connectors": [with(&connector, json!({"name": "c", "type": "http", "status": "connected"}))]
    });
    let without_origins = |config: String| {
        config.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    let config = without_origins(imported(&tables.to_string()).0);
    assert_eq!(without_origins(imported(&lists.to_string()).0), config);
    assert!(config.contains("method = \"PUT\""), "{config}");
}

#[test]
fn what_is_known_and_cannot_be_carried_is_named() {
    let (_, report) = imported(
        r#"connectors.http.c { url = "https://127.0.0.1", connect_timeout = infinity,
            ssl { enable = true, server_name_indication = disable } }
        connectors.http.d { url = "http://127.0.0.1", ssl { enable = false, cacertfile = "ca.pem" } }
        actions.http.a { connector = c, parameters {}, resource_opts { inflight_window = 100, worker_pool_size = 4 } }
        actions.http.b { connector = d, parameters {}, resource_opts { max_buffer_bytes = "some" } }"#,
    );
    for line in [
        "connectors.http.c.connect_timeout: `infinity` is not a period",
        "connectors.http.c.ssl.server_name_indication: the name in a certificate",
        "connectors.http.d.ssl: is off in EMQX",
        "actions.http.a.resource_opts.inflight_window: connections",
        "actions.http.a.resource_opts.worker_pool_size: connections",
        "actions.http.b.resource_opts.max_buffer_bytes: is not a size",
    ] {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
}

#[test]
fn what_a_config_refuses_is_a_comment_and_so_is_what_needs_it() {
    let (config, report) = imported(
        r#"connectors.http.c { url = "ftp://x" }
        actions.http.a { connector = c, parameters {} }
        rule_engine.rules.r { sql = "SELECT nosuch() FROM \"t\"", actions = ["http:a"] }
        rule_engine.rules.s { sql = "SELECT * FROM \"t\"", actions = ["http:a", "mysql:m", {function: console}] }"#,
    );
    for table in ["connectors.c", "sinks.a", "rules.r", "rules.s"] {
        assert!(config.contains(&format!("\n#~ [{table}]\n")), "{table}: {config}");
        assert!(report.contains(&format!("[{table}] is there as a comment")), "{report}");
    }
    assert!(report.contains("mysql:m is of type mysql"), "{report}");
    assert!(report.contains("console: see what a rule gives"), "{report}");
}

#[test]
fn names_are_made_fit_and_stay_apart() {
    let mut taken = Vec::new();
    let names = ["My Rule", "my-rule", "my.rule", "-", "_x", &"a".repeat(70), &"a".repeat(70)]
        .map(|wanted| name(wanted, &mut taken));
    let long = "a".repeat(63);
    let other = format!("{}-2", "a".repeat(61));
    assert_eq!(names, ["my-rule", "my-rule-2", "my-rule-3", "unnamed", "x", &long, &other]);
}

proptest! {
    #[test]
    fn every_text_is_written_as_toml_reads_it(value in "[a'\"\\\\\\n\\t\\r#é\u{1}]{0,12}") {
        let document: toml::Table = format!("a = {}", text(&value)).parse().unwrap();
        prop_assert_eq!(document["a"].as_str(), Some(value.as_str()));
    }

    /// Every leaf of the source is in the config or in the report.
    #[test]
    fn no_key_is_dropped_silently(keys in prop::collection::btree_set("zz[a-z]{4}", 1..8), place in 0..5_usize) {
        let mut source = json!({
            "connectors": {"http": {"c": {"url": "http://127.0.0.1:5000", "ssl": {"enable": true}, "headers": {}}}},
            "actions": {"http": {"a": {"connector": "c", "parameters": {}, "resource_opts": {}}}},
            "rule_engine": {"rules": {"r": {"sql": "SELECT * FROM \"t\"", "actions": ["http:a"]}}}
        });
        let pointer = [
            "/connectors/http/c", "/connectors/http/c/ssl", "/actions/http/a/parameters", "/actions/http/a/resource_opts",
            "/rule_engine/rules/r",
        ][place];
        let table = source.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        for key in &keys {
            table.insert(key.clone(), json!({"inner": 1}));
        }
        let (config, report) = imported(&source.to_string());
        for key in keys {
            prop_assert!(report.contains(&key), "{} is in neither:\n{}\n{}", key, config, report);
        }
    }

    /// Whatever stands in a file of EMQX, `imported` checks the config, and a masked value is in comments only.
    #[test]
    fn no_masked_value_is_in_force(
        query in "(\\?([ab]=(1|[*]{6}|\\$\\{topic\\})&?){0,3})?", path in "(/|\\?)?[x*]{0,7}", value in "(Bearer )?[x*]{0,7}",
        name in "[Xx]-[ab \"]{1,2}", method in "get|PUT|post|delete", body in "(\\$\\{payload\\})?"
    ) {
        let source = json!({
            "connectors": {"http": {"c": {"url": format!("http://127.0.0.1:5000/base{query}"), "headers": {"authorization": value}}}},
            "actions": {"http": {"a": {
                "connector": "c", "parameters": {"method": method, "path": path, "headers": {name: value}, "body": body}
            }}},
            "rule_engine": {"rules": {"r": {"sql": "SELECT * FROM \"t\"", "actions": ["http:a"]}}}
        });
        let (config, report) = imported(&source.to_string());
        let in_force = |line: &&str| !line.starts_with('#') && line.contains("******");
        prop_assert_eq!(config.lines().find(in_force), None);
        if config.contains("******") {
            prop_assert!(report.contains("masked by EMQX"), "{}", report);
        }
    }
}
