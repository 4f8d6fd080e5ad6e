//! The JSON Schema of a config, for editors: made of what the parser asks for while it reads `config/waypost.toml` with all
//! its parts and settings on, and of what that file says about each key. So neither can know a key that the other does
//! not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};
use toml::de::DeTable;

use super::Surroundings;
use super::reader::Reader;

/// Every key with its default and meaning.
const SHIPPED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/waypost.toml"));
/// Any text may hold `${env:NAME}` instead of what would be checked.
const VARIABLE: &str = r"\$\{env:";
/// What the parts that are not on start with.
const PART: &str = "#~ ";
/// Stands behind a value that is not the default.
const EXAMPLE: &str = "# example";
/// A name of the operator's choice.
const NAME: &str = "*";

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// Any text.
    Text,
    /// One of these.
    Words(Vec<String>),
    Integer(RangeInclusive<u64>),
    Decimal(RangeInclusive<f64>),
    Boolean,
    /// As in "64MiB".
    Size,
    /// As in "1h30m".
    Period,
    /// A text, or where it is.
    Secret,
    List,
    Table,
}

impl Form {
    pub(super) fn words<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        Self::Words(words.map(str::to_owned).collect())
    }
}

/// The schema (JSON Schema, draft 7: what editors of TOML read).
#[must_use]
pub fn schema() -> Json {
    let known = Known::read();
    let mut schema = known.table("");
    schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_owned(), json!("The config of Waypost"));
    schema.into()
}

/// `config/waypost.toml` with all its parts and settings on.
pub(super) fn everything() -> String {
    let line = |line: &str| {
        let line = line.strip_prefix(PART).unwrap_or(line);
        setting(line).unwrap_or(line).to_owned() + "\n"
    };
    SHIPPED.lines().map(line).collect()
}

