//! The sources: a task for each, and the filters that the rules want of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::TaskFailed;
use super::stage::Stage;
use crate::config::{self, Config};
use crate::event::MessageIds;
use crate::metrics::Metrics;
use crate::name::SourceName;
use crate::rule::Router;
use crate::source::{self, Intake, Problem, SourceContext, SourceHealth, Wanted};
use crate::store::Store;
use crate::tail::Tail;

/// All sources.
#[derive(Debug)]
pub(super) struct Sources {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    pub(super) intake: Intake,
    ids: Arc<MessageIds>,
    tail: Tail,
    tasks: Stage,
    parts: BTreeMap<SourceName, Part>,
}

/// One source.
#[derive(Debug)]
struct Part {
    health: Arc<SourceHealth>,
    wanted: watch::Sender<Wanted>,
}

/// A source needs half a second to say goodbye, a broker with many devices perhaps more.
const SOURCE_STOP: Duration = Duration::from_secs(3);

impl Sources {
    pub(super) fn new(
        store: &Arc<Store>,
        metrics: &Arc<Metrics>,
        intake: Intake,
        tail: &Tail,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            metrics: Arc::clone(metrics),
            intake,
            ids: Arc::new(MessageIds::new()),
            tail: tail.clone(),
            tasks: Stage::new("sources"),
            parts: BTreeMap::new(),
        }
    }

    /// What is told of sources that [`Self::start`] will start.
    pub(super) fn prepare(&mut self, names: &[SourceName], router: &Router) {
        let reasons = Problem::ALL.map(Problem::reason);
        for name in names {
            let metrics = self.metrics.source(name, &reasons);
            let health = Arc::new(SourceHealth::new(name.clone(), metrics));
            let wanted = watch::Sender::new(wanted(router, name));
            self.parts.insert(name.clone(), Part { health, wanted });
        }
    }

    /// Starts sources that were prepared.
    pub(super) fn start(&mut self, names: &[SourceName], config: &Config) {
        for name in names {
            let (Some(part), Some(source)) = (self.parts.get(name), config.sources.get(name))
            else {
                continue;
            };
            let context = |stop: CancellationToken| SourceContext {
                name: name.clone(),
                wanted: part.wanted.subscribe(),
                intake: self.intake.clone(),
                ids: Arc::clone(&self.ids),
                health: Arc::clone(&part.health),
                tail: self.tail.clone(),
                stop,
            };
            let task = task_name(name);
            match source.clone() {
                config::Source::Mqtt(options) => {
                    let client_id = format!("waypost-{}-{name}", self.store.id());
                    let notes = (self.store.session_note(name), self.store.presence_note(name));
                    self.tasks.spawn(&task, |stop| {
                        source::mqtt::run(context(stop), *options, client_id, notes)
                    });
                }
                config::Source::Http(options) => {
                    self.tasks.spawn(&task, |stop| source::http::run(context(stop), options));
                }
                #[cfg(feature = "broker")]
                config::Source::Broker(options) => {
                    self.tasks.spawn(&task, |stop| source::broker::run(context(stop), options));
                }
            }
        }
    }

    /// Tells the sources what the rules want of them now.
    pub(super) fn want(&self, router: &Router) {
        for (name, part) in &self.parts {
            let wanted = wanted(router, name);
            part.wanted.send_if_modified(|current| {
                let is_other = *current != wanted;
                *current = wanted;
                is_other
            });
        }
    }

    /// Stops these sources: what they have not acknowledged comes again.
    pub(super) async fn stop_some(&mut self, names: &[SourceName]) {
        let tasks: Vec<String> = names.iter().map(task_name).collect();
        self.tasks.stop_some(&tasks, SOURCE_STOP).await;
    }

    /// Tells nothing more of a source that was stopped.
    pub(super) fn forget(&mut self, name: &SourceName) {
        self.parts.remove(name);
        self.metrics.forget_source(name, &Problem::ALL.map(Problem::reason));
    }

    /// Waits for a source to end although nobody stopped it. Cancel safe.
    pub(super) async fn failed(&mut self) -> TaskFailed {
        self.tasks.failed().await
    }

    pub(super) async fn stop(&mut self, patience: Duration) {
        self.tasks.stop(patience).await;
    }

    pub(super) fn health(&self) -> BTreeMap<SourceName, Arc<SourceHealth>> {
        self.parts.iter().map(|(name, part)| (name.clone(), Arc::clone(&part.health))).collect()
    }
}

fn wanted(router: &Router, name: &SourceName) -> Wanted {
    Wanted { topics: router.subscriptions(name), kinds: router.kinds(name) }
}

fn task_name(name: &SourceName) -> String {
    format!("source {name}")
}
