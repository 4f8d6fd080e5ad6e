//! EMQX 4's rule engine: the `rules` and `resources` of a data export, or what its API lists.
//!
//! A resource of type `web_hook` becomes a connector, each action `data_to_webserver` a sink of its own, since path, headers
//! and body stand in the action.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Block, Draft, name, text};
use super::notes::Notes;
use super::service::{address, body, connector_url, entry, headers, method, period, renamed, tls};
use super::tree::{Tree, elements};

/// What is not the same for anything that is imported.
const DIFFERENCES: &[&str] = &[
    "an action makes the client wait for the service and loses what fails; here an event is kept on disk until it is \
     delivered or its queue is full",
    "rules see messages as a subscriber does: `clientid`, `username` and `peerhost` of the publisher are undefined unless \
     devices connect to Waypost itself (`type = \"broker\"`)",
    "`SELECT *` gives the columns of EMQX 6, which are more than those of EMQX 4",
    "certificates of https services are always verified; EMQX does so only with `verify`",
];

/// Names here by names there.
#[derive(Default)]
struct Names {
    connectors: BTreeMap<String, Connector>,
    /// Of sinks.
    taken: Vec<String>,
}

/// What an action needs to know of its resource.
#[derive(Clone)]
struct Connector {
    name: String,
    /// What stands behind `?` in its URL.
    query: Vec<(String, String)>,
    /// How long its sinks wait for an answer.
    request_timeout: Option<String>,
}

pub(super) fn draft(root: Value, broker: &str, notes: &mut Notes) -> Draft {
    let mut draft = Draft::default();
    let mut source = Block::new("sources.emqx", "the URL of the broker (`--broker`)");
    source.text("type", "mqtt");
    source.text("url", broker);
    draft.push(source);
    for difference in DIFFERENCES {
        notes.different("all", *difference);
    }
    let (rules, resources) = parts(root, notes);
    let mut names = Names::default();
    let mut taken = Vec::new();
    for mut tree in resources {
        let kind = tree.text("type").unwrap_or_default();
        let known = tree.text("id").unwrap_or_default();
        if kind != "web_hook" {
            notes.left_out(
                tree.path(),
                format!("is of type {kind}; Waypost delivers over HTTP only"),
            );
            continue;
        }
        let own = renamed(&known, &mut taken, tree.path(), notes);
        let (block, connector) = connector(own, tree, notes);
        names.connectors.insert(known, connector);
        draft.push(block);
    }
    let mut taken = Vec::new();
    for mut tree in rules {
        let known = tree.text("id").unwrap_or_default();
        let own = renamed(&known, &mut taken, tree.path(), notes);
        rule(&own, tree, &mut names, &mut draft, notes);
    }
    draft
}

/// The rules and the resources of an export, of a list, or of one of them alone.
fn parts(root: Value, notes: &mut Notes) -> (Vec<Tree>, Vec<Tree>) {
    let (mut rules, mut resources) = (Vec::new(), Vec::new());
    let mut add = |path: &str, value: Value| {
        let list = elements(value).unwrap_or_else(|one| vec![one]);
        for (number, element) in list.into_iter().enumerate() {
            let is_rule = element.get("rawsql").is_some();
            let known = element.get("id").and_then(Value::as_str).map(str::to_owned);
            let known = known.unwrap_or_else(|| number.to_string());
            let tree = Tree::new(format!("{path}[{known}]"), element);
            if is_rule { rules.push(tree) } else { resources.push(tree) }
        }
    };
    match root {
        Value::Object(fields) if !fields.contains_key("rawsql") && !fields.contains_key("type") => {
            let mut root = Tree::new("", Value::Object(fields));
            for key in ["rules", "resources", "data"] {
                if let Some(value) = root.take(key) {
                    add(key, value);
                }
            }
            let others: Vec<_> = root
                .keys()
                .into_iter()
                .filter(|key| !matches!(key.as_str(), "version" | "date" | "code" | "meta"))
                .collect();
            if !others.is_empty() {
                notes.left_out(&others.join(", "), "settings of the broker, not of rules");
            }
        }
        root => add("", root),
    }
    (rules, resources)
}

