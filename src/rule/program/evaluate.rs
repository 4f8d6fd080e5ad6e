//! Expressions and conditions, as EMQX evaluates them, within bounds.

use std::cmp::Ordering;

use bytes::Bytes;

use super::input::Input;
use super::node::{Condition, ConditionKind, Node, Step};
use super::scope::{Scope, slice};
use crate::rule::run::{Context, Reason, RunError};
use crate::rule::sql::{Arithmetic, Comparison};
use crate::rule::value::{Excess, MADE_DEPTH_MAX, Map, Value};
use crate::topic;

/// Steps that one rule may take for one event: some tens of milliseconds, a second for the dearest functions.
pub const STEPS_MAX: usize = 1_000_000;
/// Bytes that one value may stand for, and that all outputs of a rule for one event may have together.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// What one application of a rule has used and remembers.
pub(super) struct Run {
    steps_left: usize,
    output_bytes_left: usize,
    /// The payload as it was first decoded. EMQX takes this for whatever else comes under that name.
    decoded: Option<Value>,
    /// The text of which that is, or would be.
    first: Option<Bytes>,
}

impl Run {
    pub(super) fn new() -> Self {
        Self {
            steps_left: STEPS_MAX,
            output_bytes_left: OUTPUT_BYTES_MAX,
            decoded: None,
            first: None,
        }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), RunError> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(RunError::new(
                Reason::Limit,
                format!("the rule takes more than {STEPS_MAX} steps for one event"),
            )),
        }
    }

    /// Takes the work with values before it is done: a step is a word of an expression, or some 64 bytes of text.
    fn spend_on(&mut self, values: &[Value]) -> Result<(), RunError> {
        values.iter().try_for_each(|value| self.spend(cost(value)))
    }

    /// As [`Self::spend_on`], of two values that are compared up to where they differ.
    fn spend_on_comparison(&mut self, left: &Value, right: &Value) -> Result<(), RunError> {
        self.spend(cost(left).min(cost(right)))
    }

    /// Takes what a finished output weighs from what the rule may put out.
    pub(super) fn put_out(&mut self, output: &Map) -> Result<(), RunError> {
        let weight = output.weight_up_to(self.output_bytes_left).map_err(too_large)?;
        self.output_bytes_left -= weight;
        Ok(())
    }

    /// A value made of others must not stand for more than an output may hold: `[x, x]` again and again doubles it.
    pub(super) fn check_weight(&mut self, value: &Value) -> Result<(), RunError> {
        if matches!(value, Value::Array(_) | Value::Map(_)) {
            let weight = value.weight_up_to(OUTPUT_BYTES_MAX).map_err(too_large)?;
            self.spend(weight / 1024)?;
        }
        Ok(())
    }

    /// Takes the work with a text that stands for the payload, once however often the rule looks into it.
    pub(super) fn begin(&mut self, text: &Bytes) -> Result<(), RunError> {
        if self.first.is_none() {
            self.spend(text.len() / 64)?;
            self.first = Some(text.clone());
        }
        Ok(())
    }

    /// As a path of keys through [`Self::decoded_payload`], without decoding what else is there; `None` where that is
    /// what it takes. The payload has been begun.
    pub(super) fn member(&self, text: &Bytes, steps: &[Step], input: &Input<'_>) -> Option<Value> {
        let same = |first: &Bytes| first.as_ptr() == text.as_ptr() && first.len() == text.len();
        let may_look = self.decoded.is_none()
            && self.first.as_ref().is_some_and(same)
            && steps.iter().all(|step| step.key().is_some());
        may_look.then(|| input.member(text, steps.iter().filter_map(Step::key)))?
    }

    pub(super) fn decoded_payload(
        &mut self,
        text: &Bytes,
        input: &Input<'_>,
    ) -> Result<Value, RunError> {
        if let Some(decoded) = &self.decoded {
            return Ok(decoded.clone());
        }
        self.begin(text)?;
        let decoded = input.decode(self.first.as_ref().unwrap_or(text))?;
        self.decoded = Some(decoded.clone());
        Ok(decoded)
    }
}

/// The steps of working with all of a value.
fn cost(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() / 64,
        Value::Int(number) => number.digits_beyond_64_bits() / 16,
        Value::Array(_) | Value::Map(_) => {
            value.weight_up_to(OUTPUT_BYTES_MAX).map_or(STEPS_MAX, |weight| weight / 256)
        }
        _ => 0,
    }
}

fn too_large(excess: Excess) -> RunError {
    let message = match excess {
        Excess::Bytes => format!("the output of the rule has more than {OUTPUT_BYTES_MAX} bytes"),
        Excess::Depth => format!("a value is nested deeper than {MADE_DEPTH_MAX} levels"),
    };
    RunError::new(Reason::Limit, message)
}

impl Context for Scope<'_> {
    fn column(&self, name: &str) -> Value {
        self.variable(name.as_bytes())
    }
}

