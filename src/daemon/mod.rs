//! Builds everything from a [`Config`], owns every task, and stops them in order.
//!
//! Stop order: sources, then ingest, then delivery, then the queues, the listening ends last; each stage has its share of a
//! second. What is cut off loses nothing: it was not acknowledged, or it is in a queue. A panic in any task ends the process:
//! the queues are durable, and the supervisor starts it again.

mod stage;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::Status;
use crate::admin::server::{self, ListenError, Views};
use crate::config::{self, Config};
use crate::delivery::{self, SinkContext, SinkHealth};
use crate::event::MessageIds;
use crate::ingest::{self, Ingest};
use crate::metrics::{Metrics, QueueReader};
use crate::name::{SinkName, SourceName};
use crate::rule::Router;
use crate::source::{self, Intake, Problem, SourceContext, SourceHealth};
use crate::store::{DeadLetterReason, Queue, Store, StoreConfig, StoreError};

use stage::Stage;
use view::Watched;

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory or a queue cannot be opened.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// A listening end cannot be opened.
    #[error("cannot start")]
    Listen(#[from] ListenError),
}

/// A task of the process ended although nobody stopped it.
#[derive(Debug, thiserror::Error)]
#[error("task `{task}` ended unexpectedly: {why}")]
pub struct TaskFailed {
    /// Its name.
    pub task: String,
    /// The panic, or that it returned.
    pub why: String,
}

/// Time between two looks whether a full disk has room for the data directory.
const STORE_DELAY: Duration = Duration::from_secs(1);

/// A running Waypost. Dropping it cuts everything off; [`Running::run_until`] stops in order.
#[derive(Debug)]
pub struct Running {
    sources: Stage,
    ingest: Stage,
    delivery: Stage,
    faces: Stage,
    threads: Stage,
    queues: BTreeMap<SinkName, Queue>,
    views: Views,
    started: Instant,
    /// Keeps the lock of the data directory until everything has stopped.
    store: Arc<Store>,
}

/// Opens the store and starts every task. On `Err` nothing is left running.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let started = Instant::now();
    let metrics = Arc::new(Metrics::new());
    let store = Arc::new(open_store(&config, &metrics).await?);
    let queues = open_queues(&config, &store).await?;
    let readers = queues.iter().map(|(sink, queue)| {
        let queue = queue.clone();
        let reader: QueueReader = Arc::new(move || queue.snapshot());
        (sink.clone(), reader)
    });
    metrics.register_queues(readers.collect());
    let dead_letters = store.dead_letters().clone();
    metrics.register_dead_letters(
        Arc::new(move || dead_letters.snapshot()),
        config.sinks.keys(),
        &DeadLetterReason::ALL.map(DeadLetterReason::label),
    );

    let threads = watch_threads(&queues);
    let mut delivery = Stage::new("delivery");
    let sinks = start_delivery(&config, &store, &queues, &metrics, &mut delivery);
    let router = Router::new(&config.gateway.name, config.sources.keys(), &config.rules);
    let rules: Vec<_> = router.rules().map(|rule| metrics.rule(rule)).collect();
    let (intake, incoming) = Intake::bounded(config.gateway.intake_bytes_max);
    let health = source_health(&config, &metrics);
    let watched = Watched {
        gateway: config.gateway.name.clone(),
        store_id: store.id().to_owned(),
        started,
        config: config.clone(),
        sources: health.clone(),
        rules: rules.clone(),
        sinks,
        queues: queues.clone(),
    };
    let views = Views { metrics: Arc::clone(&metrics), status: Arc::new(move || watched.status()) };
    let faces = start_faces(&config, &views).await?;

    let contexts = source_contexts(&config, &router, &intake, &health);
    let mut ingest = Stage::new("ingest");
    let joined = Ingest { router, queues: queues.clone(), rules };
    ingest.spawn("ingest", |stop| ingest::run(joined, incoming, stop));
    let mut sources = Stage::new("sources");
    start_sources(&config, contexts, &store, &mut sources);
    info!(version = env!("CARGO_PKG_VERSION"), gateway = config.gateway.name, "started");
    Ok(Running { sources, ingest, delivery, faces, threads, queues, views, started, store })
}

