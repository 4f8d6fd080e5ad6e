//! EMQX 4's webhook plugin: `etc/plugins/emqx_web_hook.conf`, or the same keys as environment variables.
//!
//! Every `web.hook.rule.EVENT.N` becomes a rule, and the sink makes the bodies that the plugin sends
//! (`event_format = "emqx4"`), so that a receiver made for it needs no change.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Block, Draft, name, text};
use super::notes::Notes;
use super::service::{address, entry};
use crate::event::{EventKind, Subject};

/// What is no file of the plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWebHook {
    /// A key of the plugin without a value.
    #[error("line {line}: `{text}` is not `web.hook.KEY = VALUE` or `EMQX_WEB__HOOK__KEY=VALUE`")]
    NoValue {
        /// From 1 on.
        line: usize,
        /// The beginning of it.
        text: String,
    },
    /// Other lines only.
    #[error(
        "no line is `web.hook.KEY = VALUE` or `EMQX_WEB__HOOK__KEY=VALUE`, and it is no JSON of a data export: nothing to \
         import"
    )]
    NoLine,
}

/// What is not the same for anything that is imported.
const DIFFERENCES: &[&str] = &[
    "the plugin makes the client wait for the service and loses what fails; here an event is kept on disk until it is \
     delivered or the queue is full",
    "a subscriber sees messages only, and not who published them: events of clients and sessions, `from_client_id` and \
     `from_username` are there where devices connect to Waypost itself (`type = \"broker\"`)",
    "certificates of https services are always verified",
];

pub(super) fn draft(source: &str, broker: &str, notes: &mut Notes) -> Result<Draft, NotWebHook> {
    let mut settings = settings(source, notes)?;
    let mut draft = Draft::default();
    let mut block = Block::new("sources.emqx", "the URL of the broker (`--broker`)");
    block.text("type", "mqtt");
    block.text("url", broker);
    draft.push(block);
    for difference in DIFFERENCES {
        notes.different("all", *difference);
    }
    draft.push(sink(&mut settings, notes));
    let rules: Vec<String> =
        settings.keys().filter(|key| key.starts_with("web.hook.rule.")).cloned().collect();
    let mut taken = Vec::new();
    for key in rules {
        let value = settings.remove(&key).unwrap_or_default();
        rule(&key, &value, &mut taken, &mut draft, notes);
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

/// Keys of the plugin as the file has them, with their values. Other lines, as the variables of a container have them,
/// are named by their keys.
fn settings(source: &str, notes: &mut Notes) -> Result<BTreeMap<String, String>, NotWebHook> {
    const PREFIX: &str = "EMQX_";
    const TEXT_MAX: usize = 40;
    let mut settings = BTreeMap::new();
    let mut foreign = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let beginning = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value)),
            None => (line, None),
        };
        let own = match key.strip_prefix(PREFIX) {
            Some(key) => key.replace("__", ".").to_ascii_lowercase(),
            None => key.to_owned(),
        };
        match value {
            _ if !own.starts_with("web.hook.") => foreign.push(match value {
                Some(_) => beginning(key),
                // Perhaps a part of a value.
                None => format!("line {}", number + 1),
            }),
            None => return Err(NotWebHook::NoValue { line: number + 1, text: beginning(line) }),
            Some(value) => {
                settings.insert(own, unquoted(value.trim()).to_owned());
            }
        }
    }
    if settings.is_empty() {
        return Err(NotWebHook::NoLine);
    }
    name_foreign(&foreign, notes);
    Ok(settings)
}

/// One note for all lines of something else.
fn name_foreign(foreign: &[String], notes: &mut Notes) {
    const NAMED_MAX: usize = 4;
    let mut places: Vec<&str> = Vec::new();
    for place in foreign {
        match places.contains(&place.as_str()) {
            true => {}
            false if places.len() == NAMED_MAX => {
                places.push("..");
                break;
            }
            false => places.push(place),
        }
    }
    let count = match foreign.len() {
        0 => return,
        1 => "1 line is".to_owned(),
        many => format!("{many} lines are"),
    };
    notes.left_out(&places.join(", "), format!("{count} not of the webhook plugin"));
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inside('\'').or_else(|| inside('"')).unwrap_or(value)
}

fn sink(settings: &mut BTreeMap<String, String>, notes: &mut Notes) -> Block {
    let mut block = Block::new("sinks.web_hook", "web.hook.url");
    let url = settings.remove("web.hook.url").or_else(|| settings.remove("web.hook.api.url"));
    address(&mut block, "url", &url.unwrap_or_else(|| "http://127.0.0.1:80".to_owned()));
    block.text("event_format", "emqx4");
    payload_as(&mut block, settings, notes);
    for key in settings.keys().cloned().collect::<Vec<_>>() {
        let Some(header) = key.strip_prefix("web.hook.headers.") else { continue };
        let value = settings.remove(&key).unwrap_or_default();
        if header.eq_ignore_ascii_case("content-type") {
            notes.carried(&key, "bodies are application/json, as the plugin forces them to be");
        } else {
            entry(&mut block, "headers", (header, &value), &key, notes);
        }
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

/// How payloads stand in the bodies.
fn payload_as(block: &mut Block, settings: &mut BTreeMap<String, String>, notes: &mut Notes) {
    // The key of 4.3, and those that were seen before.
    for key in [
        "web.hook.body.encoding_of_payload_field",
        "web.hook.encode_payload",
        "web.hook.encoding_of_payload_field",
    ] {
        match settings.remove(key).as_deref() {
            None | Some("plain") => {}
            Some(encoding @ ("base62" | "base64")) => return block.text("payload_as", encoding),
            Some(other) => notes.left_out(key, format!("payloads in the encoding {other}")),
        }
    }
    block.text("payload_as", "text");
}

/// One hook: a kind of event, and the topics that it is for.
fn rule(key: &str, value: &str, taken: &mut Vec<String>, draft: &mut Draft, notes: &mut Notes) {
    let parsed: Value = serde_json::from_str(value).unwrap_or_default();
    let field = |name: &str| parsed.get(name).and_then(Value::as_str);
    let Some(action) = field("action") else {
        notes.left_out(key, format!("`{value}` is not JSON with an `action`"));
        return;
    };
    // `on_message_publish` is `message.publish`.
    let event = action.strip_prefix("on_").map(|event| event.replacen('_', ".", 1));
    let Some(kind) = event.as_deref().and_then(EventKind::named) else {
        notes.left_out(key, format!("{action} is not an event that Waypost has"));
        return;
    };
    let own = name(&key.replacen("web.hook.rule.", "", 1), taken);
    let mut block = Block::new(format!("rules.{own}"), key);
    block.set("events", format!("[{}]", text(kind.name())));
    match (field("topic"), kind.subject()) {
        (Some(_), Subject::Client | Subject::System) => {
            notes.different(key, "its topic has no effect, as in the plugin: the event has none");
        }
        (Some(topic), _) => block.set("topics", format!("[{}]", text(topic))),
        (None, _) => {}
    }
    block.set("sinks", "[\"web_hook\"]");
    draft.push(block);
}
