//! What a rule is applied to: the columns of one event, and its payload parsed at most once for all rules.

use std::cell::{OnceCell, RefCell};

use bytes::Bytes;

use super::Program;
use crate::rule::Selection;
use crate::rule::run::{Reason, RunError};
use crate::rule::value::{Map, Members, NotJson, Value};

/// The column that rules look into.
pub(super) const PAYLOAD: &[u8] = b"payload";

/// The columns of an event.
pub trait Columns {
    /// The value of a column; `None` where the event has no such column.
    fn column(&self, name: &[u8]) -> Option<Value>;

    /// All columns, as `*` selects them.
    fn all(&self) -> Map;
}

impl Columns for Map {
    fn column(&self, name: &[u8]) -> Option<Value> {
        self.get(name).cloned()
    }

    fn all(&self) -> Map {
        self.clone()
    }
}

/// One event for all the rules that it is given to.
pub struct Input<'event> {
    columns: &'event dyn Columns,
    /// The column that rules ask for most.
    column_payload: OnceCell<Option<Value>>,
    /// The payload; of an event without one the first text that is looked into in its place.
    payload: OnceCell<Payload>,
    /// What programs that several rules have made of it.
    answers: RefCell<Vec<Answer>>,
}

/// A text that is JSON perhaps: looked through when a path of keys goes into it, read as a whole when something else does.
struct Payload {
    text: Bytes,
    members: OnceCell<Option<Members>>,
    whole: OnceCell<Result<Value, NotJson>>,
}

impl Payload {
    fn is(&self, text: &Bytes) -> bool {
        std::ptr::eq(self.text.as_ptr(), text.as_ptr()) && self.text.len() == text.len()
    }
}

/// A program, by its address, and what it made of the event.
type Answer = (*const Program, Result<Selection, RunError>);

impl<'event> Input<'event> {
    /// Nothing is read or parsed yet.
    #[must_use]
    pub fn new(columns: &'event dyn Columns) -> Self {
        Self {
            columns,
            column_payload: OnceCell::new(),
            payload: OnceCell::new(),
            answers: RefCell::default(),
        }
    }

    /// What a program makes of the event, which is asked for once however often it is wanted.
    pub(crate) fn once(
        &self,
        program: &Program,
        ask: impl FnOnce() -> Result<Selection, RunError>,
    ) -> Result<Selection, RunError> {
        let known = |(of, _): &&Answer| std::ptr::eq(*of, program);
        if let Some((_, answer)) = self.answers.borrow().iter().find(known) {
            return answer.clone();
        }
        let answer = ask();
        self.answers.borrow_mut().push((program, answer.clone()));
        answer
    }

    /// A column; `None` where the event has none of that name.
    pub(super) fn column(&self, name: &[u8]) -> Option<Value> {
        if name == PAYLOAD { self.payload_column().cloned() } else { self.columns.column(name) }
    }

    /// The column `payload`, which is read once.
    pub(super) fn payload_column(&self) -> Option<&Value> {
        self.column_payload.get_or_init(|| self.columns.column(PAYLOAD)).as_ref()
    }

    pub(super) fn all(&self) -> Map {
        self.columns.all()
    }

    fn payload(&self, text: &Bytes) -> &Payload {
        self.payload.get_or_init(|| {
            let column = self.payload_column().and_then(Value::as_bytes);
            Payload {
                text: column.unwrap_or(text).clone(),
                members: OnceCell::new(),
                whole: OnceCell::new(),
            }
        })
    }

    /// The value at a path of keys in a text that stands for a payload, without reading what else is there. `None` where
    /// it has to be decoded: it is no object, or not JSON, or is decoded already, or the path goes into a text.
    pub(super) fn member<'k>(
        &self,
        text: &Bytes,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Option<Value> {
        let payload = self.payload(text);
        if !payload.is(text) || payload.whole.get().is_some() {
            return None;
        }
        payload.members.get_or_init(|| Members::read(text)).as_ref()?.get(keys)
    }

    /// The JSON in a text that stands for a payload.
    pub(super) fn decode(&self, text: &Bytes) -> Result<Value, RunError> {
        let payload = self.payload(text);
        let json = if payload.is(text) {
            payload.whole.get_or_init(|| Value::parse_json(text)).clone()
        } else {
            Value::parse_json(text)
        };
        json.map_err(|error| {
            let shown = Value::Text(text.clone()).shown();
            RunError::new(Reason::NotJson, format!("the payload is {error}: {shown}"))
        })
    }
}
