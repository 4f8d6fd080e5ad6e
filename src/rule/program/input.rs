//! What a rule is applied to: the columns of one event, and its payload parsed at most once for all rules.

use std::cell::{OnceCell, RefCell};

use bytes::Bytes;

use super::Program;
use crate::rule::Selection;
use crate::rule::run::{Reason, RunError};
use crate::rule::value::{Map, NotJson, Value};

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
    /// The first text that was decoded, which is the payload for all but odd rules.
    decoded: OnceCell<(Bytes, Result<Value, NotJson>)>,
    /// What programs that several rules have made of it.
    answers: RefCell<Vec<Answer>>,
}

/// A program, by its address, and what it made of the event.
type Answer = (*const Program, Result<Selection, RunError>);

impl<'event> Input<'event> {
    /// Nothing is read or parsed yet.
    #[must_use]
    pub fn new(columns: &'event dyn Columns) -> Self {
        Self { columns, decoded: OnceCell::new(), answers: RefCell::default() }
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

    /// A column, undefined where there is none.
    pub(super) fn column(&self, name: &[u8]) -> Option<Value> {
        self.columns.column(name)
    }

    pub(super) fn all(&self) -> Map {
        self.columns.all()
    }

    /// The JSON in a text that stands for a payload.
    pub(super) fn decode(&self, text: &Bytes) -> Result<Value, RunError> {
        let (known, json) = self.decoded.get_or_init(|| (text.clone(), Value::parse_json(text)));
        let same = std::ptr::eq(known.as_ptr(), text.as_ptr()) && known.len() == text.len();
        let json = if same { json.clone() } else { Value::parse_json(text) };
        json.map_err(|error| {
            let shown = Value::Text(text.clone()).shown();
            RunError::new(Reason::NotJson, format!("the payload is {error}: {shown}"))
        })
    }
}
