//! Going on with another config, without losing or repeating anything.
//!
//! All that can be refused is refused before anything has changed. Then, in this order: new queues are open; ingest stands
//! between two groups; workers of changed sinks let what is in flight end; ingest goes on with the new rules and queues;
//! sources that changed say goodbye to their brokers, which keep what comes meanwhile; what no rule sends to any more goes.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::opening::{blocking, open_queues, queue_options};
use super::{Running, routes};
use crate::admin::reload::{Refused, Reloaded};
use crate::config::{self, Config};
use crate::delivery::SinkState;
use crate::ingest::{Hold, Ingest};
use crate::name::{RuleName, SinkName, SourceName};
use crate::store::Queue;
use plan::{Difference, Plan};

/// How long ingest is held while a sink that goes delivers what it has: a batch may linger.
const DRAIN_MAX: Duration = Duration::from_secs(3);
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// What to do with records of a sink that is no longer in the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// Deliver them first; refuse where that is not done soon.
    Keep,
    /// Drop and count them.
    Drop,
}

impl Running {
    /// Reads the config file again and goes on with it, or says why not; the log and the metrics learn it, too.
    pub(super) async fn reload(&mut self, backlog: Backlog) -> Result<Reloaded, Refused> {
        self.notifier.reloading();
        let done = self.try_reload(backlog).await;
        self.notifier.ready();
        self.metrics.config.note_reload(done.is_ok());
        self.reload_refused = done.as_ref().err().map_or_else(Vec::new, |it| it.problems.clone());
        self.show();
        match &done {
            Ok(reloaded) => {
                for warning in &reloaded.warnings {
                    warn!(warning, "config");
                }
                let Reloaded { added, changed, removed, dropped, .. } = reloaded;
                info!(?added, ?changed, ?removed, ?dropped, "config reloaded");
            }
            Err(refused) => {
                for problem in &refused.problems {
                    let problem = self.advice(problem);
                    error!(problem, "config cannot be reloaded");
                }
                error!("config not reloaded: nothing has changed");
            }
        }
        done
    }

    async fn try_reload(&mut self, backlog: Backlog) -> Result<Reloaded, Refused> {
        let Some(file) = self.file.clone() else {
            return Err(Refused::here(vec!["this waypost has no config file".to_owned()]));
        };
        let read = blocking(move || config::load(&file)).await;
        let (config, warnings) = read.map_err(|report| Refused {
            is_config_wrong: true,
            report: report.to_string(),
            problems: report.problems().iter().map(config::Finding::line).collect(),
        })?;
        let plan = Plan::between(&self.config, &config).map_err(Refused::here)?;
        let warnings = warnings.iter().map(|warning| warning.0.line());
        let failed_tests = config.failed_tests.iter().map(config::Finding::line);
        let warnings = warnings.chain(failed_tests).collect();
        if plan == Plan::default() {
            // Remarks in it may be other ones.
            self.config = Arc::new(config);
            self.metrics.config_info.show(&self.config.hash);
            self.show();
            return Ok(Reloaded { warnings, ..Reloaded::default() });
        }
        let removed = plan.sinks.removed.clone();
        if backlog == Backlog::Keep {
            self.refuse_backlogs(&removed)?;
        }
        let wanted = queue_options(&config, &plan.sinks.added);
        let opened = open_queues(wanted, &self.store)
            .await
            .map_err(|error| Refused::here(vec![format!("a queue cannot be opened: {error}")]))?;
        let held = match self.hold(&removed, backlog).await {
            Ok(held) => held,
            Err(refused) => {
                futures_util::future::join_all(opened.values().map(Queue::close)).await;
                return Err(refused);
            }
        };
        let dropped = self.go_on_with(Arc::new(config), &plan, opened, held).await;
        Ok(Reloaded { dropped, warnings, ..told(&plan) })
    }

