//! What a command was given to find its gateway. Commands that it suggests need the same.

use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _};

use super::Arguments;
use crate::suggestion::{in_shell, with_whole_commands};

/// The arguments that say which gateway.
const PLACES: [&str; 3] = ["config", "socket", "data_dir"];

/// Those of [`PLACES`] that were typed.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<(&'static str, PathBuf)>);

impl Given {
    /// As the command line has them.
    pub(super) fn in_arguments(matches: &ArgMatches) -> Self {
        let mut matches = matches;
        while let Some((_, of_command)) = matches.subcommand() {
            matches = of_command;
        }
        let is_typed = |id: &str| {
            let is_known = matches.try_contains_id(id).is_ok();
            is_known && matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
        };
        let typed = PLACES.into_iter().filter(|id| is_typed(id));
        let path = |id| matches.try_get_one::<PathBuf>(id).ok().flatten().cloned();
        Self(typed.filter_map(|id| Some((id, path(id)?))).collect())
    }

    /// The text with whole commands in it.
    pub(super) fn in_text(&self, text: &str) -> String {
        with_whole_commands(text, |command| self.whole(command))
    }

    /// A suggested command with as much of this as it takes.
    pub(super) fn whole(&self, command: &str) -> String {
        let all = Arguments::command();
        let mut of_command = &all;
        for word in command.split(' ').skip(1) {
            match of_command.find_subcommand(word) {
                Some(found) => of_command = found,
                None => break,
            }
        }
        let mut whole = command.to_owned();
        for (id, path) in &self.0 {
            let taken = of_command.get_arguments().find(|argument| argument.get_id() == id);
            if let Some(long) = taken.and_then(clap::Arg::get_long) {
                whole.extend([" --", long, " ", &in_shell(path)]);
            }
        }
        whole
    }
}

#[cfg(test)]
impl Given {
    /// As after a command line of these words.
    pub(super) fn typed(words: &[&str]) -> Self {
        Self::in_arguments(&Arguments::command().get_matches_from(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_command_gets_what_was_typed_and_what_it_takes() {
        let queue = ["waypost", "queue", "ls"];
        for (typed, command, expected) in [
            (&["waypost", "status"][..], "waypost tail", "waypost tail"),
            (
                &["waypost", "status", "-c", "a b.toml"],
                "waypost tail",
                "waypost tail --config 'a b.toml'",
            ),
            (
                &["waypost", "reload", "--socket", "/run/w.sock"],
                "waypost queue drop old --older-than 0s",
                "waypost queue drop old --older-than 0s --socket /run/w.sock",
            ),
            (
                &[&queue[..], &["--data-dir", "copy"]].concat(),
                "waypost queue drop old --older-than 0s",
                "waypost queue drop old --older-than 0s --data-dir copy",
            ),
            (&[&queue[..], &["--data-dir", "copy"]].concat(), "waypost status", "waypost status"),
            (&["waypost", "check", "-c", "x"], "waypost events list", "waypost events list"),
            (&["waypost", "rule", "functions", "pad"], "waypost status", "waypost status"),
        ] {
            assert_eq!(Given::typed(typed).whole(command), expected, "{typed:?}");
        }
    }
}
