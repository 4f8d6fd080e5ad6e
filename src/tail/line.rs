//! What a line can say. The JSON of it is what `waypost tail --json` prints.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::event::{Event, excerpt};

/// Characters of a payload that are shown.
const PAYLOAD_CHARS_MAX: usize = 200;
/// Characters of a topic, a client id or a text of somebody else's that are shown.
const TEXT_CHARS_MAX: usize = 300;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: UnixMillis,
    /// What.
    #[serde(flatten)]
    pub happening: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happening {
    /// A rule wants an event.
    Matched {
        /// The rule.
        rule: String,
        /// Where it sends it.
        sinks: Vec<String>,
        /// What it made of it, cut; `None` when the event goes on as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// How many it made of it, each a record.
        records: usize,
        /// The event.
        event: Seen,
    },
    /// The topics of a rule fit, its condition does not.
    NotWanted {
        /// The rule.
        rule: String,
        /// The event.
        event: Seen,
    },
    /// A rule failed for an event.
    RuleFailed {
        /// The rule.
        rule: String,
        /// Why.
        error: String,
        /// The event.
        event: Seen,
    },
    /// No rule has topics that fit.
    NoRule {
        /// The event.
        event: Seen,
    },
    /// A queue holds records durably, or its policy has dropped and counted them.
    Queued {
        /// Whose queue.
        sink: String,
        /// How many.
        records: usize,
    },
    /// A queue could not make records durable: their source keeps them.
    Refused {
        /// Whose queue.
        sink: String,
        /// How many.
        records: usize,
    },
    /// The service has the records of a request.
    Delivered {
        /// The request.
        #[serde(flatten)]
        request: Request,
    },
    /// A request was not delivered. Its records are kept.
    Failed {
        /// The request.
        #[serde(flatten)]
        request: Request,
        /// In words.
        why: String,
        /// Until the sink's next attempt, while it waits for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_attempt_in_ms: Option<u64>,
    },
    /// Records were given up and are kept apart.
    DeadLettered {
        /// Of which sink.
        sink: String,
        /// How many.
        records: usize,
        /// The id of the first; `None` for a sum.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<String>,
        /// As in `waypost_records_dead_lettered_total`.
        reason: String,
        /// In words.
        why: String,
    },
    /// Records left a queue and nobody has them, or dead letters left theirs: a sum of what a second brought.
    Dropped {
        /// Of which sink.
        sink: String,
        /// How many.
        records: usize,
        /// As in `waypost_records_dropped_total`; `dead_letters_full` for dead letters.
        reason: String,
        /// In words.
        why: String,
    },
    /// Lines that were left out because they are read too slowly.
    Lost {
        /// How many.
        lines: u64,
    },
}

/// An HTTP request that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// To which sink.
    pub sink: String,
    /// How many records it carried.
    pub records: usize,
    /// The id of the first.
    pub first: String,
    /// What was answered; `None` without an answer.
    pub status: Option<u16>,
    /// How long it took.
    pub took_ms: u64,
}

/// What is shown of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its kind.
    pub event: String,
    /// Where it came from.
    pub source: String,
    /// Its topic, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Whom it is about, the publisher of a message, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clientid: Option<String>,
    /// Cut and escaped.
    pub payload: String,
}

impl Seen {
    /// What is shown of `event`.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            event: event.kind().name().to_owned(),
            source: event.source.to_string(),
            topic: event.topic().map(text),
            clientid: event.client_id().map(text),
            payload: event.payload().map(|bytes| payload(bytes)).unwrap_or_default(),
        }
    }
}

impl Happening {
    /// An output of a rule or a payload, cut and escaped.
    #[must_use]
    pub fn payload(bytes: &[u8]) -> String {
        payload(bytes)
    }

    /// Somebody else's words, cut and escaped.
    #[must_use]
    pub fn text(words: &str) -> String {
        text(words)
    }
}

fn payload(bytes: &[u8]) -> String {
    excerpt(bytes, PAYLOAD_CHARS_MAX)
}

fn text(words: &str) -> String {
    excerpt(words.as_bytes(), TEXT_CHARS_MAX)
}
