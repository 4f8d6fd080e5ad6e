//! From a parsed TOML document to checked values, with everything that is wrong collected on the way.
//!
//! Each `Table` remembers which keys it was asked for; what is left over at the end is unknown. A value that is
//! wrong is reported and gives `None`: reading goes on with a default, so that one run tells all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Surroundings;
use super::columns::ColumnUse;
use super::report::{Finding, Place};
use super::schema::Form;
use super::words::{known_words, nearest};

/// Collects what one file says and what is wrong with it.
pub(super) struct Reader<'doc> {
    pub(super) surroundings: &'doc Surroundings,
    text: &'doc str,
    problems: RefCell<Vec<(usize, Finding)>>,
    warnings: RefCell<Vec<(usize, Finding)>>,
    /// Where each key that was read stands.
    places: RefCell<BTreeMap<String, Range<usize>>>,
    /// Every key that was asked for, there or not.
    asked: RefCell<BTreeSet<String>>,
    /// Every key that must be there, where its table is.
    required: RefCell<BTreeSet<String>>,
    /// What each value that was read may be.
    forms: RefCell<BTreeMap<String, Vec<Form>>>,
    columns_used: RefCell<Vec<ColumnUse>>,
    failed_tests: RefCell<Vec<Finding>>,
}

impl<'doc> Reader<'doc> {
    pub(super) fn new(text: &'doc str, surroundings: &'doc Surroundings) -> Self {
        Self {
            surroundings,
            text,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            places: RefCell::default(),
            asked: RefCell::default(),
            required: RefCell::default(),
            forms: RefCell::default(),
            columns_used: RefCell::default(),
            failed_tests: RefCell::default(),
        }
    }

