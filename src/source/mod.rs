//! Where events come from.
//!
//! A source decodes what arrives into [`Event`]s and hands each to the [`Intake`] with its [`Custody`]: the
//! one-shot way to say "it is durable, you may acknowledge" or "it is not, send it again". Acknowledgements leave
//! in the order received per connection; that order is the source's business.

#[cfg(feature = "broker")]
pub mod broker;
pub mod dialect;
mod health;
pub mod http;
mod intake;
mod listen;
pub mod mqtt;
mod tls;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, EventKind, MessageIds};
use crate::name::SourceName;
use crate::tail::Tail;
use crate::topic::TopicFilter;

pub use health::{Problem, SourceHealth, SourceState};
pub use intake::{
    Custody, EVENTS_MAX, Incoming, Intake, IntakeClosed, Ledger, NoRoom, Room, Rooms, Verdict,
};
pub use listen::ListenError;
pub use tls::TlsError;

/// What the rules want from a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Topic filters of messages, without duplicates.
    pub topics: Vec<TopicFilter>,
    /// Kinds of event; others need not be made.
    pub kinds: Vec<EventKind>,
}

/// What every source is given.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// Its name in the config.
    pub name: SourceName,
    /// What the rules want from it; that changes when they do.
    pub wanted: watch::Receiver<Wanted>,
    /// Where its events go.
    pub intake: Intake,
    /// Mints the id of each message.
    pub ids: Arc<MessageIds>,
    /// Its state for `status`, its metrics, its log lines.
    pub health: Arc<SourceHealth>,
    /// Who looks on.
    pub tail: Tail,
    /// Cancelled when the source shall stop.
    pub stop: CancellationToken,
}
