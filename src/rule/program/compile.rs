//! From the tree to what runs. Finds every mistake that can be found without an event, all of them at once.

use super::node::{Condition, ConditionKind, Field, Node, Path, Step};
use crate::rule::functions;
use crate::rule::run::ELEMENTS_MAX;
use crate::rule::sql::{self, Branch, Comparison, Expression, Kind, SqlError};
use crate::rule::value::Value;

/// Why a condition always fails, as it does in EMQX.
const NOT_OF_CONDITION: &str =
    "`NOT` takes a comparison, a function or a boolean, not `AND`, `OR`, `IN` or `NOT`";
const NO_CONDITION: &str = "a condition is a comparison, `IN`, `AND`, `OR`, `NOT`, a function or a boolean; \
                            a name alone needs `= true`";
const NOT_IN: &str = "`NOT IN` cannot be evaluated; write `x != a AND x != b`";
const NO_VALUE: &str = "`AND`, `OR`, `NOT` and `IN` give no value that `WHEN` could compare";
const TILDE_EQUAL: &str = "`~=` cannot be evaluated; a topic is compared with a filter by `=~`";

/// Collects mistakes while it builds.
#[derive(Default)]
pub(super) struct Compiler {
    pub(super) errors: Vec<SqlError>,
    /// What EMQX reads and can never evaluate.
    pub(super) doubts: Vec<SqlError>,
}

