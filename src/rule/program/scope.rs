//! Where names are looked up: what was selected so far, what was selected before, the columns of the event.
//!
//! EMQX keeps columns under atoms and aliases under binaries, which shows in one place: whether a `payload` in an output
//! came there as the column or under that name decides whether a path through it sees the text decoded.
//! [`PayloadFrom`] is that difference.

use bytes::Bytes;

use super::evaluate::Run;
use super::input::{Input, PAYLOAD};
use super::node::{Path, Step};
use crate::rule::run::{Reason, RunError};
use crate::rule::value::{Index, Map, Value};

const METADATA: &[u8] = b"metadata";

/// Values that were selected.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) map: Map,
    pub(super) payload: PayloadFrom,
}

/// How `payload` came into a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PayloadFrom {
    /// It is not there, or by its name: `SELECT payload`, `.. AS payload`, `.. AS payload.x`.
    #[default]
    Name,
    /// By `*` or by a path without an alias, `SELECT payload.x`.
    Column,
}

/// Everything that a name may mean.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    /// Looked at first; what is undefined there is looked for below.
    pub(super) top: Option<&'s Layer>,
    /// Over the columns, the later over the earlier; what is undefined there is undefined.
    pub(super) over: &'s [&'s Layer],
    pub(super) input: &'s Input<'s>,
    /// The column of this name: it tells the rule, not the event.
    pub(super) metadata: Option<&'s Value>,
}

/// Where the name of an index variable is looked up: beside the path it stands in.
#[derive(Clone, Copy)]
enum Origin<'o, 's> {
    Layer(&'o Layer),
    Below(&'o Scope<'s>),
    Value(&'o Value),
}

impl Scope<'_> {
    /// A name alone.
    pub(super) fn variable(&self, name: &[u8]) -> Value {
        match self.top.and_then(|layer| layer.map.get(name)) {
            Some(Value::Undefined) | None => self.below(name),
            Some(value) => value.clone(),
        }
    }

    fn below(&self, name: &[u8]) -> Value {
        let over = self.over.iter().rev().find_map(|layer| layer.map.get(name).cloned());
        let own = || self.metadata.filter(|_| name == METADATA).cloned();
        over.or_else(own).or_else(|| self.input.column(name)).unwrap_or(Value::Undefined)
    }

    /// What `*` selects: the columns, and over them what was selected before.
    pub(super) fn all(&self) -> Map {
        let mut all = self.input.all();
        if let Some(metadata) = self.metadata {
            all.insert(Bytes::from_static(METADATA), metadata.clone());
        }
        for (name, value) in self.over.iter().flat_map(|layer| layer.map.iter()) {
            all.insert(name.clone(), value.clone());
        }
        all
    }

    /// A path. Fails where a payload is not JSON.
    pub(super) fn path(&self, path: &Path, run: &mut Run) -> Result<Value, RunError> {
        if path.steps.is_empty() {
            return Ok(self.variable(&path.first));
        }
        if let Some(layer) = self.top
            && let Some(value) = layer.map.get(&path.first)
        {
            let found = if path.in_payload {
                self.in_payload(value, &path.steps, run)?
            } else {
                self.walk(value, &path.steps, Origin::Layer(layer), run)?
            };
            if !found.is_undefined() {
                return Ok(found);
            }
        }
        if path.in_payload {
            self.in_payload(self.payload_below(), &path.steps, run)
        } else {
            self.walk(&self.below(&path.first), &path.steps, Origin::Below(self), run)
        }
    }

    /// The `payload` that paths go through: the column before what only has its name.
    fn payload_below(&self) -> &Value {
        let of = |from| {
            let mut layers = self.over.iter().rev().filter(move |layer| layer.payload == from);
            layers.find_map(|layer| layer.map.get(PAYLOAD))
        };
        let column = of(PayloadFrom::Column).or_else(|| self.input.payload_column());
        column.or_else(|| of(PayloadFrom::Name)).unwrap_or(&Value::Undefined)
    }

    fn in_payload(
        &self,
        payload: &Value,
        steps: &[Step],
        run: &mut Run,
    ) -> Result<Value, RunError> {
        match payload {
            Value::Undefined => Ok(Value::Undefined),
            Value::Text(text) => {
                run.begin(text)?;
                if let Some(found) = run.member(text, steps, self.input) {
                    return Ok(found);
                }
                let decoded = run.decoded_payload(text, self.input)?;
                self.walk(&decoded, steps, Origin::Value(&decoded), run)
            }
            value => self.walk(value, steps, Origin::Value(value), run),
        }
    }

    fn walk(
        &self,
        start: &Value,
        steps: &[Step],
        origin: Origin<'_, '_>,
        run: &mut Run,
    ) -> Result<Value, RunError> {
        let mut value = start;
        let mut steps = steps;
        while let Some((step, rest)) = steps.split_first() {
            let found = match (value, step) {
                (Value::Text(text), _) => {
                    run.spend(text.len() / 64 + 1)?;
                    return match Value::parse_json(text) {
                        Ok(decoded) => self.walk(&decoded, steps, origin, run),
                        Err(_) => Ok(Value::Undefined),
                    };
                }
                (Value::Map(map), Step::Key(key)) => map.get(key),
                (Value::Array(elements), Step::Index(index)) => {
                    index.position(elements.len()).and_then(|position| elements.get(position))
                }
                (Value::Array(elements), Step::IndexOf(path)) => {
                    let index = self.index(path, origin, run)?;
                    let position = index.and_then(|index| index.position(elements.len()));
                    position.and_then(|position| elements.get(position))
                }
                _ => None,
            };
            match found {
                Some(found) => value = found,
                None => return Ok(Value::Undefined),
            }
            steps = rest;
        }
        Ok(value.clone())
    }

    /// The index that a path in brackets stands for; `None` where it is no integer.
    fn index(
        &self,
        path: &Path,
        origin: Origin<'_, '_>,
        run: &mut Run,
    ) -> Result<Option<Index>, RunError> {
        run.spend(1)?;
        let first = match origin {
            Origin::Layer(layer) => layer.map.get(&path.first).cloned(),
            Origin::Below(scope) => Some(scope.below(&path.first)),
            Origin::Value(value) => Some(value.key(&path.first)),
        };
        let value = self.walk(&first.unwrap_or(Value::Undefined), &path.steps, origin, run)?;
        Ok(value.as_i64().map(Index::At))
    }
}

impl Layer {
    /// A layer of one name.
    pub(super) fn of(name: Bytes, value: Value) -> Self {
        let map = Map::from_entries(vec![(name, value)]);
        Self { map, payload: PayloadFrom::Name }
    }

