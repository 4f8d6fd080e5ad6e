//! What a broker tells of its clients on topics of its own, and what is not heard of it.
//!
//! These topics have no replay: what a broker tells while nobody listens is gone. So the time in which nothing was
//! heard is an event of its own, `source.gap`, and with `presence = "reconcile"` whoever was connected is reported as
//! disconnected when the gap opens. What is known survives the process in a note.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::roll::{Noted, Roll};
use crate::clock::UnixMillis;
use crate::config::{BrokerEvents, MqttDialect, Presence};
use crate::event::{Event, EventKind, Occurrence};
use crate::source::dialect::mosquitto::{self, Learned};
use crate::source::dialect::{Dialect, Refusal, Said, topics};
use crate::source::{Custody, Problem, SourceContext, Verdict};
use crate::store::PresenceNote;
use crate::topic::{Topic, TopicFilter};

/// Changes are noted this often.
const NOTE_PAUSE: Duration = Duration::from_secs(5);
/// That the source still hears is noted once in so many of these pauses.
const PAUSES_BETWEEN_SIGNS: u32 = 6;
/// Events about a gap that are handed over at once.
const CHUNK: usize = 500;
/// Longest wait until events about a gap are safe.
const SAFE_MAX: Duration = Duration::from_secs(30);

/// The ear of one source.
#[derive(Debug)]
pub(super) struct Ear {
    events: BrokerEvents,
    note: PresenceNote,
    /// The client id of the source.
    own: String,
    broker: String,
    /// When the broker was heard last, in milliseconds since 1970; 0 for never.
    heard_at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    learned: Learned,
    /// Who has told something; said once of each.
    seen: Vec<Dialect>,
    roll: Roll,
    /// Since when nothing is heard, and why.
    gap: Option<(UnixMillis, &'static str)>,
    /// What is known differs from the note.
    is_changed: bool,
    /// It was told that there are too many clients.
    is_full: bool,
}

/// What outlives the process.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<Broker, Clients> {
    broker: Broker,
    /// When the broker was heard last, where that was before this was written.
    #[serde(default)]
    silent_since: Option<UnixMillis>,
    /// What its log has shown of it: the version is told once.
    #[serde(default)]
    learned: Learned,
    clients: Clients,
}

impl Ear {
    /// The ear of a source that is to listen. `broker` is who it is heard from, `own` the client id of the source.
    pub(super) async fn open(
        events: Option<BrokerEvents>,
        note: PresenceNote,
        broker: &str,
        own: &str,
    ) -> Option<Self> {
        let events = events?;
        let mut state = State::default();
        let mut heard_at = 0;
        if let Some((text, touched_at)) = note.read().await
            && let Ok(kept) = serde_json::from_slice::<Kept<String, Roll>>(&text)
            && kept.broker == broker
        {
            let silent_since = kept.silent_since.unwrap_or(touched_at);
            heard_at = silent_since.0;
            state.roll = kept.clients.counted();
            state.learned = kept.learned;
            state.gap = Some((silent_since, "restarted"));
        }
        let (heard_at, state) = (AtomicU64::new(heard_at), Mutex::new(state));
        let (own, broker) = (own.to_owned(), broker.to_owned());
        Some(Self { events, note, own, broker, heard_at, state })
    }