impl Run {
    pub(super) fn value(&mut self, node: &Node, scope: &Scope<'_>) -> Result<Value, RunError> {
        self.spend(1)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Path(path) => scope.path(path, self),
            Node::Slice(path, from, to) => slice(&scope.path(path, self)?, *from, *to),
            Node::List(elements) => {
                let elements = self.values(elements, scope)?;
                let list = Value::array(elements);
                self.check_weight(&list)?;
                Ok(list)
            }
            Node::Call(function, arguments) => {
                let arguments = self.values(arguments, scope)?;
                self.spend_on(&arguments)?;
                let result = function.call(scope, &arguments)?;
                self.check_weight(&result)?;
                Ok(result)
            }
            Node::Case(branches, otherwise) => {
                for (when, then) in branches {
                    if self.condition(when, scope)? == Value::Bool(true) {
                        return self.value(then, scope);
                    }
                }
                self.value(otherwise, scope)
            }
            Node::Switch(subject, branches, otherwise) => {
                // The subject is evaluated for each branch, as in EMQX: it shows where it is `random()`.
                for (when, then) in branches {
                    let (when, subject) = (self.value(when, scope)?, self.value(subject, scope)?);
                    self.spend_on_comparison(&when, &subject)?;
                    if when == subject {
                        return self.value(then, scope);
                    }
                }
                self.value(otherwise, scope)
            }
            Node::Plus(operand) => self.value(operand, scope),
            Node::Minus(operand) => self.value(operand, scope)?.negated(),
            Node::Arithmetic(operator, left, right) => {
                let (left, right) = (self.value(left, scope)?, self.value(right, scope)?);
                self.spend(cost(&left) + cost(&right))?;
                match operator {
                    Arithmetic::Add => left.plus(&right),
                    Arithmetic::Subtract => left.minus(&right),
                    Arithmetic::Multiply => left.times(&right),
                    Arithmetic::Divide => left.over(&right),
                    Arithmetic::Div => left.div(&right),
                    Arithmetic::Mod => left.modulo(&right),
                }
            }
            Node::Compare(operator, left, right) => {
                self.compare(*operator, left, right, scope).map(Value::Bool)
            }
            Node::Never(why) => Err(RunError::new(Reason::WrongType, *why)),
        }
    }

    fn values(&mut self, nodes: &[Node], scope: &Scope<'_>) -> Result<Vec<Value>, RunError> {
        nodes.iter().map(|node| self.value(node, scope)).collect()
    }

    fn compare(
        &mut self,
        operator: Comparison,
        left: &Node,
        right: &Node,
        scope: &Scope<'_>,
    ) -> Result<bool, RunError> {
        let (left, right) = (self.value(left, scope)?, self.value(right, scope)?);
        self.spend_on_comparison(&left, &right)?;
        if operator == Comparison::MatchesTopic {
            return matches_topic(&left, &right);
        }
        let Some(order) = left.compare(&right)? else { return Ok(false) };
        Ok(match operator {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual | Comparison::Unequal => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
            Comparison::MatchesTopic | Comparison::TildeEqual => false,
        })
    }

    /// What a condition gives: a boolean, but for a function that gives something else.
    pub(super) fn condition(
        &mut self,
        condition: &Condition,
        scope: &Scope<'_>,
    ) -> Result<Value, RunError> {
        self.spend(1)?;
        match &condition.kind {
            ConditionKind::And(parts) => self.row(parts, false, scope),
            ConditionKind::Or(parts) => self.row(parts, true, scope),
            ConditionKind::Not(node) => Ok(Value::Bool(match self.value(node, scope)? {
                Value::Bool(truth) => !truth,
                _ => false,
            })),
            ConditionKind::In(needle, items) => {
                let needle = self.value(needle, scope)?;
                let items = self.values(items, scope)?;
                for item in &items {
                    self.spend_on_comparison(item, &needle)?;
                }
                Ok(Value::Bool(items.contains(&needle)))
            }
            ConditionKind::Compare(operator, left, right) => {
                self.compare(*operator, left, right, scope).map(Value::Bool)
            }
            ConditionKind::Call(node) => self.value(node, scope),
            ConditionKind::Constant(truth) => Ok(Value::Bool(*truth)),
            ConditionKind::Never(why) => Err(RunError::new(Reason::WrongType, *why)),
        }
    }

    /// `AND` (`decides` is false) or `OR` (`decides` is true): up to the first part that decides it.
    fn row(
        &mut self,
        parts: &[Condition],
        decides: bool,
        scope: &Scope<'_>,
    ) -> Result<Value, RunError> {
        let Some((last, before)) = parts.split_last() else { return Ok(Value::Bool(!decides)) };
        for part in before {
            let truth = self.condition(part, scope)?;
            if truth_of(&truth, part)? == decides {
                return Ok(Value::Bool(decides));
            }
        }
        self.condition(last, scope)
    }

    /// Whether a condition that decides over an output holds.
    pub(super) fn holds(
        &mut self,
        condition: Option<&Condition>,
        scope: &Scope<'_>,
    ) -> Result<bool, RunError> {
        let Some(condition) = condition else { return Ok(true) };
        let truth = self.condition(condition, scope)?;
        truth_of(&truth, condition)
    }
}

fn truth_of(value: &Value, condition: &Condition) -> Result<bool, RunError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        value => Err(RunError::new(
            Reason::WrongType,
            format!("`{}` gives {}, where a boolean is needed", condition.text, value.shown()),
        )),
    }
}

/// `topic =~ 'filter'`, with the coercions of any comparison.
fn matches_topic(topic: &Value, filter: &Value) -> Result<bool, RunError> {
    let wrong = |value: &Value| {
        let message = format!("`=~` compares a topic with a filter, not {}", value.kind());
        RunError::new(Reason::WrongType, message)
    };
    let text = |value: &Value, other: &Value| match (value, other) {
        (Value::Text(_), _) | (Value::Null | Value::Bool(_), Value::Text(_)) => Ok(value.to_text()),
        _ => Err(wrong(value)),
    };
    if topic.is_undefined() != filter.is_undefined() {
        return Ok(false);
    }
    let (topic, filter) = (text(topic, filter)?, text(filter, topic)?);
    let (topic, filter) = (String::from_utf8_lossy(&topic), String::from_utf8_lossy(&filter));
    Ok(topic::levels_match(&filter, &topic))
}
