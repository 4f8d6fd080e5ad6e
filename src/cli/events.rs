//! `waypost events`: the catalogue of events, printed.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::Table;
use super::{Failure, say};
use crate::config::sources_of;
use crate::event::EventKind;
use crate::event::catalogue::{CATALOGUE, Entry, Profile, Shown, described, example, page};
use crate::event::json::EventFormat;

#[derive(Debug, Subcommand)]
pub(super) enum EventsCommand {
    /// List the events, or tell about one: its topics, its columns, its bodies
    List(ListArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Tell about this event, such as `client.connected`
    #[arg(value_name = "NAME", conflicts_with = "markdown")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the reference of all as a Markdown page
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

pub(super) fn events(command: &EventsCommand) -> Result<(), Failure> {
    let EventsCommand::List(arguments) = command;
    match &arguments.name {
        Some(name) if arguments.json => say(&to_json(kind(name)?.entry())),
        Some(name) => say(&described(kind(name)?)),
        None if arguments.json => say(&CATALOGUE.iter().map(to_json).collect::<Value>()),
        None if arguments.markdown => say(&page(sources_of)),
        None => say(&table()),
    }
    Ok(())
}

/// The kind of that name, or what may have been meant.
pub(super) fn kind(name: &str) -> Result<EventKind, Failure> {
    if let Some(kind) = EventKind::named(name) {
        return Ok(kind);
    }
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let names = EventKind::ALL.into_iter().map(EventKind::name);
    let nearest = names.min_by_key(|known| distance(known));
    let advice = match nearest.filter(|known| distance(known) * 3 <= known.len()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`waypost events list` has them".to_owned(),
    };
    let message = format!("error: there is no event `{name}`; {advice}");
    Err(Failure { code: 1, message })
}

fn table() -> String {
    let mut table = Table::new(&["EVENT", "TOPIC", "SINCE"]);
    for entry in &CATALOGUE {
        let topic = entry.topic.unwrap_or("that of the message");
        let since = entry.since.split(';').next().unwrap_or_default();
        table.row([entry.name.to_owned(), topic.to_owned(), since.to_owned()]);
    }
    table.render()
}

fn to_json(entry: &Entry) -> Value {
    let columns = entry.all_columns().map(|column| {
        let shown = match column.shown {
            Shown::Always => "always",
            Shown::WhereKnown => "where_known",
            Shown::ByName => "by_name",
        };
        json!({
            "name": column.name,
            "holds": column.holds.name(),
            "means": column.means,
            "shown": shown,
        })
    });
    let body = |format| serde_json::from_str::<Value>(&example(entry, format)).unwrap_or_default();
    json!({
        "event": entry.name,
        "topics": entry.topics().collect::<Vec<_>>(),
        "since": entry.since,
        "happens": entry.happens,
        "columns": columns.collect::<Vec<_>>(),
        "emqx5": body(EventFormat::Emqx5),
        "emqx4": body(EventFormat::Emqx4(Profile::Code)),
        "emqx4_docs": body(EventFormat::Emqx4(Profile::Docs)),
        "emqx4_is_ours": entry.version4.ours,
    })
}
