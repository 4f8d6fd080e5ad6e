//! What an operator reads when a config is wrong or risky: every finding with its key, its place and its line.

use std::fmt;
use std::ops::Range;

/// Findings that are printed; more are counted only. A file that is wrong in every line needs no hundred excerpts.
const SHOWN_MAX: usize = 30;
/// Characters of a line that are shown.
const EXCERPT_CHARACTERS_MAX: usize = 120;

/// One thing that an operator should know about the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key it is about, such as `sinks.cloud.queue.max_bytes`; empty for the whole file.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Where it stands; `None` when it stands nowhere.
    pub place: Option<Place>,
}

/// A place in the config file, with what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line, or the part of a long line around the place; texts of likely secrets are masked.
    excerpt: String,
    /// Characters before the marked ones in `excerpt`.
    mark_start: usize,
    /// Characters marked; at least one.
    mark_length: usize,
}

/// A config that cannot be used: all that is wrong with it.
///
/// `Display` is the whole text for the operator. The process that gives up on it exits with [`Report::EXIT_CODE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    file: String,
    problems: Vec<Finding>,
}

/// Something that works and may not be what the operator wants: a setting that can lose records, never drains, or does
/// nothing. `Display` is the whole text for the operator; [`Finding::line`] is one line for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub Finding);

impl Report {
    /// `EX_CONFIG` of sysexits.h: restarting does not help.
    pub const EXIT_CODE: u8 = 78;

    /// A report of `problems`, of which there is at least one.
    pub(super) fn new(file: &str, problems: Vec<Finding>) -> Self {
        assert!(!problems.is_empty(), "a report has a problem");
        Self { file: file.to_owned(), problems }
    }

    /// What is wrong, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Finding] {
        &self.problems
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(SHOWN_MAX) {
            writeln!(formatter, "error: {problem}")?;
        }
        match self.problems.len() {
            1 => write!(formatter, "1 problem in {}", self.file),
            count if count > SHOWN_MAX => {
                let more = count - SHOWN_MAX;
                write!(formatter, "{count} problems in {}, {more} of them not shown", self.file)
            }
            count => write!(formatter, "{count} problems in {}", self.file),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "warning: {}", self.0)
    }
}

impl Finding {
    /// The key and what is wrong with it, on one line and without its place.
    #[must_use]
    pub fn line(&self) -> String {
        if self.key.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.key, self.message)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.line())?;
        let Some(place) = &self.place else { return Ok(()) };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(formatter, "{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
        writeln!(formatter, "{margin} |")?;
        writeln!(formatter, "{number} | {}", place.excerpt)?;
        let indent = " ".repeat(place.mark_start);
        writeln!(formatter, "{margin} | {indent}{}", "^".repeat(place.mark_length))
    }
}

impl Place {
    /// The place of `span`, in bytes, in `text`. A span over several lines is marked on its first.
    #[must_use]
    pub fn new(file: &str, text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start));
        let (before, rest) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = rest.find('\n').map_or(text.len(), |newline| start + newline);
        let in_line = |range: Range<usize>| text.get(range).unwrap_or_default();
        let prefix = in_line(line_start..start);
        let marked = in_line(start..end.min(line_end)).trim_end_matches('\r');
        let suffix = in_line(end.min(line_end)..line_end).trim_end_matches('\r');
        let column = prefix.chars().count() + 1;

        let (prefix, suffix) = if may_hold_secrets(in_line(line_start..line_end)) {
            (mask_texts(prefix), mask_texts(suffix))
        } else {
            (prefix.to_owned(), suffix.to_owned())
        };
        let (excerpt, mark_start, mark_length) = crop(&prefix, marked, &suffix);
        let line = before.matches('\n').count() + 1;
        Self { file: file.to_owned(), line, column, excerpt, mark_start, mark_length }
    }
}

fn floor_boundary(text: &str, position: usize) -> usize {
    let mut position = position.min(text.len());
    while !text.is_char_boundary(position) {
        position -= 1;
    }
    position
}

fn may_hold_secrets(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["pass", "secret", "token", "auth", "bearer", "key", "cookie", "header", "proxy", "sign", "@"]
        .iter()
        .any(|word| line.contains(word))
}

/// What stands between quotes becomes `***`, also where the closing quote is missing.
fn mask_texts(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(open) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(open);
        masked.push_str(before);
        let mut characters = quoted.char_indices();
        let quote = characters.next().map_or('"', |(_, quote)| quote);
        let close = characters.find(|(_, c)| *c == quote).map(|(at, _)| at + quote.len_utf8());
        masked.push(quote);
        masked.push_str("***");
        if close.is_some() {
            masked.push(quote);
        }
        rest = close.and_then(|close| quoted.get(close..)).unwrap_or_default();
    }
    masked + rest
}

/// The excerpt, with where the mark starts in it and how long it is, in characters.
fn crop(prefix: &str, marked: &str, suffix: &str) -> (String, usize, usize) {
    // A character that moves the cursor would move the mark away.
    let plain = |text: &str| -> Vec<char> {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    let (prefix, marked, suffix) = (plain(prefix), plain(marked), plain(suffix));
    let mark_length = marked.len().clamp(1, EXCERPT_CHARACTERS_MAX);
    let room = EXCERPT_CHARACTERS_MAX - mark_length;
    let kept_before = prefix.len().min(room.max(EXCERPT_CHARACTERS_MAX / 3));
    let left_out = prefix.len() - kept_before;
    let dots = if left_out > 0 { "..." } else { "" };
    let mut excerpt = String::from(dots);
    excerpt.extend(prefix.iter().skip(left_out));
    excerpt.extend(marked.iter().take(mark_length));
    let room_after = EXCERPT_CHARACTERS_MAX.saturating_sub(kept_before + mark_length);
    excerpt.extend(suffix.iter().take(room_after));
    if suffix.len() > room_after || marked.len() > mark_length {
        excerpt.push_str("...");
    }
    (excerpt, dots.len() + kept_before, mark_length)
}
