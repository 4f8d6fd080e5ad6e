//! `sql = '...'` of a rule: compiled when the config is read, with every mistake shown where it stands in the file.

use std::ops::Range;

use super::reader::{Table, Value};
use crate::event::EventKind;
use crate::rule::events::{self, topic_in_use};
use crate::rule::program::Program;
use crate::rule::sql;
use crate::topic::TopicFilter;

/// A rule as its SQL says it.
pub(super) struct SqlRule {
    pub(super) program: Program,
    /// The message topics of `FROM`.
    pub(super) topics: Vec<TopicFilter>,
    /// The kinds of event that `FROM` has.
    pub(super) events: Vec<EventKind>,
}

impl Table<'_> {
    /// `sql`, beside which there is no `topics`; nothing when it is wrong.
    pub(super) fn sql(&mut self) -> Option<SqlRule> {
        let sql = self.get("sql")?;
        for key in ["topics", "events"] {
            if let Some(value) = self.get(key) {
                value.wrong_key(format!(
                    "the {key} of a rule with `sql` stand in its `FROM`; leave one of the two out"
                ));
            }
        }
        sql.sql()
    }
}

impl Value<'_> {
    fn sql(&self) -> Option<SqlRule> {
        let text = self.raw_text()?;
        if let Ok(tree) = sql::parse(text) {
            for topic in &tree.topics {
                let span = topic.span.start..topic.span.end;
                self.look_at_event_topic(&topic.text, span.clone());
                self.look_at_bridge(&topic.text, span);
            }
        }
        let program = match Program::new(text) {
            Ok(program) => program,
            Err(errors) => {
                for error in errors {
                    self.wrong_inside(error.span.start..error.span.end, error.message);
                }
                return None;
            }
        };
        let of_message = |topic: &&TopicFilter| !topic.as_str().starts_with(events::PREFIX);
        let topics = program.topics().iter().filter(of_message).cloned().collect();
        let events = events::kinds_of(program.topics());
        self.warn_of_names(text, &program);
        for doubt in program.doubts() {
            let message =
                format!("this rule fails for every event that comes here: {}", doubt.message);
            self.reader.warning(
                &self.path,
                self.place_of(doubt.span.start..doubt.span.end),
                message,
            );
        }
        Some(SqlRule { program, topics, events })
    }

    /// Tells of a topic under `$events/` that no event has.
    fn look_at_event_topic(&self, topic: &str, span: Range<usize>) {
        let topic = topic_in_use(topic);
        if !topic.starts_with(events::PREFIX)
            || topic.contains(['+', '#'])
            || events::topics().any(|known| known == topic)
        {
            return;
        }
        let advice = match super::words::nearest(&topic, events::topics()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`waypost events list` has them".to_owned(),
        };
        self.wrong_inside(span, format!("there is no event `{topic}`; {advice}"));
    }

    /// Warns of what a bridge of EMQX to another broker gives: here the other broker is a source, with its own topics.
    fn look_at_bridge(&self, topic: &str, span: Range<usize>) {
        if topic_in_use(topic).starts_with("$sources/") {
            let message = format!(
                "none of its sources can give `{topic}`: make the other broker a source, and select from its topics"
            );
            self.reader.warning(&self.path, self.place_of(span), message);
        }
    }

    /// Warns of names that are always undefined.
    fn warn_of_names(&self, sql: &str, program: &Program) {
        let of_message = |topic: &TopicFilter| !topic.as_str().starts_with(events::PREFIX);
        let has_payload = program.topics().iter().all(of_message);
        for (name, meant) in program.unknown_names() {
            let text = String::from_utf8_lossy(&name.text);
            let quoted = sql.get(name.span.start..).is_some_and(|rest| rest.starts_with('"'));
            let advice = match meant {
                _ if matches!(&*text, "null" | "undefined") => {
                    "`is_null(x)` asks for it".to_owned()
                }
                Some(meant) => format!("did you mean `{meant}`?"),
                None if quoted => format!("a text stands between single quotes: `'{text}'`"),
                None if has_payload => {
                    format!("a member of a JSON payload is `payload.{name}`")
                }
                None => "`waypost events list` has them".to_owned(),
            };
            let message = format!(
                "{name} is no column of the events in `FROM` and no alias: it is undefined always; {advice}"
            );
            self.reader.warning(&self.path, self.place_of(name.span.start..name.span.end), message);
        }
    }

    /// Reports something wrong with a part of a text, given in bytes of the text that the file means.
    fn wrong_inside(&self, part: Range<usize>, message: String) {
        self.reader.problem(&self.path, Some(self.place_of(part)), message);
    }

    /// Where a part of a text stands in the file.
    pub(super) fn place_of(&self, part: Range<usize>) -> Range<usize> {
        let (start, raw) = self.source();
        start + raw_offset(raw, part.start)..start + raw_offset(raw, part.end)
    }
}

/// Where a byte of the text that a TOML string means stands in the string as it is written, quotes and escapes
/// included.
fn raw_offset(raw: &str, decoded: usize) -> usize {
    let quote = raw.chars().next().unwrap_or('"');
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let mut at = 1;
    if let Some(rest) = raw.strip_prefix(&triple) {
        let line_break =
            if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
        at = triple.len() + line_break;
    }
    if quote == '\'' {
        return at + decoded;
    }
    let mut left = decoded;
    while left > 0 {
        let rest = raw.get(at..).unwrap_or_default();
        let Some((written, meant)) = next_character(rest) else { return at };
        at += written;
        left = left.saturating_sub(meant);
    }
    // An escaped line break at the place belongs to what is before it.
    while let Some((written, 0)) = next_character(raw.get(at..).unwrap_or_default()) {
        at += written;
    }
    at
}

/// Bytes of the next character of a basic string as it is written and as it is meant.
fn next_character(rest: &str) -> Option<(usize, usize)> {
    let mut characters = rest.chars();
    let first = characters.next()?;
    if first != '\\' {
        return Some((first.len_utf8(), first.len_utf8()));
    }
    let escape = characters.next()?;
    let digits = match escape {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        ' ' | '\t' | '\r' | '\n' => {
            let blanks = rest.get(1..)?;
            return Some((1 + blanks.len() - blanks.trim_start().len(), 0));
        }
        _ => return Some((1 + escape.len_utf8(), 1)),
    };
    let code_point = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
    Some((2 + digits, char::from_u32(code_point)?.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::raw_offset;

    #[test]
    fn a_place_in_a_text_is_found_in_the_file_whatever_the_quotes() {
        for raw in [
            r"'abXcd'",
            r#""abXcd""#,
            "'''\nabXcd'''",
            "'''\r\nabXcd'''",
            "\"\"\"\nabXcd\"\"\"",
            r#""\u0061\"Xcd""#,
            "\"\"\"a\\\n   bXcd\"\"\"",
            "\"\"\"ab\\\n   Xcd\"\"\"",
        ] {
            let place = raw_offset(raw, 2);
            assert_eq!(raw[place..].chars().next(), Some('X'), "{raw} gave {place}");
        }
    }
}
