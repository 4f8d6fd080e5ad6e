//! Long lines on a terminal: they end between words, not in the middle of one. Files and pipes get them as they are.

use std::os::fd::AsFd;

use crate::suggestion::{Part, parts};

/// Columns of a terminal; as many as there may be where it is none, or does not say.
pub(super) fn columns(of: impl AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(of).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { usize::MAX } else { columns }
}

/// The text in lines of at most so many columns; the lines that a line becomes begin with `indent` spaces. A command stays
/// on one line, so that it can be copied, and so does what is quoted from a file.
pub(super) fn folded(text: &str, columns: usize, indent: usize) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .map(|line| if is_quoted(line) { line.to_owned() } else { fold(line, columns, indent) })
        .collect()
}

/// `12 | password = ..`
fn is_quoted(line: &str) -> bool {
    line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|')
}

fn fold(line: &str, columns: usize, indent: usize) -> String {
    let mut folded = String::new();
    let mut width = 0;
    let mut has_word = false;
    for word in words(line) {
        let length = word.trim_end().chars().count();
        if has_word && width + length > columns {
            folded.truncate(folded.trim_end().len());
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', indent));
            width = indent;
        }
        has_word |= length > 0;
        folded += word;
        width += word.chars().count();
    }
    folded
}

/// Words, each with the spaces after it; a command is one.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for part in parts(line) {
        let (is_command, length) = match part {
            Part::Command(command) => (true, command.len() + 2),
            Part::Words(words) => (false, words.len()),
        };
        let from = end;
        end += length;
        if is_command {
            continue;
        }
        let text = line.get(from..end).unwrap_or_default();
        for (at, _) in text.match_indices(' ') {
            let next = from + at + 1;
            if !line.get(next..).is_some_and(|rest| rest.starts_with(' ')) {
                words.extend(line.get(start..next));
                start = next;
            }
        }
    }
    words.extend(line.get(start..));
    words
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn lines_end_between_words_and_commands_and_quoted_lines_stay_whole() {
        let text = "warning: webhooks.cloud.batch.max_records: is 1: at a round trip of 50 ms\n\
                    17 | [webhooks.cloud] # as long as it is, it is quoted\n\
                    \x20 failed  tls    12.3 ms  the certificate is of another host: see `waypost probe cloud --config x`\n\
                    short\n";
        expect![[r"
            warning:
                webhooks.cloud.batch.max_records: is
                1: at a round trip of 50 ms
            17 | [webhooks.cloud] # as long as it is, it is quoted
              failed  tls    12.3 ms  the
                certificate is of another host: see
                `waypost probe cloud --config x`
            short
        "]]
        .assert_eq(&folded(text, 40, 4));
        assert_eq!(folded(text, usize::MAX, 4), text);
        for text in ["", "\n", "a-word-that-is-longer-than-a-line-may-be-and-stands-alone", "   "] {
            assert_eq!(folded(text, 40, 4), text);
        }
    }
}
