//! The letters of a gateway: asked of the process while it runs, otherwise taken from its data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Runtime;

use crate::admin::client::{self, ClientError};
use crate::admin::letters::{LetterClient, LetterDesk, Sinks};
use crate::cli::{Failure, SocketArguments, runtime, tell};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::store::{DeadLettersCopy, Queue, Store, StoreConfig, StoreError};

/// What a command does to the letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing: a data directory is not written to.
    Look,
    /// A stopped gateway's data directory is locked and opened as the gateway would.
    Change,
}

/// The letters of a gateway, and a runtime to wait on.
pub(super) struct Access {
    pub client: LetterClient,
    runtime: Runtime,
    stopped: Option<Stopped>,
}

/// What is open of a gateway that is stopped.
enum Stopped {
    Looked(DeadLettersCopy),
    Opened(Arc<StoppedQueues>),
}

impl Access {
    pub(super) fn open(gateway: &SocketArguments, purpose: Purpose) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let reaches = |socket: &Path| runtime.block_on(client::reaches(socket));
        if let Some(socket) = &gateway.socket {
            reaches(socket)?;
            let client = LetterClient::of_socket(socket.clone());
            return Ok(Self { client, runtime, stopped: None });
        }
        let config = match gateway.config() {
            Ok(config) => config,
            Err(wrong) => {
                let running = gateway.config.socket_anyway().filter(|it| reaches(it).is_ok());
                let client = LetterClient::of_socket(running.ok_or(wrong)?);
                return Ok(Self { client, runtime, stopped: None });
            }
        };
        let socket = config.gateway.admin_socket.clone();
        match reaches(&socket) {
            Ok(()) => {
                let client = LetterClient::of_socket(socket);
                Ok(Self { client, runtime, stopped: None })
            }
            Err(error @ ClientError::NotRunning { .. }) => {
                let (desk, stopped) = open_stopped(&config, purpose, &error)?;
                let data_dir = config.gateway.data_dir.clone();
                tell(&format!("note: waypost is not running: this is {}", data_dir.display()));
                let client = LetterClient::of_desk(desk, data_dir);
                Ok(Self { client, runtime, stopped: Some(stopped) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The gateway does not run.
    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Waits for an answer.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Failure> {
        self.runtime.block_on(answer).map_err(Failure::from)
    }

    /// Waits for a time.
    pub(super) fn pause(&self, time: std::time::Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        match &self.stopped {
            None => {}
            Some(Stopped::Looked(copy)) => self.runtime.block_on(copy.letters().close()),
            Some(Stopped::Opened(queues)) => self.runtime.block_on(queues.close()),
        }
    }
}

fn open_stopped(
    config: &Config,
    purpose: Purpose,
    not_running: &ClientError,
) -> Result<(LetterDesk, Stopped), Failure> {
    let data_dir = &config.gateway.data_dir;
    let failed = |error: StoreError| match error {
        StoreError::InUse { .. } => {
            Failure { code: 69, message: format!("error: {not_running}, but {error}") }
        }
        error => Failure::failed(&error),
    };
    let node = config.gateway.name.as_str().into();
    if purpose == Purpose::Look {
        let copy = DeadLettersCopy::of(data_dir).map_err(failed)?;
        let names = Arc::new(NamesOnly(config.sinks.keys().cloned().collect()));
        let desk = LetterDesk::new(copy.letters().clone(), names, node);
        return Ok((desk, Stopped::Looked(copy)));
    }
    check_owner(data_dir)?;
    let store = Store::open(
        StoreConfig {
            data_dir: data_dir.clone(),
            commit_window_max: config.store.commit_window_max,
            dead_letters_bytes_max: config.dead_letters.bytes_max,
        },
        Metrics::new().store,
    );
    let store = store.map_err(failed)?;
    let letters = store.dead_letters().clone();
    let opened = Mutex::default();
    let queues = Arc::new(StoppedQueues { store, config: config.clone(), opened });
    let sinks: Arc<dyn Sinks> = queues.clone();
    let desk = LetterDesk::new(letters, sinks, node);
    Ok((desk, Stopped::Opened(queues)))
}

/// Files that root makes in the data directory of another user would keep the gateway from starting.
fn check_owner(data_dir: &Path) -> Result<(), Failure> {
    let cannot = |why: &dyn std::fmt::Display| Failure {
        code: 1,
        message: format!("error: cannot change dead letters in {}: {why}", data_dir.display()),
    };
    let owner = match fs::metadata(data_dir) {
        Ok(found) => found.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(cannot(&"there is no such folder, and so there are none"));
        }
        Err(error) => return Err(cannot(&error)),
    };
    let user = rustix::process::geteuid().as_raw();
    if user == owner {
        return Ok(());
    }
    Err(cannot(&format!(
        "it belongs to user {owner}, and this is user {user}; run it as that user (sudo -u '#{owner}' waypost ...), or \
         while waypost runs"
    )))
}

/// For looking only.
struct NamesOnly(Vec<SinkName>);

impl Sinks for NamesOnly {
    fn names(&self) -> Vec<SinkName> {
        self.0.clone()
    }

    fn queue(&self, _sink: &SinkName) -> Result<Queue, StoreError> {
        Err(StoreError::Closed)
    }
}

/// The queues of a gateway that is stopped, each opened when it is needed.
struct StoppedQueues {
    store: Store,
    config: Config,
    opened: Mutex<BTreeMap<SinkName, Queue>>,
}

impl Sinks for StoppedQueues {
    fn names(&self) -> Vec<SinkName> {
        self.config.sinks.keys().cloned().collect()
    }

    fn queue(&self, sink: &SinkName) -> Result<Queue, StoreError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = opened.get(sink) {
            return Ok(queue.clone());
        }
        let options = &self.config.sinks.get(sink).ok_or(StoreError::Closed)?.queue;
        let queue = self.store.open_queue(sink, options)?;
        opened.insert(sink.clone(), queue.clone());
        Ok(queue)
    }
}

impl StoppedQueues {
    async fn close(&self) {
        let opened =
            std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for queue in opened.values() {
            queue.close().await;
        }
        self.store.dead_letters().close().await;
    }
}
