//! `waypost rule test`

use bytes::Bytes;
use clap::Args;

use super::cases;
use super::outcome::{Tested, columns, test_rule, test_sql};
use super::request::requests_of;
use crate::cli::json::pretty;
use crate::cli::{ConfigArguments, Failure, input, say, tell};
use crate::rule::value::Value;

/// What to try, and how to show it.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestArguments {
    /// The rule, as it stands in `sql = '...'` of a config
    #[arg(long, value_name = "SQL", requires = "event", group = "what")]
    sql: Option<String>,
    /// A rule of the config; the requests of its sinks are shown, and not sent
    #[arg(long, value_name = "NAME", requires = "event", group = "what")]
    rule: Option<String>,
    #[command(flatten)]
    config: ConfigArguments,
    /// The event: a file with a JSON object of its columns, or `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    event: Option<String>,
    /// Where the event happened, as `$events/client/connected`; the event's own topic by default
    #[arg(long, value_name = "TOPIC", conflicts_with = "cases")]
    event_topic: Option<String>,
    /// Answer many: one JSON object a line with `sql`, `event` and, where needed, `event_topic`; `-` for standard input
    #[arg(long, value_name = "FILE", group = "what")]
    cases: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn test(arguments: &TestArguments) -> Result<(), Failure> {
    if let Some(file) = &arguments.cases {
        return cases::answer_lines(file, cases::answer);
    }
    let (Some(event), true) =
        (&arguments.event, arguments.sql.is_some() || arguments.rule.is_some())
    else {
        let message =
            "error: name a rule with --sql or --rule and an event with --event, or --cases";
        return Err(Failure { code: 2, message: message.to_owned() });
    };
    let text = input::read(event)?;
    let json =
        Value::parse_json(&Bytes::from(text)).map_err(|error| input::failure(event, error))?;
    let columns = columns(&json).map_err(|error| input::failure(event, error))?;
    let topic = arguments.event_topic.as_deref();
    let (tested, requests) = match (&arguments.sql, &arguments.rule) {
        (Some(sql), _) => (test_sql(sql, &columns, topic), None),
        (None, name) => {
            let config = arguments.config.load()?;
            let (name, rule) = super::named(&config, name.as_deref().unwrap_or_default())?;
            let tested = test_rule(rule, &columns, topic);
            let requests = requests_of(&config, name, rule, &tested);
            (tested, Some(requests))
        }
    };
    if arguments.json {
        say(&tested.to_json(requests.as_deref()));
        return Ok(());
    }
    show(&tested)?;
    requests.iter().flatten().for_each(|request| say(&format!("\n{request}")));
    Ok(())
}

/// Exits like grep: 0 when something matched.
fn show(tested: &Tested) -> Result<(), Failure> {
    match tested {
        Tested::Matched(outputs) => {
            for output in outputs {
                let json = Value::map(output.clone()).to_json();
                say(&pretty(&String::from_utf8_lossy(&json)));
            }
            if outputs.is_empty() {
                tell(&"matched, with no element to put out");
            }
            Ok(())
        }
        Tested::NotMatched(because) => {
            Err(Failure { code: 1, message: format!("not matched, because {because}") })
        }
        Tested::Failed(error) => Err(Failure { code: 1, message: format!("error: {error}") }),
    }
}
