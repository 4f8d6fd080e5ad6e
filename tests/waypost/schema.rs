//! What editors know of the config, and that it is what Waypost knows.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::waypost::command;

/// For each text on standard input, what the validator has to say; nothing when it is valid.
const VALIDATE: &str = r#"
import json, sys, tomllib, jsonschema
asked = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(asked["schema"])
validator = jsonschema.Draft7Validator(asked["schema"])
def problems(text):
    errors = validator.iter_errors(tomllib.loads(text))
    return [".".join(map(str, error.absolute_path)) + ": " + error.message[:300] for error in errors]
print(json.dumps([problems(text) for text in asked["texts"]]))
"#;

const SHIPPED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/waypost.toml"));
const STARTER: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/starter.toml"));

fn schema() -> Value {
    let output = command().arg("schema").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn problems(texts: &[String]) -> Vec<Vec<String>> {
    let path = std::env::var("WAYPOST_TEST_PYTHONPATH").expect("tests/run sets it");
    let mut python = Command::new("python3")
        .args(["-c", VALIDATE])
        .env("PYTHONPATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "schema": schema(), "texts": texts });
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "jsonschema is installed (tests/run installs it)");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The file with what is not on, and every setting, on.
fn everything_on(text: &str) -> String {
    let line = |line: &str| {
        let line = line.strip_prefix("#~ ").unwrap_or(line);
        let setting = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        setting.unwrap_or(line).to_owned() + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn what_waypost_takes_is_valid_and_a_slip_of_any_kind_is_not() {
    let good = [SHIPPED.to_owned(), everything_on(SHIPPED), STARTER.to_owned()];
    let source = "[sources.a]\ntype = \"mqtt\"\nurl = \"mqtt://h\"\n";
    let webhook = |text: &str| format!("{source}[webhooks.w]\nurl = \"http://h\"\n{text}\n");
    let more_good = [
        webhook("headers = { x-key = { env = \"KEY\" }, y = \"${topic}\" }"),
        webhook("sign = [{ file = \"a\" }, { env = \"B\" }]"),
        webhook("retry = { max_attempts = 7, max_age = \"3d\" }"),
        webhook("queue.max_bytes = \"${env:QUOTA}\"\norder = \"${env:ORDER}\""),
        format!("{source}[metrics]\nlisten = \"off\"\n"),
    ];
    let bad = [
        webhook("quee = 1"),
        webhook("queue.max_bytes = \"12\""),
        webhook("queue.when_full = \"drop\""),
        webhook("batch.linger = 5"),
        webhook("concurrency = 0"),
        webhook("topics = \"t/#\""),
        webhook("on_status = { 409 = \"fine\" }"),
        webhook("auth = { bearer = { fiel = \"x\" } }"),
        webhook("retry.multiplier = 0.5"),
        format!("{source}listen = [\"127.0.0.1:1883\"]\n"),
        "[sources.a]\ntype = \"mqtt\"\n".to_owned(),
        "[sources.a]\ntype = \"mqqt\"\nurl = \"mqtt://h\"\n".to_owned(),
        format!("{source}[rules.r]\ntopics = [\"t/#\"]\n"),
        format!("{source}[gatway]\nname = \"x\"\n"),
    ];
    let texts: Vec<String> = good.into_iter().chain(more_good).chain(bad.clone()).collect();
    let found = problems(&texts);
    let good_count = texts.len() - bad.len();
    for (text, problems) in texts.iter().zip(&found).take(good_count) {
        assert!(problems.is_empty(), "{problems:#?} in\n{text}");
    }
    for (text, problems) in texts.iter().zip(&found).skip(good_count) {
        assert!(!problems.is_empty(), "nothing to say about\n{text}");
    }
}

#[test]
fn it_says_of_a_key_what_the_shipped_file_says() {
    let schema = schema();
    let queue = &schema["properties"]["webhooks"]["additionalProperties"]["properties"]["queue"];
    let when_full = &queue["properties"]["when_full"];
    assert_eq!(when_full["default"], "drop_oldest");
    let words = &when_full["anyOf"][0]["enum"];
    assert_eq!(*words, json!(["drop_oldest", "drop_newest", "dead_letter", "block"]));
    let description = when_full["description"].as_str().unwrap();
    assert!(description.starts_with("When that is reached: \"drop_oldest\""), "{description}");
}
