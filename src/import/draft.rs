//! The config that is being written: tables that can be taken out again.

use std::fmt::Write as _;

use crate::config::{self, Surroundings, Warning};

use super::notes::Notes;

/// A config in parts.
#[derive(Debug, Default)]
pub(super) struct Draft {
    blocks: Vec<Block>,
}

/// One table of the config.
#[derive(Debug)]
pub(super) struct Block {
    /// `sinks.cloud`.
    name: String,
    /// Where it comes from.
    origin: String,
    lines: Vec<String>,
    /// Why it is a comment only.
    off: Option<String>,
}

impl Block {
    pub(super) fn new(name: impl Into<String>, origin: impl Into<String>) -> Self {
        Self { name: name.into(), origin: origin.into(), lines: Vec::new(), off: None }
    }

    pub(super) fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        self.lines.push(format!("{key} = {value}"));
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.set(key, text(value));
    }

    pub(super) fn comment(&mut self, text: &str) {
        self.lines.extend(text.lines().map(|line| format!("# {line}")));
    }

    pub(super) fn turn_off(&mut self, reason: impl Into<String>) {
        self.off.get_or_insert(reason.into());
    }

    fn write(&self, out: &mut String) {
        let mut body = format!("[{}]\n", self.name);
        for line in &self.lines {
            body.push_str(line);
            body.push('\n');
        }
        writeln!(out, "\n# From {}.", self.origin).expect("memory takes all");
        match &self.off {
            None => out.push_str(&body),
            Some(reason) => {
                writeln!(out, "# Not on: {}.", reason.replace('\n', " "))
                    .expect("memory takes all");
                for line in body.lines() {
                    writeln!(out, "#~ {line}").expect("memory takes all");
                }
            }
        }
    }
}

impl Draft {
    pub(super) fn push(&mut self, block: Block) {
        self.blocks.push(block);
    }

    fn write(&self) -> String {
        let mut out = String::from(
            "# Written by `waypost import`. The report says what differs; `waypost check` checks it.\n",
        );
        for block in &self.blocks {
            block.write(&mut out);
        }
        out
    }

    /// The text, with every table that `waypost check` refuses turned into comments.
    pub(super) fn settled(mut self, surroundings: &Surroundings, notes: &mut Notes) -> String {
        for block in &self.blocks {
            if let Some(reason) = &block.off {
                notes.left_out(
                    &block.origin,
                    format!("[{}] is there as a comment: {reason}", block.name),
                );
            }
        }
        // Each round turns one table off at least.
        for _ in 0..=self.blocks.len() {
            let text = self.write();
            let report = match config::parse(&text, surroundings) {
                Err(report) => report,
                Ok((_, warnings)) => {
                    for Warning(warning) in warnings {
                        let whole = warning.key.is_empty();
                        notes.different(if whole { "all" } else { &warning.key }, warning.message);
                    }
                    break;
                }
            };
            let mut found = false;
            for problem in report.problems() {
                let key = problem.key.as_str();
                let of = |block: &&mut Block| {
                    block.off.is_none()
                        && key
                            .strip_prefix(&block.name)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                if let Some(block) = self.blocks.iter_mut().find(of) {
                    let reason = format!("`waypost check` says of {key}: {}", problem.message);
                    notes.left_out(
                        &block.origin,
                        format!("[{}] is there as a comment: {reason}", block.name),
                    );
                    block.turn_off(reason);
                    found = true;
                }
            }
            if !found {
                break;
            }
        }
        for block in self.blocks.iter().filter(|block| block.off.is_none()) {
            notes.carried(&block.origin, format!("[{}]", block.name));
        }
        self.write()
    }
}

/// A TOML string: on several lines as it stands where it has lines and can be, otherwise with escapes.
pub(super) fn text(value: &str) -> String {
    let plain = |it: char| !it.is_control() || matches!(it, '\n' | '\t');
    if value.contains('\n')
        && !value.contains("'''")
        && !value.ends_with('\'')
        && value.chars().all(plain)
    {
        return format!("'''\n{value}'''");
    }
    quoted(value)
}

/// A TOML string with escapes.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                write!(out, "\\u{:04X}", u32::from(control)).expect("memory takes all");
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// `headers.x-site`, `headers."a b"`.
pub(super) fn key(table: &str, name: &str) -> String {
    let bare = |it: char| it.is_ascii_alphanumeric() || "_-".contains(it);
    if !name.is_empty() && name.chars().all(bare) {
        format!("{table}.{name}")
    } else {
        format!("{table}.{}", quoted(name))
    }
}

/// A name that the config takes: small letters, digits, `_` and `-`; another one for each call with the same `taken`.
pub(super) fn name(wanted: &str, taken: &mut Vec<String>) -> String {
    const LENGTH_MAX: usize = 63;
    let known = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "_-".contains(it);
    let lower = wanted.to_ascii_lowercase();
    let clean: String = lower.chars().map(|it| if known(it) { it } else { '-' }).collect();
    let clean = clean.trim_start_matches(['-', '_']);
    let clean = if clean.is_empty() { "unnamed" } else { clean };
    let mut name: String = clean.chars().take(LENGTH_MAX).collect();
    let mut number = 1;
    while taken.contains(&name) {
        number += 1;
        let suffix = format!("-{number}");
        name = clean.chars().take(LENGTH_MAX - suffix.len()).collect::<String>() + &suffix;
    }
    taken.push(name.clone());
    name
}
