//! Builds everything from a [`Config`], owns every task, and stops them in order.
//!
//! Stop order: sources, then ingest, then delivery, then the queues, the listening ends last; each stage has its share of a
//! second. What is cut off loses nothing: it was not acknowledged, or it is in a queue. A panic in any task ends the process:
//! the queues are durable, and the supervisor starts it again.

mod certificates;
mod faces;
mod letters;
mod look;
mod opening;
mod rates;
mod sinks;
mod sources;
mod stage;
mod status_event;
mod steering;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::admin::Status;
use crate::admin::server::{ListenError, Views};
use crate::config::Config;
use crate::event::EventKind;
use crate::ingest::{self, Ingest};
use crate::metrics::{Metrics, QueueReader};
use crate::name::SinkName;
use crate::rule::Router;
use crate::source::Intake;
use crate::store::{DeadLetterReason, Queue, Store, StoreError};
use crate::tail::Tail;

use certificates::Certificates;
use faces::start_faces;
use look::look_on;
use opening::{open_queues, open_store};
use sinks::{start_delivery, watch_threads};
use sources::{source_contexts, source_health, start_sources};
use stage::Stage;
use status_event::tell_status;
use view::{Watched, views};

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
    let tail = Tail::default();
    let mut delivery = Stage::new("delivery");
    let sinks = start_delivery(&config, &store, &queues, &metrics, &tail, &mut delivery).await;
    let router = Router::new(&config.gateway.name, config.sources.keys(), &config.rules);
    let rules: Vec<_> = router.rules().map(|rule| metrics.rule(rule)).collect();
    let (intake, incoming) = Intake::bounded(config.gateway.intake_bytes_max);
    let health = source_health(&config, &metrics);
    let watched = Arc::new(Watched {
        gateway: config.gateway.name.clone(),
        store: Arc::clone(&store),
        started,
        config: config.clone(),
        sources: health.clone(),
        rules: rules.clone(),
        sinks,
        queues: queues.clone(),
        rates: Arc::default(),
        certificates: Arc::new(Certificates::new(metrics.certificates.clone())),
        store_metrics: metrics.store.clone(),
    });
    metrics.config_info.show(&config.hash);
    let views = views(&watched, &metrics, &tail);
    let mut faces = start_faces(&config, &views).await?;
    faces.spawn("look", |stop| look_on(move || Arc::clone(&watched), stop));

    if let Some(interval) = config.gateway.status_interval
        && router.wants(EventKind::GatewayStatus)
    {
        let (status, intake) = (Arc::clone(&views.status), intake.clone());
        faces.spawn("gateway.status", |stop| tell_status(move || status(), interval, intake, stop));
    }
    let contexts = source_contexts(&config, &router, &intake, &tail, &health);
    let mut ingest = Stage::new("ingest");
    let joined = Ingest { router, queues: queues.clone(), rules, tail };
    ingest.spawn("ingest", |stop| ingest::run(joined, incoming, stop));
    let mut sources = Stage::new("sources");
    start_sources(&config, contexts, &store, &mut sources);
    info!(version = env!("CARGO_PKG_VERSION"), gateway = config.gateway.name, "started");
    Ok(Running { sources, ingest, delivery, faces, threads, queues, views, started, store })
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
