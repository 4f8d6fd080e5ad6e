//! The file `config/waypost.toml`, which documents every key.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::super::reader::Reader;
use super::{Surroundings, surroundings};
use crate::config::{Config, Warning, config, parse, sink};

const SHIPPED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/waypost.toml"));
const EXAMPLE: &str = "# example";

/// A folder with the files that the examples name, and a machine where every variable is set.
fn example_surroundings() -> (tempfile::TempDir, Surroundings) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    let certified = rcgen::generate_simple_self_signed(["broker".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    for (file, text) in [
        ("tls/ca.pem", &*certificate),
        ("tls/cert.pem", &certificate),
        ("tls/key.pem", &key),
        ("mqtt.pw", "x"),
        ("hook.token", "x"),
        ("proxy.pw", "x"),
        ("signing.key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("archive.pw", "x"),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let surroundings = Surroundings {
        variable: Box::new(|name| Some(name.to_lowercase())),
        ..surroundings(folder.path().to_owned())
    };
    (folder, surroundings)
}

/// The parts that are not on, on.
fn with_parts(text: &str) -> String {
    let line = |line: &str| line.strip_prefix("#~ ").unwrap_or(line).to_owned() + "\n";
    text.lines().map(line).collect()
}

/// Every `#key = value` without its `#`, for the lines that `wanted` wants.
fn with_settings(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let setting = |line: &str| {
        let bare = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        bare.filter(|_| wanted(line)).unwrap_or(line).to_owned() + "\n"
    };
    text.lines().map(setting).collect()
}

#[track_caller]
fn read(text: &str, surroundings: &Surroundings) -> (Config, Vec<Warning>) {
    parse(text, surroundings).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn the_shipped_file_has_nothing_to_warn_of() {
    let (_folder, surroundings) = example_surroundings();
    for text in [SHIPPED.to_owned(), with_parts(SHIPPED)] {
        assert_eq!(read(&text, &surroundings).1, []);
    }
}

#[test]
fn the_defaults_that_the_file_shows_are_the_defaults() {
    let (_folder, surroundings) = example_surroundings();
    for text in [SHIPPED.to_owned(), with_parts(SHIPPED)] {
        let shown = with_settings(&text, |line| !line.contains(EXAMPLE));
        assert_ne!(shown, text, "defaults are shown");
        let (as_shipped, _) = read(&text, &surroundings);
        let (mut as_shown, _) = read(&shown, &surroundings);
        // They are two texts.
        as_shown.hash.clone_from(&as_shipped.hash);
        assert_eq!(format!("{as_shown:#?}"), format!("{as_shipped:#?}"));
    }
}

#[test]
fn the_examples_are_valid_and_every_key_that_there_is_stands_in_the_file() {
    let (_folder, surroundings) = example_surroundings();
    let everything = with_settings(&with_parts(SHIPPED), |_| true);
    let reader = Reader::new(&everything, &surroundings);
    let (document, errors) = DeTable::parse_recoverable(&everything);
    assert!(errors.is_empty(), "{errors:?}");
    let _: Config = config(&reader, document.get_ref());
    let (asked, there) = (reader.asked(), reader.there());
    let (problems, _) = reader.finish();
    assert!(problems.is_empty(), "{problems:?}");
    let there: BTreeSet<_> = there.iter().map(|key| general(key)).collect();
    // A secret is a file or a variable, never both.
    let of_secret =
        |key: &str| key.split('.').next_back().is_some_and(|last| ["file", "env"].contains(&last));
    let asked = asked.iter().filter(|key| !of_secret(key));
    let undocumented: BTreeSet<_> =
        asked.map(|key| general(key)).filter(|key| !there.contains(key)).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    assert!(SHIPPED.contains("{ file = ") && SHIPPED.contains("{ env = "));
}

/// A key with `*` for the names of the operator's choice; the keys of a connector and a sink are the same in a webhook.
fn general(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('.').collect();
    if let [kind @ ("sources" | "connectors" | "sinks" | "webhooks" | "rules"), name, ..] =
        parts.as_mut_slice()
    {
        *name = "*";
        if ["connectors", "sinks"].contains(kind) {
            *kind = "webhooks";
        }
    }
    let key = parts.join(".");
    // Elements of lists are alike, too.
    key.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

#[test]
fn a_webhook_that_names_a_sink_refuses_each_key_of_a_sink() {
    let (_folder, surroundings) = example_surroundings();
    let text = "[sinks.a]\nurl = \"http://h\"\n";
    let reader = Reader::new(text, &surroundings);
    let (document, _) = DeTable::parse_recoverable(text);
    let _: Config = config(&reader, document.get_ref());
    let asked: BTreeSet<_> = reader
        .asked()
        .iter()
        .filter_map(|key| Some(key.strip_prefix("sinks.a.")?.split('.').next()?.to_owned()))
        .collect();
    assert_eq!(asked, sink::KEYS.iter().map(ToString::to_string).collect());
}