    /// What to subscribe to where rules want events of these kinds.
    pub(super) fn filters(&self, kinds: &[EventKind]) -> Vec<TopicFilter> {
        let wants = |kind: EventKind| kinds.contains(&kind);
        let of = |dialect| {
            matches!(self.events.dialect, MqttDialect::Auto) || self.events.dialect == dialect
        };
        let mut filters: Vec<&str> = Vec::new();
        if self.events.dialect.told().iter().any(|kind| wants(*kind)) {
            match self.events.dialect {
                // Client ids may have slashes.
                MqttDialect::Auto => filters.push("$SYS/brokers/#"),
                MqttDialect::Emqx => {
                    filters
                        .extend(["$SYS/brokers/+/clients/#", "$SYS/brokers/+/gateway/+/clients/#"]);
                }
                MqttDialect::Rmqtt => {
                    filters.extend(["$SYS/brokers/+/clients/#", "$SYS/brokers/+/session/#"]);
                }
                MqttDialect::NanoMq => filters.extend([
                    "$SYS/brokers/client_status/#",
                    "$SYS/brokers/connected",
                    "$SYS/brokers/disconnected",
                ]),
                MqttDialect::Mosquitto => {}
            }
            if of(MqttDialect::Mosquitto) {
                filters.extend([mosquitto::VERSION, mosquitto::NOTICES, mosquitto::ERRORS]);
            }
        }
        if self.events.dialect == MqttDialect::Rmqtt && wants(EventKind::MessageDropped) {
            filters.push("$SYS/brokers/+/message/dropped");
        }
        if of(MqttDialect::Mosquitto) && wants(EventKind::SessionSubscribed) {
            filters.push(mosquitto::SUBSCRIBED);
        }
        if of(MqttDialect::Mosquitto) && wants(EventKind::SessionUnsubscribed) {
            filters.push(mosquitto::UNSUBSCRIBED);
        }
        let own =
            filters.into_iter().map(|text| TopicFilter::new(text).expect("these are filters"));
        let wants_events = kinds.iter().any(|kind| !is_ours(*kind));
        let republished = self.events.republished.iter().filter(|_| wants_events).cloned();
        own.chain(republished).collect()
    }

    /// Whether anything is listened to or told at all.
    fn is_wanted(&self, context: &SourceContext) -> bool {
        let wanted = context.wanted.borrow();
        wanted.kinds.contains(&EventKind::SourceGap) || !self.filters(&wanted.kinds).is_empty()
    }

    fn reconciles(&self) -> bool {
        self.events.presence == Presence::Reconcile
    }

    /// Notes that the broker is there.
    pub(super) fn heard(&self) {
        self.heard_at.store(UnixMillis::now().0, Ordering::Relaxed);
    }

    /// The events that a message tells of, in their order.
    ///
    /// A retained one tells of the past and gives none, but for the version of the broker.
    pub(super) fn hear(
        &self,
        context: &SourceContext,
        topic: &Topic,
        payload: &[u8],
        retain: bool,
    ) -> Vec<Event> {
        let mut state = self.lock();
        let Some((dialect, read)) = self.read(&mut state, topic, payload, retain) else {
            return Vec::new();
        };
        let source = &context.name;
        if !state.seen.contains(&dialect) {
            state.seen.push(dialect);
            info!(%source, dialect = dialect.name(), "the broker tells of its clients");
        }
        let said = match read {
            Ok(said) => said,
            Err(refusal) => {
                context.health.count(Problem::Unreadable);
                debug!(%source, %refusal, "what the broker tells cannot be read");
                return Vec::new();
            }
        };
        let mut all = Vec::with_capacity(2);
        state.is_changed = true;
        match state.roll.note(&said, self.events.known_clients_max.get()) {
            Noted::Corrected(before) => all.push(before),
            Noted::AsTold => {}
            Noted::Full => {
                context.health.count(Problem::KnownClientsLimit);
                if !std::mem::replace(&mut state.is_full, true) {
                    let max = self.events.known_clients_max;
                    warn!(%source, max, "more clients are connected than max_known_clients: who is beyond is not reported as lost");
                }
            }
        }
        drop(state);
        all.push(said);
        all.retain(|said| wants(context, said.kind));
        all.into_iter().map(|said| said.into_event(context)).collect()
    }

    fn read(
        &self,
        state: &mut State,
        topic: &Topic,
        payload: &[u8],
        retain: bool,
    ) -> Option<(Dialect, Result<Said, Refusal>)> {
        let text = topic.as_str();
        if text == mosquitto::VERSION || !retain && text.starts_with("$SYS/broker/") {
            return Some((Dialect::Mosquitto, state.learned.read(text, payload, &self.own)?));
        }
        if retain {
            return None;
        }
        if self.events.republished.iter().any(|filter| filter.matches(topic)) {
            return Some((Dialect::Emqx5, topics::republished(payload)));
        }
        topics::read(text, payload)
    }

    /// The subscriptions are in place: a gap that was open is over, and told of.
    pub(super) async fn subscribed(&self, context: &SourceContext) {
        if !self.is_wanted(context) {
            return;
        }
        self.heard();
        let gap = self.lock().gap;
        if let Some((from, reason)) = gap
            && self.told_of_gap(context, from, reason).await
        {
            self.lock().gap = None;
        }
        self.keep_now().await;
    }

