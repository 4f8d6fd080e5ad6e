//! Where dead letters are worked with, and the queues that they can go to.

use std::sync::Arc;

use tokio::sync::watch;

use super::view::Watched;
use crate::admin::letters::{LetterDesk, Sinks};
use crate::config::Config;
use crate::name::SinkName;
use crate::store::{Queue, Store, StoreError};

struct OpenQueues(watch::Receiver<Arc<Watched>>);

impl Sinks for OpenQueues {
    fn names(&self) -> Vec<SinkName> {
        self.0.borrow().queues.keys().cloned().collect()
    }

    fn queue(&self, sink: &SinkName) -> Result<Queue, StoreError> {
        self.0.borrow().queues.get(sink).cloned().ok_or(StoreError::Closed)
    }
}

pub(super) fn letter_desk(
    config: &Config,
    store: &Store,
    live: watch::Receiver<Arc<Watched>>,
) -> LetterDesk {
    let sinks = Arc::new(OpenQueues(live));
    LetterDesk::new(store.dead_letters().clone(), sinks, config.gateway.name.as_str().into())
}
