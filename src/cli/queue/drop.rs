//! `waypost queue drop`

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;

use super::list::age;
use super::place::{Place, PlaceArguments};
use crate::admin::client;
use crate::admin::queues::{DropAnswer, QueueRow};
use crate::cli::{Failure, confirm, runtime, say};
use crate::config::{self, Durability, WhenFull};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::store::{Store, StoreConfig, StoreError};
use crate::units::{parse_period, period_text};

/// Which records.
#[derive(Debug, Args)]
pub(in crate::cli) struct DropArguments {
    /// The sink whose queue it is
    #[arg(value_parser = SinkName::new)]
    sink: SinkName,
    #[command(flatten)]
    place: PlaceArguments,
    /// Drop what has waited at least so long, such as 2d; 0s is everything
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    older_than: Duration,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn drop(arguments: &DropArguments) -> Result<(), Failure> {
    let DropArguments { sink, older_than, .. } = arguments;
    let place = arguments.place.find()?;
    let queue = place.check(sink)?;
    if !arguments.yes {
        confirm(&queue, *older_than)?;
    }
    let answer = match &place {
        Place::Running(socket) => {
            runtime()?.block_on(client::drop_records(socket, sink, *older_than))?
        }
        Place::Files { data_dir, config } => {
            let options = config.as_ref().and_then(|config| config.sinks.get(sink));
            let options = options.map_or_else(unlimited, |sink| sink.queue.clone());
            let store = StoreConfig {
                data_dir: data_dir.clone(),
                commit_window_max: Duration::ZERO,
                dead_letters_bytes_max: NonZeroU64::MAX,
            };
            drop_in_files(store, sink, &options, *older_than)
                .map_err(|error| Failure::failed(&error))?
        }
    };
    say(&text(&queue.sink, answer));
    Ok(())
}

/// Asks the person at the terminal.
fn confirm(queue: &QueueRow, older_than: Duration) -> Result<(), Failure> {
    let QueueRow { sink, records, oldest_age_seconds, .. } = queue;
    let what = if older_than.is_zero() {
        "all of them".to_owned()
    } else {
        format!("those that have waited {} or longer", period_text(older_than))
    };
    let question = format!(
        "queue {sink} has {records} records, the oldest {} old. Drop {what}? They are lost.",
        age(*records, *oldest_age_seconds)
    );
    let otherwise = "records that are dropped are lost: say that you want it with --yes";
    if confirm::is_wanted(&question, otherwise)? {
        return Ok(());
    }
    Err(Failure { code: 1, message: "nothing dropped".to_owned() })
}

/// Opens the queue as a gateway would, and closes it again.
fn drop_in_files(
    store: StoreConfig,
    sink: &SinkName,
    options: &config::Queue,
    older_than: Duration,
) -> Result<DropAnswer, StoreError> {
    let store = Store::open(store, Metrics::new().store)?;
    let queue = store.open_queue(sink, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|source| StoreError::Io {
        operation: "wait for",
        path: sink.as_str().into(),
        source,
    })?;
    runtime.block_on(async {
        let dropped = queue.drop_older_than(older_than).await;
        queue.close().await;
        Ok(dropped?.into())
    })
}

fn unlimited() -> config::Queue {
    config::Queue {
        bytes_max: NonZeroU64::MAX,
        when_full: WhenFull::Block,
        durability: Durability::Power,
    }
}

fn text(sink: &str, answer: DropAnswer) -> String {
    let DropAnswer { dropped, in_flight } = answer;
    let stay = match in_flight {
        0 => String::new(),
        1 => "; 1 is in flight and stays".to_owned(),
        _ => format!("; {in_flight} are in flight and stay"),
    };
    format!("dropped {dropped} records of queue {sink}{stay}\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_was_dropped_is_told_with_what_stays() {
        let told: String = [0, 1, 20]
            .map(|in_flight| text("cloud", DropAnswer { dropped: 118, in_flight }))
            .concat();
        expect![[r"
            dropped 118 records of queue cloud
            dropped 118 records of queue cloud; 1 is in flight and stays
            dropped 118 records of queue cloud; 20 are in flight and stay
        "]]
        .assert_eq(&told);
    }
}
