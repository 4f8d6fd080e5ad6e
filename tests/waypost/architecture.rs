//! The map of the modules holds: dependencies point downwards only, and what we fence stays fenced.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up; those of one row may use each other.
const LAYERS: [&[&str]; 9] = [
    &[
        "access",
        "allocator",
        "clock",
        "name",
        "password",
        "signature",
        "suggestion",
        "topic",
        "units",
        "event",
    ],
    &["template", "rule", "metrics", "tail"],
    &["config"],
    &["steps", "store", "tls"],
    &["source", "delivery"],
    &["ingest"],
    &["admin"],
    &["daemon"],
    &["demo", "import", "cli", "main", "lib"],
];

/// Crates that one module alone names; the demo's devices are MQTT clients of their own.
const FENCED: [(&str, &[&str]); 9] = [
    ("sled", &["store"]),
    ("bincode", &["store"]),
    ("rumqttc", &["source/mqtt", "demo"]),
    ("rmqtt", &["source/broker"]),
    ("backoff", &["delivery"]),
    ("hyper_util", &["admin", "delivery/client", "source/http"]),
    ("jaq_core", &["rule/functions/jq"]),
    ("jaq_std", &["rule/functions/jq"]),
    ("jaq_json", &["rule/functions/jq"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn each_line(mut visit: impl FnMut(&str, &str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 20, "only {} files found", files.len());
    for file in files {
        let place = file.strip_prefix(&root).unwrap().with_extension("").display().to_string();
        let module = place.split('/').next().unwrap().to_owned();
        for line in fs::read_to_string(&file).unwrap().lines() {
            let code = line.split("//").next().unwrap();
            visit(&place, &module, code);
        }
    }
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|row| row.contains(&module));
    found.unwrap_or_else(|| panic!("module `{module}` has no place in LAYERS"))
}

#[test]
fn modules_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    each_line(|place, module, code| {
        for used in code.split("crate::").skip(1) {
            let end = used.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(used.len());
            let used = &used[..end];
            if used.is_empty() || used == module || module == "lib" {
                continue;
            }
            if layer(used) > layer(module) {
                wrong.push(format!("{place}: {}", code.trim()));
            }
        }
    });
    assert!(wrong.is_empty(), "upward uses:\n{}", wrong.join("\n"));
}

#[test]
fn a_fenced_crate_is_named_in_its_module_only() {
    let mut wrong = Vec::new();
    each_line(|place, _, code| {
        for (name, homes) in FENCED {
            let named = code.contains(&format!("{name}::"));
            if named && !homes.iter().any(|home| place.starts_with(home)) {
                wrong.push(format!("{place}: {}", code.trim()));
            }
        }
    });
    assert!(wrong.is_empty(), "outside their module:\n{}", wrong.join("\n"));
}
