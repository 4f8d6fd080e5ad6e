//! EMQX 5 and 6: connectors, actions, rules, and the webhooks of 5.0 to 5.3.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Block, Draft, name, text};
use super::emqx5_parts::Parts;
use super::notes::Notes;
use super::service::{
    address, body, connector_url, entry, headers, method, period, renamed, size, tls,
};
use super::tree::Tree;
use crate::units::size_text;

/// What a queue needs at least (`queue.max_bytes`).
const QUEUE_BYTES_MIN: u64 = crate::config::QUEUE_BYTES_MIN;

/// Names here by names there.
#[derive(Default)]
struct Names {
    connectors: BTreeMap<String, Connector>,
    /// Of actions and webhooks.
    sinks: BTreeMap<String, String>,
}

/// What an action needs to know of its connector.
#[derive(Clone)]
struct Connector {
    name: String,
    /// What stands behind `?` in its URL.
    query: Vec<(String, String)>,
}

pub(super) fn draft(root: Value, broker: &str, notes: &mut Notes) -> Draft {
    let found = Parts::in_file(root, notes);
    let mut draft = Draft::default();
    let mut source = Block::new("sources.emqx", "the URL of the broker (`--broker`)");
    source.text("type", "mqtt");
    source.text("url", broker);
    draft.push(source);
    for difference in DIFFERENCES {
        notes.different("all", *difference);
    }
    let mut names = Names::default();
    let mut taken = Vec::new();
    for (known, tree) in found.connectors {
        let own = renamed(&known, &mut taken, tree.path(), notes);
        let (block, connector) = connector(own, tree, notes);
        names.connectors.insert(known, connector);
        draft.push(block);
    }
    let mut taken = Vec::new();
    let mut direct = Vec::new();
    for (known, tree) in found.actions {
        let own = renamed(&known, &mut taken, tree.path(), notes);
        names.sinks.insert(known, own.clone());
        draft.push(action(&own, tree, &names, notes));
    }
    for (known, tree) in found.webhooks {
        let own = renamed(&known, &mut taken, tree.path(), notes);
        names.sinks.insert(known, own.clone());
        draft.push(webhook(&own, tree, &mut direct, notes));
    }
    let mut taken = Vec::new();
    for (known, tree) in found.rules {
        let own = renamed(&known, &mut taken, tree.path(), notes);
        draft.push(rule(&own, tree, &names, notes));
    }
    for (sink, topic, origin) in direct {
        let own = name(&sink, &mut taken);
        let mut block = Block::new(format!("rules.{own}"), origin);
        block.set("topics", format!("[{}]", text(&topic)));
        block.set("sinks", format!("[{}]", text(&sink)));
        draft.push(block);
    }
    draft
}

/// What is not the same for anything that is imported.
const DIFFERENCES: &[&str] = &[
    "an event is kept on disk until it is delivered or its queue is full; EMQX gives up after `request_ttl` and keeps \
     nothing over a restart",
    "EMQX drops an event on any answer but 2xx, 429 and 503; here what such answers do is the sink's to say, and by default \
     nothing is lost",
    "rules see messages as a subscriber does: `clientid`, `username`, `peerhost` and `peername` of the publisher are \
     undefined unless devices connect to Waypost itself (`type = \"broker\"`)",
    "certificates of https services are always verified; EMQX does so only with `verify = verify_peer`",
];

fn connector(own: String, mut tree: Tree, notes: &mut Notes) -> (Block, Connector) {
    let mut block = Block::new(format!("connectors.{own}"), tree.path());
    let query = connector_url(&mut block, &mut tree, notes);
    service(&mut block, &mut tree, notes);
    if !tree.enabled() {
        block.turn_off("it is disabled in EMQX");
    }
    tree.finish(why_not, notes);
    (block, Connector { name: own, query })
}

/// What a connector and a webhook of 5.0 have in common.
fn service(block: &mut Block, tree: &mut Tree, notes: &mut Notes) {
    headers(block, tree, notes);
    if let Some(period) = period(tree, "connect_timeout", notes) {
        block.text("timeouts.connect", &period);
    }
    if let Some(period) = period(tree, "max_inactive", notes) {
        block.text("timeouts.idle", &period);
    }
    let mut ssl = tree.table("ssl");
    if !ssl.enabled() {
        if !ssl.keys().is_empty() {
            notes.left_out(ssl.path(), "is off in EMQX");
        }
        return;
    }
    tls(block, &mut ssl, notes);
    ssl.finish(|_| Some("TLS 1.2 and 1.3 with the ciphers of rustls, always verified"), notes);
}

