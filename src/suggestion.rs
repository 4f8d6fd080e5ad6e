//! Commands that texts suggest to a person, such as `waypost status`: between backticks, and whole when they are shown, so
//! that they work when they are pasted.

use std::path::Path;

/// The text with each command in it as `whole` makes it of what stands between the backticks.
#[must_use]
pub fn with_whole_commands(text: &str, whole: impl Fn(&str) -> String) -> String {
    parts(text)
        .map(|part| match part {
            Part::Words(words) => words.to_owned(),
            Part::Command(command) => format!("`{}`", whole(command)),
        })
        .collect()
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Not a command.
    Words(&'a str),
    /// A command, without its backticks.
    Command(&'a str),
}

/// The text in pieces, in order.
pub fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let Some((command, after)) = command_at_start(rest) {
            rest = after;
            return Some(Part::Command(command));
        }
        let mut ticks = rest.match_indices('`').map(|(at, _)| at);
        let is_command = |at: &usize| command_at_start(rest.split_at(*at).1).is_some();
        let (words, after) = rest.split_at(ticks.find(is_command).unwrap_or(rest.len()));
        rest = after;
        (!words.is_empty()).then_some(Part::Words(words))
    })
}

/// The command that a text begins with, and what follows it.
fn command_at_start(text: &str) -> Option<(&str, &str)> {
    let (command, after) = text.strip_prefix('`')?.split_once('`')?;
    command.starts_with("waypost ").then_some((command, after))
}

/// A path as a shell wants it typed.
#[must_use]
pub fn in_shell(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_made_whole_wherever_they_stand_and_nothing_else_is_touched() {
        let whole = |text| with_whole_commands(text, |command| format!("{command} -c x"));
        for (text, expected) in [
            ("", ""),
            ("nothing", "nothing"),
            ("`waypost status`", "`waypost status -c x`"),
            (
                "see `a.b`, then `waypost a` or `waypost b`!",
                "see `a.b`, then `waypost a -c x` or `waypost b -c x`!",
            ),
            ("`waypost` and `waypost status", "`waypost` and `waypost status"),
            ("odd ` then `waypost a`", "odd ` then `waypost a -c x`"),
        ] {
            assert_eq!(whole(text), expected);
        }
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        for (path, expected) in [
            ("/etc/waypost/waypost.toml", "/etc/waypost/waypost.toml"),
            ("my gateway.toml", "'my gateway.toml'"),
            ("it's.toml", "'it'\\''s.toml'"),
            ("", "''"),
        ] {
            assert_eq!(in_shell(Path::new(path)), expected);
        }
    }
}