    /// The document itself.
    pub(super) fn root<'r>(&'r self, document: &'r DeTable<'r>) -> Table<'r> {
        Table {
            reader: self,
            path: String::new(),
            span: None,
            entries: Some(document),
            asked: Vec::new(),
        }
    }

    /// Reports something wrong at `span`, or nowhere.
    pub(super) fn problem(
        &self,
        key: &str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) {
        let finding = self.finding(key, span, message.into());
        self.problems.borrow_mut().push(finding);
    }

    /// Reports something wrong with a key that was read before; where it is not in the file, at the nearest table
    /// around it.
    pub(super) fn problem_with(&self, key: &str, message: impl Into<String>) {
        self.problem(key, self.place_of(key), message);
    }

    /// Reports something risky about a key that was read before, as [`Self::problem_with`].
    pub(super) fn warn_of(&self, key: &str, message: impl Into<String>) {
        let finding = self.finding(key, self.place_of(key), message.into());
        self.warnings.borrow_mut().push(finding);
    }

    /// The tests of rules that do not hold, in the order of the file.
    pub(super) fn failed_tests(&self) -> Vec<Finding> {
        self.failed_tests.borrow().clone()
    }

    /// Reports something risky at `span`.
    pub(super) fn warning(&self, key: &str, span: Range<usize>, message: String) {
        let finding = self.finding(key, Some(span), message);
        self.warnings.borrow_mut().push(finding);
    }

    /// The columns that templates name.
    pub(super) fn columns_used(&self) -> Vec<ColumnUse> {
        self.columns_used.borrow().clone()
    }

    /// Whether something is wrong with a key.
    pub(super) fn has_problem(&self, with: impl Fn(&str) -> bool) -> bool {
        self.problems.borrow().iter().any(|(_, finding)| with(&finding.key))
    }

    /// Whether a key stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.places.borrow().contains_key(key)
    }

    /// Problems and warnings, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Finding>, Vec<Finding>) {
        let in_order = |findings: RefCell<Vec<(usize, Finding)>>| {
            let mut findings = findings.into_inner();
            findings.sort_by_key(|(position, _)| *position);
            let mut findings: Vec<_> = findings.into_iter().map(|(_, finding)| finding).collect();
            findings.dedup();
            findings
        };
        (in_order(self.problems), in_order(self.warnings))
    }

    /// Every key that was asked for.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Every key that must be there.
    pub(super) fn required(&self) -> BTreeSet<String> {
        self.required.borrow().clone()
    }

    /// What each value that was read may be.
    pub(super) fn forms(&self) -> BTreeMap<String, Vec<Form>> {
        self.forms.borrow().clone()
    }

    #[cfg(test)]
    pub(super) fn there(&self) -> BTreeSet<String> {
        self.places.borrow().keys().cloned().collect()
    }

    fn finding(&self, key: &str, span: Option<Range<usize>>, message: String) -> (usize, Finding) {
        let position = span.as_ref().map_or(usize::MAX, |span| span.start);
        let place = span.map(|span| Place::new(&self.surroundings.file, self.text, span));
        (position, Finding { key: key.to_owned(), message, place })
    }

    /// Whether a key stands in the file, and was read.
    pub(super) fn has_read(&self, table: &str, key: &str) -> bool {
        self.places.borrow().contains_key(&format!("{table}.{key}"))
    }

    fn place_of(&self, key: &str) -> Option<Range<usize>> {
        let places = self.places.borrow();
        let mut key = key;
        loop {
            if let Some(span) = places.get(key) {
                return Some(span.clone());
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

/// A table of the document; an empty one stands for a table that is absent.
pub(super) struct Table<'r> {
    pub(super) reader: &'r Reader<'r>,
    path: String,
    span: Option<Range<usize>>,
    entries: Option<&'r DeTable<'r>>,
    asked: Vec<&'static str>,
}

impl<'r> Table<'r> {
    /// Its key from the top of the document.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value of `key`, where there is one.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'r>> {
        self.asked.push(key);
        self.reader.asked.borrow_mut().insert(join(&self.path, key));
        let (key, value) = self.entries?.get_key_value(key)?;
        Some(self.value(key.get_ref(), key.span(), value))
    }

    /// The value of `key` as `read` takes it, or the default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'r>) -> Option<T>,
    ) -> T {
        self.get(key).and_then(|value| read(&value)).unwrap_or(default)
    }

    /// The value of `key`, which must be there; `example` shows one as TOML.
    pub(super) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'r>> {
        let value = self.get(key);
        self.reader.required.borrow_mut().insert(join(&self.path, key));
        if value.is_none() {
            let message = format!("is missing; for example `{key} = {example}`");
            self.reader.problem(&join(&self.path, key), self.span.clone(), message);
        }
        value
    }

    /// The table of `key`; an empty one when it is absent or something else.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        let path = join(&self.path, key);
        self.get(key).and_then(|value| value.table()).unwrap_or(Table {
            reader: self.reader,
            path,
            span: None,
            entries: None,
            asked: Vec::new(),
        })
    }

    /// The table of `key` without asking for it: what is wrong with it is told elsewhere.
    pub(super) fn quiet_table(&self, key: &'static str) -> Self {
        let entries = self.entries.and_then(|entries| entries.get(key)?.get_ref().as_table());
        let path = join(&self.path, key);
        Table { reader: self.reader, path, span: None, entries, asked: Vec::new() }
    }

    /// Whether `key` is there, without asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// All keys with their values, whatever they are called.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'r str, Value<'r>)> {
        let entries = self.entries.into_iter().flatten();
        entries.map(|(key, value)| (&**key.get_ref(), self.value(key.get_ref(), key.span(), value)))
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.entries() {
            if self.asked.contains(&key) {
                continue;
            }
            let message = match nearest(key, self.asked.iter().copied()) {
                Some(meant) => format!("unknown key; did you mean `{meant}`?"),
                None => {
                    format!("unknown key; known are {}", known_words(self.asked.iter().copied()))
                }
            };
            self.reader.problem(&value.path, Some(value.key_span), message);
        }
    }

    fn value(
        &self,
        key: &str,
        key_span: Range<usize>,
        value: &'r toml::Spanned<DeValue<'r>>,
    ) -> Value<'r> {
        let path = join(&self.path, key);
        self.reader.places.borrow_mut().insert(path.clone(), value.span());
        Value { reader: self.reader, path, key_span, span: value.span(), content: value.get_ref() }
    }
}

/// A value of the document.
pub(super) struct Value<'r> {
    pub(super) reader: &'r Reader<'r>,
    /// Its key from the top of the document.
    pub(super) path: String,
    key_span: Range<usize>,
    span: Range<usize>,
    pub(super) content: &'r DeValue<'r>,
}

