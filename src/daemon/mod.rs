//! Builds everything from a [`Config`], owns every task, and stops them in order.
//!
//! Stop order: sources, then ingest, then delivery, then the queues, the listening ends last; each stage has its share of a
//! second. What is cut off loses nothing: it was not acknowledged, or it is in a queue. A panic in any task ends the process:
//! the queues are durable, and the supervisor starts it again.

mod advice;
mod certificates;
mod drops;
mod faces;
mod left_over;
mod letters;
mod look;
mod notifier;
mod opening;
mod orders;
mod rates;
mod reload;
mod sinks;
mod sources;
mod stage;
mod status_event;
mod steering;
mod view;
mod watchdog;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::admin::Status;
use crate::admin::reload::Reloader;
use crate::admin::server::ListenError;
use crate::config::{self, Config};
use crate::ingest::{self, Helm, Ingest};
use crate::metrics::{Metrics, RuleMetrics};
use crate::name::{RuleName, SourceName};
use crate::rule::Router;
use crate::source::Intake;
use crate::store::{Queue, Store, StoreError, StoredQueue};
use crate::tail::Tail;

use certificates::Certificates;
use notifier::{Notifier, watchdog_period};
use opening::{open_queues, open_store, queue_options};
use orders::{Order, Orders};
use sinks::Sinks;
use sources::Sources;
use stage::Stage;
use view::Watched;
use watchdog::Watchdog;

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
    /// Where the config comes from; `None` when it is not from a file.
    file: Option<PathBuf>,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    sources: Sources,
    helm: Helm,
    ingest: Stage,
    /// Of the router's rules, in their order.
    rules: Vec<RuleMetrics>,
    sinks: Sinks,
    tail: Tail,
    faces: Stage,
    left_over: Vec<StoredQueue>,
    /// Why the last reload was refused.
    reload_refused: Vec<String>,
    /// All of this as it is told.
    live: watch::Sender<Arc<Watched>>,
    orders: Orders,
    received: mpsc::Receiver<Order>,
    notifier: Notifier,
    started: Instant,
    /// Keeps the lock of the data directory until everything has stopped.
    store: Arc<Store>,
}

/// Opens the store and starts every task. On `Err` nothing is left running. `file` is where the config was read.
pub async fn start(config: Config, file: Option<PathBuf>) -> Result<Running, StartError> {
    let started = Instant::now();
    let notifier = Notifier::from_environment();
    let metrics = Arc::new(Metrics::new());
    let store = Arc::new(open_store(&config, &metrics, &notifier).await?);
    let names: Vec<_> = config.sinks.keys().cloned().collect();
    let opened = open_queues(queue_options(&config, &names), &store).await?;
    let config = Arc::new(config);
    let tail = Tail::default();
    let mut sinks = Sinks::new(&config, &store, &metrics, &tail);
    sinks.start(opened, &config).await;
    let (router, rules) = routes(&config, config.sources.keys(), &BTreeMap::new(), &metrics);
    let (intake, incoming) = Intake::bounded(config.gateway.intake_bytes_max);
    let mut sources = Sources::new(&store, &metrics, intake, &tail);
    let names: Vec<_> = config.sources.keys().cloned().collect();
    sources.prepare(&names, &router);

    let (orders, received) = orders::channel();
    let (helm, steered) = Helm::new();
    let watched = first_view(&config, &store, &metrics, started, &rules);
    let live = watch::Sender::new(Arc::new(Watched {
        sources: sources.health(),
        sinks: sinks.health(),
        queues: sinks.queues(),
        ..watched
    }));
    faces::show_metrics(&metrics, &live, &store);
    let views = faces::views(&config, &metrics, &tail, &live, &orders, &store);
    let faces = faces::start_faces(&config, &views, &live, &sources.intake).await?;
    metrics.config.note_reload(true);
    metrics.config_info.show(&config.hash);

    let mut ingest = Stage::new("ingest");
    let joined =
        Ingest { router, queues: sinks.queues(), rules: rules.clone(), tail: tail.clone() };
    ingest.spawn("ingest", |stop| ingest::run(joined, incoming, steered, stop));
    sources.start(&names, &config);
    let left_over = Vec::new();
    let mut running = Running {
        file,
        config,
        metrics,
        sources,
        helm,
        ingest,
        rules,
        sinks,
        tail,
        faces,
        left_over,
        reload_refused: Vec::new(),
        live,
        orders,
        received,
        notifier,
        started,
        store,
    };
    running.watch();
    running.look_for_left_over().await;
    running.show();
    running.notifier.ready();
    let config::Gateway { name, data_dir, .. } = &running.config.gateway;
    let file = running.file.as_deref().map(Path::display).map(tracing::field::display);
    let metrics = running.config.metrics_listen.map(tracing::field::display);
    let data_dir = data_dir.display();
    info!(version = env!("CARGO_PKG_VERSION"), gateway = name, config = file, %data_dir, metrics, "started");
    Ok(running)
}

