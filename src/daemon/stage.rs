//! Tasks that start and stop together.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::TaskFailed;

/// Owns tasks of one stage: joins them, names them, stops them.
#[derive(Debug)]
pub(super) struct Stage {
    name: &'static str,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Stage {
    pub(super) fn new(name: &'static str) -> Self {
        let stop = CancellationToken::new();
        Self { name, stop, tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task that ends soon after its token is cancelled, and not before.
    pub(super) fn spawn<F>(&mut self, name: &str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.tasks.spawn(task(self.stop.clone()));
        self.names.insert(handle.id(), name.to_owned());
    }

    /// Waits for a task to end although nobody stopped it. Cancel safe.
    pub(super) async fn failed(&mut self) -> TaskFailed {
        let (id, why) = match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((id, ()))) => (id, "it returned".to_owned()),
            Some(Err(error)) => (error.id(), panic_text(error)),
        };
        TaskFailed { task: self.names.get(&id).cloned().unwrap_or_default(), why }
    }

    /// Asks all tasks to stop, and cuts off those that have not after `patience`.
    pub(super) async fn stop(&mut self, patience: Duration) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            warn!(stage = self.name, tasks = self.tasks.len(), "tasks were cut off");
            self.tasks.abort_all();
        }
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}
