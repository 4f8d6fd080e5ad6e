//! Where the queues are looked at: at a running Waypost, or in the files of a data directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::admin::client::{self, ClientError};
use crate::admin::queues::{Origin, PAGE_RECORDS_MAX, QueueRow, QueuedRecord};
use crate::cli::{ConfigArguments, Failure, runtime};
use crate::config::Config;
use crate::name::SinkName;
use crate::store::{OfflineQueue, RecordNumber, stored_queues};

/// Whom to ask.
#[derive(Debug, Args)]
pub(super) struct PlaceArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The admin socket, instead of the one the config names
    #[arg(long, value_name = "PATH", conflicts_with = "data_dir")]
    socket: Option<PathBuf>,
    /// Read the files of this data directory, of a copy or of a gateway that is stopped, and ask nobody
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Where the queues are.
#[derive(Debug)]
pub(super) enum Place {
    /// Somebody answers here.
    Running(PathBuf),
    /// Nobody runs, or nobody is to be asked.
    Files {
        data_dir: PathBuf,
        /// Of the gateway whose files they are, where it is known.
        config: Option<Box<Config>>,
    },
}

impl PlaceArguments {
    /// The running Waypost where there is one, otherwise its files.
    pub(super) fn find(&self) -> Result<Place, Failure> {
        if let Some(data_dir) = &self.data_dir {
            // Otherwise a mistyped path would look like a gateway without records.
            if let Err(error) = std::fs::read_dir(data_dir) {
                let message = format!("error: cannot read {}: {error}", data_dir.display());
                return Err(Failure { code: 1, message });
            }
            return Ok(Place::Files { data_dir: data_dir.clone(), config: None });
        }
        if let Some(socket) = &self.socket {
            return Ok(Place::Running(socket.clone()));
        }
        let asked =
            |socket: &Path| runtime().map(|runtime| runtime.block_on(client::queues(socket)));
        let config = match self.config.load() {
            Ok(config) => config,
            Err(wrong) => {
                let answers = |socket: &PathBuf| matches!(asked(socket), Ok(Ok(_)));
                return self
                    .config
                    .socket_anyway()
                    .filter(answers)
                    .map(Place::Running)
                    .ok_or(wrong);
            }
        };
        let socket = config.gateway.admin_socket.clone();
        match asked(&socket)? {
            Err(ClientError::NotRunning { .. }) => {
                let data_dir = config.gateway.data_dir.clone();
                Ok(Place::Files { data_dir, config: Some(Box::new(config)) })
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(Place::Running(socket)),
        }
    }
}

impl Place {
    /// The queues there.
    pub(super) fn queues(&self) -> Result<Vec<QueueRow>, Failure> {
        match self {
            Self::Running(socket) => Ok(runtime()?.block_on(client::queues(socket))?),
            Self::Files { data_dir, config } => {
                let queues =
                    stored_queues(data_dir, |_| true).map_err(|e| unreadable(data_dir, &e))?;
                let has_sink = |sink: &SinkName| {
                    config.as_ref().is_none_or(|config| config.sinks.contains_key(sink))
                };
                // What is left of a removed sink is only a note of its numbers.
                let is_one = |row: &QueueRow| row.records > 0 || row.has_sink;
                let rows =
                    queues.iter().map(|queue| QueueRow::stored(queue, has_sink(&queue.sink)));
                Ok(rows.filter(is_one).collect())
            }
        }
    }

    /// Up to `records_max` records of a queue from the number `from` on, each given to `take` until that says stop.
    pub(super) fn records(
        &self,
        sink: &SinkName,
        from: u64,
        records_max: usize,
        mut take: impl FnMut(QueuedRecord) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Running(socket) => {
                let runtime = runtime()?;
                let (mut from, mut left) = (from, records_max);
                while left > 0 {
                    let page = client::records(socket, sink, from, left.min(PAGE_RECORDS_MAX));
                    let page = runtime.block_on(page)?;
                    let Some(last) = page.last() else { break };
                    from = last.number.saturating_add(1);
                    left -= page.len();
                    page.into_iter().try_for_each(&mut take)?;
                }
                Ok(())
            }
            Self::Files { data_dir, config } => {
                let failed = |error: io::Error| unreadable(data_dir, &error);
                let queue = OfflineQueue::read(data_dir, sink).map_err(failed)?;
                let node = config.as_ref().map_or("undefined", |config| &config.gateway.name);
                let origin = Origin {
                    sink,
                    store_id: queue.store_id(),
                    node: Arc::from(node),
                    age_now_ms: queue.age_now_ms(),
                };
                let (mut from, mut left) = (from, records_max);
                while left > 0 {
                    let page = queue.records(RecordNumber(from), left.min(PAGE_RECORDS_MAX));
                    let page = page.map_err(failed)?;
                    let Some(last) = page.last() else { break };
                    from = last.number.0.saturating_add(1);
                    left -= page.len();
                    let records = page.iter().map(|record| QueuedRecord::of(record, &origin));
                    records.into_iter().try_for_each(&mut take)?;
                }
                Ok(())
            }
        }
    }

    /// Fails where there is no such queue.
    pub(super) fn check(&self, sink: &SinkName) -> Result<QueueRow, Failure> {
        let mut queues = self.queues()?;
        let names: Vec<String> = queues.iter().map(|row| row.sink.clone()).collect();
        if let Some(at) = names.iter().position(|name| name == sink.as_str()) {
            return Ok(queues.swap_remove(at));
        }
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!("error: there is no queue `{sink}`; there are: {known}");
        Err(Failure { code: 1, message })
    }
}

fn unreadable(data_dir: &Path, error: &io::Error) -> Failure {
    let message = format!("error: cannot read the queues in {}: {error}", data_dir.display());
    Failure { code: 1, message }
}
