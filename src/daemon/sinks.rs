//! The sinks: for each an open queue, a watch on its thread, and a worker that delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::opening::blocking;
use super::stage::Stage;
use crate::config::{self, Config};
use crate::delivery::{self, Client, SinkContext, SinkHealth};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::store::{Queue, Store, StoreError};
use crate::tail::Tail;

/// All sinks.
#[derive(Debug)]
pub(super) struct Sinks {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    node: Arc<str>,
    tail: Tail,
    workers: Stage,
    threads: Stage,
    parts: BTreeMap<SinkName, Part>,
}

/// One sink.
#[derive(Debug)]
struct Part {
    queue: Queue,
    health: Arc<SinkHealth>,
    setup: watch::Sender<Setup>,
}

/// What a reload can change of a worker.
#[derive(Debug, Clone)]
struct Setup {
    config: Arc<config::Sink>,
    client: Client,
}

impl Sinks {
    pub(super) fn new(
        config: &Config,
        store: &Arc<Store>,
        metrics: &Arc<Metrics>,
        tail: &Tail,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            metrics: Arc::clone(metrics),
            node: config.gateway.name.as_str().into(),
            tail: tail.clone(),
            workers: Stage::new("delivery"),
            threads: Stage::new("queues"),
            parts: BTreeMap::new(),
        }
    }

    /// Starts to deliver these queues.
    pub(super) async fn start(&mut self, opened: BTreeMap<SinkName, Queue>, config: &Config) {
        let clients = Client::all(&config.sinks);
        for (name, queue) in opened {
            let (Some(sink), Some(client)) = (config.sinks.get(&name), clients.get(&name)) else {
                continue;
            };
            self.watch_thread(&name, &queue);
            let health = Arc::new(SinkHealth::new(name.clone(), self.metrics.sink(&name)));
            let pause = self.store.pause_note(&name);
            if let Some(since) = blocking(move || pause.since()).await {
                health.pause(since);
            }
            let setup = Setup { config: Arc::new(sink.clone()), client: client.clone() };
            let (setup, setups) = watch::channel(setup);
            let worker = Worker {
                name: name.clone(),
                queue: queue.clone(),
                health: Arc::clone(&health),
                store: Arc::clone(&self.store),
                node: Arc::clone(&self.node),
                tail: self.tail.clone(),
                setups,
            };
            self.workers.spawn(&worker_name(&name), |stop| worker.run(stop));
            self.parts.insert(name, Part { queue, health, setup });
        }
    }

    /// A task for the thread of a queue, which fails as the thread does.
    fn watch_thread(&mut self, name: &SinkName, queue: &Queue) {
        let queue = queue.clone();
        self.threads.spawn(&thread_name(name), |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                panic = queue.panicked() => std::panic::resume_unwind(Box::new(panic)),
            }
        });
    }

    /// Gives these sinks, new or changed, the settings that `config` has for them: what is in flight ends before. Those
    /// that share a connector with them go over to its new connections.
    pub(super) fn change(&mut self, names: &[&SinkName], config: &Config) {
        let clients = Client::all(&config.sinks);
        let connector = |name: &SinkName| config.sinks.get(name)?.connection.connector.as_ref();
        let renewed: BTreeSet<_> = names.iter().filter_map(|name| connector(name)).collect();
        let is_concerned = |name: &&SinkName| {
            names.contains(name) || connector(name).is_some_and(|one| renewed.contains(one))
        };
        for name in config.sinks.keys().filter(is_concerned) {
            let (Some(part), Some(sink), Some(client)) =
                (self.parts.get(name), config.sinks.get(name), clients.get(name))
            else {
                continue;
            };
            part.queue.change(&sink.queue);
            let setup = Setup { config: Arc::new(sink.clone()), client: client.clone() };
            part.setup.send_replace(setup);
        }
    }

    /// Takes a sink away that no rule sends to any more, with what is in its queue; says how many records that were.
    ///
    /// On `Err` the sink is gone and its queue is left in the data directory, closed.
    pub(super) async fn remove(&mut self, name: &SinkName) -> Result<u64, StoreError> {
        let Some(Part { queue, .. }) = self.parts.remove(name) else { return Ok(0) };
        self.workers.stop_some(&[worker_name(name)], WORKER_STOP).await;
        self.metrics.forget_sink(name);
        queue.release_all();
        let dropped = drop_all(&queue).await;
        self.threads.stop_some(&[thread_name(name)], WORKER_STOP).await;
        queue.close().await;
        let dropped = dropped?;
        if !queue.is_empty() {
            // Dead letters were replayed into it in the last moment.
            let why = "records came into it while it was removed".to_owned();
            return Err(StoreError::Unavailable { sink: name.clone(), why });
        }
        let (store, pause) = (Arc::clone(&self.store), self.store.pause_note(name));
        blocking(move || {
            // A sink of this name that comes again is another one.
            if let Err(error) = pause.clear() {
                warn!(sink = %queue.sink(), %error, "that the sink was paused is still noted");
            }
            store.remove_queue(&queue)
        })
        .await?;
        Ok(dropped)
    }

    /// Waits for a worker to end although nobody stopped it. Cancel safe.
    pub(super) async fn failed(&mut self) -> super::TaskFailed {
        tokio::select! {
            failed = self.workers.failed() => failed,
            failed = self.threads.failed() => failed,
        }
    }

    pub(super) async fn stop_delivery(&mut self, patience: Duration) {
        self.workers.stop(patience).await;
    }

    /// Stops watching the threads of the queues.
    pub(super) async fn stop_watching(&mut self, patience: Duration) {
        self.threads.stop(patience).await;
    }

    pub(super) fn queues(&self) -> BTreeMap<SinkName, Queue> {
        self.parts.iter().map(|(name, part)| (name.clone(), part.queue.clone())).collect()
    }

    pub(super) fn queue(&self, name: &SinkName) -> Option<&Queue> {
        self.parts.get(name).map(|part| &part.queue)
    }

    pub(super) fn health(&self) -> BTreeMap<SinkName, Arc<SinkHealth>> {
        self.parts.iter().map(|(name, part)| (name.clone(), Arc::clone(&part.health))).collect()
    }
}

