//! One TOML file, read whole and checked whole: all problems at once, each with its place and what would be right.
//!
//! [`load`] reads the file, the secrets it names and how large the disk is, and changes nothing. What comes out needs
//! no further check: every value is in range, every name resolved, every secret read. The file
//! `config/waypost.toml` documents every key; relative paths in a config start at the folder of the file.

mod bodies;
mod broker;
mod columns;
mod connector;
mod dialect;
mod events;
mod gateway;
mod http;
mod lint;
mod listener;
mod model;
mod mqtt;
mod pem;
mod policy;
mod reader;
mod report;
mod risk;
mod routes;
mod rule_sql;
mod rule_tests;
mod schema;
mod secret;
mod sink;
mod source;
mod surroundings;
mod template;
mod url;
mod values;
mod words;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use toml::de::DeTable;

use connector::Connectors;
use reader::Reader;

pub use dialect::{BrokerEvents, MqttDialect, Presence};
pub use events::sources_of;
pub use http::{HookFormat, HttpSource, PayloadEncoding};
pub use lint::records_per_second_max;
pub use listener::addresses;
pub use model::*;
pub use policy::{Canary, Meaning, StatusPolicy};
pub use report::{Finding, Place, Report, Warning};
pub use schema::schema;
pub use sink::QUEUE_BYTES_MIN;
pub use surroundings::Surroundings;
pub use template::shows_header;

/// Where the config file is, unless told otherwise.
pub const CONFIG_FILE: &str = "/etc/waypost/waypost.toml";

/// Longest config file that is read.
const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads and checks the config file at `path`.
///
/// Gives the config with its warnings, in the order of the file, or a report of everything that is wrong.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), Report> {
    let surroundings = Surroundings::of(path);
    match read(path) {
        Ok(text) => parse(&text, &surroundings),
        Err(message) => {
            let problem = Finding { key: String::new(), message, place: None };
            Err(Report::new(&surroundings.file, vec![problem]))
        }
    }
}

/// Where a Waypost with the config file at `path` takes commands, whatever is wrong with the file outside of `[gateway]`;
/// `None` when that cannot be told.
#[must_use]
pub fn admin_socket(path: &Path) -> Option<PathBuf> {
    let surroundings = Surroundings::of(path);
    let text = read(path).ok()?;
    let reader = Reader::new(&text, &surroundings);
    let (document, errors) = DeTable::parse_recoverable(&text);
    let (gateway, table) = gateway::gateway(reader.root(document.get_ref()).table("gateway"));
    table.finish();
    // The default is for a file that can be read whole: where it cannot, the key may stand in what is lost.
    let is_named = ["admin_socket", "data_dir"].map(|key| reader.has_read("gateway", key));
    let is_sure = errors.is_empty() || is_named.contains(&true);
    let (problems, _) = reader.finish();
    (is_sure && problems.is_empty()).then_some(gateway.admin_socket)
}

/// Checks the text of a config file. Secrets and other files that it names are read.
pub fn parse(text: &str, surroundings: &Surroundings) -> Result<(Config, Vec<Warning>), Report> {
    let reader = Reader::new(text, surroundings);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.problem("", error.span(), format!("not TOML: {}", error.message()));
    }
    // What follows a syntax error is a guess: its problems would be, too.
    let config = errors.is_empty().then(|| config(&reader, document.get_ref()));
    let failed_tests = reader.failed_tests();
    let (problems, warnings) = reader.finish();
    match config {
        Some(mut config) if problems.is_empty() => {
            config.hash = hash(text);
            config.failed_tests = failed_tests;
            Ok((config, warnings.into_iter().map(Warning).collect()))
        }
        _ => Err(Report::new(&surroundings.file, problems)),
    }
}

/// The config as far as it could be read; the reader knows what is wrong with it.
fn config<'r>(reader: &'r Reader<'r>, document: &'r DeTable<'r>) -> Config {
    let mut root = reader.root(document);
    let (gateway, gateway_table) = gateway::gateway(root.table("gateway"));
    let log = gateway::log(root.table("log"));
    let metrics_listen = gateway::metrics(root.table("metrics"));
    let store = gateway::store(root.table("store"));
    let dead_letters = gateway::dead_letters(root.table("dead_letters"), &gateway.data_dir);
    let names = routes::Names::declared(&mut root);
    let sources = source::sources(&mut root);
    let connectors = Connectors::read(&mut root);
    let (rules, sinks) = routes::rules_and_sinks(&mut root, &names, &connectors, &gateway.data_dir);
    gateway_table.finish();
    root.finish();
    let config = Config {
        gateway,
        log,
        metrics_listen,
        store,
        dead_letters,
        sources,
        rules,
        sinks,
        hash: String::new(),
        failed_tests: Vec::new(),
    };
    columns::check(reader, &config);
    events::check(reader, &config);
    lint::check(reader, &config, &connectors);
    config
}

/// The first 8 bytes of the SHA-256, in hex: to tell configs apart.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let first = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{first:016x}")
}

/// The text of the file, or in words why there is none.
fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "there is no file {}: `--config FILE` names another, `waypost init` writes one to begin with",
            path.display()
        ),
        _ => format!("cannot read {}: {error}", path.display()),
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(wrong)?;
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > CONFIG_BYTES_MAX) {
        return Err(format!("{} is longer than 4 MiB", path.display()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        format!("{} is not UTF-8 text: see line {line}", path.display())
    })
}
