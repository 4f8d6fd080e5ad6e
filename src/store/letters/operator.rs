//! What an operator asks of the letters: to look at them, to take them out, to put an edited one in the place of another.
//!
//! Each request is small, so that letters that come meanwhile do not wait for long.

use super::database::FoundLetter;
use super::keeper::Keeper;
use super::letter::{self, DeadLetter, DeadLetterHead, LetterKey};
use crate::clock::UnixMillis;
use crate::name::{RecordId, SinkName};

/// Heads that one request gives at most.
pub(super) const HEADS_AT_ONCE: usize = 1024;

/// Letters in the order of sinks and their records, up to a bound.
#[derive(Debug, Clone, Default)]
pub struct LetterPage {
    /// At least one, unless there are no more.
    pub letters: Vec<FoundLetter>,
    /// Whether there may be more after these.
    pub has_more: bool,
    /// The number of the latest letter that there has been, of any sink.
    pub latest: u64,
}

/// Why letters are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Their records are durable in a queue.
    Replayed,
    /// Nobody wants them; counted.
    Purged,
}

/// What came of putting one letter in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// It is there, and the other one is not, durably.
    Done,
    /// The other one is not there any more, or has been replaced since.
    Gone,
    /// There is no room.
    NoRoom,
}

impl Keeper {
    pub(super) fn page(
        &mut self,
        sink: Option<&SinkName>,
        after: Option<&LetterKey>,
    ) -> Result<LetterPage, String> {
        self.open_existing()?;
        let mut page = LetterPage { latest: self.latest(), ..LetterPage::default() };
        if !self.is_open() {
            return Ok(page);
        }
        let prefix = sink.map(letter::sink_prefix).unwrap_or_default();
        let after = after.map(LetterKey::head_key).unwrap_or_default();
        let letters = &mut page.letters;
        self.with_database(|database| {
            database.heads_after(&prefix, &after, |found| {
                letters.push(found);
                letters.len() < HEADS_AT_ONCE
            })
        })?;
        page.has_more = page.letters.len() == HEADS_AT_ONCE;
        Ok(page)
    }

    /// The letters of a record id: one in each sink that could not deliver it.
    pub(super) fn find(
        &mut self,
        record_id: &RecordId,
    ) -> Result<Vec<(FoundLetter, DeadLetter)>, String> {
        let sinks = {
            self.open_existing()?;
            self.ledger().sinks()
        };
        let keys = sinks.into_iter().map(|sink| LetterKey { sink, record_id: record_id.clone() });
        let found = self.letters(&keys.collect::<Vec<_>>())?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) fn letters(
        &mut self,
        keys: &[LetterKey],
    ) -> Result<Vec<Option<(FoundLetter, DeadLetter)>>, String> {
        self.open_existing()?;
        if !self.is_open() {
            return Ok(keys.iter().map(|_| None).collect());
        }
        self.with_database(|database| {
            keys.iter().map(|key| database.letter(&key.head_key())).collect()
        })
    }

    /// Takes letters out, but those that have been replaced since. Durable when it returns; says how many.
    pub(super) fn take_out(
        &mut self,
        heads: &[DeadLetterHead],
        why: Removal,
    ) -> Result<u64, String> {
        self.open_existing()?;
        if !self.is_open() || heads.is_empty() {
            return Ok(0);
        }
        let mut count = 0;
        for head in heads {
            if self.remove(head)? {
                count += 1;
                if why == Removal::Purged {
                    self.ledger().purge_one(&head.sink);
                }
            }
        }
        self.flush()?;
        Ok(count)
    }

    pub(super) fn exchange(
        &mut self,
        old: &DeadLetterHead,
        new: &DeadLetter,
    ) -> Result<Exchanged, String> {
        self.open_existing()?;
        if !self.is_open() {
            return Ok(Exchanged::Gone);
        }
        let encoded = letter::encode(self.mint_letter(), new, UnixMillis::now());
        let (bytes, head) = (encoded.bytes(), encoded.said.clone());
        // Those that are there are not for dropping: somebody is at work on them.
        if bytes > u64::from(old.body_bytes) && !self.has_room(bytes) {
            return Ok(Exchanged::NoRoom);
        }
        let Some(gone) = self.with_database(|database| database.stage_exchange(old, encoded))?
        else {
            return Ok(Exchanged::Gone);
        };
        self.note_removed(&gone);
        self.ledger().add(&head, bytes);
        self.flush()?;
        Ok(Exchanged::Done)
    }
}
