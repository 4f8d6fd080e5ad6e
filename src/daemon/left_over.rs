//! Queues in the data directory whose sink the config does not have: they are told, and an operator can drop them.

use std::num::NonZeroU64;
use std::time::Duration;

use tracing::{info, warn};

use super::Running;
use super::opening::blocking;
use crate::config::{self, Durability, WhenFull};
use crate::name::SinkName;
use crate::store::{Dropped, StoreError, stored_queues};

impl Running {
    /// Looks for queues that have records and no sink. New ones are told.
    pub(super) async fn look_for_left_over(&mut self) {
        let data_dir = self.config.gateway.data_dir.clone();
        let config = std::sync::Arc::clone(&self.config);
        let found =
            blocking(move || stored_queues(&data_dir, |sink| !config.sinks.contains_key(sink)));
        let mut found = match found.await {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "cannot look for queues without a sink");
                return;
            }
        };
        found.retain(|queue| queue.records > 0);
        for queue in &found {
            if !self.left_over.iter().any(|known| known.sink == queue.sink) {
                let (sink, records) = (&queue.sink, queue.records);
                let drop = self.command(&format!("waypost queue drop {sink} --older-than 0s"));
                warn!(
                    %sink, records, drop,
                    "records of a sink that is not in the config: give it one again, or drop them"
                );
            }
        }
        self.left_over = found;
    }

    /// Drops what is old enough in a queue without a sink, and the queue when nothing is left.
    pub(super) async fn drop_left_over(
        &mut self,
        sink: SinkName,
        age: Duration,
    ) -> Result<Dropped, StoreError> {
        if self.sinks.queue(&sink).is_some() {
            let why = "it has a sink by now: try again".to_owned();
            return Err(StoreError::Unavailable { sink, why });
        }
        let options = config::Queue {
            bytes_max: NonZeroU64::MAX,
            when_full: WhenFull::Block,
            durability: Durability::Power,
        };
        let (store, name) = (std::sync::Arc::clone(&self.store), sink.clone());
        let queue = blocking(move || store.open_queue(&name, &options)).await?;
        let dropped = queue.drop_older_than(age).await;
        queue.close().await;
        if queue.is_empty() && dropped.is_ok() {
            let store = std::sync::Arc::clone(&self.store);
            blocking(move || store.remove_queue(&queue)).await?;
            info!(%sink, "queue without a sink removed");
        }
        self.look_for_left_over().await;
        self.show();
        dropped
    }
}
