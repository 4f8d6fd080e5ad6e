//! Rules that run: compiled once, applied to events.
//!
//! Applying is pure but for the functions that read the clock, draw lots or keep values, waits for `jq` only, never panics,
//! and is bounded in steps, and in the depth and the bytes of what it makes. The payload of an event is looked into when a
//! rule does, for all rules: its members once, and each value that a path leads to once; as a whole once, when a path has
//! more than keys.

mod compile;
mod evaluate;
mod explain;
mod input;
mod names;
mod node;
mod scope;
mod words;

#[cfg(test)]
mod tests;

pub use evaluate::{OUTPUT_BYTES_MAX, STEPS_MAX};
pub use input::{Columns, Input};
pub use words::InWords;

use std::fmt;

use bytes::Bytes;

use self::compile::Compiler;
use self::evaluate::Run;
use self::node::{Condition, Field};
use self::scope::{Layer, PayloadFrom, Scope};
use super::run::RunError;
use super::sql::{self, Query, SqlError, What};
use super::value::{Map, Value};
use crate::name::RuleName;
use crate::rule::events;
use crate::topic::TopicFilter;

/// A rule ready to be applied.
#[derive(Clone)]
pub struct Program {
    tree: Query,
    topics: Box<[TopicFilter]>,
    body: Body,
    condition: Option<Condition>,
    /// The column of that name.
    metadata: Option<Value>,
    doubts: Box<[SqlError]>,
}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Program({})", self.tree)
    }
}

/// Programs are the same when they were written the same, line breaks and the like apart.
impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.tree.to_string() == other.tree.to_string()
    }
}

#[derive(Debug, Clone)]
enum Body {
    Select(Box<[Field]>),
    Foreach(Box<Foreach>),
}

#[derive(Debug, Clone)]
struct Foreach {
    fields: Box<[Field]>,
    /// The alias of the last field.
    element: Bytes,
    each: Option<Box<[Field]>>,
    condition: Option<Condition>,
}

/// What a rule makes of an event that is in its `FROM`.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The event as it is, all columns: `SELECT *`.
    Event,
    /// What is selected, one for each element with `FOREACH`.
    Outputs(Vec<Map>),
    /// `WHERE` does not hold.
    NotMatched,
}

impl Program {
    /// The rule in SQL, as it was understood.
    #[must_use]
    pub fn sql(&self) -> String {
        self.tree.to_string()
    }

    /// Parses and compiles a rule. Every mistake is told, in the order of the text.
    pub fn new(sql: &str) -> Result<Self, Vec<SqlError>> {
        let tree = sql::parse(sql).map_err(|error| vec![error])?;
        let mut compiler = Compiler::default();
        let body = compiler.body(&tree.what);
        let condition = tree.condition.as_ref().map(|condition| compiler.condition(condition));
        let mut errors = compiler.errors;
        let mut topics = Vec::with_capacity(tree.topics.len());
        for topic in &tree.topics {
            match TopicFilter::new(&events::topic_in_use(&topic.text)) {
                Ok(filter) => topics.push(filter),
                Err(error) => {
                    errors.push(SqlError::new(
                        topic.span,
                        format!("{topic} is no topic filter: {error}"),
                    ));
                }
            }
        }
        errors.sort_by_key(|error| error.span.start);
        if errors.is_empty() {
            let doubts = compiler.doubts.into();
            Ok(Self { tree, topics: topics.into(), body, condition, metadata: None, doubts })
        } else {
            Err(errors)
        }
    }

    /// The same rule with a name, which its column `metadata` tells.
    #[must_use]
    pub fn named(self, name: &RuleName) -> Self {
        let rule_id = (Bytes::from_static(b"rule_id"), Value::text_of(name.as_str()));
        Self { metadata: Some(Value::map(Map::from_entries(vec![rule_id]))), ..self }
    }

    /// The tree of the rule as it was written; it prints as SQL.
    #[must_use]
    pub fn tree(&self) -> &Query {
        &self.tree
    }

