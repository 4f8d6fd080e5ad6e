//! `waypost template`: what a template renders.

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::rule::answer_lines;
use crate::template::{Escape, Template, join_path};

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub(super) enum TemplateCommand {
    /// Render templates, or join the paths of requests, and show what comes out
    Test(TestArguments),
}

/// What to render.
#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// One JSON object a line with `template` and `data`, or with `base` and `path`; `-` for standard input
    #[arg(long, value_name = "FILE")]
    cases: String,
}

pub(super) fn template(command: &TemplateCommand) -> Result<(), Failure> {
    let TemplateCommand::Test(arguments) = command;
    answer_lines(&arguments.cases, |line| {
        let answer =
            answer(line).unwrap_or_else(|error| json!({ "outcome": "error", "error": error }));
        answer.to_string()
    })
}

fn answer(line: &Bytes) -> Result<Value, String> {
    let case: Value =
        serde_json::from_slice(line).map_err(|error| format!("the case is not JSON: {error}"))?;
    let text = |key: &str| case.get(key).and_then(Value::as_str);
    if let (Some(base), Some(path)) = (text("base"), text("path")) {
        return Ok(json!({ "outcome": "joined", "result": join_path(base, path) }));
    }
    let source = text("template").ok_or("a case has `template`, a text, and `data`")?;
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    let data = without_undefined(case.get("data").cloned().unwrap_or(Value::Null));
    let result = template.render(&data, Escape::None);
    Ok(json!({ "outcome": "rendered", "result": result, "missing": template.missing(&data) }))
}

/// `{"$undefined": true}` stands for what is there and undefined, which templates do not tell from what is not there.
fn without_undefined(data: Value) -> Value {
    match data {
        Value::Object(object) => {
            let undefined = json!({ "$undefined": true });
            let there = object.into_iter().filter(|(_, value)| *value != undefined);
            Value::Object(there.map(|(key, value)| (key, without_undefined(value))).collect())
        }
        other => other,
    }
}
