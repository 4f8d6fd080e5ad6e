//! `waypost dead-letter list`

use std::num::NonZeroU64;

use clap::Args;
use serde_json::json;

use super::Selection;
use super::access::{Access, Purpose};
use super::words::{count, letters, moment, plain, time};
use crate::admin::letters::{
    Group, GroupBy, GroupRequest, LetterFilter, LetterSummary, PageRequest,
};
use crate::cli::table::{Table, size};
use crate::cli::{Failure, Given, SocketArguments, say, tell};
use crate::clock::UnixMillis;
use crate::name::RecordId;

/// Of the reason in words, in the table.
const WHY_CHARS_MAX: usize = 80;
/// Of the topic.
const TOPIC_CHARS_MAX: usize = 40;
/// Letters asked for at once.
const PAGE: u64 = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    #[command(flatten)]
    selection: Selection,
    /// Only those given up since then: a period before now such as `2h`, or a time such as `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<UnixMillis>,
    /// Count them instead
    #[arg(long, value_name = "WHAT")]
    group_by: Option<GroupBy>,
    /// List at most so many
    #[arg(long, value_name = "N", value_parser = count, default_value = "100", conflicts_with = "group_by")]
    limit: NonZeroU64,
    #[command(flatten)]
    gateway: SocketArguments,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn list(arguments: &ListArguments, given: &Given) -> Result<(), Failure> {
    let filter = LetterFilter { since: arguments.since, ..arguments.selection.filter() };
    let access = Access::open(&arguments.gateway, Purpose::Look)?;
    match arguments.group_by {
        Some(by) => groups(arguments, &access, filter, by),
        None => rows(arguments, given, &access, filter),
    }
}

fn rows(
    arguments: &ListArguments,
    given: &Given,
    access: &Access,
    filter: LetterFilter,
) -> Result<(), Failure> {
    let mut out = Rows::new(arguments.json);
    let mut left = arguments.limit.get();
    let mut request = PageRequest { filter, from: None, limit: 0, answers: !arguments.json };
    loop {
        request.limit = usize::try_from(left.min(PAGE)).unwrap_or(usize::MAX);
        let page = access.wait(access.client.list(&request))?;
        left = left.saturating_sub(u64::try_from(page.letters.len()).unwrap_or(u64::MAX));
        out.page(&page.letters)?;
        request.from = page.next;
        if request.from.is_none() || left == 0 {
            break;
        }
    }
    out.end();
    if let Some(id) = out.last.filter(|_| !arguments.json) {
        let show = given.whole(&format!("waypost dead-letter show {id}"));
        tell(&format!("note: one with its whole answer and its record: {show}"));
    }
    if request.from.is_some() {
        tell(
            &"note: there may be more; `--limit N` lists more of them, `--group-by reason` counts them",
        );
    }
    Ok(())
}

/// Printed page by page: however many there are, one page is in memory.
struct Rows {
    json: bool,
    table: Table,
    count: u64,
    last: Option<RecordId>,
}

const HEADING: [&str; 8] = ["ID", "SINK", "REASON", "STATUS", "TRIES", "GIVEN UP", "TOPIC", "WHY"];

/// Letters as they are listed.
pub(in crate::cli) fn table(letters: &[LetterSummary]) -> String {
    let mut table = Table::new(&HEADING);
    for letter in letters {
        table.row(row(letter));
    }
    table.render()
}

impl Rows {
    fn new(json: bool) -> Self {
        Self { json, table: Table::new(&HEADING), count: 0, last: None }
    }

    fn page(&mut self, letters: &[LetterSummary]) -> Result<(), Failure> {
        let mut text = String::new();
        for letter in letters {
            if self.json {
                text += if self.count == 0 { "[" } else { ",\n " };
                text += &serde_json::to_string(letter).map_err(|error| Failure::failed(&error))?;
            } else {
                self.table.row(row(letter));
            }
            self.count += 1;
        }
        self.last = letters.last().map(|letter| letter.id.clone()).or(self.last.take());
        if !self.json && self.count > 0 {
            text = self.table.render_next();
        }
        if !text.is_empty() {
            print(&text);
        }
        Ok(())
    }

    fn end(&self) {
        match (self.json, self.count) {
            (true, 0) => say(&"[]"),
            (true, _) => say(&"]"),
            (false, 0) => say(&"no dead letters"),
            (false, _) => {}
        }
    }
}

/// Without a line end of its own.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    // A reader that has gone (`| head`) is not an error.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn row(letter: &LetterSummary) -> [String; 8] {
    [
        letter.id.to_string(),
        letter.sink.to_string(),
        letter.reason.label().to_owned(),
        letter.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        letter.attempts.to_string(),
        time(letter.dead_at),
        clipped(&plain(&letter.topic), TOPIC_CHARS_MAX),
        clipped(&plain(&why(letter)), WHY_CHARS_MAX),
    ]
}

/// What the service said tells most; its status has a column of its own.
fn why(letter: &LetterSummary) -> String {
    let why = &letter.why;
    let Some(answer) = &letter.answer else { return why.clone() };
    let of_status = letter.status.map(|status| format!("status {status} ("));
    let is_status = of_status.is_some_and(|start| why.starts_with(&start) && why.ends_with(')'));
    if is_status { answer.clone() } else { format!("{why}: {answer}") }
}

fn clipped(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

fn groups(
    arguments: &ListArguments,
    access: &Access,
    filter: LetterFilter,
    by: GroupBy,
) -> Result<(), Failure> {
    let groups = access.wait(access.client.group(&GroupRequest { filter, by }))?;
    let word = match by {
        GroupBy::Sink => "sink",
        GroupBy::Reason => "reason",
        GroupBy::Rule => "rule",
        GroupBy::Status => "status",
    };
    if arguments.json {
        let object = |group: &Group| {
            json!({
                word: group.key, "letters": group.letters, "bytes": group.bytes,
                "oldest_at": group.oldest_at, "newest_at": group.newest_at,
            })
        };
        let array: Vec<_> = groups.iter().map(object).collect();
        say(&serde_json::to_string_pretty(&array).map_err(|error| Failure::failed(&error))?);
        return Ok(());
    }
    if groups.is_empty() {
        say(&"no dead letters");
        return Ok(());
    }
    let heading = word.to_uppercase();
    let mut table = Table::new(&[&heading, "LETTERS", "SIZE", "FIRST GIVEN UP", "LAST GIVEN UP"]);
    let mut all = 0;
    for group in groups {
        all += group.letters;
        table.row([
            group.key.unwrap_or_else(|| "-".to_owned()),
            group.letters.to_string(),
            size(group.bytes),
            time(group.oldest_at),
            time(group.newest_at),
        ]);
    }
    say(&format!("{}\n{}", table.render(), letters(all)));
    Ok(())
}
