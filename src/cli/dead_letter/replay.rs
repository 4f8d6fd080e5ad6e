//! `waypost dead-letter replay`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use clap::Args;

use super::access::{Access, Purpose};
use super::words::{count, letters};
use super::{Selection, ids};
use crate::admin::letters::{GroupBy, GroupRequest, LetterFilter, ReplayRequest, Replayed};
use crate::cli::{Failure, SocketArguments, say, tell};
use crate::name::{RecordId, SinkName};

/// Letters replayed at once.
const PAGE: u64 = 500;
/// With `--rate`, pages of a second.
const PAGES_PER_SECOND: u64 = 4;
/// Where standard error is no terminal, time between two lines of progress.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArguments {
    /// Only the dead letter of this record; may be given several times
    #[arg(long = "id", value_name = "ID", conflicts_with_all = ["reason", "limit"])]
    ids: Vec<RecordId>,
    #[command(flatten)]
    selection: Selection,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<NonZeroU64>,
    /// Send them to this sink, whatever sink they are of
    #[arg(long, value_name = "SINK", value_parser = SinkName::new)]
    to: Option<SinkName>,
    /// Only say what would be replayed
    #[arg(long)]
    dry_run: bool,
    /// At most so many a second
    #[arg(long, value_name = "N", value_parser = count)]
    rate: Option<NonZeroU64>,
    #[command(flatten)]
    gateway: SocketArguments,
}

pub(super) fn replay(arguments: &ReplayArguments) -> Result<(), Failure> {
    let ids = ids(&arguments.ids)?;
    let filter = LetterFilter { ids, ..arguments.selection.filter() };
    let purpose = if arguments.dry_run { Purpose::Look } else { Purpose::Change };
    let access = Access::open(&arguments.gateway, purpose)?;
    let total = match (arguments.ids.len(), arguments.limit) {
        (0, limit) => {
            let by = GroupBy::Sink;
            let request = GroupRequest { filter: filter.clone(), by };
            let groups = access.wait(access.client.group(&request))?;
            let all: u64 = groups.iter().map(|group| group.letters).sum();
            limit.map_or(all, |limit| limit.get().min(all))
        }
        (named, _) => u64::try_from(named).unwrap_or(u64::MAX),
    };
    let mut run = Run { sums: Replayed::default(), progress: Progress::new(total) };
    let ended = run.all(arguments, &access, filter);
    run.progress.end();
    run.tell(arguments, access.is_stopped(), ended)
}

struct Run {
    sums: Replayed,
    progress: Progress,
}

impl Run {
    fn all(
        &mut self,
        arguments: &ReplayArguments,
        access: &Access,
        filter: LetterFilter,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let ReplayArguments { limit, rate, dry_run, to, .. } = arguments;
        let page = rate.map_or(PAGE, |rate| (rate.get() / PAGES_PER_SECOND).clamp(1, PAGE));
        let mut left = limit.map_or(u64::MAX, NonZeroU64::get);
        let (dry_run, to) = (*dry_run, to.clone());
        let mut request = ReplayRequest { filter, to, dry_run, from: None, limit: 0 };
        loop {
            request.limit = usize::try_from(left.min(page)).unwrap_or(usize::MAX);
            let answer = access.wait(access.client.replay(&request))?;
            let done = answer.replayed.values().chain(answer.homeless.values()).sum::<u64>();
            left = left.saturating_sub(done + answer.missing);
            self.add(&answer);
            request.from = answer.next;
            if request.from.is_none() || left == 0 {
                return Ok(());
            }
            if let Some(rate) = rate.filter(|_| !dry_run) {
                let millis = self.replayed().saturating_mul(1000) / rate.get();
                let due = started + Duration::from_millis(millis);
                access.pause(due.saturating_duration_since(Instant::now()));
            }
        }
    }

    fn add(&mut self, answer: &Replayed) {
        let add = |sums: &mut BTreeMap<SinkName, u64>, more: &BTreeMap<SinkName, u64>| {
            for (sink, count) in more {
                *sums.entry(sink.clone()).or_default() += count;
            }
        };
        add(&mut self.sums.replayed, &answer.replayed);
        add(&mut self.sums.homeless, &answer.homeless);
        self.sums.missing += answer.missing;
        self.sums.stopped.clone_from(&answer.stopped);
        self.progress.show(self.replayed());
    }

    fn replayed(&self) -> u64 {
        self.sums.replayed.values().sum()
    }

    /// The outcome, also of a run that ended early.
    fn tell(
        self,
        arguments: &ReplayArguments,
        is_stopped: bool,
        ended: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let total = self.replayed();
        let Replayed { replayed, homeless, missing, stopped, .. } = self.sums;
        let mut is_whole = true;
        let done = if arguments.dry_run { "would replay" } else { "replayed" };
        if total > 0 {
            let to: Vec<_> =
                replayed.iter().map(|(sink, count)| format!("{count} to {sink}")).collect();
            say(&format!("{done} {}: {}", letters(total), to.join(", ")));
            if is_stopped && !arguments.dry_run {
                tell(&"note: they are sent when waypost runs again");
            }
        } else if ended.is_ok() && homeless.is_empty() && missing == 0 && stopped.is_none() {
            say(&"nothing to replay: no dead letter matches");
        }
        for (sink, count) in homeless {
            is_whole = false;
            let stay = if count == 1 { "stays" } else { "stay" };
            tell(&format!(
                "{} {stay}: the config has no sink `{sink}` any more; `--to SINK` sends them to another one",
                letters(count)
            ));
        }
        if missing > 0 {
            is_whole = false;
            tell(&format!("{} could not be read: damaged, or removed meanwhile", letters(missing)));
        }
        ended?;
        match stopped {
            Some(why) => {
                let message = format!("error: stopped, the others are still dead letters: {why}");
                Err(Failure { code: 1, message })
            }
            None if is_whole => Ok(()),
            None => Err(Failure { code: 1, message: "error: not all were replayed".to_owned() }),
        }
    }
}

/// One line that is written over on a terminal; a line now and then elsewhere.
struct Progress {
    total: u64,
    terminal: bool,
    shown_at: Instant,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self { total, terminal: io::stderr().is_terminal(), shown_at: Instant::now() }
    }

    fn show(&mut self, count: u64) {
        let line = format!("{count} of {}", self.total);
        if self.terminal {
            let mut out = io::stderr().lock();
            drop(write!(out, "\r{line}").and_then(|()| out.flush()));
        } else if self.shown_at.elapsed() >= PROGRESS_PERIOD {
            self.shown_at = Instant::now();
            tell(&line);
        }
    }

    fn end(&self) {
        if self.terminal {
            drop(write!(io::stderr().lock(), "\r"));
        }
    }
}
