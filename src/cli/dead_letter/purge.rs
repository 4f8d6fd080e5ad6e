//! `waypost dead-letter purge`

use std::time::Duration;

use clap::Args;

use super::access::{Access, Purpose};
use super::words::{ago, letters};
use super::{Selection, ids};
use crate::admin::letters::{GroupBy, GroupRequest, LetterFilter, PageRequest};
use crate::cli::{Failure, SocketArguments, confirm, say};
use crate::name::RecordId;
use crate::units::parse_period;

/// Letters removed at once.
const PAGE: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct PurgeArguments {
    /// Only the dead letter of this record; may be given several times
    #[arg(long = "id", value_name = "ID", conflicts_with_all = ["reason", "older_than"])]
    ids: Vec<RecordId>,
    #[command(flatten)]
    selection: Selection,
    /// Only those given up longer ago than this, such as `7d`
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    older_than: Option<Duration>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    gateway: SocketArguments,
}

pub(super) fn purge(arguments: &PurgeArguments) -> Result<(), Failure> {
    let (ids, before) = (ids(&arguments.ids)?, arguments.older_than.map(ago));
    let filter = LetterFilter { ids, before, ..arguments.selection.filter() };
    if !arguments.yes && !confirmed(arguments, &filter)? {
        return Ok(());
    }
    let access = Access::open(&arguments.gateway, Purpose::Change)?;
    let mut request = PageRequest { filter, from: None, limit: PAGE, answers: false };
    let mut count = 0;
    loop {
        let answer = access.wait(access.client.purge(&request))?;
        count += answer.purged;
        request.from = answer.next;
        if request.from.is_none() {
            break;
        }
    }
    say(&format!("removed {}", letters(count)));
    Ok(())
}

/// Asks, where there is somebody to ask and something to remove.
fn confirmed(arguments: &PurgeArguments, filter: &LetterFilter) -> Result<bool, Failure> {
    let count = {
        let access = Access::open(&arguments.gateway, Purpose::Look)?;
        let request = GroupRequest { filter: filter.clone(), by: GroupBy::Sink };
        let groups = access.wait(access.client.group(&request))?;
        groups.iter().map(|group| group.letters).sum::<u64>()
    };
    if count == 0 {
        say(&"nothing to remove: no dead letter matches");
        return Ok(false);
    }
    let what = letters(count);
    let otherwise = format!("this would remove {what} for good: add --yes");
    if confirm::is_wanted(&format!("Remove {what} for good?"), &otherwise)? {
        return Ok(true);
    }
    Err(Failure { code: 1, message: "nothing removed".to_owned() })
}
