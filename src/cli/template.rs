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
    let data = case.get("data").unwrap_or(&Value::Null);
    let result = template.render(&with_undefined(data, Some(&"undefined".into())), Escape::None);
    let missing = template.missing(&with_undefined(data, None));
    Ok(json!({ "outcome": "rendered", "result": result, "missing": missing }))
}

/// The data with something for each `{"$undefined": true}`, which stands for what is there and undefined: records have the
/// text `"undefined"` in its place, and a path that leads there counts as one that leads nowhere.
fn with_undefined(data: &Value, instead: Option<&Value>) -> Value {
    let Value::Object(object) = data else { return data.clone() };
    let undefined = json!({ "$undefined": true });
    let entries = object.iter().filter_map(|(key, value)| {
        let value = if *value == undefined {
            instead.cloned()
        } else {
            Some(with_undefined(value, instead))
        };
        Some((key.clone(), value?))
    });
    Value::Object(entries.collect())
}
