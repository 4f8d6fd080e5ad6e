//! Why an event was not matched, for a person.

use super::evaluate::Run;
use super::node::{Condition, ConditionKind, Node};
use super::scope::{Layer, Scope};
use super::{Body, Input, Program};
use crate::rule::sql::Comparison;

impl Program {
    /// Why the rule, whose `FROM` has the event, does not match it: the condition that fails, with what it compared.
    #[must_use]
    pub fn why_not(&self, input: &Input<'_>) -> String {
        let mut run = Run::new();
        let scope = self.scope(input);
        let selected = match &self.body {
            Body::Select(fields) => run.select(fields, &scope).unwrap_or_default(),
            Body::Foreach(foreach) => {
                run.collect(foreach, &scope).map(|(layer, _)| layer).unwrap_or_default()
            }
        };
        let layers: [&Layer; 1] = [&selected];
        let scope = Scope { over: &layers, ..scope };
        match &self.condition {
            Some(condition) => why_false(condition, &scope, &mut run),
            None => "the rule has no condition".to_owned(),
        }
    }

    /// Why the event is in none of the topics of `FROM`.
    #[must_use]
    pub fn why_not_from(&self, topic: &str) -> String {
        let topics: Vec<_> = self.tree.topics.iter().map(ToString::to_string).collect();
        match topics.as_slice() {
            [only] => format!("FROM {only} does not have the topic `{topic}`"),
            _ => format!("FROM has no filter for the topic `{topic}`: {}", topics.join(", ")),
        }
    }
}

fn why_false(condition: &Condition, scope: &Scope<'_>, run: &mut Run) -> String {
    let text = &condition.text;
    match &condition.kind {
        ConditionKind::And(parts) => {
            let mut first_false = parts.iter().filter(|part| !holds(part, scope, run));
            match first_false.next() {
                Some(part) => why_false(part, scope, run),
                None => format!("`{text}` is false"),
            }
        }
        ConditionKind::Or(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| why_false(part, scope, run)).collect();
            parts.join(", and ")
        }
        ConditionKind::Compare(operator, left, right) => {
            compared(text, *operator, left, right, scope, run)
        }
        ConditionKind::Not(Node::Compare(operator, left, right)) => {
            compared(text, *operator, left, right, scope, run)
        }
        ConditionKind::In(needle, _) => {
            format!("`{text}` is false: the value is {}", shown(needle, scope, run))
        }
        _ => format!("`{text}` is false"),
    }
}

fn compared(
    text: &str,
    operator: Comparison,
    left: &Node,
    right: &Node,
    scope: &Scope<'_>,
    run: &mut Run,
) -> String {
    let (left, right) = (shown(left, scope, run), shown(right, scope, run));
    let undefined = "undefined";
    if left == undefined || right == undefined {
        let compared = format!("{left} {} {right}", operator.sign());
        return format!(
            "`{text}` is false: {compared}, and what is undefined compares with nothing"
        );
    }
    format!("`{text}` is false: it compares {left} {} {right}", operator.sign())
}

fn holds(condition: &Condition, scope: &Scope<'_>, run: &mut Run) -> bool {
    run.holds(Some(condition), scope).unwrap_or(false)
}

fn shown(node: &Node, scope: &Scope<'_>, run: &mut Run) -> String {
    run.value(node, scope).map_or_else(|error| error.to_string(), |value| value.shown())
}
