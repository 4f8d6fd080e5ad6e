//! Working with dead letters: `waypost dead-letter`.
//!
//! What can be asked, and what comes back. Every answer is bounded: lists, exports, replays and purges go on where the
//! answer before ended, with the [`Position`] that it gave. So neither side holds more than a page, and what was done
//! stays done when one of them ends in between.
//!
//! The same routes are served on the admin socket of a running Waypost and, in the process of the command itself, on
//! the data directory of one that is stopped.

mod client;
mod desk;
mod routes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use client::LetterClient;
pub use desk::{LetterDesk, Sinks};
pub(super) use routes::routes;

use crate::clock::UnixMillis;
use crate::name::{RecordId, RuleName, SinkName};
use crate::store::{DeadLetterReason, FoundLetter};

/// Which letters. All that there are, by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterFilter {
    /// Of these records only; an unknown one is an error.
    pub ids: Vec<RecordId>,
    /// Of this sink only.
    pub sink: Option<SinkName>,
    /// Given up for this reason only.
    pub reason: Option<DeadLetterReason>,
    /// Given up at this time or later.
    pub since: Option<UnixMillis>,
    /// Given up before this time.
    pub before: Option<UnixMillis>,
}

impl LetterFilter {
    fn wants(&self, letter: &FoundLetter) -> bool {
        let head = &letter.head;
        self.sink.as_ref().is_none_or(|sink| *sink == head.sink)
            && self.reason.is_none_or(|reason| reason == head.reason)
            && self.since.is_none_or(|since| head.dead_at >= since)
            && self.before.is_none_or(|before| head.dead_at < before)
    }
}

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    sink: SinkName,
    id: RecordId,
    /// Letters that have come since the first page are not among those that were asked for.
    up_to: u64,
}

/// Asks for letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageRequest {
    /// Which.
    pub filter: LetterFilter,
    /// Where the page before ended.
    pub from: Option<Position>,
    /// At most so many; fewer may come although there are more.
    pub limit: usize,
    /// With the beginning of each one's answer, which lists read for people only: it is not in the heads.
    #[serde(default)]
    pub answers: bool,
}

/// Some letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// In the order of sinks and their records.
    pub letters: Vec<LetterSummary>,
    /// `None` after the last.
    pub next: Option<Position>,
}

/// A letter, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterSummary {
    /// Its record's id.
    pub id: RecordId,
    /// The sink that could not deliver it.
    pub sink: SinkName,
    /// The rule that sent it there.
    pub rule: RuleName,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// The same in words.
    pub why: String,
    /// The last answer's status.
    pub status: Option<u16>,
    /// Where it was asked for, the first line of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How often it was sent.
    pub attempts: u32,
    /// Where its message was published; the beginning of a long one.
    pub topic: String,
    /// When its record was accepted, in milliseconds since 1970, as all times here.
    pub accepted_at: UnixMillis,
    /// When it was sent first.
    pub first_attempt_at: Option<UnixMillis>,
    /// When it was sent last.
    pub last_attempt_at: Option<UnixMillis>,
    /// When it was given up.
    pub dead_at: UnixMillis,
    /// The id of the letter that this one was edited from.
    pub edited_from: Option<RecordId>,
    /// What it takes, without the gaps of the file.
    pub bytes: u64,
}

/// A letter with all that is in it.
#[derive(Debug, Clone, Serialize)]
pub struct Letter {
    /// As in lists.
    #[serde(flatten)]
    pub summary: LetterSummary,
    /// The beginning of the last answer; what is not UTF-8 replaced.
    pub answer: String,
    /// The default body of the record, or what its rule made of the event.
    pub record: Box<RawValue>,
}

/// Some letters with all that is in them, each one JSON object.
#[derive(Debug, Serialize, Deserialize)]
pub struct Export {
    /// [`Letter`]s.
    pub letters: Vec<Box<RawValue>>,
    /// `None` after the last.
    pub next: Option<Position>,
}

/// What letters are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The sink that could not deliver it.
    Sink,
    /// Why it was given up.
    Reason,
    /// The rule that sent it there.
    Rule,
    /// The status of the last answer.
    Status,
}

/// Asks for counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRequest {
    /// Of which letters.
    pub filter: LetterFilter,
    /// By what.
    pub by: GroupBy,
}

/// Letters that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What they have in common; `None` for those without an answer's status.
    pub key: Option<String>,
    /// How many there are.
    pub letters: u64,
    /// What they take.
    pub bytes: u64,
    /// When the first of them was given up.
    pub oldest_at: UnixMillis,
    /// When the last was.
    pub newest_at: UnixMillis,
}

/// Asks to put letters into a queue again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayRequest {
    /// Which.
    pub filter: LetterFilter,
    /// Into the queue of this sink, whatever sink they are of.
    pub to: Option<SinkName>,
    /// Only say what would be.
    pub dry_run: bool,
    /// Where the answer before ended.
    pub from: Option<Position>,
    /// At most so many.
    pub limit: usize,
}

/// What became of some letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Put into a queue, by its sink; they are no dead letters any more.
    pub replayed: BTreeMap<SinkName, u64>,
    /// Left alone, by their sink: the config has it no more.
    pub homeless: BTreeMap<SinkName, u64>,
    /// Damaged, or gone meanwhile.
    pub missing: u64,
    /// Why it ended early. What was not replayed is still a dead letter.
    pub stopped: Option<String>,
    /// `None` after the last.
    pub next: Option<Position>,
}

/// Asks for what can be edited of a letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContentRequest {
    /// Which record's.
    pub id: RecordId,
    /// Where several sinks have a letter of that record.
    pub sink: Option<SinkName>,
}

/// What can be edited of a letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Content {
    /// The sink of the letter.
    pub sink: SinkName,
    /// It is the JSON object that a rule made; otherwise the payload of the message.
    pub is_output: bool,
    /// In base64.
    pub base64: String,
}

/// Asks to put a letter with another content in the place of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EditRequest {
    /// Which record's.
    pub id: RecordId,
    /// Where several sinks have a letter of that record.
    pub sink: Option<SinkName>,
    /// The new content, in base64.
    pub base64: String,
}

/// The letter that took the place of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// Its id.
    pub id: RecordId,
    /// The id of the other one.
    pub edited_from: RecordId,
    /// The sink of both.
    pub sink: SinkName,
}

/// How many letters are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// So many.
    pub purged: u64,
    /// `None` after the last.
    pub next: Option<Position>,
}
