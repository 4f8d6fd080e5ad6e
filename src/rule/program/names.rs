//! Which names a rule reads, which it gives, which can never be anything, and whether its answer depends on the event alone.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Program;
use crate::rule::events;
use crate::rule::functions;
use crate::rule::sql::{Expression, Field, Kind, Name, Path, What};

impl Program {
    /// Names that the rule reads and that are no column of the events in its `FROM`, and no alias: they are undefined
    /// always. Each with the name that may have been meant.
    #[must_use]
    pub fn unknown_names(&self) -> Vec<(Name, Option<String>)> {
        let mut known: BTreeSet<Bytes> = events::columns_of(self.topics());
        known.insert(Bytes::from_static(b"item"));
        known.insert(Bytes::from_static(b"metadata"));
        let unknown =
            self.read(&mut known).names.into_iter().filter(|name| !known.contains(&name.text));
        unknown.map(|name| (name.clone(), meant(name, &known))).collect()
    }

    /// Whether two rules of this SQL make the same of an event: it calls nothing that changes, and does not look at the
    /// column that tells the rule.
    #[must_use]
    pub fn answers_alike(&self) -> bool {
        let Read { names, calls } = self.read(&mut BTreeSet::new());
        let tells_rule =
            |fields: &[Field]| fields.iter().any(|field| matches!(field, Field::All(_)));
        let all_columns = match &self.tree().what {
            What::Select(fields) => tells_rule(fields) && !self.selects_all(),
            What::Foreach { each, .. } => each.as_deref().is_none_or(tells_rule),
        };
        !all_columns
            && names.iter().all(|name| name.text != "metadata")
            && !calls.iter().any(|name| changes(name))
    }

    /// What the rule reads, with its aliases added to what is known.
    fn read(&self, known: &mut BTreeSet<Bytes>) -> Read<'_> {
        let tree = self.tree();
        let mut read = Read::default();
        match &tree.what {
            What::Select(fields) => in_fields(fields, &mut read, known),
            What::Foreach { fields, each, condition } => {
                in_fields(fields, &mut read, known);
                in_fields(each.as_deref().unwrap_or_default(), &mut read, known);
                if let Some(condition) = condition {
                    in_expression(condition, &mut read);
                }
            }
        }
        if let Some(condition) = &tree.condition {
            in_expression(condition, &mut read);
        }
        read
    }
}

/// Names as a rule has them, in its order.
#[derive(Default)]
struct Read<'t> {
    /// Columns and aliases.
    names: Vec<&'t Name>,
    /// Functions.
    calls: Vec<&'t Name>,
}

/// Whether a function may give something else for the same event the next time.
fn changes(name: &Name) -> bool {
    let function = std::str::from_utf8(&name.text).ok().and_then(functions::lookup);
    function.is_some_and(|function| function.changes)
}

fn meant(name: &Name, known: &BTreeSet<Bytes>) -> Option<String> {
    let word = String::from_utf8_lossy(&name.text).to_ascii_lowercase();
    let distances = known.iter().map(|known| {
        let known = String::from_utf8_lossy(known).into_owned();
        (strsim::damerau_levenshtein(&word, &known.to_ascii_lowercase()), known)
    });
    let (distance, nearest) = distances.min()?;
    (distance * 3 <= word.len().max(3)).then_some(nearest)
}

fn in_fields<'t>(fields: &'t [Field], read: &mut Read<'t>, known: &mut BTreeSet<Bytes>) {
    for field in fields {
        let Field::One { expression, alias } = field else { continue };
        in_expression(expression, read);
        if let Some(alias) = alias {
            known.insert(alias.first.text.clone());
        }
    }
}

fn in_path<'t>(path: &'t Path, read: &mut Read<'t>) {
    // The name of an index variable is looked up beside the path it stands in, which may be anything.
    read.names.push(&path.first);
}

fn in_expression<'t>(expression: &'t Expression, read: &mut Read<'t>) {
    let mut all = |expressions: &'t [Expression]| {
        for expression in expressions {
            in_expression(expression, read);
        }
    };
    match &expression.kind {
        Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) | Kind::Range(..) => {}
        Kind::Path(path) | Kind::Slice(path, ..) => in_path(path, read),
        Kind::Call(name, inner) => {
            all(inner);
            read.calls.push(&name.first);
        }
        Kind::List(inner) | Kind::And(inner) | Kind::Or(inner) => all(inner),
        Kind::Case { subject, branches, otherwise } => {
            for inner in subject.iter().chain(otherwise) {
                in_expression(inner, read);
            }
            for branch in branches {
                in_expression(&branch.when, read);
                in_expression(&branch.then, read);
            }
        }
        Kind::Plus(inner) | Kind::Minus(inner) | Kind::Not(inner) => in_expression(inner, read),
        Kind::Arithmetic(_, left, right) | Kind::Compare(_, left, right) => {
            in_expression(left, read);
            in_expression(right, read);
        }
        Kind::In(left, items) | Kind::NotIn(left, items) => {
            in_expression(left, read);
            for item in items {
                in_expression(item, read);
            }
        }
    }
}
