//! One function: its signature, its docs and what it does.

use super::argument::{Argument, Kind};
use crate::rule::run::{Context, Implementation, RunError};
use crate::rule::value::Value;

/// A function of the rule language.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// As it is called.
    pub name: &'static str,
    /// What it takes, in order.
    pub arguments: &'static [Argument],
    /// What it gives.
    pub result: Kind,
    /// What it does, for people: whole sentences.
    pub docs: &'static str,
    /// Calls with the results that they give, as SQL; a test runs them.
    pub examples: &'static [(&'static str, &'static str)],
    /// Whether two calls with the same arguments for the same event may differ: it looks at the clock, draws lots, runs a
    /// program (`jq`), or reads or writes what is kept.
    pub changes: bool,
    run: Implementation,
}

impl Function {
    pub(super) const fn new(
        name: &'static str,
        arguments: &'static [Argument],
        result: Kind,
        run: Implementation,
        docs: &'static str,
        examples: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { name, arguments, result, docs, examples, changes: false, run }
    }

    /// The same function, which [`Self::changes`].
    pub(super) const fn changing(self) -> Self {
        Self { changes: true, ..self }
    }

    /// Fewest arguments that it takes.
    #[must_use]
    pub fn arguments_min(&self) -> usize {
        self.arguments.iter().take_while(|argument| !argument.optional).count()
    }

    /// Most arguments that it takes; `None` where there is no end.
    #[must_use]
    pub fn arguments_max(&self) -> Option<usize> {
        let endless = self.arguments.last().is_some_and(|argument| argument.repeated);
        (!endless).then_some(self.arguments.len())
    }

    /// Whether it takes so many arguments.
    #[must_use]
    pub fn takes(&self, count: usize) -> bool {
        count >= self.arguments_min() && self.arguments_max().is_none_or(|max| count <= max)
    }

    /// `substr(text: text, start: integer[, length: integer]) -> text`.
    #[must_use]
    pub fn signature(&self) -> String {
        let mut text = format!("{}(", self.name);
        for (place, argument) in self.arguments.iter().enumerate() {
            text.push_str(if argument.optional { "[" } else { "" });
            text.push_str(if place > 0 { ", " } else { "" });
            text.push_str(argument.name);
            text.push_str(": ");
            text.push_str(argument.kind.name());
            text.push_str(if argument.repeated { ", ..." } else { "" });
        }
        let optional = self.arguments.iter().filter(|argument| argument.optional).count();
        text.push_str(&"]".repeat(optional));
        format!("{text}) -> {}", self.result.name())
    }

    /// `2 arguments`, `2 or 3 arguments`: what a call with another number of them is told.
    #[must_use]
    pub fn arity(&self) -> String {
        let min = self.arguments_min();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match self.arguments_max() {
            None => format!("at least {min} argument{}", plural(min)),
            Some(0) => "no arguments".to_owned(),
            Some(max) if max == min => format!("{min} argument{}", plural(min)),
            Some(max) if max == min + 1 => format!("{min} or {max} arguments"),
            Some(max) => format!("{min} to {max} arguments"),
        }
    }

    /// Calls it. The compiler has counted the arguments; their kinds are checked here.
    pub fn call(&self, context: &dyn Context, values: &[Value]) -> Result<Value, RunError> {
        let last = self.arguments.last().filter(|argument| argument.repeated);
        for (place, value) in values.iter().enumerate() {
            if let Some(argument) = self.arguments.get(place).or(last) {
                argument.check(self.name, place + 1, value)?;
            }
        }
        (self.run)(context, values).map_err(|error| RunError {
            message: format!("`{}`: {}", self.name, error.message),
            ..error
        })
    }
}
