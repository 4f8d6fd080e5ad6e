//! `waypost init`: a config to begin with.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::{Failure, say};
use crate::suggestion::in_shell;

const STARTER: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/starter.toml"));

/// Where to.
#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The file to write, which must not exist
    #[arg(long, short, value_name = "FILE", default_value = "waypost.toml")]
    output: PathBuf,
}

pub(super) fn init(arguments: &InitArguments) -> Result<(), Failure> {
    let file = arguments.output.display();
    let written = File::create_new(&arguments.output)
        .and_then(|mut to| to.write_all(STARTER.as_bytes()).and_then(|()| to.sync_all()));
    written.map_err(|error| {
        let message = match error.kind() {
            io::ErrorKind::AlreadyExists => format!(
                "error: {file} is there already and stays as it is; name another file with --output"
            ),
            _ => format!("error: {file} cannot be written: {error}"),
        };
        Failure { code: 1, message }
    })?;
    let in_shell = in_shell(&arguments.output);
    say(&format!(
        "{file} is written. Next:\n\
         \n\
         1. Write into it which broker and which service: `sources.local.url`, `webhooks.cloud.topics` and `url`.\n\
         2. waypost check --config {in_shell}\n\
         3. waypost probe --config {in_shell}\n\
         4. waypost run --config {in_shell}"
    ));
    Ok(())
}
