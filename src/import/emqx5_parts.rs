//! What of EMQX 5 is in a file: its config, or the answers of its API, each alone or several of them in one object.

use serde_json::{Map, Value};

use super::notes::Notes;
use super::tree::{Tree, elements};

/// Everything that is read before anything is written: actions name connectors, rules name actions.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) connectors: Vec<(String, Tree)>,
    pub(super) actions: Vec<(String, Tree)>,
    pub(super) webhooks: Vec<(String, Tree)>,
    pub(super) rules: Vec<(String, Tree)>,
}

impl Parts {
    pub(super) fn in_file(root: Value, notes: &mut Notes) -> Self {
        let mut parts = Self::default();
        match root {
            Value::Array(elements) => parts.add_elements(None, elements, notes),
            one if is_element(&one) => parts.add_elements(None, vec![one], notes),
            root => {
                let mut root = Tree::new("", root);
                match root.take("data") {
                    Some(Value::Array(elements)) => parts.add_elements(None, elements, notes),
                    Some(other) => root.give_back("data", other),
                    None => {}
                }
                parts.add_lists(&mut root, notes);
                parts.add_engine(&mut root, notes);
                let others: Vec<_> = root.keys().into_iter().filter(|key| key != "meta").collect();
                if !others.is_empty() {
                    notes.left_out(
                        &others.join(", "),
                        "settings of the broker, not of rules and webhooks",
                    );
                }
            }
        }
        parts
    }

    /// As the API lists them, each with its name in it; `key` is the list's, which an answer alone does not tell.
    fn add_elements(&mut self, key: Option<&str>, elements: Vec<Value>, notes: &mut Notes) {
        for (number, element) in elements.into_iter().enumerate() {
            let key = key.unwrap_or_else(|| key_of(&element));
            let text = |key: &str| element.get(key)?.as_str().filter(|text| !text.is_empty());
            let kind = text("type").unwrap_or("unknown").to_owned();
            let Some(known) = text("id").or_else(|| text("name")).map(str::to_owned) else {
                notes.left_out(&format!("{key}[{number}]"), "has neither `id` nor `name`");
                continue;
            };
            let mut tree = Tree::new(format!("{key}[{known}]"), element);
            for taken in ["id", "type"] {
                tree.take(taken);
            }
            // A rule has an id and may have a name besides.
            if let Some(name) = tree.text("name").filter(|name| !name.is_empty() && *name != known)
            {
                let reason = format!("`{name}`: rules are called by their id");
                notes.left_out(&tree.place("name"), reason);
            }
            self.add(key, &kind, (known, tree), notes);
        }
    }

    fn add(&mut self, key: &str, kind: &str, part: (String, Tree), notes: &mut Notes) {
        match (key, kind) {
            ("rules", _) => self.rules.push(part),
            ("connectors", "http") => self.connectors.push(part),
            ("actions", "http") => self.actions.push(part),
            ("bridges", "webhook") => self.webhooks.push(part),
            ("sources", _) => {
                notes.left_out(part.1.path(), "name the other broker as a source of Waypost");
            }
            _ => notes.left_out(
                part.1.path(),
                format!("is of type {kind}; Waypost delivers over HTTP only"),
            ),
        }
    }

    fn add_lists(&mut self, root: &mut Tree, notes: &mut Notes) {
        for key in ["sources", "rules", "actions", "connectors", "bridges"] {
            match root.take(key).map(elements) {
                Some(Ok(elements)) => self.add_elements(Some(key), elements, notes),
                Some(Err(Value::Object(tables))) if key == "rules" => {
                    for (known, value) in tables {
                        let tree = Tree::new(format!("rules.{known}"), value);
                        self.rules.push((known, tree));
                    }
                }
                Some(Err(tables @ Value::Object(_))) => self.add_kinds(key, tables, notes),
                Some(Err(other)) => root.give_back(key, other),
                None => {}
            }
        }
    }

    /// `connectors.http.NAME` and its like.
    fn add_kinds(&mut self, key: &str, kinds: Value, notes: &mut Notes) {
        let mut root = Map::new();
        root.insert(key.to_owned(), kinds);
        for (kind, mut tree) in Tree::new("", Value::Object(root)).tables(key) {
            for name in tree.keys() {
                let one = tree.table(&name);
                self.add(key, &kind, (name, one), notes);
            }
        }
    }

    /// `rule_engine`, with the rules of the config.
    fn add_engine(&mut self, root: &mut Tree, notes: &mut Notes) {
        let mut engine = root.table("rule_engine");
        self.rules.extend(engine.tables("rules"));
        engine.finish(
            |key| match key {
                "jq_function_default_timeout" => {
                    Some("`jq` has 1 s, or the time that its call names")
                }
                "ignore_sys_message" => {
                    Some("topics that start with `$` match only filters that do")
                }
                _ => None,
            },
            notes,
        );
    }
}

/// Whether it is what the API answers for one rule, action or connector.
fn is_element(root: &Value) -> bool {
    let text = |key| root.get(key).is_some_and(Value::is_string);
    text("sql") || (text("type") && text("name"))
}

/// Which list of the API an element is of.
fn key_of(element: &Value) -> &'static str {
    let has = |key| element.get(key).is_some();
    match element.get("type").and_then(Value::as_str) {
        _ if has("sql") => "rules",
        Some("webhook") => "bridges",
        _ if has("parameters") || has("connector") => "actions",
        _ => "connectors",
    }
}