impl<'r> Value<'r> {
    /// Reports something wrong with it, and gives nothing.
    pub(super) fn wrong<T>(&self, message: impl Into<String>) -> Option<T> {
        self.reader.problem(&self.path, Some(self.span.clone()), message);
        None
    }

    /// Notes that it is a test that does not hold.
    pub(super) fn failed_test(&self, message: String) {
        let (_, finding) = self.reader.finding(&self.path, Some(self.span.clone()), message);
        self.reader.failed_tests.borrow_mut().push(finding);
    }

    /// Notes that it is a template that names a column, and where if that is known.
    pub(super) fn uses_column(&self, column: &str, span: Option<Range<usize>>) {
        let (key, span) = (self.path.clone(), span.unwrap_or_else(|| self.span.clone()));
        let used = ColumnUse { key, span, column: column.to_owned() };
        self.reader.columns_used.borrow_mut().push(used);
    }

    /// Where it stands in the file, and how it is written there.
    pub(super) fn source(&self) -> (usize, &'r str) {
        (self.span.start, self.reader.text.get(self.span.clone()).unwrap_or_default())
    }

    /// Reports something wrong with the key as such.
    pub(super) fn wrong_key(&self, message: impl Into<String>) {
        self.reader.problem(&self.path, Some(self.key_span.clone()), message);
    }

    /// The same value, of which no message and no excerpt shows more than the key.
    pub(super) fn hidden(mut self) -> Self {
        self.span = self.key_span.clone();
        self.reader.places.borrow_mut().insert(self.path.clone(), self.span.clone());
        self
    }

    /// As [`Self::wrong`], pointing at the key: the value is a secret.
    pub(super) fn wrong_secret<T>(&self, message: impl Into<String>) -> Option<T> {
        self.wrong_key(message);
        None
    }

    /// Warns of something risky, pointing at the key.
    pub(super) fn warn_of_key(&self, message: &str) {
        let span = Some(self.key_span.clone());
        let finding = self.reader.finding(&self.path, span, message.to_owned());
        self.reader.warnings.borrow_mut().push(finding);
    }

    /// Whether it is a table that has `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.content.as_table().is_some_and(|table| table.contains_key(key))
    }

    /// Notes what it may be, whatever it is.
    pub(super) fn may_be(&self, form: Form) {
        self.note_form(self.path.clone(), form);
    }

    /// Notes what each element may be when it is a list.
    pub(super) fn elements_may_be(&self, form: Form) {
        self.note_form(format!("{}[0]", self.path), form);
    }

    fn note_form(&self, path: String, form: Form) {
        let mut forms = self.reader.forms.borrow_mut();
        let forms = forms.entry(path).or_default();
        if !forms.contains(&form) {
            forms.push(form);
        }
    }

    /// It as a table.
    pub(super) fn table(&self) -> Option<Table<'r>> {
        self.may_be(Form::Table);
        let DeValue::Table(entries) = self.content else {
            return self.wrong(format!("must be a table, is {}", self.described()));
        };
        Some(Table {
            reader: self.reader,
            path: self.path.clone(),
            span: Some(self.span.clone()),
            entries: Some(entries),
            asked: Vec::new(),
        })
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        self.may_be(Form::List);
        let DeValue::Array(elements) = self.content else {
            let example = match self.content {
                DeValue::String(text) => format!(" such as [{text:?}]"),
                _ => String::new(),
            };
            return self.wrong(format!("must be a list{example}, is {}", self.described()));
        };
        let element = |(index, element): (usize, &'r toml::Spanned<DeValue<'r>>)| {
            let path = format!("{}[{index}]", self.path);
            self.reader.places.borrow_mut().insert(path.clone(), element.span());
            let (span, value) = (element.span(), element.get_ref());
            Value { reader: self.reader, path, key_span: span.clone(), span, content: value }
        };
        Some(elements.iter().enumerate().map(element).collect())
    }

    /// What it is, for the end of a sentence.
    pub(super) fn described(&self) -> String {
        match self.content {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => format!("the number {number}"),
            DeValue::Float(number) => format!("the number {number}"),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(date) => format!("the date {date}"),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key =
        if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
