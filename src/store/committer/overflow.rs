//! Under `when_full = "dead_letter"`: what a full queue gives up becomes dead letters, as long as there is room for those.

use bytes::Bytes;
use tracing::warn;

use super::Committer;
use crate::store::book::DropReason;
use crate::store::generation::Located;
use crate::store::{DeadLetter, DeadLetterReason, chunk};

impl Committer {
    /// Gives up records of a chunk that have begun to leave; ascending. The cursor that says that they have left is
    /// written by this thread, and so after their letters.
    pub(super) fn overflow(&self, located: &Located, leaving: &[u64]) {
        let records = chunk::decode(&located.header, located.body()).unwrap_or_default();
        let letters: Vec<DeadLetter> = records
            .into_iter()
            .filter(|stored| leaving.binary_search(&stored.number.0).is_ok())
            .map(|stored| DeadLetter {
                sink: self.shared.sink.clone(),
                record_id: stored.record_id(self.shared.identity.id(), &self.shared.sink),
                edited_from: stored.record.replay.as_ref().and_then(|it| it.edited_from.clone()),
                record: stored.record,
                accepted_at: stored.accepted_at,
                reason: DeadLetterReason::QueueFull,
                why: "the queue was full before it could be delivered".to_owned(),
                status: None,
                answer: Bytes::new(),
                attempts: 0,
                first_attempt_at: None,
                last_attempt_at: None,
            })
            .collect();
        let count = u64::try_from(letters.len()).unwrap_or(0);
        let kept = match self.shared.dead_letters.append_while_room(letters) {
            Ok(true) => count,
            Ok(false) => 0,
            Err(error) => {
                warn!(sink = %self.shared.sink, %error, "records of a full queue are dropped");
                0
            }
        };
        let given_up = u64::try_from(leaving.len()).unwrap_or(u64::MAX);
        let mut state = self.shared.lock();
        state.book.left_as_dead_letters(kept, DeadLetterReason::QueueFull);
        state.book.left_dropped(given_up - kept, DropReason::QueueFull);
    }
}
