//! Does with dead letters what is asked: joins the letters and the queues.
//!
//! A replayed letter leaves only once its record is durable in the queue. A crash between the two leaves both: the
//! record is delivered under the id it has always had, and when it is given up again, its letter takes the place of the
//! one that is there. So nothing is lost, and nothing is a letter twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Content, ContentRequest, EditRequest, Edited, Export, Group, GroupBy, GroupRequest, Letter,
    LetterFilter, LetterSummary, Page, PageRequest, Position, Purged, ReplayRequest, Replayed,
};
use crate::admin::Refusal;
use crate::event::json::{BodyFormat, EventFormat, PayloadAs, UndefinedAs};
use crate::event::{Record, Replay};
use crate::name::{RecordId, SinkName};
use crate::store::{
    Appended, DeadLetter, DeadLetters, Exchanged, FoundLetter, LetterKey, Queue, Removal,
    StoreError,
};

/// Letters that one answer has at most, whatever was asked for.
const LETTERS_MAX: usize = 1000;
/// Heads looked at for one answer: where few letters match, it comes empty, and the next one goes on.
const HEADS_MAX: usize = 16 * 1024;
/// Bytes of letters of which one answer is made, or that go into queues at once; always at least one letter.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Of the answer, in lists.
const ANSWER_CHARS_MAX: usize = 200;
/// Random characters behind the id of an edited letter: 40 bits.
const EDIT_CHARS: usize = 8;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The sinks that letters can go to.
pub trait Sinks: Send + Sync {
    /// Their names.
    fn names(&self) -> Vec<SinkName>;
    /// The queue of one, to put records in. May block.
    fn queue(&self, sink: &SinkName) -> Result<Queue, StoreError>;
}

/// Where dead letters are worked with. Cheap to clone.
#[derive(Clone)]
pub struct LetterDesk {
    letters: DeadLetters,
    sinks: Arc<dyn Sinks>,
    node: Arc<str>,
}

impl std::fmt::Debug for LetterDesk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LetterDesk").finish_non_exhaustive()
    }
}

/// Letters that were picked, and where the next begin.
struct Picked {
    letters: Vec<FoundLetter>,
    next: Option<Position>,
}

impl LetterDesk {
    /// For these letters; `node` is the gateway's name in bodies.
    #[must_use]
    pub fn new(letters: DeadLetters, sinks: Arc<dyn Sinks>, node: Arc<str>) -> Self {
        Self { letters, sinks, node }
    }

    pub(super) async fn page(&self, request: PageRequest) -> Result<Page, Refusal> {
        let bytes_max = if request.answers { BYTES_MAX } else { u64::MAX };
        let picked = self.pick(&request.filter, request.from, request.limit, bytes_max).await?;
        let mut letters: Vec<_> = picked.letters.iter().map(summary).collect();
        if request.answers {
            let answered = picked.letters.iter().zip(&mut letters);
            self.add_answers(answered.filter(|(found, _)| found.head.status.is_some())).await;
        }
        Ok(Page { letters, next: picked.next })
    }

    /// Adds the first line of what services said. Where it cannot be read the rest is worth a list.
    async fn add_answers(
        &self,
        of: impl Iterator<Item = (&FoundLetter, &mut LetterSummary)> + Send,
    ) {
        let (keys, summaries): (Vec<_>, Vec<_>) =
            of.map(|(found, summary)| (found.head.letter_key(), summary)).unzip();
        if keys.is_empty() {
            return;
        }
        let read = self.letters.letters(keys).await.unwrap_or_default();
        for (summary, letter) in summaries.into_iter().zip(read) {
            summary.answer = letter.and_then(|(_, letter)| first_line(&letter.answer));
        }
    }

