//! Trees as SQL: one line, keywords in capitals, parentheses only where they are needed.

use std::fmt::{self, Display, Formatter};

use super::lexer::Keyword;
use super::tree::{
    Arithmetic, Branch, Expression, Field, Kind, Name, Path, Query, Step, Topic, What,
};
use crate::rule::value::Index;

impl Display for Query {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Select(fields) => write!(out, "SELECT {}", Commas(fields))?,
            What::Foreach { fields, each, condition } => {
                write!(out, "FOREACH {}", Commas(fields))?;
                if let Some(each) = each {
                    write!(out, " DO {}", Commas(each))?;
                }
                if let Some(condition) = condition {
                    write!(out, " INCASE {condition}")?;
                }
            }
        }
        write!(out, " FROM {}", Commas(&self.topics))?;
        match &self.condition {
            Some(condition) => write!(out, " WHERE {condition}"),
            None => Ok(()),
        }
    }
}

struct Commas<'a, T>(&'a [T]);

impl<T: Display> Display for Commas<'_, T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (place, element) in self.0.iter().enumerate() {
            if place > 0 {
                out.write_str(", ")?;
            }
            element.fmt(out)?;
        }
        Ok(())
    }
}

impl Display for Topic {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let quote = quote_for(&self.text);
        write!(out, "{quote}{}{quote}", self.text)
    }
}

impl Display for Field {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) => out.write_str("*"),
            Self::One { expression, alias: None } => expression.fmt(out),
            Self::One { expression, alias: Some(alias) } => write!(out, "{expression} AS {alias}"),
        }
    }
}

/// How tightly an expression holds together; an operand that holds less needs parentheses.
fn strength(kind: &Kind) -> u8 {
    match kind {
        Kind::Or(_) => 1,
        Kind::And(_) => 2,
        Kind::Not(_) => 3,
        Kind::Compare(..) | Kind::In(..) | Kind::NotIn(..) => 4,
        Kind::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, ..) => 5,
        Kind::Arithmetic(..) => 6,
        Kind::Plus(_) | Kind::Minus(_) => 7,
        _ => 8,
    }
}

struct Operand<'a>(&'a Expression, u8);

impl Display for Operand<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if strength(&self.0.kind) < self.1 { write!(out, "({})", self.0) } else { self.0.fmt(out) }
    }
}

impl Display for Expression {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let own = strength(&self.kind);
        match &self.kind {
            Kind::Bool(truth) => truth.fmt(out),
            Kind::Int(number) => number.fmt(out),
            Kind::Float(number) => out.write_str(&float(*number)),
            Kind::Text(text) => write!(out, "'{}'", String::from_utf8_lossy(text)),
            Kind::Path(path) => path.fmt(out),
            Kind::Slice(path, from, to) => write!(out, "{path}[{from}..{to}]"),
            Kind::Range(from, to) => write!(out, "[{from}..{to}]"),
            Kind::List(elements) => write!(out, "[{}]", Commas(elements)),
            Kind::Call(name, arguments) => {
                match name.first.text.as_ref() {
                    // The two operators that are functions too.
                    b"div" if name.steps.is_empty() => out.write_str("div")?,
                    b"mod" if name.steps.is_empty() => out.write_str("mod")?,
                    _ => name.fmt(out)?,
                }
                write!(out, "({})", Commas(arguments))
            }
            Kind::Case { subject, branches, otherwise } => {
                write_case(subject.as_deref(), branches, otherwise.as_deref(), out)
            }
            Kind::Plus(operand) => write!(out, "+{}", Operand(operand, own + 1)),
            // `--` would start a comment.
            Kind::Minus(operand) => write!(out, "-{}", Operand(operand, own + 1)),
            Kind::Arithmetic(operator, left, right) => write!(
                out,
                "{} {} {}",
                Operand(left, own),
                operator.sign(),
                Operand(right, own + 1)
            ),
            Kind::Compare(operator, left, right) => write!(
                out,
                "{} {} {}",
                Operand(left, own + 1),
                operator.sign(),
                Operand(right, own + 1)
            ),
            Kind::In(left, items) => {
                write!(out, "{} IN ({})", Operand(left, own + 1), Commas(items))
            }
            Kind::NotIn(left, items) => {
                write!(out, "{} NOT IN ({})", Operand(left, own + 1), Commas(items))
            }
            Kind::Not(operand) => write!(out, "NOT {}", Operand(operand, own)),
            Kind::And(parts) => write_row(parts, " AND ", own, out),
            Kind::Or(parts) => write_row(parts, " OR ", own, out),
        }
    }
}

fn write_row(parts: &[Expression], between: &str, own: u8, out: &mut Formatter<'_>) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            out.write_str(between)?;
        }
        Operand(part, own + 1).fmt(out)?;
    }
    Ok(())
}

fn write_case(
    subject: Option<&Expression>,
    branches: &[Branch],
    otherwise: Option<&Expression>,
    out: &mut Formatter<'_>,
) -> fmt::Result {
    out.write_str("CASE")?;
    if let Some(subject) = subject {
        write!(out, " {subject}")?;
    }
    for Branch { when, then } in branches {
        write!(out, " WHEN {when} THEN {then}")?;
    }
    if let Some(otherwise) = otherwise {
        write!(out, " ELSE {otherwise}")?;
    }
    out.write_str(" END")
}

/// With digits on both sides of a point, as the lexer wants it.
fn float(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((digits, power)) if !digits.contains('.') => format!("{digits}.0e{power}"),
        _ => text,
    }
}

impl Display for Path {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.first.fmt(out)?;
        for step in &self.steps {
            match step {
                Step::Key(key) => write!(out, ".{key}")?,
                Step::Index(Index::Head) => out.write_str("[0]")?,
                Step::Index(Index::Tail) => out.write_str("[-0]")?,
                Step::Index(Index::At(index)) => write!(out, "[{index}]")?,
                Step::IndexOf(path) => write!(out, "[{path}]")?,
            }
        }
        Ok(())
    }
}

impl Display for Name {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.text);
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '@' | '~');
        let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(inside)
            && Keyword::of(&text).is_none()
            && !matches!(&*text, "true" | "false" | "div" | "mod");
        if plain {
            out.write_str(&text)
        } else {
            let quote = quote_for(&text);
            write!(out, "{quote}{text}{quote}")
        }
    }
}

/// A name between `"`, unless it came from a text (`payload.'a"b'`) and holds what a name cannot.
fn quote_for(text: &str) -> char {
    let mut runs = text.split(|c| c != '"').filter(|run| !run.is_empty());
    let fits = !text.starts_with('"') && !text.ends_with('"') && runs.all(|run| run.len() % 2 == 0);
    if fits { '"' } else { '\'' }
}
