//! `[[rules.NAME.tests]]`: events with what a rule is to make of them, tried when the config is read.

use bytes::Bytes;

use super::reader::{Table, Value};
use crate::rule::events;
use crate::rule::program::{Input, Outcome, Program};
use crate::rule::value::{Map, Value as Json};

/// One of them.
pub(super) struct RuleTest<'r> {
    value: Value<'r>,
    event: Map,
    event_topic: Option<String>,
    /// An object, an array of objects, or null for nothing.
    output: Json,
}

impl<'r> Table<'r> {
    /// `tests`, with what is wrong with them told.
    pub(super) fn rule_tests(&mut self) -> Vec<RuleTest<'r>> {
        let list = self.get("tests").and_then(|value| value.list()).unwrap_or_default();
        list.into_iter().filter_map(rule_test).collect()
    }
}

fn rule_test(value: Value<'_>) -> Option<RuleTest<'_>> {
    let mut table = value.table()?;
    let event = table.require("event", "'{\"topic\": \"t/1\"}'").and_then(|value| value.json());
    let event_topic = table.get("event_topic").and_then(|value| value.text());
    let output = table.require("output", "'{\"x\": 1}'").and_then(|value| value.json());
    table.finish();
    let Json::Map(event) = event? else {
        return value.wrong("`event` must be a JSON object of the columns of an event");
    };
    Some(RuleTest { event: Map::clone(&event), event_topic, output: output?, value })
}

impl Value<'_> {
    /// A text that is JSON.
    fn json(&self) -> Option<Json> {
        let text = self.raw_text()?;
        let json = Json::parse_json(&Bytes::copy_from_slice(text.as_bytes()));
        json.or_else(|error| self.wrong(error.to_string()).ok_or(())).ok()
    }
}

impl RuleTest<'_> {
    /// Applies the rule and notes where it makes something else.
    pub(super) fn run(&self, program: &Program) {
        let topic = self.event_topic.as_deref().or_else(|| events::topic_of(&self.event));
        let input = Input::new(&self.event);
        let out = if topic.is_some_and(|topic| !program.is_from(topic)) {
            Ok(Json::Null)
        } else {
            program.apply(&input).map(|outcome| match outcome {
                Outcome::NotMatched => Json::Null,
                Outcome::Event => Json::map(program.columns(&input)),
                Outcome::Outputs(outputs) => {
                    let mut outputs: Vec<_> = outputs.into_iter().map(Json::map).collect();
                    match (outputs.len(), &self.output) {
                        (0, Json::Null) => Json::Null,
                        (1, Json::Map(_)) => outputs.remove(0),
                        _ => Json::array(outputs),
                    }
                }
            })
        };
        let expected = String::from_utf8_lossy(&self.output.to_json()).into_owned();
        let failure = match out {
            Ok(out) => {
                let written = out.to_json();
                let same = Json::parse_json(&written.clone().into())
                    .is_ok_and(|out| out.order(&self.output).is_eq());
                (!same).then(|| String::from_utf8_lossy(&written).into_owned())
            }
            Err(error) => Some(format!("an error: {error}")),
        };
        if let Some(got) = failure {
            self.value.failed_test(format!("expected {expected}, got {got}"));
        }
    }
}
