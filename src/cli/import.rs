//! `waypost import`: from other brokers' files to a config.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Failure, say, tell};
use crate::config::Surroundings;
use crate::import;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Rules, actions, connectors and webhooks of EMQX 5 and 6: the archive of a data export, `data/configs/cluster.hocon`,
    /// or JSON of the API
    Emqx5(ImportArguments),
    /// The webhook plugin of EMQX 4: `emqx_web_hook.conf`, or its environment variables, one a line; or its rules: the JSON
    /// of a data export or of the API
    Emqx4(ImportArguments),
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The file to read
    file: PathBuf,
    /// The broker whose messages the rules are for
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    broker: String,
    /// Write the config to this file, which must not exist, and the report to standard output; without it the config goes
    /// to standard output and the report to standard error
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn import(command: &ImportCommand) -> Result<(), Failure> {
    let (ImportCommand::Emqx5(arguments) | ImportCommand::Emqx4(arguments)) = command;
    let text = read(&arguments.file)?;
    let surroundings =
        Surroundings::of(arguments.output.as_deref().unwrap_or(Path::new("waypost.toml")));
    let wrong = |error: &dyn std::error::Error| failure(&arguments.file, &error.to_string());
    let imported =
        match command {
            ImportCommand::Emqx5(_) => import::emqx5(&text, &arguments.broker, &surroundings)
                .map_err(|error| wrong(&error))?,
            ImportCommand::Emqx4(_) => import::emqx4(&text, &arguments.broker, &surroundings)
                .map_err(|error| wrong(&error))?,
        };
    match &arguments.output {
        None => {
            say(&imported.config);
            tell(&imported.notes);
        }
        Some(output) => {
            let written = fs::File::create_new(output)
                .and_then(|mut file| file.write_all(imported.config.as_bytes()));
            written.map_err(|error| failure(output, &format!("cannot be written: {error}")))?;
            say(&imported.notes);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, Failure> {
    let length = fs::metadata(file).map_err(|error| failure(file, &error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failure(file, "is longer than 16 MiB"));
    }
    let bytes = fs::read(file).map_err(|error| failure(file, &error.to_string()))?;
    let bytes = match import::cluster_in(&bytes) {
        Some(cluster) => cluster.map_err(|error| failure(file, &error.to_string()))?,
        None => bytes,
    };
    String::from_utf8(bytes).map_err(|_error| failure(file, "is not UTF-8 text"))
}

fn failure(file: &Path, message: &str) -> Failure {
    Failure { code: 1, message: format!("error: {}: {message}", file.display()) }
}
