//! `waypost completions`: what a shell needs to know to complete a command line.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::{Arguments, say};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell that is to read it
    shell: Known,
}

/// Those that are tried.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn completions(arguments: &CompletionsArguments) {
    let shell = match arguments.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "waypost", &mut script);
    say(&String::from_utf8_lossy(&script));
}
