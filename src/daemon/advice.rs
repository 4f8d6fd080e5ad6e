//! Commands in the log: whoever pastes one there means this process.

use std::path::Path;

use super::Running;
use crate::config::CONFIG_FILE;
use crate::suggestion::{in_shell, with_whole_commands};

impl Running {
    /// The text with commands in it that find this process by its config.
    pub(super) fn advice(&self, text: &str) -> String {
        with_whole_commands(text, |command| self.command(command))
    }

    /// A command, as [`Self::advice`].
    pub(super) fn command(&self, command: &str) -> String {
        let file = self.file.as_deref().filter(|file| *file != Path::new(CONFIG_FILE));
        match file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned())) {
            Some(file) => format!("{command} --config {}", in_shell(&file)),
            None => command.to_owned(),
        }
    }
}
