//! Opening what is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::notifier::Notifier;
use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::store::{Queue, Store, StoreConfig, StoreError};

/// Time between two looks whether a full disk has room for the data directory.
const STORE_DELAY: Duration = Duration::from_secs(1);

/// Opens the data directory. A disk so full that not even its lock can be made is waited for.
pub(super) async fn open_store(
    config: &Config,
    metrics: &Metrics,
    notifier: &Notifier,
) -> Result<Store, StoreError> {
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
                notifier.starting_takes(10 * STORE_DELAY, "waiting for room on a full disk");
                tokio::time::sleep(STORE_DELAY).await;
            }
            other => return other,
        }
    }
}

/// The queue of each of these sinks that `config` has.
pub(super) fn queue_options(config: &Config, sinks: &[SinkName]) -> Vec<(SinkName, config::Queue)> {
    let options = |name: &SinkName| Some((name.clone(), config.sinks.get(name)?.queue.clone()));
    sinks.iter().filter_map(options).collect()
}

/// Opens these queues at once: repairs of several take as long as the longest.
pub(super) async fn open_queues(
    wanted: Vec<(SinkName, config::Queue)>,
    store: &Arc<Store>,
) -> Result<BTreeMap<SinkName, Queue>, StoreError> {
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

/// Runs what may block beside the runtime; a panic goes on here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}