/// Opens the data directory. A disk so full that not even its lock can be made is waited for.
async fn open_store(config: &Config, metrics: &Metrics) -> Result<Store, StoreError> {
    let mut told = false;
    loop {
        let store_config = StoreConfig {
            data_dir: config.gateway.data_dir.clone(),
            commit_window_max: config.store.commit_window_max,
            dead_letters_bytes_max: config.dead_letters.bytes_max,
        };
        let store_metrics = metrics.store.clone();
        match blocking(move || Store::open(store_config, store_metrics)).await {
            Err(error) if error.is_disk_full() => {
                if !told {
                    error!(%error, "disk full: waiting for room to make the data directory");
                }
                told = true;
                tokio::time::sleep(STORE_DELAY).await;
            }
            other => return other,
        }
    }
}

/// Opens all queues at once: repairs of several take as long as the longest.
async fn open_queues(
    config: &Config,
    store: &Arc<Store>,
) -> Result<BTreeMap<SinkName, Queue>, StoreError> {
    let wanted: Vec<(SinkName, config::Queue)> =
        config.sinks.iter().map(|(name, sink)| (name.clone(), sink.queue.clone())).collect();
    let store = Arc::clone(store);
    blocking(move || {
        let opened = std::thread::scope(|scope| {
            let opening: Vec<_> = wanted
                .iter()
                .map(|(name, options)| scope.spawn(|| store.open_queue(name, options)))
                .collect();
            let joined = opening.into_iter().map(|thread| match thread.join() {
                Ok(opened) => opened,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Result<Vec<Queue>, StoreError>>()
        })?;
        let names = wanted.into_iter().map(|(name, _)| name);
        Ok(names.zip(opened).collect())
    })
    .await
}

/// A task for the thread of each queue, which fails as the thread does.
fn watch_threads(queues: &BTreeMap<SinkName, Queue>) -> Stage {
    let mut threads = Stage::new("queues");
    for (name, queue) in queues {
        let queue = queue.clone();
        threads.spawn(&format!("queue {name}"), |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                panic = queue.panicked() => std::panic::resume_unwind(Box::new(panic)),
            }
        });
    }
    threads
}

/// Runs what may block beside the runtime; a panic goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

fn start_delivery(
    config: &Config,
    store: &Store,
    queues: &BTreeMap<SinkName, Queue>,
    metrics: &Metrics,
    stage: &mut Stage,
) -> BTreeMap<SinkName, Arc<SinkHealth>> {
    let mut watched = BTreeMap::new();
    let node: Arc<str> = config.gateway.name.as_str().into();
    let clients = delivery::Client::all(&config.sinks);
    for (name, sink) in &config.sinks {
        let (Some(queue), Some(client)) = (queues.get(name), clients.get(name)) else { continue };
        let client = client.clone();
        let health = Arc::new(SinkHealth::new(name.clone(), metrics.sink(name)));
        watched.insert(name.clone(), Arc::clone(&health));
        let (config, queue, name) = (Arc::new(sink.clone()), queue.clone(), name.clone());
        let (store_id, node) = (store.id().into(), Arc::clone(&node));
        let dead_letters = store.dead_letters().clone();
        stage.spawn(&format!("sink {name}"), |stop| {
            delivery::run(SinkContext {
                name,
                config,
                client,
                queue,
                dead_letters,
                store_id,
                node,
                health,
                stop,
            })
        });
    }
    watched
}

fn source_health(config: &Config, metrics: &Metrics) -> BTreeMap<SourceName, Arc<SourceHealth>> {
    let reasons = Problem::ALL.map(Problem::reason);
    let health = |name: &SourceName| {
        Arc::new(SourceHealth::new(name.clone(), metrics.source(name, &reasons)))
    };
    config.sources.keys().map(|name| (name.clone(), health(name))).collect()
}