/// `#key = value` without its `#`.
fn setting(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// What is known of each key. Names of the operator's choice are `*`, and those of sources their type; what a connector
/// or a sink has in common with a webhook is known of the webhook.
struct Known {
    forms: BTreeMap<String, Vec<Form>>,
    /// As asked for in each kind of table.
    asked: BTreeSet<String>,
    required: BTreeSet<String>,
    docs: BTreeMap<String, Doc>,
    source_types: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Doc {
    text: String,
    default: Option<Json>,
}

impl Known {
    fn read() -> Self {
        let text = everything();
        // Nothing outside of the file has a say: what cannot be read is of no concern, its keys are asked for all the same.
        let surroundings = Surroundings {
            file: String::new(),
            folder: "/nonexistent".into(),
            host: String::new(),
            variable: Box::new(|_| Some("x".to_owned())),
            partition_bytes: Box::new(|_| None),
        };
        let reader = Reader::new(&text, &surroundings);
        let (document, _) = DeTable::parse_recoverable(&text);
        drop(super::config(&reader, document.get_ref()));
        let types = source_types(document.get_ref());
        let mut forms: BTreeMap<String, Vec<Form>> = BTreeMap::new();
        for (key, found) in reader.forms() {
            let known = forms.entry(shared(&general(&key, &types))).or_default();
            for form in found {
                if !known.contains(&form) {
                    known.push(form);
                }
            }
        }
        let asked = reader.asked();
        Self {
            required: required(&reader, &types),
            asked: asked.iter().map(|key| general(key, &types)).collect(),
            docs: docs(&types),
            source_types: types.into_values().collect(),
            forms,
        }
    }

    /// The keys within a table.
    fn keys(&self, path: &str) -> Vec<String> {
        // What `tls` and the like have stands wherever one was read.
        let of_kind = |asked: &String| {
            let nested = path.matches('.').count() >= 2;
            let asked = if nested { shared(asked) } else { asked.clone() };
            let path = if nested { shared(path) } else { path.to_owned() };
            let rest = if path.is_empty() {
                Some(asked.as_str())
            } else {
                asked.strip_prefix(&path).and_then(|rest| rest.strip_prefix('.'))
            };
            rest.filter(|rest| !rest.contains(['.', '['])).map(str::to_owned)
        };
        let keys: BTreeSet<String> = self.asked.iter().filter_map(of_kind).collect();
        keys.into_iter().filter(|key| key != NAME).collect()
    }

    fn table(&self, path: &str) -> Map<String, Json> {
        let mut table = Map::new();
        table.insert("type".to_owned(), json!("object"));
        let keys = self.keys(path);
        if keys.is_empty() {
            table.insert("additionalProperties".to_owned(), self.named(path));
            return table;
        }
        let required: Vec<&String> =
            keys.iter().filter(|key| self.required.contains(&join(path, key))).collect();
        if !required.is_empty() {
            table.insert("required".to_owned(), json!(required));
        }
        let properties: Map<String, Json> =
            keys.iter().map(|key| (key.clone(), self.value(&join(path, key)))).collect();
        table.insert("properties".to_owned(), properties.into());
        table.insert("additionalProperties".to_owned(), false.into());
        table
    }

    /// What stands under names of the operator's choice.
    fn named(&self, path: &str) -> Json {
        if path != "sources" {
            return self.value(&join(path, NAME));
        }
        let types = self.source_types.iter().map(|kind| {
            let path = join(path, kind);
            let mut table = self.table(&path);
            if let Some(doc) = self.docs.get(&path) {
                table.insert("description".to_owned(), json!(doc.text));
            }
            if let Some(properties) = table.get_mut("properties").and_then(Json::as_object_mut) {
                properties.insert("type".to_owned(), json!({ "const": kind }));
            }
            Json::from(table)
        });
        json!({ "oneOf": types.collect::<Vec<_>>() })
    }

    fn value(&self, path: &str) -> Json {
        let none = Vec::new();
        let forms = self.forms.get(&shared(path)).unwrap_or(&none);
        // A text of a special form is read as a text first.
        let special = |form: &Form| !matches!(form, Form::Text | Form::Table);
        let secret = forms.contains(&Form::Secret);
        let narrow = forms
            .iter()
            .any(|form| matches!(form, Form::Words(_) | Form::Size | Form::Period | Form::Secret));
        let kept = forms.iter().filter(|form| match form {
            Form::Text => !narrow,
            Form::Table => !secret,
            other => special(other),
        });
        let mut schemas: Vec<Json> = kept.map(|form| self.form(form, path)).collect();
        let mut schema = match schemas.len() {
            0 => json!({}),
            1 => schemas.remove(0),
            _ => json!({ "anyOf": schemas }),
        };
        if let (Some(schema), Some(doc)) = (schema.as_object_mut(), self.docs.get(&shared(path))) {
            if !doc.text.is_empty() {
                schema.insert("description".to_owned(), json!(doc.text));
            }
            if let Some(default) = &doc.default {
                schema.insert("default".to_owned(), default.clone());
            }
        }
        schema
    }

    fn form(&self, form: &Form, path: &str) -> Json {
        match form {
            Form::Text => json!({ "type": "string" }),
            Form::Words(words) => json!({
                "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }]
            }),
            Form::Integer(range) => {
                json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
            }
            Form::Decimal(range) => {
                json!({ "type": "number", "minimum": range.start(), "maximum": range.end() })
            }
            Form::Boolean => json!({ "type": "boolean" }),
            Form::Size => {
                json!({ "type": "string", "pattern": format!("^[0-9]+ ?([KMGT]i?)?B$|{VARIABLE}") })
            }
            Form::Period => {
                json!({ "type": "string", "pattern": format!("^([0-9]+(ms|s|m|h|d))+$|{VARIABLE}") })
            }
            Form::Secret => {
                let place = |key: &str| {
                    json!({
                        "type": "object",
                        "properties": { key: { "type": "string" } },
                        "required": [key],
                        "additionalProperties": false,
                    })
                };
                json!({ "anyOf": [{ "type": "string" }, place("file"), place("env")] })
            }
            Form::List => {
                json!({ "type": "array", "items": self.value(&format!("{path}[]")) })
            }
            Form::Table => self.table(path).into(),
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The type of each source of the file.
fn source_types(document: &DeTable<'_>) -> BTreeMap<String, String> {
    let sources = document.get("sources").and_then(|sources| sources.get_ref().as_table());
    let of_source = |(name, source): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
        let kind = source.get_ref().as_table()?.get("type")?.get_ref().as_str()?.to_owned();
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        Some((name.to_string(), kind))
    };
    sources.into_iter().flatten().filter_map(of_source).collect()
}

/// A key without the names of the operator's choice, and without places in lists.
fn general(key: &str, types: &BTreeMap<String, String>) -> String {
    let mut parts: Vec<&str> = key.split('.').collect();
    match parts.as_mut_slice() {
        ["sources", name, ..] => *name = types.get(*name).map_or(NAME, String::as_str),
        ["connectors" | "sinks" | "webhooks" | "rules", name, ..] => *name = NAME,
        _ => {}
    }
    if let [_, _, table @ ("headers" | "query" | "on_status"), name] = parts.as_mut_slice() {
        debug_assert!(!table.is_empty(), "a table whose keys are the operator's");
        *name = NAME;
    }
    let mut general = String::new();
    for part in parts.join(".").split('[') {
        match part.split_once(']') {
            Some((_, rest)) if !general.is_empty() => {
                general.push_str("[]");
                general.push_str(rest);
            }
            _ => general += part,
        }
    }
    general
}

/// The key under which it is known what a connector or a sink has in common with a webhook.
fn shared(general: &str) -> String {
    for kind in ["connectors.*.", "sinks.*."] {
        if let Some(rest) = general.strip_prefix(kind) {
            return format!("webhooks.*.{rest}");
        }
    }
    general.to_owned()
}

/// What every table of its kind had to have.
fn required(reader: &Reader<'_>, types: &BTreeMap<String, String>) -> BTreeSet<String> {
    let asked = reader.asked();
    let must = reader.required();
    let optional: BTreeSet<String> =
        asked.difference(&must).map(|key| general(key, types)).collect();
    let must = must.iter().map(|key| general(key, types));
    must.filter(|key| !optional.contains(key)).collect()
}

/// What the file says of each key: the comment above it, which may be about several.
fn docs(types: &BTreeMap<String, String>) -> BTreeMap<String, Doc> {
    let mut docs: BTreeMap<String, Doc> = BTreeMap::new();
    let (mut table, mut text) = (String::new(), String::new());
    let (mut is_open, mut is_heading) = (false, false);
    for line in SHIPPED.lines() {
        let line = line.strip_prefix(PART).unwrap_or(line);
        let is_default = !line.contains(EXAMPLE);
        let key_line = setting(line).unwrap_or(line);
        if let Some(comment) = line.strip_prefix("# ") {
            if !is_open {
                text.clear();
            }
            is_open = true;
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(comment.trim_matches(['-', ' ']));
            is_heading = comment.starts_with("---");
            continue;
        }
        is_open = false;
        if let Some(header) = line.strip_prefix('[') {
            table = general(header.trim_start_matches('[').trim_end_matches(']'), types);
            // It goes for what follows, too, where that has no word of its own.
            let doc = docs.entry(table.clone()).or_default();
            if doc.text.is_empty() {
                doc.text.clone_from(&text);
            }
        } else if let Some((key, _)) = key_line.split_once(" = ").filter(|(key, _)| is_key(key)) {
            let default = (is_default && key_line != line).then(|| default_of(key_line)).flatten();
            let path = shared(&join(&table, key));
            let doc = docs.entry(path).or_default();
            if doc.text.is_empty() {
                doc.text.clone_from(&text);
            }
            doc.default = doc.default.take().or(default);
        } else if line.is_empty() && !is_heading {
            text.clear();
        }
    }
    docs
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.'))
}

/// The value of `key = value` on one line.
fn default_of(line: &str) -> Option<Json> {
    let table: toml::Table = line.parse().ok()?;
    let mut value = serde_json::to_value(table).ok()?;
    while let Json::Object(table) = value {
        value = table.into_iter().next()?.1;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_asked_for_has_a_form_and_a_word_about_it() {
        let known = Known::read();
        let of_secret =
            |key: &str| key.rsplit('.').next().is_some_and(|last| ["file", "env"].contains(&last));
        let asked: BTreeSet<String> = known.asked.iter().map(|key| shared(key)).collect();
        let keys: Vec<_> = asked.iter().filter(|key| !of_secret(key)).collect();
        assert!(keys.len() > 80, "{keys:?}");
        let without_form: Vec<_> =
            keys.iter().filter(|key| !known.forms.contains_key(**key)).collect();
        assert!(without_form.is_empty(), "{without_form:?}");
        // What has no word of its own is told of with its table; not so in a webhook, where the words are about others.
        let told = |key: &str| {
            let key = key.replace("[]", "");
            let mut key = key.as_str();
            loop {
                if known.docs.get(key).is_some_and(|doc| !doc.text.is_empty()) {
                    return true;
                }
                match key.rsplit_once('.') {
                    Some((above, _)) if above != "webhooks.*" => key = above,
                    _ => return false,
                }
            }
        };
        let is_table =
            |key: &str| known.forms.get(key).is_some_and(|forms| forms.contains(&Form::Table));
        let untold: Vec<_> = keys.iter().filter(|key| !is_table(key) && !told(key)).collect();
        assert!(untold.is_empty(), "{untold:?}");
    }
}
