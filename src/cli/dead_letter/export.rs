//! `waypost dead-letter export`

use std::io::{self, BufWriter, Write as _};

use clap::Args;

use super::Selection;
use super::access::{Access, Purpose};
use super::words::moment;
use crate::admin::letters::{LetterFilter, PageRequest};
use crate::cli::{Failure, SocketArguments};
use crate::clock::UnixMillis;

/// Letters asked for at once; their bytes bound an answer, too.
const PAGE: usize = 500;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    #[command(flatten)]
    selection: Selection,
    /// Only those given up since then: a period before now such as `2h`, or a time such as `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<UnixMillis>,
    #[command(flatten)]
    gateway: SocketArguments,
}

pub(super) fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let access = Access::open(&arguments.gateway, Purpose::Look)?;
    let filter = LetterFilter { since: arguments.since, ..arguments.selection.filter() };
    let mut request = PageRequest { filter, from: None, limit: PAGE, answers: false };
    // An export that is cut short must not look like a whole one: somebody may purge what it was made of.
    let failed = |error: io::Error| Failure {
        code: 1,
        message: format!("error: the export is not complete: cannot write it: {error}"),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        let page = access.wait(access.client.export(&request))?;
        for letter in page.letters {
            writeln!(out, "{}", letter.get()).map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        request.from = page.next;
        if request.from.is_none() {
            return Ok(());
        }
    }
}