    pub(super) async fn groups(&self, request: GroupRequest) -> Result<Vec<Group>, Refusal> {
        let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
        let mut from = None;
        loop {
            let picked = self.pick(&request.filter, from, LETTERS_MAX, u64::MAX).await?;
            for letter in &picked.letters {
                let key = group_key(letter, request.by);
                let dead_at = letter.head.dead_at;
                let group = groups.entry(key.clone()).or_insert_with(|| Group {
                    key,
                    letters: 0,
                    bytes: 0,
                    oldest_at: dead_at,
                    newest_at: dead_at,
                });
                group.letters += 1;
                group.bytes += letter.bytes;
                group.oldest_at = group.oldest_at.min(dead_at);
                group.newest_at = group.newest_at.max(dead_at);
            }
            from = picked.next;
            if from.is_none() {
                break;
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.letters));
        Ok(groups)
    }

    pub(super) async fn export(&self, request: PageRequest) -> Result<Export, Refusal> {
        let Picked { letters, next } =
            self.pick(&request.filter, request.from, request.limit, BYTES_MAX).await?;
        let keys = letters.iter().map(|found| found.head.letter_key()).collect();
        let letters = self.letters.letters(keys).await?;
        let lines = letters.into_iter().flatten().map(|(found, letter)| self.line(&found, &letter));
        Ok(Export { letters: lines.collect::<Result<_, _>>()?, next })
    }

    /// One JSON object on one line.
    fn line(&self, found: &FoundLetter, letter: &DeadLetter) -> Result<Box<RawValue>, Refusal> {
        let format = BodyFormat {
            events: EventFormat::Emqx5,
            payload_as: PayloadAs::Auto,
            undefined_as: UndefinedAs::Absent,
            node: Arc::clone(&self.node),
        };
        let mut record = Vec::new();
        format.write_object(&letter.record, None, &mut record);
        let record = String::from_utf8_lossy(&record).into_owned();
        let answer = String::from_utf8_lossy(&letter.answer).into_owned();
        let broken = |error: serde_json::Error| {
            Refusal::conflict(format!(
                "dead letter `{}` cannot be shown: {error}",
                letter.record_id
            ))
        };
        let record = RawValue::from_string(record).map_err(broken)?;
        let letter = Letter { summary: summary(found), answer, record };
        serde_json::value::to_raw_value(&letter).map_err(broken)
    }

    pub(super) async fn replay(&self, request: ReplayRequest) -> Result<Replayed, Refusal> {
        let known = self.sinks.names();
        if let Some(to) = request.to.as_ref().filter(|to| !known.contains(to)) {
            return Err(Refusal::unknown("sink", to.as_str(), known.iter().map(SinkName::as_str)));
        }
        let picked = self.pick(&request.filter, request.from, request.limit, BYTES_MAX).await?;
        let mut answer = Replayed { next: picked.next, ..Replayed::default() };
        let mut by_sink: BTreeMap<&SinkName, Vec<LetterKey>> = BTreeMap::new();
        for found in &picked.letters {
            let sink = request.to.as_ref().unwrap_or(&found.head.sink);
            if known.contains(sink) {
                by_sink.entry(sink).or_default().push(found.head.letter_key());
            } else {
                *answer.homeless.entry(sink.clone()).or_default() += 1;
            }
        }
        for (sink, keys) in by_sink {
            if request.dry_run {
                let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
                answer.replayed.insert(sink.clone(), count);
            } else if let Err(why) = self.replay_into(sink, keys, &mut answer).await {
                answer.stopped = Some(why.to_string());
                answer.next = None;
                break;
            }
        }
        Ok(answer)
    }

    async fn replay_into(
        &self,
        sink: &SinkName,
        keys: Vec<LetterKey>,
        answer: &mut Replayed,
    ) -> Result<(), ReplayError> {
        let queue = self.sinks.queue(sink)?;
        let (mut heads, mut records) = (Vec::new(), Vec::new());
        for letter in self.letters.letters(keys).await? {
            let Some((found, letter)) = letter else {
                answer.missing += 1;
                continue;
            };
            let DeadLetter { record_id, edited_from, record, .. } = letter;
            let replay = Some(Arc::new(Replay { record_id, edited_from }));
            records.push(Record { replay, ..record });
            heads.push(found.head);
        }
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        match queue.append_replayed(records).await.map_err(|_| StoreError::Closed)?? {
            Appended::Settled => {}
            Appended::NoRoom => return Err(ReplayError::NoRoom { sink: sink.clone() }),
        }
        *answer.replayed.entry(sink.clone()).or_default() += count;
        // One that has been given up again meanwhile stays: it is the later one.
        self.letters.take_out(heads, Removal::Replayed).await?;
        Ok(())
    }

