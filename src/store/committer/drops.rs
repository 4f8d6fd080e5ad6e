//! Dropping what an operator does not want any more: a share at a time, so that commits go on in between.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::Committer;
use crate::store::book::DropReason;
use crate::store::operator::Dropped;
use crate::store::{StoreError, reader};

/// How long commits wait for one share.
const SHARE_MAX: Duration = Duration::from_millis(20);

/// What an operator wants dropped, and how far that is.
#[derive(Debug)]
pub(in crate::store) struct Dropping {
    age_ms: u64,
    from: u64,
    so_far: Dropped,
    reply: oneshot::Sender<Result<Dropped, StoreError>>,
}

impl Dropping {
    /// What came `age` ago or earlier.
    pub(in crate::store) fn new(
        age: Duration,
        reply: oneshot::Sender<Result<Dropped, StoreError>>,
    ) -> Self {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self { age_ms, from: 0, so_far: Dropped::default(), reply }
    }
}

impl Committer {
    /// Drops chunk by chunk from the oldest on, until the time of a share is over or the rest is too young.
    pub(super) fn drop_share(&mut self, mut dropping: Dropping) {
        let started = Instant::now();
        while started.elapsed() < SHARE_MAX {
            match self.drop_old_chunk(&mut dropping) {
                Ok(true) => {}
                Ok(false) => return self.end_dropping(dropping),
                Err(error) => {
                    let dropped = dropping.so_far.dropped;
                    warn!(sink = %self.shared.sink, dropped, %error, "dropping for an operator failed");
                    self.commit_cursor();
                    drop(dropping.reply.send(Err(error)));
                    return;
                }
            }
        }
        self.shared.lock().dropping = Some(dropping);
    }

    /// Drops the next chunk; `false` when there is none that is old enough.
    fn drop_old_chunk(&self, dropping: &mut Dropping) -> Result<bool, StoreError> {
        let Some((generation, end)) = reader::generation_for(&self.shared, &mut dropping.from)?
        else {
            return Ok(false);
        };
        let from = dropping.from;
        let located =
            generation.locate(from).map_err(|error| reader::unreadable(&self.shared, &error))?;
        let (chunk_end, age_ms) = located.map_or((end, 0), |located| {
            (located.header.range().end.min(end), located.header.stamp.age_ms)
        });
        if self.shared.age().now_ms().saturating_sub(age_ms) < dropping.age_ms {
            return Ok(false);
        }
        let mut state = self.shared.lock();
        let (dropped, in_flight) =
            state.book.settle_dropped_but_in_flight(from..chunk_end, DropReason::Operator);
        drop(state);
        dropping.so_far.dropped += dropped;
        dropping.so_far.in_flight += in_flight;
        dropping.from = chunk_end;
        Ok(true)
    }

    fn end_dropping(&mut self, dropping: Dropping) {
        self.commit_cursor();
        let Dropped { dropped, in_flight } = dropping.so_far;
        info!(sink = %self.shared.sink, dropped, in_flight, "records dropped for an operator");
        // Without a database the cursor could not be written.
        let result = if self.newest.is_some() {
            Ok(dropping.so_far)
        } else {
            let why =
                "what was dropped could not be noted on the disk: it may come back".to_owned();
            Err(StoreError::Unavailable { sink: self.shared.sink.clone(), why })
        };
        // Whoever asked may have gone.
        drop(dropping.reply.send(result));
    }
}