/// What is told of a gateway that has no sources and no sinks yet.
fn first_view(
    config: &Arc<Config>,
    store: &Arc<Store>,
    metrics: &Metrics,
    started: Instant,
    rules: &[RuleMetrics],
) -> Watched {
    Watched {
        gateway: config.gateway.name.clone(),
        store: Arc::clone(store),
        started,
        config: Arc::clone(config),
        sources: BTreeMap::new(),
        rules: rules.to_vec(),
        sinks: BTreeMap::new(),
        queues: BTreeMap::new(),
        left_over: Vec::new(),
        rates: Arc::default(),
        certificates: Arc::new(Certificates::new(metrics.certificates.clone())),
        store_metrics: metrics.store.clone(),
        reload_refused: Vec::new(),
    }
}

/// The rules of a config for events of these sources, and what counts each rule: those that are `known` go on counting.
fn routes<'a>(
    config: &Config,
    sources: impl Iterator<Item = &'a SourceName>,
    known: &BTreeMap<RuleName, RuleMetrics>,
    metrics: &Metrics,
) -> (Router, Vec<RuleMetrics>) {
    let router = Router::new(&config.gateway.name, sources, &config.rules);
    let count = |rule| known.get(rule).cloned().unwrap_or_else(|| metrics.rule(rule));
    let rules = router.rules().map(count).collect();
    (router, rules)
}

/// Shares of a second: what SIGTERM to exit may take, whatever the backlog and the uplink.
const SOURCES_STOP: Duration = Duration::from_millis(250);
const INGEST_STOP: Duration = Duration::from_millis(250);
const DELIVERY_STOP: Duration = Duration::from_millis(150);
const QUEUES_STOP: Duration = Duration::from_millis(250);
const FACES_STOP: Duration = Duration::from_millis(50);

/// Why it goes on no longer, or what it is to do first.
enum Next {
    Stop(&'static str),
    Failed(TaskFailed),
    Ordered(Order),
}

impl Running {
    /// What `waypost status` would show now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.live.borrow().status()
    }

    /// Has the config file read again while [`Self::run_until`] runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.orders.reloader()
    }

    /// Gives signs of life, and a line of status.
    fn watch(&mut self) {
        let watchdog = Watchdog {
            notifier: self.notifier.clone(),
            helm: self.helm.clone(),
            live: self.live.subscribe(),
            dead_letters: self.store.dead_letters().clone(),
        };
        self.faces.spawn("watchdog", |stop| watchdog.run(watchdog_period(), stop));
    }

    /// Tells what runs now.
    fn show(&self) {
        let before = Arc::clone(&self.live.borrow());
        self.live.send_replace(Arc::new(Watched {
            config: Arc::clone(&self.config),
            sources: self.sources.health(),
            rules: self.rules.clone(),
            sinks: self.sinks.health(),
            queues: self.sinks.queues(),
            left_over: self.left_over.clone(),
            reload_refused: self.reload_refused.clone(),
            ..Watched::clone(&before)
        }));
    }

    /// Runs until `stop_requested` resolves (to a word for the log) or a task fails, then stops in order. What it is
    /// ordered in between it does one after the other; stopping does not wait for that.
    pub async fn run_until(
        mut self,
        stop_requested: impl Future<Output = &'static str>,
    ) -> Result<(), TaskFailed> {
        let mut stop_requested = std::pin::pin!(stop_requested);
        let ended = loop {
            let next = tokio::select! {
                reason = &mut stop_requested => Next::Stop(reason),
                failed = self.sources.failed() => Next::Failed(failed),
                failed = self.ingest.failed() => Next::Failed(failed),
                failed = self.sinks.failed() => Next::Failed(failed),
                failed = self.faces.failed() => Next::Failed(failed),
                Some(order) = self.received.recv() => Next::Ordered(order),
            };
            let reason = match next {
                Next::Stop(reason) => reason,
                Next::Failed(failed) => break Err(failed),
                // Cut off at any point it leaves parts that stop as they are.
                Next::Ordered(order) => tokio::select! {
                    reason = &mut stop_requested => reason,
                    () = self.obey(order) => continue,
                },
            };
            info!(reason, "stopping");
            break Ok(());
        };
        self.stop().await;
        ended
    }

    async fn stop(mut self) {
        self.notifier.stopping();
        self.sources.stop(SOURCES_STOP).await;
        self.ingest.stop(INGEST_STOP).await;
        self.sinks.stop_delivery(DELIVERY_STOP).await;
        let queues = self.sinks.queues();
        let closing = futures_util::future::join_all(queues.values().map(Queue::close));
        // A queue may have dead letters to write while it closes.
        let closing = async {
            closing.await;
            self.store.dead_letters().close().await;
        };
        let closed = tokio::time::timeout(QUEUES_STOP, closing).await.is_ok();
        self.sinks.stop_watching(FACES_STOP).await;
        self.faces.stop(FACES_STOP).await;
        let left: u64 = queues.values().map(|queue| queue.snapshot().queued).sum();
        if !closed {
            warn!("a queue was cut off: what it had not committed comes again");
        }
        let uptime_seconds = self.started.elapsed().as_secs();
        info!(queued = left, uptime_seconds, "stopped");
    }
}