    pub(super) async fn content(&self, request: ContentRequest) -> Result<Content, Refusal> {
        let (_, letter) = self.one(request.id, request.sink).await?;
        let Record { output, event, .. } = &letter.record;
        let content = output.as_ref().or_else(|| event.payload());
        let content = content.ok_or_else(|| without_payload(&letter))?;
        let (is_output, base64) = (output.is_some(), BASE64.encode(content));
        Ok(Content { sink: letter.sink, is_output, base64 })
    }

    pub(super) async fn edit(&self, request: EditRequest) -> Result<Edited, Refusal> {
        let (found, letter) = self.one(request.id, request.sink).await?;
        let content = BASE64.decode(&request.base64);
        let content = content.map_err(|error| Refusal::conflict(format!("not base64: {error}")))?;
        let record = if letter.record.output.is_some() {
            Record { output: Some(one_line_object(&content)?), ..letter.record }
        } else {
            let event = letter.record.event.with_payload(content.into());
            let event = event.ok_or_else(|| without_payload(&letter))?;
            Record { event: Arc::new(event), ..letter.record }
        };
        let old = letter.record_id.clone();
        let record_id = edited_id(&old, letter.edited_from.is_some());
        let sink = letter.sink.clone();
        let edited_from = Some(old.clone());
        let new = DeadLetter { record_id: record_id.clone(), edited_from, record, ..letter };
        match self.letters.exchange(found.head, new).await? {
            Exchanged::Done => Ok(Edited { id: record_id, edited_from: old, sink }),
            Exchanged::Gone => {
                Err(Refusal::conflict(format!("dead letter `{old}` has left or changed meanwhile")))
            }
            Exchanged::NoRoom => Err(Refusal::conflict(
                "there is no room for a longer dead letter (`dead_letters.max_bytes`)",
            )),
        }
    }

    pub(super) async fn purge(&self, request: PageRequest) -> Result<Purged, Refusal> {
        let picked = self.pick(&request.filter, request.from, request.limit, u64::MAX).await?;
        let heads: Vec<_> = picked.letters.into_iter().map(|found| found.head).collect();
        let purged = self.letters.take_out(heads, Removal::Purged).await?;
        Ok(Purged { purged, next: picked.next })
    }

    /// The one letter of a record.
    async fn one(
        &self,
        id: RecordId,
        sink: Option<SinkName>,
    ) -> Result<(FoundLetter, DeadLetter), Refusal> {
        let mut found = self.letters.find(id.clone()).await?;
        found.retain(|(_, letter)| sink.as_ref().is_none_or(|sink| *sink == letter.sink));
        let sinks: Vec<_> = found.iter().map(|(_, letter)| letter.sink.to_string()).collect();
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(Refusal::conflict(format!(
                "`{id}` is a dead letter of several sinks: {}; say which with --sink",
                sinks.join(", ")
            ))),
            (None, _) => Err(no_letter(&id, sink.as_ref())),
        }
    }

    /// The next letters that a filter wants.
    async fn pick(
        &self,
        filter: &LetterFilter,
        from: Option<Position>,
        limit: usize,
        bytes_max: u64,
    ) -> Result<Picked, Refusal> {
        if !filter.ids.is_empty() {
            return self.pick_by_ids(filter).await;
        }
        let limit = limit.clamp(1, LETTERS_MAX);
        let mut up_to = from.as_ref().map(|from| from.up_to);
        let mut after = from.map(|from| LetterKey { sink: from.sink, record_id: from.id });
        let (mut letters, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            let page = self.letters.page(filter.sink.clone(), after.take()).await?;
            let up_to = *up_to.get_or_insert(page.latest);
            let count = page.letters.len();
            for (index, found) in page.letters.into_iter().enumerate() {
                let is_last = index + 1 == count && !page.has_more;
                let key = found.head.letter_key();
                looked_at += 1;
                if found.head.letter <= up_to && filter.wants(&found) {
                    bytes += found.bytes;
                    letters.push(found);
                }
                if letters.len() >= limit || bytes >= bytes_max || looked_at >= HEADS_MAX {
                    let LetterKey { sink, record_id } = key;
                    let next = (!is_last).then_some(Position { sink, id: record_id, up_to });
                    return Ok(Picked { letters, next });
                }
                after = Some(key);
            }
            if !page.has_more {
                return Ok(Picked { letters, next: None });
            }
        }
    }

    /// Those that were named. All must be there.
    async fn pick_by_ids(&self, filter: &LetterFilter) -> Result<Picked, Refusal> {
        let mut letters = Vec::new();
        for id in &filter.ids {
            let mut found = self.letters.find(id.clone()).await?;
            found.retain(|(found, _)| filter.wants(found));
            if found.is_empty() {
                return Err(no_letter(id, filter.sink.as_ref()));
            }
            letters.extend(found.into_iter().map(|(found, _)| found));
        }
        Ok(Picked { letters, next: None })
    }
}

