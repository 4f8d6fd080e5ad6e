//! Where dead letters are worked with, and the queues that they can go to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admin::letters::{LetterDesk, Sinks};
use crate::config::Config;
use crate::name::SinkName;
use crate::store::{Queue, Store, StoreError};

struct OpenQueues(BTreeMap<SinkName, Queue>);

impl Sinks for OpenQueues {
    fn names(&self) -> Vec<SinkName> {
        self.0.keys().cloned().collect()
    }

    fn queue(&self, sink: &SinkName) -> Result<Queue, StoreError> {
        self.0.get(sink).cloned().ok_or(StoreError::Closed)
    }
}

pub(super) fn letter_desk(
    config: &Config,
    store: &Store,
    queues: &BTreeMap<SinkName, Queue>,
) -> LetterDesk {
    let sinks = Arc::new(OpenQueues(queues.clone()));
    LetterDesk::new(store.dead_letters().clone(), sinks, config.gateway.name.as_str().into())
}
