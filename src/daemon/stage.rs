//! Tasks that start and stop together, or one by one.

use std::collections::{HashMap, VecDeque};
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
    known: HashMap<Id, Task>,
    /// Tasks that ended by themselves while others were stopped.
    ended: VecDeque<TaskFailed>,
}

#[derive(Debug)]
struct Task {
    name: String,
    stop: CancellationToken,
}

impl Stage {
    pub(super) fn new(name: &'static str) -> Self {
        let stop = CancellationToken::new();
        let (tasks, known, ended) = (JoinSet::new(), HashMap::new(), VecDeque::new());
        Self { name, stop, tasks, known, ended }
    }

    /// Starts a task that ends soon after its token is cancelled, and not before. No two have the same name.
    pub(super) fn spawn<F>(&mut self, name: &str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.child_token();
        let handle = self.tasks.spawn(task(stop.clone()));
        self.known.insert(handle.id(), Task { name: name.to_owned(), stop });
    }

    /// Waits for a task to end although nobody stopped it. Cancel safe.
    pub(super) async fn failed(&mut self) -> TaskFailed {
        loop {
            if let Some(failed) = self.ended.pop_front() {
                return failed;
            }
            match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(ended) => self.note_ended(ended),
            }
        }
    }

    fn note_ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, why) = match ended {
            Ok((id, ())) => (id, "it returned".to_owned()),
            Err(error) => (error.id(), panic_text(error)),
        };
        let Some(task) = self.known.remove(&id) else { return };
        if !task.stop.is_cancelled() {
            self.ended.push_back(TaskFailed { task: task.name, why });
        }
    }

    /// Asks these tasks to stop, and cuts off those that have not after `patience`. Cancel safe: they stop all the same.
    pub(super) async fn stop_some(&mut self, names: &[String], patience: Duration) {
        let is_meant = |task: &Task| names.contains(&task.name);
        self.known.values().filter(|task| is_meant(task)).for_each(|task| task.stop.cancel());
        let all = async {
            while self.known.values().any(is_meant) {
                match self.tasks.join_next_with_id().await {
                    Some(ended) => self.note_ended(ended),
                    None => break,
                }
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            let left: Vec<&str> =
                self.known.values().filter(|task| is_meant(task)).map(|task| &*task.name).collect();
            warn!(stage = self.name, ?left, "tasks do not stop");
        }
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