fn action(own: &str, mut tree: Tree, names: &Names, notes: &mut Notes) -> Block {
    let mut block = Block::new(format!("sinks.{own}"), tree.path());
    let mut query = Vec::new();
    let place = tree.place("connector");
    if let Some(connector) = tree.text("connector") {
        let known = names.connectors.get(&connector).cloned().unwrap_or_else(|| {
            notes.left_out(&place, format!("there is no connector `{connector}` in the file"));
            Connector { name: connector, query: Vec::new() }
        });
        block.text("connector", &known.name);
        query = known.query;
    }
    let mut parameters = tree.table("parameters");
    request(&mut block, &mut parameters, notes);
    for (name, value) in &query {
        entry(&mut block, "query", (name, value), &place, notes);
    }
    parameters.finish(why_not, notes);
    resources(&mut block, &mut tree, notes);
    if tree
        .take("fallback_actions")
        .is_some_and(|actions| actions.as_array().is_some_and(|it| !it.is_empty()))
    {
        notes.left_out(
            &tree.place("fallback_actions"),
            "what cannot be delivered is kept; see dead letters",
        );
    }
    if !tree.enabled() {
        block.turn_off("it is disabled in EMQX");
    }
    tree.finish(why_not, notes);
    block
}

fn request(block: &mut Block, tree: &mut Tree, notes: &mut Notes) {
    let body_is_sent = method(block, tree.text("method"));
    if let Some(path) = tree.text("path").filter(|path| !path.is_empty()) {
        address(block, "path", &path);
    }
    headers(block, tree, notes);
    let place = tree.place("body");
    body(block, body_is_sent, tree.text("body"), &place, notes);
}

fn resources(block: &mut Block, tree: &mut Tree, notes: &mut Notes) {
    let mut resources = tree.table("resource_opts");
    let pool = resources.text("worker_pool_size");
    let workers = pool.as_deref().and_then(|pool| pool.parse().ok()).unwrap_or(16);
    let place = resources.place("max_buffer_bytes");
    let text = resources.text("max_buffer_bytes").or_else(|| resources.text("max_queue_bytes"));
    match text.as_deref().map(size) {
        Some(Some(bytes)) => {
            let all = size_text(bytes.saturating_mul(workers).max(QUEUE_BYTES_MIN));
            block.text("queue.max_bytes", &all);
            let message =
                format!("was for each of {workers} workers in memory; here {all} on disk");
            notes.different(&place, message);
        }
        Some(None) => notes.left_out(&place, "is not a size that Waypost has"),
        None if pool.is_some() => {
            let reason = why_not("worker_pool_size").unwrap_or_default();
            notes.left_out(&resources.place("worker_pool_size"), reason);
        }
        None => {}
    }
    match resources.text("inflight_window").as_deref() {
        Some("1") => block.text("order", "key"),
        Some(_) => {
            let reason = why_not("inflight_window").unwrap_or_default();
            notes.left_out(&resources.place("inflight_window"), reason);
        }
        None => {}
    }
    resources.finish(why_not, notes);
}

/// A webhook of EMQX 5.0 to 5.3: connector and action in one.
fn webhook(
    own: &str,
    mut tree: Tree,
    direct: &mut Vec<(String, String, String)>,
    notes: &mut Notes,
) -> Block {
    let mut block = Block::new(format!("sinks.{own}"), tree.path());
    if let Some(url) = tree.text("url") {
        address(&mut block, "url", &url);
    }
    service(&mut block, &mut tree, notes);
    let body_is_sent = method(&mut block, tree.text("method"));
    let place = tree.place("body");
    body(&mut block, body_is_sent, tree.text("body"), &place, notes);
    if let Some(period) = period(&mut tree, "request_timeout", notes) {
        block.text("timeouts.request", &period);
    }
    resources(&mut block, &mut tree, notes);
    let origin = tree.place("local_topic");
    if let Some(topic) = tree.text("local_topic").filter(|topic| !topic.is_empty()) {
        direct.push((own.to_owned(), topic, origin));
    }
    if !tree.enabled() {
        block.turn_off("it is disabled in EMQX");
    }
    tree.finish(why_not, notes);
    block
}

