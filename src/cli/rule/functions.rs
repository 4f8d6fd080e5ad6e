//! `waypost rule functions`: the table of functions, printed.

use clap::Args;

use crate::cli::table::Table;
use crate::cli::{Failure, say};
use crate::rule::functions;

#[derive(Debug, Args)]
pub(in crate::cli) struct FunctionsArguments {
    /// Tell about this function
    #[arg(value_name = "NAME", conflicts_with = "markdown")]
    name: Option<String>,
    /// Print the reference of all as a Markdown page
    #[arg(long)]
    markdown: bool,
}

pub(super) fn functions(arguments: &FunctionsArguments) -> Result<(), Failure> {
    match &arguments.name {
        Some(name) => say(&one(name)?),
        None if arguments.markdown => say(&functions::page()),
        None => say(&table()),
    }
    Ok(())
}

fn table() -> String {
    let mut table = Table::new(&["FAMILY", "FUNCTION"]);
    for family in functions::FAMILIES {
        for function in family.functions {
            table.row([family.title.to_owned(), function.signature()]);
        }
    }
    table.render()
}

fn one(name: &str) -> Result<String, Failure> {
    if let Some(function) = functions::lookup(name) {
        return Ok(function.described());
    }
    let message = match (functions::why_unavailable(name), functions::did_you_mean(name)) {
        (Some(reason), _) => format!("error: `{name}` of EMQX is not available here: {reason}"),
        (None, Some(known)) => {
            format!("error: there is no function `{name}`; did you mean `{known}`?")
        }
        (None, None) => {
            format!("error: there is no function `{name}`; `waypost rule functions` lists them")
        }
    };
    Err(Failure { code: 1, message })
}
