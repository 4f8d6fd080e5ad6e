//! EMQX 4's webhook plugin: `etc/plugins/emqx_web_hook.conf`, or the same keys as environment variables.
//!
//! Every `web.hook.rule.EVENT.N` becomes a rule whose SQL makes the body that the plugin sends, so that a receiver made for
//! it needs no change.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Block, Draft, name, table, text};
use super::notes::Notes;

/// A line that is no `key = value`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{text}` is not `web.hook.KEY = VALUE` or `EMQX_WEB__HOOK__KEY=VALUE`")]
pub struct NotWebHook {
    /// From 1 on.
    pub line: usize,
    /// The beginning of it.
    pub text: String,
}

/// What is not the same for anything that is imported.
const DIFFERENCES: &[&str] = &[
    "the plugin makes the client wait for the service and loses what fails; here an event is kept on disk until it is \
     delivered or the queue is full",
    "`from_client_id` and `from_username` are null unless devices connect to Waypost itself (`type = \"broker\"`): a \
     subscriber does not see the publisher",
    "certificates of https services are always verified",
];

pub(super) fn draft(source: &str, broker: &str, notes: &mut Notes) -> Result<Draft, NotWebHook> {
    let mut settings = settings(source)?;
    let mut draft = Draft::default();
    let mut block = Block::new("sources.emqx", "the URL of the broker (`--broker`)");
    block.text("type", "mqtt");
    block.text("url", broker);
    draft.push(block);
    for difference in DIFFERENCES {
        notes.different("all", *difference);
    }
    draft.push(sink(&mut settings, notes));
    let encoding = [
        "web.hook.body.encoding_of_payload_field",
        "web.hook.encode_payload",
        "web.hook.encoding_of_payload_field",
    ];
    let encoding = encoding.iter().find_map(|key| settings.remove(*key)).unwrap_or_default();
    let rules: Vec<String> =
        settings.keys().filter(|key| key.starts_with("web.hook.rule.")).cloned().collect();
    let mut taken = Vec::new();
    for key in rules {
        let value = settings.remove(&key).unwrap_or_default();
        rule(&key, &value, &encoding, &mut taken, &mut draft, notes);
    }
    for key in settings.keys() {
        let reason = match key.as_str() {
            "web.hook.pool_size" | "web.hook.enable_pipelining" => {
                "requests in flight are the sink's `concurrency`"
            }
            "web.hook.ssl.verify" => "certificates are always verified",
            _ => "has no meaning here that this import knows",
        };
        notes.left_out(key, reason);
    }
    Ok(draft)
}

/// Keys as the file has them, with their values.
fn settings(source: &str) -> Result<BTreeMap<String, String>, NotWebHook> {
    const PREFIX: &str = "EMQX_";
    let mut settings = BTreeMap::new();
    for (number, line) in source.lines().enumerate() {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let wrong = || NotWebHook { line: number + 1, text: line.chars().take(40).collect() };
        let (key, value) = line.split_once('=').ok_or_else(wrong)?;
        let key = key.trim();
        let key = match key.strip_prefix(PREFIX) {
            Some(key) => key.replace("__", ".").to_ascii_lowercase(),
            None => key.to_owned(),
        };
        if !key.starts_with("web.hook.") {
            return Err(wrong());
        }
        settings.insert(key, unquoted(value.trim()).to_owned());
    }
    Ok(settings)
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inside('\'').or_else(|| inside('"')).unwrap_or(value)
}

fn sink(settings: &mut BTreeMap<String, String>, notes: &mut Notes) -> Block {
    let mut block = Block::new("sinks.web_hook", "web.hook.url");
    let url = settings.remove("web.hook.url").or_else(|| settings.remove("web.hook.api.url"));
    block.text("url", &url.unwrap_or_else(|| "http://127.0.0.1:80".to_owned()));
    let mut headers = Vec::new();
    for key in settings.keys().cloned().collect::<Vec<_>>() {
        let Some(header) = key.strip_prefix("web.hook.headers.") else { continue };
        let value = settings.remove(&key).unwrap_or_default();
        if header.eq_ignore_ascii_case("content-type") {
            notes.carried(&key, "bodies are application/json, as the plugin forces them to be");
        } else {
            headers.push((header.to_owned(), value));
        }
    }
    if !headers.is_empty() {
        block.set(
            "headers",
            table(headers.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
        );
    }
    let files = [
        ("cacertfile", "ca_file"),
        ("certfile", "cert_file"),
        ("keyfile", "key_file"),
        ("server_name_indication", "server_name"),
    ];
    let mut tls = Vec::new();
    for (theirs, ours) in files {
        let key = format!("web.hook.ssl.{theirs}");
        match settings.remove(&key).filter(|value| !value.is_empty()) {
            Some(value) if value == "disable" => {
                notes.left_out(&key, "the name in a certificate is always compared");
            }
            Some(value) => tls.push(format!("{ours} = {}", text(&value))),
            None => {}
        }
    }
    if !tls.is_empty() {
        block.comment(&format!("tls = {{ {} }}", tls.join(", ")));
        notes.left_out(
            "web.hook.ssl",
            "copy the files to this machine, then take the `#` before `tls` away",
        );
    }
    block
}

fn rule(
    key: &str,
    value: &str,
    encoding: &str,
    taken: &mut Vec<String>,
    draft: &mut Draft,
    notes: &mut Notes,
) {
    let parsed: Value = serde_json::from_str(value).unwrap_or_default();
    let field = |name: &str| parsed.get(name).and_then(Value::as_str);
    let Some(action) = field("action") else {
        notes.left_out(key, format!("`{value}` is not JSON with an `action`"));
        return;
    };
    if action != "on_message_publish" {
        notes.left_out(key, format!("{action}: Waypost sees messages, not yet this event"));
        return;
    }
    let payload = match encoding {
        "" | "plain" => "payload",
        "base62" => "base62_encode(payload) as payload",
        "base64" => "base64_encode(payload) as payload",
        other => {
            notes.left_out(key, format!("payloads in the encoding {other}"));
            return;
        }
    };
    let topic = field("topic").unwrap_or("#");
    let own = name(&key.replacen("web.hook.rule.", "", 1), taken);
    let mut block = Block::new(format!("rules.{own}"), key);
    block.text("sql", &message_publish(payload, topic));
    block.set("sinks", "[\"web_hook\"]");
    draft.push(block);
}

/// The body that the plugin (4.4) sends for a message.
fn message_publish(payload: &str, topic: &str) -> String {
    format!(
        "SELECT\n  'message_publish' as action,\n  node,\n  \
         coalesce(clientid, json_decode('null')) as from_client_id,\n  \
         coalesce(username, json_decode('null')) as from_username,\n  \
         topic,\n  qos,\n  flags.retain as retain,\n  {payload},\n  \
         publish_received_at as ts\nFROM \"{topic}\""
    )
}