impl Compiler {
    fn never(&mut self, expression: &Expression, why: &'static str) -> &'static str {
        self.doubts.push(SqlError::new(expression.span, why));
        why
    }

    /// Looks for errors in what is said to be doubtful as a whole.
    fn quietly<T>(&mut self, look: impl FnOnce(&mut Self) -> T) {
        let doubts = self.doubts.len();
        look(self);
        self.doubts.truncate(doubts);
    }

    pub(super) fn fields(&mut self, fields: &[sql::Field]) -> Box<[Field]> {
        fields.iter().map(|field| self.field(field)).collect()
    }

    fn field(&mut self, field: &sql::Field) -> Field {
        match field {
            sql::Field::All(_) => Field::All,
            sql::Field::One { expression, alias } => {
                let value = self.value(expression);
                let (to, in_place) = match (alias, &expression.kind) {
                    (Some(alias), _) => (path(alias), false),
                    (None, Kind::Path(from) | Kind::Slice(from, ..)) => (path(from), true),
                    (None, Kind::Text(text)) => (named(text.clone()), false),
                    // EMQX makes up a key that nobody can know; this one can be guessed.
                    (None, _) => (named(expression.to_string().into()), false),
                };
                Field::One { value, to, in_place }
            }
        }
    }

    pub(super) fn condition(&mut self, expression: &Expression) -> Condition {
        let kind = match &expression.kind {
            Kind::And(parts) => ConditionKind::And(self.conditions(parts)),
            Kind::Or(parts) => ConditionKind::Or(self.conditions(parts)),
            Kind::Not(inner) => match inner.kind {
                Kind::And(_) | Kind::Or(_) | Kind::In(..) | Kind::NotIn(..) | Kind::Not(_) => {
                    self.quietly(|this| this.value(inner));
                    ConditionKind::Never(self.never(expression, NOT_OF_CONDITION))
                }
                _ => ConditionKind::Not(self.value(inner)),
            },
            Kind::In(left, items) => ConditionKind::In(self.value(left), self.values(items)),
            Kind::NotIn(left, items) => {
                self.value(left);
                self.values(items);
                ConditionKind::Never(self.never(expression, NOT_IN))
            }
            Kind::Compare(Comparison::TildeEqual, ..) => {
                ConditionKind::Never(self.never(expression, TILDE_EQUAL))
            }
            Kind::Compare(operator, left, right) => {
                ConditionKind::Compare(*operator, self.value(left), self.value(right))
            }
            Kind::Call(..) => ConditionKind::Call(self.value(expression)),
            Kind::Bool(truth) => ConditionKind::Constant(*truth),
            _ => {
                self.quietly(|this| this.value(expression));
                ConditionKind::Never(self.never(expression, NO_CONDITION))
            }
        };
        Condition { kind, text: expression.to_string().into() }
    }

    fn conditions(&mut self, parts: &[Expression]) -> Box<[Condition]> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    fn values(&mut self, expressions: &[Expression]) -> Box<[Node]> {
        expressions.iter().map(|expression| self.value(expression)).collect()
    }

    fn boxed(&mut self, expression: &Expression) -> Box<Node> {
        Box::new(self.value(expression))
    }

    fn value(&mut self, expression: &Expression) -> Node {
        match &expression.kind {
            Kind::Bool(truth) => Node::Constant(Value::Bool(*truth)),
            Kind::Int(number) => Node::Constant(Value::Int(number.clone())),
            Kind::Float(number) => Node::Constant(Value::Float(*number)),
            Kind::Text(text) => Node::Constant(Value::Text(text.clone())),
            Kind::Path(from) => Node::Path(path(from)),
            Kind::Slice(from, first, last) => Node::Slice(path(from), *first, *last),
            Kind::Range(from, to) => self.range(expression, *from, *to),
            Kind::List(elements) => Node::List(self.values(elements)),
            Kind::Call(name, arguments) => self.call(name, arguments),
            Kind::Case { subject: None, branches, otherwise } => {
                let branches = branches
                    .iter()
                    .map(|Branch { when, then }| (self.condition(when), self.value(then)));
                let branches = branches.collect();
                Node::Case(branches, Box::new(self.otherwise(otherwise.as_deref())))
            }
            Kind::Case { subject: Some(subject), branches, otherwise } => {
                let subject = self.boxed(subject);
                let branches = branches
                    .iter()
                    .map(|Branch { when, then }| (self.value(when), self.value(then)));
                let branches = branches.collect();
                Node::Switch(subject, branches, Box::new(self.otherwise(otherwise.as_deref())))
            }
            Kind::Plus(operand) => Node::Plus(self.boxed(operand)),
            Kind::Minus(operand) => Node::Minus(self.boxed(operand)),
            Kind::Arithmetic(operator, left, right) => {
                Node::Arithmetic(*operator, self.boxed(left), self.boxed(right))
            }
            Kind::Compare(Comparison::TildeEqual, ..) => {
                Node::Never(self.never(expression, TILDE_EQUAL))
            }
            Kind::Compare(operator, left, right) => {
                Node::Compare(*operator, self.boxed(left), self.boxed(right))
            }
            Kind::And(_) | Kind::Or(_) | Kind::Not(_) | Kind::In(..) | Kind::NotIn(..) => {
                self.quietly(|this| this.condition(expression));
                Node::Never(self.never(expression, NO_VALUE))
            }
        }
    }

    fn otherwise(&mut self, otherwise: Option<&Expression>) -> Node {
        match otherwise {
            Some(expression) => self.value(expression),
            None => Node::Constant(Value::Undefined),
        }
    }

    fn range(&mut self, expression: &Expression, from: i64, to: i64) -> Node {
        match usize::try_from(i128::from(to) - i128::from(from) + 1) {
            Ok(length) if length <= ELEMENTS_MAX => {
                Node::Constant(Value::array((from..=to).map(Value::int).collect()))
            }
            Ok(length) => {
                let message =
                    format!("a range has at most {ELEMENTS_MAX} numbers, this one {length}");
                self.errors.push(SqlError::new(expression.span, message));
                Node::Never("this range is too long")
            }
            Err(_) => Node::Never(self.never(expression, "a range ends before it starts")),
        }
    }

    fn call(&mut self, name: &sql::Path, arguments: &[Expression]) -> Node {
        let values = self.values(arguments);
        let text = String::from_utf8_lossy(&name.first.text);
        let function = if name.steps.is_empty() { functions::lookup(&text) } else { None };
        let message = match function {
            Some(function) if function.takes(values.len()) => return Node::Call(function, values),
            Some(function) => format!(
                "`{text}` takes {}, not {}: {}",
                function.arity(),
                values.len(),
                function.signature()
            ),
            None if name.steps.is_empty() => match functions::why_unavailable(&text) {
                Some(why) => format!("`{text}` is not available: {why}"),
                None => match functions::did_you_mean(&text) {
                    Some(meant) => {
                        format!("there is no function `{text}`; did you mean `{meant}`?")
                    }
                    None => format!(
                        "there is no function `{text}`; `waypost rule functions` lists all there are"
                    ),
                },
            },
            None => format!(
                "there is no function `{name}`: functions of EMQX modules are not available"
            ),
        };
        self.errors.push(SqlError::new(name.span, message));
        Node::Never("there is no such function")
    }
}

fn named(name: bytes::Bytes) -> Path {
    Path { first: name, steps: Box::default(), in_payload: false }
}

fn path(path: &sql::Path) -> Path {
    let steps = path.steps.iter().map(step).collect();
    Path { first: path.first.text.clone(), steps, in_payload: path.first.text == "payload" }
}

fn step(step: &sql::Step) -> Step {
    match step {
        sql::Step::Key(key) => Step::Key(key.text.clone()),
        sql::Step::Index(index) => Step::Index(*index),
        sql::Step::IndexOf(inner) => Step::IndexOf(path(inner)),
    }
}