    /// Whether it is safe that a gap is over.
    async fn told_of_gap(
        &self,
        context: &SourceContext,
        from: UnixMillis,
        reason: &'static str,
    ) -> bool {
        let to = UnixMillis::now();
        context.health.count(Problem::Gap);
        let source = &context.name;
        let seconds = to.0.saturating_sub(from.0) / 1000;
        warn!(%source, seconds, reason, "the broker was not heard: events of clients may be missing");
        if !wants(context, EventKind::SourceGap) {
            return true;
        }
        let occurrence = Occurrence::new(EventKind::SourceGap)
            .with("source", context.name.as_str())
            .with("from", from.0)
            .with("to", to.0)
            .with("reason", reason);
        safe(context, vec![Event::of(context.name.clone(), to, occurrence)]).await
    }

    /// The connection is gone. Comes back once whoever was connected is reported, as far as that is asked for.
    pub(super) async fn lost(&self, context: &SourceContext) {
        if !self.is_wanted(context) {
            return;
        }
        {
            let mut state = self.lock();
            let heard_at = UnixMillis(self.heard_at.load(Ordering::Relaxed));
            state.gap.get_or_insert((heard_at, "connection_lost"));
        }
        self.report(context).await;
        self.keep_now().await;
    }

    /// Reports everybody as disconnected who is known as connected and cannot be seen.
    pub(super) async fn report(&self, context: &SourceContext) {
        if !self.reconciles() || !wants(context, EventKind::ClientDisconnected) {
            return;
        }
        if self.lock().gap.is_none() {
            return;
        }
        let losses = self.lock().roll.losses();
        let now = UnixMillis::now();
        for chunk in losses.chunks(CHUNK) {
            let event = |said: &Said| {
                let mut said = said.clone();
                said.set("disconnected_at", Some(now.0));
                said.into_event(context)
            };
            let ids = chunk.iter().filter_map(|said| said.text("clientid").map(str::to_owned));
            let ids: Vec<String> = ids.collect();
            if !safe(context, chunk.iter().map(event).collect()).await {
                return;
            }
            let mut state = self.lock();
            state.roll.lost(&ids);
            state.is_changed = true;
        }
    }

    /// Keeps the note up to date, for ever. Cancel safe.
    pub(super) async fn keep(&self) {
        let mut pauses = 0;
        loop {
            sleep(NOTE_PAUSE).await;
            pauses += 1;
            let is_changed = self.lock().is_changed;
            if is_changed {
                self.keep_now().await;
            } else if pauses >= PAUSES_BETWEEN_SIGNS {
                pauses = 0;
                drop(self.note.touch().await);
            }
        }
    }

    /// Writes the note, once the broker has been heard.
    pub(super) async fn keep_now(&self) {
        if self.heard_at.load(Ordering::Relaxed) == 0 {
            return;
        }
        let text = {
            let mut state = self.lock();
            state.is_changed = false;
            let silent_since = state.gap.map(|(since, _)| since);
            serde_json::to_vec(&Kept {
                broker: &*self.broker,
                silent_since,
                learned: state.learned.clone(),
                clients: &state.roll,
            })
        };
        let written = match text {
            Ok(text) => self.note.write(text).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            self.lock().is_changed = true;
            debug!(%error, "who is connected cannot be noted");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wants(context: &SourceContext, kind: EventKind) -> bool {
    context.wanted.borrow().kinds.contains(&kind)
}

/// What no broker tells.
const fn is_ours(kind: EventKind) -> bool {
    matches!(kind, EventKind::MessagePublish | EventKind::SourceGap | EventKind::GatewayStatus)
}

/// Hands events over that nobody would send again; false when they are not safe.
async fn safe(context: &SourceContext, events: Vec<Event>) -> bool {
    let stored = async {
        let (custody, verdict) = Custody::channel();
        context.intake.reserve_all(&events).await.ok()?.submit(events, custody);
        verdict.await.ok()
    };
    tokio::select! {
        () = context.stop.cancelled() => false,
        stored = timeout(SAFE_MAX, stored) => matches!(stored, Ok(Some(Verdict::Accepted))),
    }
}