    /// Puts all columns over what is there: `*`.
    pub(super) fn put_all(&mut self, columns: &Map) {
        if self.map.is_empty() {
            self.map = columns.clone();
        } else {
            for (name, value) in columns.iter() {
                self.map.insert(name.clone(), value.clone());
            }
        }
        if columns.get(PAYLOAD).is_some() {
            self.payload = PayloadFrom::Column;
        }
    }

    /// Puts a value where a path points; `in_place` when that is where it came from.
    pub(super) fn put(
        &mut self,
        path: &Path,
        value: Value,
        in_place: bool,
        scope: &Scope<'_>,
        run: &mut Run,
    ) -> Result<(), RunError> {
        if path.steps.is_empty() {
            if path.first == PAYLOAD && self.map.get(PAYLOAD).is_none() {
                self.payload = PayloadFrom::Name;
            }
            self.map.insert(path.first.clone(), value);
            return Ok(());
        }
        let mut inner = self.map.get(&path.first).cloned().unwrap_or(Value::Undefined);
        if path.in_payload {
            let from = if in_place { PayloadFrom::Column } else { PayloadFrom::Name };
            if inner.is_undefined() {
                self.payload = from;
            } else if self.payload == from
                && let Value::Text(text) = &inner
            {
                inner = run.decoded_payload(text, scope.input)?;
            }
        }
        self.put_inside(&mut inner, &path.steps, value, scope, run)?;
        self.map.insert(path.first.clone(), inner);
        Ok(())
    }

    fn put_inside(
        &self,
        container: &mut Value,
        steps: &[Step],
        value: Value,
        scope: &Scope<'_>,
        run: &mut Run,
    ) -> Result<(), RunError> {
        let Some((step, rest)) = steps.split_first() else {
            *container = value;
            return Ok(());
        };
        // A text is read as JSON before something is put below it.
        run.spend(1 + container.as_bytes().map_or(0, |text| text.len() / 64))?;
        let index = match step {
            Step::Key(key) => {
                let mut inner = if rest.is_empty() { Value::Undefined } else { container.key(key) };
                self.put_inside(&mut inner, rest, value, scope, run)?;
                container.put_key(key.clone(), inner);
                return Ok(());
            }
            Step::Index(index) => Some(*index),
            Step::IndexOf(path) => scope.index(path, Origin::Layer(self), run)?,
        };
        // What is no integer points nowhere.
        let index = index.unwrap_or(Index::At(0));
        let mut inner = if rest.is_empty() { Value::Undefined } else { container.element(index) };
        self.put_inside(&mut inner, rest, value, scope, run)?;
        container.put_element(index, inner);
        Ok(())
    }
}

/// Elements of an array from one index to another, both included, as `lists:sublist` cuts.
pub(super) fn slice(value: &Value, from: i64, to: i64) -> Result<Value, RunError> {
    let wrong = |message: String| Err(RunError::new(Reason::WrongValue, message));
    let Some(elements) = value.as_array() else {
        let message = format!("only an array can be sliced, not {}", value.kind());
        return Err(RunError::new(Reason::WrongType, message));
    };
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let absolute = |index: i64| if index < 0 { length.saturating_add(index) + 1 } else { index };
    let (first, last) = (absolute(from), absolute(to));
    if from == 0 || to == 0 || first < 1 {
        return wrong(format!("there is no slice [{from}..{to}] in an array of {length}"));
    }
    if first > length && first > 1 {
        return Ok(Value::array(Vec::new()));
    }
    match usize::try_from(last.saturating_sub(first).saturating_add(1)) {
        Ok(count) => {
            let skipped = usize::try_from(first - 1).unwrap_or(usize::MAX);
            Ok(Value::array(elements.iter().skip(skipped).take(count).cloned().collect()))
        }
        Err(_) => wrong(format!("the slice [{from}..{to}] ends before it starts")),
    }
}
