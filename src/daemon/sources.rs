//! The tasks of the sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::stage::Stage;
use crate::config::{self, Config};
use crate::event::MessageIds;
use crate::metrics::Metrics;
use crate::name::SourceName;
use crate::rule::Router;
use crate::source::{self, Intake, Problem, SourceContext, SourceHealth};
use crate::store::Store;
use crate::tail::Tail;

pub(super) fn source_health(
    config: &Config,
    metrics: &Metrics,
) -> BTreeMap<SourceName, Arc<SourceHealth>> {
    let reasons = Problem::ALL.map(Problem::reason);
    let health = |name: &SourceName| {
        Arc::new(SourceHealth::new(name.clone(), metrics.source(name, &reasons)))
    };
    config.sources.keys().map(|name| (name.clone(), health(name))).collect()
}

pub(super) fn source_contexts(
    config: &Config,
    router: &Router,
    intake: &Intake,
    tail: &Tail,
    health: &BTreeMap<SourceName, Arc<SourceHealth>>,
) -> BTreeMap<SourceName, SourceContext> {
    let ids = Arc::new(MessageIds::new());
    let context = |name: &SourceName| {
        let context = SourceContext {
            name: name.clone(),
            subscriptions: router.subscriptions(name),
            kinds: router.kinds(name),
            intake: intake.clone(),
            ids: Arc::clone(&ids),
            health: Arc::clone(health.get(name)?),
            tail: tail.clone(),
            stop: CancellationToken::new(),
        };
        Some((name.clone(), context))
    };
    config.sources.keys().filter_map(context).collect()
}

pub(super) fn start_sources(
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