    /// What can be read and always fails when it is evaluated, as it does in EMQX: why, and what would be right.
    #[must_use]
    pub fn doubts(&self) -> &[SqlError] {
        &self.doubts
    }

    /// The filters of `FROM`; event topics in the spelling in use.
    #[must_use]
    pub fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    /// The keys at the top of what it puts out.
    #[must_use]
    pub fn output_names(&self) -> Vec<String> {
        let names = events::template_names(&events::kinds_of(&self.topics));
        let columns = || names.iter().map(|name| Bytes::from_static(name.as_bytes()));
        let (fields, mut names) = match &self.body {
            Body::Select(fields) => (fields, Vec::new()),
            Body::Foreach(foreach) => {
                let element = || std::iter::once(foreach.element.clone());
                let whole = || (&foreach.fields, element().chain(columns()).collect());
                foreach.each.as_ref().map_or_else(whole, |each| (each, Vec::new()))
            }
        };
        for field in fields {
            match field {
                Field::All => names.extend(columns()),
                Field::One { to, .. } => names.push(to.first.clone()),
            }
        }
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// Whether it selects every event as it is: `SELECT *`.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        matches!(&self.body, Body::Select(fields) if matches!(**fields, [Field::All]))
    }

    /// Whether `FROM` has a topic, which for what is no message is that of the event, as `$events/client/connected`.
    #[must_use]
    pub fn is_from(&self, topic: &str) -> bool {
        let topic = events::topic_in_use(topic);
        self.topics.iter().any(|filter| crate::topic::levels_match(filter.plain(), &topic))
    }

    /// All columns of an event, as `*` selects them.
    #[must_use]
    pub fn columns(&self, input: &Input<'_>) -> Map {
        self.scope(input).all()
    }

    fn scope<'s>(&'s self, input: &'s Input<'s>) -> Scope<'s> {
        Scope { top: None, over: &[], input, metadata: self.metadata.as_ref() }
    }

    /// Applies the rule to an event that is in its `FROM`.
    pub fn apply(&self, input: &Input<'_>) -> Result<Outcome, RunError> {
        let mut run = Run::new();
        let scope = self.scope(input);
        if self.selects_all() {
            let wanted = run.holds(self.condition.as_ref(), &scope)?;
            return Ok(if wanted { Outcome::Event } else { Outcome::NotMatched });
        }
        let outputs = match &self.body {
            Body::Select(fields) => {
                let output = run.select(fields, &scope)?;
                let selected = Scope { over: &[&output], ..scope };
                if !run.holds(self.condition.as_ref(), &selected)? {
                    return Ok(Outcome::NotMatched);
                }
                let map = output.map;
                run.put_out(&map)?;
                vec![map]
            }
            Body::Foreach(foreach) => {
                let (selected, elements) = run.collect(foreach, &scope)?;
                let over = Scope { over: &[&selected], ..scope };
                if !run.holds(self.condition.as_ref(), &over)? {
                    return Ok(Outcome::NotMatched);
                }
                run.walk(foreach, &selected, &elements, &scope)?
            }
        };
        Ok(Outcome::Outputs(outputs))
    }
}

impl Compiler {
    fn body(&mut self, what: &What) -> Body {
        match what {
            What::Select(fields) => Body::Select(self.fields(fields)),
            What::Foreach { fields, each, condition } => {
                let element = self.element(fields);
                Body::Foreach(Box::new(Foreach {
                    fields: self.fields(fields),
                    element,
                    each: each.as_ref().map(|each| self.fields(each)),
                    condition: condition.as_ref().map(|condition| self.condition(condition)),
                }))
            }
        }
    }