    /// Sinks that go and have records that are not delivered soon: their service does not take them.
    fn refuse_backlogs(&self, removed: &[SinkName]) -> Result<(), Refused> {
        let health = self.sinks.health();
        let problem = |name: &SinkName| {
            let queue = self.sinks.queue(name)?;
            if let Some(why) = queue.unavailable() {
                return Some(format!(
                    "sink {name} is no longer in the config, and what is in its queue is not known: {why}; mend that first, \
                     or let it go: `waypost reload --drop-removed`"
                ));
            }
            let status = health.get(name)?.status();
            let is_working = status.state == SinkState::Ok && status.paused_since.is_none();
            (!queue.is_empty() && !is_working).then(|| has_backlog(name, queue))
        };
        let problems: Vec<String> = removed.iter().filter_map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Refused::here(problems)) }
    }

    /// Holds ingest; sinks that go have delivered everything then, unless that is to be dropped.
    async fn hold(&self, removed: &[SinkName], backlog: Backlog) -> Result<Hold, Refused> {
        let stopping = |_| Refused::here(vec!["waypost is stopping".to_owned()]);
        let held = self.helm.hold().await.map_err(stopping)?;
        if backlog == Backlog::Drop {
            return Ok(held);
        }
        let queues: Vec<(&SinkName, &Queue)> =
            removed.iter().filter_map(|name| Some((name, self.sinks.queue(name)?))).collect();
        let drained = async {
            while !queues.iter().all(|(_, queue)| queue.is_empty()) {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_ok() {
            return Ok(held);
        }
        let left = queues.into_iter().filter(|(_, queue)| !queue.is_empty());
        Err(Refused::here(left.map(|(name, queue)| has_backlog(name, queue)).collect()))
    }

    /// Nothing is refused from here on. Says how many records were dropped, by sink.
    async fn go_on_with(
        &mut self,
        config: Arc<Config>,
        plan: &Plan,
        opened: BTreeMap<SinkName, Queue>,
        held: Hold,
    ) -> BTreeMap<String, u64> {
        let counted = self.config.rules.keys().cloned().zip(self.rules.iter().cloned()).collect();
        self.config = Arc::clone(&config);
        self.metrics.config_info.show(&config.hash);
        self.sinks.start(opened, &config).await;
        let sinks: Vec<_> = plan.sinks.added.iter().chain(&plan.sinks.changed).collect();
        self.sinks.change(&sinks, &config);
        let Difference { added, changed, removed } = &plan.sources;
        // Events of sources that go may be on their way.
        let sources = config.sources.keys().chain(removed);
        let (router, rules) = routes(&config, sources, &counted, &self.metrics);
        self.sources.prepare(added, &router);
        let queues = self.sinks.queues();
        held.go_on_with(Ingest {
            router: router.clone(),
            queues,
            rules: rules.clone(),
            tail: self.tail.clone(),
        });

        self.sources.want(&router);
        let stopped: Vec<_> = removed.iter().chain(changed).cloned().collect();
        self.sources.stop_some(&stopped).await;
        let started: Vec<_> = changed.iter().chain(added).cloned().collect();
        self.sources.start(&started, &config);
        for name in removed {
            self.sources.forget(name);
        }
        for name in &plan.rules.removed {
            self.metrics.forget_rule(name);
        }
        let mut dropped = BTreeMap::new();
        for name in &plan.sinks.removed {
            match self.sinks.remove(name).await {
                Ok(0) => {}
                Ok(count) => drop(dropped.insert(name.to_string(), count)),
                Err(error) => {
                    error!(sink = %name, %error, "the queue of a removed sink is left on the disk");
                }
            }
        }
        self.rules = rules;
        self.look_for_left_over().await;
        self.show();
        dropped
    }
}

fn has_backlog(name: &SinkName, queue: &Queue) -> String {
    let queued = queue.snapshot().queued;
    format!(
        "sink {name} is no longer in the config and has {queued} records queued: keep the sink, without a rule, until they \
         are delivered; or drop them, with `waypost queue drop {name} --older-than 0s` before or with \
         `waypost reload --drop-removed`"
    )
}

fn told(plan: &Plan) -> Reloaded {
    let Plan { sources, rules, sinks } = plan;
    Reloaded {
        added: words(&sources.added, &rules.added, &sinks.added),
        changed: words(&sources.changed, &rules.changed, &sinks.changed),
        removed: words(&sources.removed, &rules.removed, &sinks.removed),
        ..Reloaded::default()
    }
}

fn words(sources: &[SourceName], rules: &[RuleName], sinks: &[SinkName]) -> Vec<String> {
    let sources = sources.iter().map(|name| format!("source {name}"));
    let rules = rules.iter().map(|name| format!("rule {name}"));
    let sinks = sinks.iter().map(|name| format!("sink {name}"));
    sources.chain(rules).chain(sinks).collect()
}
