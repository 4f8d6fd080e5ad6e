//! What an operator reads, word for word: for each `NAME.toml` in the folder `reports` the text in `NAME.txt`.
//!
//! `UPDATE_EXPECT=1` writes the texts anew, to be read before they are committed.

use std::path::{Path, PathBuf};

use expect_test::expect_file;

use super::parsed;

/// All that is printed about a config.
fn text_about(config: &str) -> String {
    match parsed(config) {
        Ok((_, warnings)) if warnings.is_empty() => "nothing to say\n".to_owned(),
        Ok((_, warnings)) => {
            let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            warnings.join("\n")
        }
        Err(report) => format!("{report}\n"),
    }
}

#[test]
fn an_operator_is_told_everything_that_is_wrong_or_risky_in_the_words_of_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/reports");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut configs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    configs.sort();
    assert!(configs.len() > 15, "only {} configs were found", configs.len());
    for path in configs {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name.starts_with("broker") && !cfg!(feature = "broker") {
            continue;
        }
        let text = text_about(&std::fs::read_to_string(&path).unwrap());
        assert!(!text.contains("hunter2"), "{name} shows a secret: {text}");
        expect_file![path.with_extension("txt")].assert_eq(&text);
    }
}
