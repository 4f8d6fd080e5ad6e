//! The tasks of the sinks: a worker for each, and a watch on the thread of its queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::opening::blocking;
use super::stage::Stage;
use crate::config::Config;
use crate::delivery::{self, SinkContext, SinkHealth};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::store::{Queue, Store};
use crate::tail::Tail;

/// A task for the thread of each queue, which fails as the thread does.
pub(super) fn watch_threads(queues: &BTreeMap<SinkName, Queue>) -> Stage {
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

pub(super) async fn start_delivery(
    config: &Config,
    store: &Store,
    queues: &BTreeMap<SinkName, Queue>,
    metrics: &Metrics,
    tail: &Tail,
    stage: &mut Stage,
) -> BTreeMap<SinkName, Arc<SinkHealth>> {
    let mut watched = BTreeMap::new();
    let node: Arc<str> = config.gateway.name.as_str().into();
    let clients = delivery::Client::all(&config.sinks);
    for (name, sink) in &config.sinks {
        let (Some(queue), Some(client)) = (queues.get(name), clients.get(name)) else { continue };
        let client = client.clone();
        let health = Arc::new(SinkHealth::new(name.clone(), metrics.sink(name)));
        let pause = store.pause_note(name);
        if let Some(since) = blocking(move || pause.since()).await {
            health.pause(since);
        }
        watched.insert(name.clone(), Arc::clone(&health));
        let (config, queue, name) = (Arc::new(sink.clone()), queue.clone(), name.clone());
        let (store_id, node) = (store.id().into(), Arc::clone(&node));
        let (dead_letters, tail) = (store.dead_letters().clone(), tail.clone());
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
                tail,
                stop,
            })
        });
    }
    watched
}