/// Why a replay ends.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(
        "the queue of `{sink}` is too full: replays leave a quarter of it to live traffic. Try again when it has drained"
    )]
    NoRoom { sink: SinkName },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::conflict(error.to_string())
    }
}

fn no_letter(id: &RecordId, sink: Option<&SinkName>) -> Refusal {
    let of = sink.map(|sink| format!(" of sink `{sink}`")).unwrap_or_default();
    Refusal::conflict(format!("there is no dead letter `{id}`{of}"))
}

fn without_payload(letter: &DeadLetter) -> Refusal {
    let kind = letter.record.event.kind().name();
    Refusal::conflict(format!("`{}` is a `{kind}`, which has no payload to edit", letter.record_id))
}

fn summary(found: &FoundLetter) -> LetterSummary {
    let head = &found.head;
    LetterSummary {
        id: head.record_id.clone(),
        sink: head.sink.clone(),
        rule: head.rule.clone(),
        reason: head.reason,
        why: head.why.clone(),
        status: head.status,
        answer: None,
        attempts: head.attempts,
        topic: head.topic.clone(),
        accepted_at: head.accepted_at,
        first_attempt_at: head.first_attempt_at,
        last_attempt_at: head.last_attempt_at,
        dead_at: head.dead_at,
        edited_from: head.edited_from.clone(),
        bytes: found.bytes,
    }
}

/// The first line that says anything, or its beginning.
fn first_line(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(ANSWER_CHARS_MAX).collect())
}

fn group_key(letter: &FoundLetter, by: GroupBy) -> Option<String> {
    let head = &letter.head;
    match by {
        GroupBy::Sink => Some(head.sink.to_string()),
        GroupBy::Reason => Some(head.reason.label().to_owned()),
        GroupBy::Rule => Some(head.rule.to_string()),
        GroupBy::Status => head.status.map(|status| status.to_string()),
    }
}

/// What a rule makes is a JSON object on one line; an edited one may come on several.
fn one_line_object(content: &[u8]) -> Result<Bytes, Refusal> {
    let wrong = |why: String| {
        Refusal::conflict(format!(
            "the record is what a rule made, and must stay a JSON object: {why}"
        ))
    };
    let text = std::str::from_utf8(content).map_err(|error| wrong(error.to_string()))?;
    let parsed: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(text);
    parsed.map_err(|error| wrong(error.to_string()))?;
    // Outside of texts line breaks are white space, and inside there are none.
    let line = text.trim().replace(['\r', '\n'], " ");
    Ok(line.into())
}

/// A new id that still has the number of the old one in it.
fn edited_id(old: &RecordId, was_edited: bool) -> RecordId {
    let old = old.as_str();
    let base = match old.rsplit_once("-e") {
        Some((base, _)) if was_edited => base,
        _ => old,
    };
    let pick = || ALPHABET.get(fastrand::usize(..ALPHABET.len())).copied().map(char::from);
    let random: String = std::iter::repeat_with(pick).take(EDIT_CHARS).flatten().collect();
    RecordId::new(&format!("{base}-e{random}")).expect("an id with a few letters behind it")
}
