//! A rule in words, for a person who did not write it.

use std::fmt::{self, Display, Formatter, Write as _};

use super::Program;
use crate::rule::sql::{Comparison, Expression, Field, Kind, What};

/// The rule as a tree in words; `Display` writes lines.
#[derive(Debug, Clone, Copy)]
pub struct InWords<'p>(&'p Program);

impl Program {
    /// What the rule does, in words.
    #[must_use]
    pub fn in_words(&self) -> InWords<'_> {
        InWords(self)
    }
}

impl Display for InWords<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let tree = self.0.tree();
        let mut lines = Lines(String::new());
        lines.add(0, "takes events with the topic");
        for topic in self.0.topics() {
            let event = topic.as_str().starts_with("$events/");
            lines.add(1, &format!("{}{topic}", if event { "" } else { "of messages: " }));
        }
        match &tree.what {
            What::Select(fields) => {
                lines.condition("and keeps those where", tree.condition.as_ref());
                lines.fields("puts out one object with", fields);
            }
            What::Foreach { fields, each, condition } => {
                lines.condition("and keeps those where", tree.condition.as_ref());
                lines.fields("walks the elements of the last of", fields);
                lines.condition("and keeps the elements where", condition.as_ref());
                match each {
                    Some(each) => lines.fields("puts out for each element one object with", each),
                    None => lines.add(0, "puts out for each element all columns, and the element"),
                }
            }
        }
        out.write_str(lines.0.trim_end())
    }
}

struct Lines(String);

impl Lines {
    fn add(&mut self, depth: usize, text: &str) {
        let indent = "  ".repeat(depth);
        writeln!(self.0, "{indent}{text}").expect("a String takes all that is written to it");
    }

    fn fields(&mut self, heading: &str, fields: &[Field]) {
        self.add(0, heading);
        for field in fields {
            match field {
                Field::All(_) => self.add(1, "all columns"),
                Field::One { expression, alias: None } => self.add(1, &expression.to_string()),
                Field::One { expression, alias: Some(alias) } => {
                    self.add(1, &format!("{alias}: {expression}"));
                }
            }
        }
    }

    fn condition(&mut self, heading: &str, condition: Option<&Expression>) {
        if let Some(condition) = condition {
            self.add(0, heading);
            self.part(1, condition);
        }
    }

    fn part(&mut self, depth: usize, condition: &Expression) {
        match &condition.kind {
            Kind::And(parts) => {
                self.add(depth, "all of these hold");
                for part in parts {
                    self.part(depth + 1, part);
                }
            }
            Kind::Or(parts) => {
                self.add(depth, "one of these holds");
                for part in parts {
                    self.part(depth + 1, part);
                }
            }
            Kind::Not(inner) => {
                self.add(depth, "this does not hold");
                self.part(depth + 1, inner);
            }
            Kind::Compare(operator, left, right) => {
                self.add(depth, &format!("{left} {} {right}", compares(*operator)));
            }
            Kind::In(left, items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                self.add(depth, &format!("{left} is one of {}", items.join(", ")));
            }
            _ => self.add(depth, &condition.to_string()),
        }
    }
}

const fn compares(operator: Comparison) -> &'static str {
    match operator {
        Comparison::Equal => "is",
        Comparison::NotEqual | Comparison::Unequal => "is not",
        Comparison::Less => "is less than",
        Comparison::LessOrEqual => "is at most",
        Comparison::Greater => "is greater than",
        Comparison::GreaterOrEqual => "is at least",
        Comparison::MatchesTopic => "is a topic that matches",
        Comparison::TildeEqual => "~=",
    }
}