/// A worker lets go at once.
const WORKER_STOP: Duration = Duration::from_secs(1);
/// Rounds of dropping all: what was on its way into the queue comes between them.
const DROPS_MAX: usize = 100;

/// Drops everything, for nobody appends any more.
pub(super) async fn drop_all(queue: &Queue) -> Result<u64, StoreError> {
    let mut dropped = 0;
    for _ in 0..DROPS_MAX {
        if queue.is_empty() {
            return Ok(dropped);
        }
        dropped += queue.drop_older_than(Duration::ZERO).await?.dropped;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let why = "its records cannot be dropped".to_owned();
    Err(StoreError::Unavailable { sink: queue.sink().clone(), why })
}

fn worker_name(name: &SinkName) -> String {
    format!("sink {name}")
}

fn thread_name(name: &SinkName) -> String {
    format!("queue {name}")
}

/// Delivers one queue, with one setup after the other.
struct Worker {
    name: SinkName,
    queue: Queue,
    health: Arc<SinkHealth>,
    store: Arc<Store>,
    node: Arc<str>,
    tail: Tail,
    setups: watch::Receiver<Setup>,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let finish = CancellationToken::new();
            let context = self.context(finish.clone(), stop.clone());
            let mut delivering = std::pin::pin!(delivery::run(context));
            tokio::select! {
                () = &mut delivering => return,
                Ok(()) = self.setups.changed() => {}
            }
            // Two workers would send the same records.
            finish.cancel();
            delivering.await;
        }
    }

    fn context(&mut self, finish: CancellationToken, stop: CancellationToken) -> SinkContext {
        let Setup { config, client } = self.setups.borrow_and_update().clone();
        SinkContext {
            name: self.name.clone(),
            config,
            client,
            queue: self.queue.clone(),
            dead_letters: self.store.dead_letters().clone(),
            store_id: self.store.id().into(),
            node: Arc::clone(&self.node),
            health: Arc::clone(&self.health),
            tail: self.tail.clone(),
            finish,
            stop,
        }
    }
}
