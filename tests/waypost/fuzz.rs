//! What the fuzz targets have found so far, replayed: `tests/fuzz` says what each does with an input.

use std::time::{Duration, Instant};

#[path = "../fuzz/drive.rs"]
#[allow(clippy::pedantic, unused_must_use, reason = "the fuzz targets are built without our lints")]
mod drive;

#[track_caller]
fn replay(target: &str, drive: fn(&[u8])) {
    let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(inputs.len() > 50, "only {} inputs for {target}", inputs.len());
    for input in inputs {
        let data = std::fs::read(&input).unwrap();
        let started = Instant::now();
        drive(&data);
        // A second is the bound of a program built for speed, on a machine of its own.
        assert!(started.elapsed() < Duration::from_secs(20), "{} hangs", input.display());
    }
}

#[test]
fn no_text_that_was_found_breaks_the_parser_of_rules() {
    replay("parser", drive::parser);
}

#[test]
fn no_rule_and_event_that_were_found_break_the_evaluation() {
    replay("evaluator", drive::evaluator);
}

#[test]
fn no_template_and_data_that_were_found_break_the_rendering() {
    replay("templates", drive::templates);
}

#[test]
fn nothing_that_a_broker_was_made_to_say_is_an_event_of_a_client_it_did_not_name() {
    replay("dialects", drive::dialects);
}

#[test]
fn no_event_that_was_found_goes_out_as_anything_but_itself() {
    replay("bodies", drive::bodies);
}