    /// The name under which `DO` and `INCASE` see an element.
    fn element(&mut self, fields: &[sql::Field]) -> Bytes {
        for field in fields {
            if let sql::Field::All(span) = field {
                self.errors.push(SqlError::new(*span, "`FOREACH` needs an array, not `*`"));
            }
        }
        match fields.last() {
            Some(sql::Field::One { alias: Some(alias), .. }) => {
                if !alias.steps.is_empty() {
                    let message = "the elements of `FOREACH` need one name, not a path";
                    self.errors.push(SqlError::new(alias.span, message));
                }
                alias.first.text.clone()
            }
            _ => Bytes::from_static(b"item"),
        }
    }
}

impl Run {
    /// `SELECT` and `DO`: fields left to right, each sees what was selected before it.
    fn select(&mut self, fields: &[Field], below: &Scope<'_>) -> Result<Layer, RunError> {
        let mut output = Layer::default();
        for field in fields {
            match field {
                Field::All => {
                    let all = below.all();
                    self.spend(all.len())?;
                    output.put_all(&all);
                }
                Field::One { value, to, in_place } => {
                    let scope = Scope { top: Some(&output), ..*below };
                    let value = self.value(value, &scope)?;
                    self.put(&mut output, to, value, *in_place, below)?;
                }
            }
        }
        Ok(output)
    }

    fn put(
        &mut self,
        output: &mut Layer,
        to: &node::Path,
        value: Value,
        in_place: bool,
        below: &Scope<'_>,
    ) -> Result<(), RunError> {
        output.put(to, value, in_place, below, self)?;
        if let Some(whole) = output.map.get(&to.first).filter(|_| !to.steps.is_empty()) {
            self.check_weight(whole)?;
        }
        Ok(())
    }

    /// The fields of `FOREACH`: what they select, and the elements of the last.
    fn collect(
        &mut self,
        foreach: &Foreach,
        below: &Scope<'_>,
    ) -> Result<(Layer, Vec<Value>), RunError> {
        let Foreach { fields, element, .. } = foreach;
        let mut output = Layer::default();
        // EMQX puts what is given a name over the columns, too, which shows where a field behind it finds nothing.
        let mut renamed = Layer { payload: PayloadFrom::Column, ..Layer::default() };
        let mut elements = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            let Field::One { value, to, in_place } = field else {
                let message = "`FOREACH` cannot walk `*`";
                return Err(RunError::new(super::run::Reason::WrongType, message));
            };
            let scope = Scope { top: Some(&output), over: &[&renamed], ..*below };
            let value = self.value(value, &scope)?;
            let last = place + 1 == fields.len();
            if last {
                elements = elements_of(&value);
            }
            // A value without a name of its own is seen as `item` only.
            let unnamed = last && !*in_place && to.first != *element;
            if !in_place && to.steps.is_empty() {
                renamed.map.insert(to.first.clone(), value.clone());
            }
            if !unnamed {
                self.put(&mut output, to, value, *in_place, below)?;
            }
        }
        Ok((output, elements))
    }

    /// One output for each element for which the condition holds.
    fn walk(
        &mut self,
        foreach: &Foreach,
        selected: &Layer,
        elements: &[Value],
        below: &Scope<'_>,
    ) -> Result<Vec<Map>, RunError> {
        let mut outputs = Vec::new();
        for element in elements {
            let item = Layer::of(foreach.element.clone(), element.clone());
            let scope = Scope { over: &[selected, &item], ..*below };
            if !self.holds(foreach.condition.as_ref(), &scope)? {
                continue;
            }
            let output = match &foreach.each {
                Some(fields) => self.select(fields, &scope)?.map,
                None => scope.all(),
            };
            self.spend(output.len())?;
            self.put_out(&output)?;
            outputs.push(output);
        }
        Ok(outputs)
    }
}

/// The elements of an array, or of a text that is the JSON of one; none of anything else.
fn elements_of(value: &Value) -> Vec<Value> {
    let decoded = value.as_bytes().and_then(|text| Value::parse_json(text).ok());
    decoded.as_ref().unwrap_or(value).as_array().map(<[Value]>::to_vec).unwrap_or_default()
}
