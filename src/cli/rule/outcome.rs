//! What became of an event in a rule, as text and as JSON.

use super::request::Request;
use crate::config::{Finding, Place};
use crate::rule::Rule;
use crate::rule::events;
use crate::rule::program::{Input, Outcome, Program};
use crate::rule::sql::SqlError;
use crate::rule::value::{Map, Value};
use crate::topic::levels_match;

/// What `waypost rule test` found out.
#[derive(Debug)]
pub(super) enum Tested {
    /// What the rule puts out, one object each.
    Matched(Vec<Map>),
    /// Why the rule does not want the event.
    NotMatched(String),
    /// Why the rule cannot be applied.
    Failed(String),
}

/// Applies a rule, in SQL, to the columns of an event.
pub(super) fn test_sql(sql: &str, columns: &Map, event_topic: Option<&str>) -> Tested {
    match Program::new(sql) {
        Ok(program) => test_program(&program, columns, event_topic),
        Err(errors) => Tested::Failed(mistakes(sql, &errors)),
    }
}

/// Applies a rule to the columns of an event. Without a topic, that of its kind or its own is looked for in `FROM`; an event
/// that has none is in every `FROM`.
pub(super) fn test_program(program: &Program, columns: &Map, event_topic: Option<&str>) -> Tested {
    let topic = event_topic.or_else(|| events::topic_of(columns));
    if let Some(topic) = topic.filter(|topic| !program.is_from(topic)) {
        return Tested::NotMatched(program.why_not_from(topic));
    }
    let input = Input::new(columns);
    match program.apply(&input) {
        Ok(Outcome::Event) => Tested::Matched(vec![program.columns(&input)]),
        Ok(Outcome::Outputs(outputs)) => Tested::Matched(outputs),
        Ok(Outcome::NotMatched) => Tested::NotMatched(program.why_not(&input)),
        Err(error) => Tested::Failed(error.message),
    }
}

/// Applies a rule of a config: its kinds of event and topics, or its SQL.
pub(super) fn test_rule(rule: &Rule, columns: &Map, event_topic: Option<&str>) -> Tested {
    if let Some(program) = &rule.program {
        return test_program(program, columns, event_topic);
    }
    let kind = events::kind_of(columns);
    if !rule.events.contains(&kind) {
        return Tested::NotMatched(format!("the rule does not want {}", kind.name()));
    }
    let wanted = |topic: &str| rule.topics.iter().any(|filter| levels_match(filter.plain(), topic));
    let topic = event_topic.or_else(|| text_of(columns, b"topic"));
    match topic.filter(|_| rule.narrowed.concerns(kind)) {
        Some(topic) if !wanted(topic) => {
            Tested::NotMatched(format!("no topic of the rule has `{topic}`"))
        }
        _ => Tested::Matched(vec![columns.clone()]),
    }
}

fn text_of<'c>(columns: &'c Map, name: &[u8]) -> Option<&'c str> {
    columns.get(name).and_then(Value::as_str)
}

/// The columns of an event given as JSON, where `{"$undefined": true}` is a column that is there and undefined.
pub(super) fn columns(event: &Value) -> Result<Map, String> {
    let Some(columns) = event.as_map() else {
        return Err(format!("an event is an object of its columns, not {}", event.kind()));
    };
    let entries = columns.iter().map(|(name, value)| {
        let marked = value.as_map().is_some_and(|map| {
            map.len() == 1 && map.get(b"$undefined") == Some(&Value::Bool(true))
        });
        (name.clone(), if marked { Value::Undefined } else { value.clone() })
    });
    Ok(Map::from_entries(entries.collect()))
}

/// Every mistake with its place in the SQL.
fn mistakes(sql: &str, errors: &[SqlError]) -> String {
    let findings = errors.iter().map(|error| {
        let place = Place::new("sql", sql, error.span.start..error.span.end);
        let finding =
            Finding { key: String::new(), message: error.message.clone(), place: Some(place) };
        finding.to_string()
    });
    findings.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

impl Tested {
    /// One JSON object on one line.
    pub(super) fn to_json(&self, requests: Option<&[Request]>) -> String {
        let text = |text: &String| Value::from(text.clone());
        let mut entries = match self {
            Self::Matched(outputs) => {
                let outputs = outputs.iter().map(|output| Value::map(output.clone()));
                vec![
                    ("outcome", Value::from("matched")),
                    ("outputs", Value::array(outputs.collect())),
                ]
            }
            Self::NotMatched(because) => {
                vec![("outcome", Value::from("not_matched")), ("because", text(because))]
            }
            Self::Failed(error) => vec![("outcome", Value::from("error")), ("error", text(error))],
        };
        if let Some(requests) = requests {
            let requests = requests.iter().map(Request::to_value).collect();
            entries.push(("requests", Value::array(requests)));
        }
        let mut line = Vec::new();
        for (place, (key, value)) in entries.iter().enumerate() {
            line.extend_from_slice(if place == 0 { b"{\"" } else { b",\"" });
            line.extend_from_slice(key.as_bytes());
            line.extend_from_slice(b"\":");
            value.write_json(&mut line);
        }
        line.push(b'}');
        String::from_utf8_lossy(&line).into_owned()
    }
}