fn rule(own: &str, mut tree: Tree, names: &Names, notes: &mut Notes) -> Block {
    let mut block = Block::new(format!("rules.{own}"), tree.path());
    block.text("sql", tree.text("sql").unwrap_or_default().trim());
    let place = tree.place("actions");
    let actions = match tree.take("actions") {
        Some(Value::Array(actions)) => actions,
        Some(single) => vec![single],
        None => Vec::new(),
    };
    let mut sinks = Vec::new();
    for action in actions {
        match sink_of(&action, names) {
            Ok(sink) if sinks.contains(&sink) => {}
            Ok(sink) => sinks.push(sink),
            Err(reason) => notes.left_out(&place, reason),
        }
    }
    let list: Vec<_> = sinks.iter().map(|sink| text(sink)).collect();
    block.set("sinks", format!("[{}]", list.join(", ")));
    if sinks.is_empty() {
        block.turn_off("none of its actions is there");
    }
    if !tree.enabled() {
        block.turn_off("it is disabled in EMQX");
    }
    tree.finish(why_not, notes);
    block
}

/// The sink of an action of a rule: `http:NAME`, `webhook:NAME`, or a function.
fn sink_of(action: &Value, names: &Names) -> Result<String, String> {
    if let Some(function) = action.get("function").and_then(Value::as_str) {
        return Err(match function {
            "republish" => "republish: Waypost publishes nothing to brokers".to_owned(),
            "console" => "console: see what a rule gives with `waypost rule test`".to_owned(),
            other => format!("the function {other} is EMQX's own"),
        });
    }
    let text = |key: &str| action.get(key).and_then(Value::as_str);
    let no_action = |shown: &str| format!("{shown} is no action of EMQX, which is `TYPE:NAME`");
    let shown = match (action, text("type"), text("name")) {
        (Value::String(id), ..) => id.clone(),
        (_, Some(kind), Some(known)) => format!("{kind}:{known}"),
        _ => return Err(no_action(&action.to_string())),
    };
    let (kind, known) = shown.split_once(':').ok_or_else(|| no_action(&shown))?;
    match (kind, names.sinks.get(known)) {
        ("http" | "webhook", Some(sink)) => Ok(sink.clone()),
        ("http" | "webhook", None) => Err(format!("there is no action {shown} in the file")),
        _ => Err(format!("{shown} is of type {kind}; Waypost delivers over HTTP only")),
    }
}

/// Why a key has no counterpart.
fn why_not(key: &str) -> Option<&'static str> {
    Some(match key {
        "pool_size" | "pool_type" | "enable_pipelining" | "worker_pool_size"
        | "inflight_window" | "dispatch_strategy" => {
            "connections and requests in flight are a sink's `concurrency` and `order`"
        }
        "max_retries" => "EMQX does not use it either; see `retry`",
        "request_ttl" | "request_timeout" => {
            "events are kept until they are delivered; see `timeouts.request`"
        }
        "query_mode"
        | "batch_size"
        | "batch_time"
        | "buffer_mode"
        | "buffer_seg_bytes"
        | "metrics_flush_interval"
        | "async_inflight_window"
        | "auto_restart_interval" => {
            "every event goes through a queue on disk; see `queue` and `batch`"
        }
        "health_check_interval"
        | "health_check_timeout"
        | "health_check_interval_jitter"
        | "resume_interval"
        | "start_after_created"
        | "start_timeout"
        | "resource_opts" => "a sink is judged by its answers, and probed slowly while it fails",
        "description" | "tags" | "created_at" | "last_modified_at" | "metadata" | "node_status"
        | "status" | "status_reason" | "from" | "rules" | "actions" | "metrics"
        | "node_metrics" => "says nothing that a config needs",
        "oauth2" => {
            "OAuth 2 is not there: a token from a file is read again when it is refused (`auth`)"
        }
        _ => return None,
    })
}
