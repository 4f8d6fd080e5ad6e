mod reports;
mod shipped;
mod values;

use std::path::PathBuf;

use super::{Config, Report, Surroundings, Warning, parse};

/// A machine called `host-1` with a partition of 8 GiB and two variables, where the config is `waypost.toml` in a
/// folder of its own.
fn surroundings(folder: PathBuf) -> Surroundings {
    Surroundings {
        file: "waypost.toml".to_owned(),
        folder,
        host: "host-1".to_owned(),
        variable: Box::new(|name| match name {
            "TOKEN" => Some("s3cr3t${clientid}".to_owned()),
            "HOST" => Some("api.example.com".to_owned()),
            _ => None,
        }),
        partition_bytes: Box::new(|_| Some(8 << 30)),
    }
}

fn parsed(text: &str) -> Result<(Config, Vec<Warning>), Report> {
    parse(text, &surroundings("/etc/waypost".into()))
}

/// A config without problems.
#[track_caller]
fn good(text: &str) -> (Config, Vec<Warning>) {
    parsed(text).unwrap_or_else(|report| panic!("{report}"))
}

/// A source, for configs that are about something else.
const SOURCE: &str = "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n";