/// A resource, and what its actions need of it.
fn connector(own: String, mut tree: Tree, notes: &mut Notes) -> (Block, Connector) {
    let mut block = Block::new(format!("connectors.{own}"), tree.path());
    let mut config = tree.table("config");
    let query = connector_url(&mut block, &mut config, notes);
    headers(&mut block, &mut config, notes);
    if let Some(period) = period(&mut config, "connect_timeout", notes) {
        block.text("timeouts.connect", &period);
    }
    let request_timeout = period(&mut config, "request_timeout", notes);
    for file in ["cacertfile", "certfile", "keyfile"] {
        // With the text of the file in it, as the dashboard uploads it.
        if let Some(content) = config.take(file) {
            match content.get("filename").and_then(Value::as_str) {
                Some(known) if !known.is_empty() => notes.left_out(
                    &config.place(file),
                    format!("write `{known}` to a file and name it in `tls` of [connectors.{own}]"),
                ),
                Some(_) => {}
                None => config.give_back(file, content),
            }
        }
    }
    tls(&mut block, &mut config, notes);
    config.finish(why_not, notes);
    tree.finish(why_not, notes);
    (block, Connector { name: own, query, request_timeout })
}

fn rule(own: &str, mut tree: Tree, names: &mut Names, draft: &mut Draft, notes: &mut Notes) {
    let mut block = Block::new(format!("rules.{own}"), tree.path());
    block.text("sql", tree.text("rawsql").unwrap_or_default().trim());
    let place = tree.place("actions");
    let actions = match tree.take("actions") {
        Some(Value::Array(actions)) => actions,
        Some(single) => vec![single],
        None => Vec::new(),
    };
    let mut sinks = Vec::new();
    for (number, action) in actions.into_iter().enumerate() {
        let mut action = Tree::new(format!("{place}[{number}]"), action);
        let kind = action.text("name").unwrap_or_default();
        if kind != "data_to_webserver" {
            let reason = match kind.as_str() {
                "republish" => "Waypost publishes nothing to brokers".to_owned(),
                "inspect" | "do_nothing" => {
                    "see what a rule gives with `waypost rule test`".to_owned()
                }
                _ => "Waypost delivers over HTTP only".to_owned(),
            };
            notes.left_out(action.path(), format!("{kind}: {reason}"));
            continue;
        }
        let known = action.text("id").unwrap_or_else(|| format!("{own}-{number}"));
        let sink = name(&known, &mut names.taken);
        draft.push(self::sink(&sink, action, names, notes));
        sinks.push(text(&sink));
    }
    block.set("sinks", format!("[{}]", sinks.join(", ")));
    if sinks.is_empty() {
        block.turn_off("none of its actions is there");
    }
    if tree.text("enabled").as_deref() == Some("false") {
        block.turn_off("it is disabled in EMQX");
    }
    tree.finish(why_not, notes);
    draft.push(block);
}

fn sink(own: &str, mut action: Tree, names: &Names, notes: &mut Notes) -> Block {
    let mut block = Block::new(format!("sinks.{own}"), action.path());
    let mut arguments = action.table("args");
    if arguments.keys().is_empty() {
        // As the API has it.
        arguments = action.table("params");
    }
    let place = arguments.place("$resource");
    let resource = arguments.text("$resource").unwrap_or_default();
    let connector = names.connectors.get(&resource).cloned().unwrap_or_else(|| {
        let reason = format!("there is no resource `{resource}` of type web_hook in the file");
        notes.left_out(&place, reason);
        Connector { name: resource, query: Vec::new(), request_timeout: None }
    });
    block.text("connector", &connector.name);
    if let Some(period) = &connector.request_timeout {
        block.text("timeouts.request", period);
    }
    let body_is_sent = method(&mut block, arguments.text("method"));
    if let Some(path) = arguments.text("path").filter(|path| !path.is_empty()) {
        address(&mut block, "path", &path);
    }
    for (name, value) in &connector.query {
        entry(&mut block, "query", (name, value), &place, notes);
    }
    headers(&mut block, &mut arguments, notes);
    let template = arguments.text("body").filter(|body| !body.is_empty());
    // Its name up to EMQX 4.2.
    let old = arguments.text("payload_tmpl");
    body(&mut block, body_is_sent, template.or(old), &arguments.place("body"), notes);
    arguments.finish(why_not, notes);
    let fallbacks = action.take("fallbacks");
    if fallbacks.is_some_and(|actions| actions.as_array().is_some_and(|it| !it.is_empty())) {
        notes.left_out(
            &action.place("fallbacks"),
            "what cannot be delivered is kept; see dead letters",
        );
    }
    action.finish(why_not, notes);
    block
}

/// Why a key has no counterpart.
fn why_not(key: &str) -> Option<&'static str> {
    Some(match key {
        "pool_size" | "enable_pipelining" => "requests in flight are a sink's `concurrency`",
        "verify" => "certificates are always verified",
        "description" | "created_at" | "metrics" | "for" | "status" | "node" => {
            "says nothing that a config needs"
        }
        _ => return None,
    })
}
