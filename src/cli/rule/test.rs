//! `waypost rule test`

use bytes::Bytes;
use clap::Args;

use super::cases;
use super::outcome::{Tested, columns, test_sql};
use crate::cli::{Failure, input, say, tell};
use crate::rule::value::Value;

/// What to try, and how to show it.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestArguments {
    /// The rule, as it stands in `sql = '...'` of a config
    #[arg(long, value_name = "SQL", required_unless_present = "cases", requires = "event")]
    sql: Option<String>,
    /// The event: a file with a JSON object of its columns, or `-` for standard input
    #[arg(long, value_name = "FILE", requires = "sql")]
    event: Option<String>,
    /// Where the event happened, as `$events/client/connected`; the event's own topic by default
    #[arg(long, value_name = "TOPIC", requires = "sql")]
    event_topic: Option<String>,
    /// Answer many: one JSON object a line with `sql`, `event` and, where needed, `event_topic`; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "sql")]
    cases: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn test(arguments: &TestArguments) -> Result<(), Failure> {
    if let Some(file) = &arguments.cases {
        return cases::answer_lines(file, cases::answer);
    }
    let (sql, event) =
        arguments.sql.as_ref().zip(arguments.event.as_ref()).expect("clap asks for them");
    let text = input::read(event)?;
    let json =
        Value::parse_json(&Bytes::from(text)).map_err(|error| input::failure(event, error))?;
    let columns = columns(&json).map_err(|error| input::failure(event, error))?;
    let tested = test_sql(sql, &columns, arguments.event_topic.as_deref());
    if arguments.json {
        say(&tested.to_json());
        return Ok(());
    }
    show(&tested)
}

/// Exits like grep: 0 when something matched.
fn show(tested: &Tested) -> Result<(), Failure> {
    match tested {
        Tested::Matched(outputs) => {
            for output in outputs {
                let json = Value::map(output.clone()).to_json();
                let pretty = serde_json::from_slice::<serde_json::Value>(&json)
                    .and_then(|value| serde_json::to_string_pretty(&value));
                say(&pretty.unwrap_or_else(|_| String::from_utf8_lossy(&json).into_owned()));
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