fn source_contexts(
    config: &Config,
    router: &Router,
    intake: &Intake,
    health: &BTreeMap<SourceName, Arc<SourceHealth>>,
) -> BTreeMap<SourceName, SourceContext> {
    let ids = Arc::new(MessageIds::new());
    let context = |name: &SourceName| {
        let context = SourceContext {
            name: name.clone(),
            subscriptions: router.subscriptions(name),
            intake: intake.clone(),
            ids: Arc::clone(&ids),
            health: Arc::clone(health.get(name)?),
            stop: CancellationToken::new(),
        };
        Some((name.clone(), context))
    };
    config.sources.keys().filter_map(context).collect()
}

fn start_sources(
    config: &Config,
    contexts: BTreeMap<SourceName, SourceContext>,
    store: &Store,
    stage: &mut Stage,
) {
    for (name, mut context) in contexts {
        let task = format!("source {name}");
        match config.sources.get(&name).cloned() {
            Some(config::Source::Mqtt(options)) => {
                let client_id = format!("waypost-{}-{name}", store.id());
                let note = store.session_note(&name);
                stage.spawn(&task, |stop| {
                    context.stop = stop;
                    source::mqtt::run(context, options, client_id, note)
                });
            }
            #[cfg(feature = "broker")]
            Some(config::Source::Broker(options)) => stage.spawn(&task, |stop| {
                context.stop = stop;
                source::broker::run(context, options)
            }),
            None => {}
        }
    }
}

async fn start_faces(config: &Config, views: &Views) -> Result<Stage, ListenError> {
    let mut stage = Stage::new("faces");
    let admin = server::listen_admin(&config.gateway.admin_socket).await?;
    let exporter = match config.metrics_listen {
        Some(address) => Some(server::listen_metrics(address).await?),
        None => None,
    };
    stage.spawn("admin socket", |stop| server::serve_admin(admin, views.clone(), stop));
    if let Some(listener) = exporter {
        stage.spawn("metrics", |stop| server::serve_metrics(listener, views.clone(), stop));
    }
    Ok(stage)
}

/// Shares of a second: what SIGTERM to exit may take, whatever the backlog and the uplink.
const SOURCES_STOP: Duration = Duration::from_millis(250);
const INGEST_STOP: Duration = Duration::from_millis(250);
const DELIVERY_STOP: Duration = Duration::from_millis(150);
const QUEUES_STOP: Duration = Duration::from_millis(250);
const FACES_STOP: Duration = Duration::from_millis(50);

impl Running {
    /// What `waypost status` would show now.
    #[must_use]
    pub fn status(&self) -> Status {
        (self.views.status)()
    }

    /// Runs until `stop_requested` resolves (to a word for the log) or a task fails, then stops in order.
    pub async fn run_until(
        mut self,
        stop_requested: impl Future<Output = &'static str>,
    ) -> Result<(), TaskFailed> {
        let ended = tokio::select! {
            reason = stop_requested => {
                info!(reason, "stopping");
                Ok(())
            }
            failed = self.sources.failed() => Err(failed),
            failed = self.ingest.failed() => Err(failed),
            failed = self.delivery.failed() => Err(failed),
            failed = self.faces.failed() => Err(failed),
            failed = self.threads.failed() => Err(failed),
        };
        self.stop().await;
        ended
    }

    async fn stop(mut self) {
        self.sources.stop(SOURCES_STOP).await;
        self.ingest.stop(INGEST_STOP).await;
        self.delivery.stop(DELIVERY_STOP).await;
        let closing = futures_util::future::join_all(self.queues.values().map(Queue::close));
        // A queue may have dead letters to write while it closes.
        let closing = async {
            closing.await;
            self.store.dead_letters().close().await;
        };
        let closed = tokio::time::timeout(QUEUES_STOP, closing).await.is_ok();
        self.threads.stop(FACES_STOP).await;
        self.faces.stop(FACES_STOP).await;
        let queued: u64 = self.queues.values().map(|queue| queue.snapshot().queued).sum();
        if !closed {
            warn!("a queue was cut off: what it had not committed comes again");
        }
        let uptime_seconds = self.started.elapsed().as_secs();
        info!(queued, uptime_seconds, "stopped");
    }
}
