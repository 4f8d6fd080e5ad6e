//! One connection: from CONNECT to the moment it ends, whoever ends it.
//!
//! Everything runs within one future, so dropping that leaves nothing behind: the wire is polled, what it brings is handed
//! to the intake, acknowledgements follow the commits, filters are subscribed. None of them waits for another one, except the wire
//! for the backlog, and that within a keep-alive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::backlog::Backlog;
use super::dial::{self, Link};
use super::ear::Ear;
use super::failure::{Failure, FailureKind};
use super::ledger::{AckLedger, Receipt};
use super::session::Session;
use super::tls;
use super::wire::{Grant, Hello, Publication, Relay, Rendezvous, Requests, Signal, Version, Wire};
use crate::clock::UnixMillis;
use crate::config::MqttSource;
use crate::event::{Event, Message, Qos};
use crate::source::{Custody, Ledger, NoRoom, Problem, SourceContext, Verdict};
use crate::steps::Watch;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The source was asked to stop, or the process goes down.
    Stopped,
    /// It failed.
    Failed {
        why: Failure,
        /// How long it was up; `None` when the broker never accepted it.
        up: Option<Duration>,
    },
}

/// On stop: time for commits under way, so that what is durable is acknowledged and not sent again.
const SETTLE_MAX: Duration = Duration::from_millis(150);
/// On stop: time to write the last acknowledgements and the DISCONNECT.
const LEAVE_MAX: Duration = Duration::from_millis(100);
/// On stop: time for the broker to read them, which it shows by closing. Whoever connects with our client id before
/// that makes it forget what it has not read.
const CLOSE_MAX: Duration = Duration::from_millis(150);

/// Connects and serves until something ends it.
pub(super) async fn serve(
    context: &SourceContext,
    source: &MqttSource,
    hello: &Hello,
    version: Version,
    ear: Option<&Ear>,
    session: &mut Session,
) -> End {
    let never_up = |why| End::Failed { why, up: None };
    let answer_by = Instant::now() + source.connect_timeout;
    let nobody = Watch::default();
    let link = tokio::select! {
        () = context.stop.cancelled() => return End::Stopped,
        link = timeout_at(answer_by, dial::dial(source, &nobody)) => match link {
            Ok(Ok(link)) => link,
            Ok(Err(failure)) => return never_up(failure),
            Err(_) => return never_up(dial::no_answer(source)),
        },
    };
    let rendezvous = match Rendezvous::open() {
        Ok(rendezvous) => rendezvous,
        Err(error) => return never_up(Failure::closed(&error)),
    };
    let (wire, requests) = Wire::open(version, hello, rendezvous.name());
    let (granted, grants) = mpsc::channel(1);
    let connection = Connection {
        context,
        source,
        ear,
        version,
        answer_by,
        ledger: Arc::new(AckLedger::default()),
        backlog: Backlog::default(),
        moves: AtomicU64::new(0),
        leaving: AtomicBool::new(false),
        granted,
        oversize_told: Once::new(),
        topic_told: Once::new(),
    };
    connection.run(wire, &requests, grants, session, rendezvous, link).await
}

struct Connection<'a> {
    context: &'a SourceContext,
    source: &'a MqttSource,
    ear: Option<&'a Ear>,
    version: Version,
    /// When the CONNACK must be there.
    answer_by: Instant,
    ledger: Arc<AckLedger>,
    backlog: Backlog,
    /// Counts up while the wire is alive.
    moves: AtomicU64,
    /// Messages that still come are left to the next connection.
    leaving: AtomicBool,
    granted: mpsc::Sender<Vec<Grant>>,
    /// What is dropped is told once a connection, and counted each time.
    oversize_told: Once,
    topic_told: Once,
}

impl Connection<'_> {
    async fn run(
        &self,
        mut wire: Wire,
        requests: &Requests,
        grants: mpsc::Receiver<Vec<Grant>>,
        session: &mut Session,
        rendezvous: Rendezvous,
        link: Link,
    ) -> End {
        let relay = Relay::default();
        let mut carried = std::pin::pin!(relay.run(rendezvous, link).fuse());
        let connected = tokio::select! {
            () = self.context.stop.cancelled() => return End::Stopped,
            connected = connack(&mut wire, self.answer_by) => connected,
            () = &mut carried => Err(Failure::closed_by_broker()),
        };
        let session_present = match connected {
            Ok(session_present) => session_present,
            Err(failure) => {
                let why = unanswered(failure, self.source, self.version, &relay);
                return End::Failed { why, up: None };
            }
        };
        let since = Instant::now();
        session.resume(self.context, self.version, session_present);
        let ended = {
            let work = self.work(wire, &relay, requests, grants, session);
            let mut work = std::pin::pin!(work);
            tokio::select! {
                ended = &mut work => ended,
                () = &mut carried => Err(Failure::closed_by_broker()),
                () = self.context.stop.cancelled() => {
                    self.leave(requests, &mut work, &mut carried).await;
                    Ok(())
                }
            }
        };
        match ended {
            Ok(()) => {
                drop(timeout(CLOSE_MAX, carried).await);
                End::Stopped
            }
            Err(failure) => {
                let why = explained(failure, self.source, &relay);
                End::Failed { why, up: Some(since.elapsed()) }
            }
        }
    }

    /// Serves an accepted connection. `Ok` once our DISCONNECT is written or the intake is closed.
    async fn work(
        &self,
        wire: Wire,
        relay: &Relay,
        requests: &Requests,
        grants: mpsc::Receiver<Vec<Grant>>,
        session: &mut Session,
    ) -> Result<(), Failure> {
        tokio::select! {
            ended = self.receive(wire, relay) => ended,
            failure = self.acknowledge(relay) => Err(failure),
            _ = self.backlog.forward(&self.context.intake) => Ok(()),
            failure = session.subscribe(self.context, self.source, self.ear, requests, grants) => Err(failure),
            failure = self.watch() => Err(failure),
            () = self.keep() => Ok(()),
        }
    }

    async fn receive(&self, mut wire: Wire, relay: &Relay) -> Result<(), Failure> {
        loop {
            let signal = wire.poll().await?;
            self.moves.fetch_add(1, Ordering::Relaxed);
            if let Some(ear) = self.ear {
                ear.heard();
            }
            match signal {
                Signal::Published(publication) => {
                    if !self.leaving.load(Ordering::Relaxed) && !self.take(publication).await? {
                        return Ok(());
                    }
                    self.hold_up(relay).await?;
                }
                // One SUBSCRIBE is outstanding at a time; a SUBACK that nobody waits for has no place and no meaning.
                Signal::Subscribed(grants) => drop(self.granted.try_send(grants)),
                // It grants nothing.
                Signal::Unsubscribed => drop(self.granted.try_send(Vec::new())),
                Signal::Left => return Ok(()),
                Signal::Connected { .. } | Signal::Other => {}
            }
        }
    }

    /// Reads no more while the broker is far behind with our acknowledgements, as long as it reads these.
    async fn hold_up(&self, relay: &Relay) -> Result<(), Failure> {
        let patience = self.source.keep_alive;
        let unread = |_| Failure::acknowledgements_unread();
        while timeout(patience, relay.held_up()).await.map_err(unread)? {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a message towards the intake; `false` when that is closed.
    async fn take(&self, publication: Publication) -> Result<bool, Failure> {
        let metrics = &self.context.health.metrics;
        let receipt = Receipt { packet_id: publication.packet_id, qos: publication.qos };
        let dup = publication.dup;
        let events = match self.events(publication) {
            Ok(events) => events,
            Err(dropped) => {
                self.tell_of(&dropped);
                Vec::new()
            }
        };
        if events.is_empty() {
            self.let_go(receipt);
            return Ok(true);
        }
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        metrics.received.inc_by(count);
        if dup {
            metrics.redelivered.inc_by(count);
        }
        let custody = match receipt.qos {
            Qos::AtMostOnce => Custody::none(),
            _ => Custody::ledger(self.ledger.clone(), self.ledger.admit(receipt)),
        };
        let custody = custody.split(events.len());
        for (event, custody) in events.into_iter().zip(custody) {
            if !self.hand_over(event, custody, receipt.qos) {
                return Ok(false);
            }
        }
        if !self.backlog.is_empty() {
            self.pause().await?;
        }
        Ok(true)
    }

    /// Hands an event to the intake, or to the backlog where that has no room now; `false` when the intake is closed.
    fn hand_over(&self, event: Event, custody: Custody, qos: Qos) -> bool {
        let room = if self.backlog.is_empty() {
            self.context.intake.try_reserve(event.memory_bytes())
        } else {
            Err(NoRoom::Full)
        };
        match room {
            Ok(room) => room.submit(event, custody),
            Err(NoRoom::Closed) => return false,
            Err(NoRoom::Full) if qos == Qos::AtMostOnce => {
                self.context.health.metrics.dropped.inc();
            }
            Err(NoRoom::Full) => self.backlog.push(event, custody),
        }
        true
    }

    /// Stops polling while too much waits; longer than a keep-alive, and the broker would give us up anyway.
    async fn pause(&self) -> Result<(), Failure> {
        timeout(self.source.keep_alive, self.backlog.within_bound()).await.map_err(|_| {
            Failure::new(
                FailureKind::NotStored,
                "nothing could be stored for a whole keep-alive: the broker keeps what comes; look at the queues (full with `when_full = \"block\"`, or a disk that does not answer)",
            )
        })
    }

    /// What a message is: itself, where a rule wants its topic, and what the broker tells with it.
    fn events(&self, publication: Publication) -> Result<Vec<Event>, Dropped> {
        let limit = usize::try_from(self.source.packet_bytes_max.get()).unwrap_or(usize::MAX);
        if publication.packet_bytes > limit {
            return Err(Dropped::Oversize(publication.packet_bytes));
        }
        let topic = publication.topic.map_err(|_| Dropped::InvalidTopic)?;
        let mut events = Vec::new();
        if let Some(ear) = self.ear {
            events = ear.hear(self.context, &topic, &publication.payload, publication.retain);
            let wanted = self.context.wanted.borrow();
            if !wanted.topics.iter().any(|filter| filter.matches(&topic)) {
                return Ok(events);
            }
        }
        let message = Message {
            id: self.context.ids.mint(),
            topic,
            payload: publication.payload,
            qos: publication.qos,
            retain: publication.retain,
            dup: publication.dup,
            client_id: None,
            username: None,
            peer: None,
            properties: publication.properties,
        };
        events.insert(0, Event::published(self.context.name.clone(), UnixMillis::now(), message));
        Ok(events)
    }

    fn tell_of(&self, dropped: &Dropped) {
        let source = &self.context.name;
        match dropped {
            Dropped::Oversize(bytes) => {
                self.context.health.count(Problem::Oversize);
                let limit = self.source.packet_bytes_max;
                self.oversize_told.call_once(|| {
                    warn!(%source, bytes = *bytes, limit, "message larger than max_packet_bytes dropped: raise it to take such messages");
                });
            }
            Dropped::InvalidTopic => {
                self.context.health.count(Problem::Protocol);
                self.topic_told
                    .call_once(|| warn!(%source, "message with an invalid topic dropped"));
            }
        }
    }

    /// Acknowledges what is not taken, in its turn: otherwise the broker sends it again for ever, and nothing behind it.
    fn let_go(&self, receipt: Receipt) {
        if receipt.qos != Qos::AtMostOnce {
            let ticket = self.ledger.admit(receipt);
            self.ledger.resolve(ticket, Verdict::Accepted);
        }
    }

    /// Never ends.
    async fn keep(&self) {
        match self.ear {
            Some(ear) => ear.keep().await,
            None => std::future::pending().await,
        }
    }

    /// Ends when a message was refused.
    async fn acknowledge(&self, relay: &Relay) -> Failure {
        let mut due = Vec::new();
        while self.ledger.due(&mut due).await.is_ok() {
            self.context.health.metrics.acknowledged.inc_by(u64::try_from(due.len()).unwrap_or(0));
            relay.acknowledge(&due);
            due.clear();
        }
        Failure::new(
            FailureKind::NotStored,
            "a message could not be stored: the broker will send it again; the store says why",
        )
    }

    /// Ends when the wire has not moved for two keep-alives, whatever it is stuck in.
    async fn watch(&self) -> Failure {
        let mut seen = 0;
        loop {
            tokio::time::sleep(2 * self.source.keep_alive + Duration::from_secs(1)).await;
            let moves = self.moves.load(Ordering::Relaxed);
            if moves == seen {
                return Failure::silent();
            }
            seen = moves;
        }
    }

    /// Takes no more, lets commits under way finish, says goodbye.
    async fn leave(
        &self,
        requests: &Requests,
        work: &mut (impl Future<Output = Result<(), Failure>> + Unpin),
        carried: &mut (impl Future<Output = ()> + Unpin),
    ) {
        self.leaving.store(true, Ordering::Relaxed);
        let goodbye = async {
            drop(timeout(SETTLE_MAX, self.ledger.settled()).await);
            drop(timeout(LEAVE_MAX, requests.disconnect()).await);
            tokio::time::sleep(LEAVE_MAX).await;
        };
        tokio::select! {
            _ = work => {}
            () = carried => {}
            () = goodbye => {}
        }
    }
}

/// Polls up to the CONNACK; `true` when the broker kept a session.
pub(super) async fn connack(wire: &mut Wire, answer_by: Instant) -> Result<bool, Failure> {
    let answer = async {
        loop {
            if let Signal::Connected { session_present } = wire.poll().await? {
                return Ok(session_present);
            }
        }
    };
    timeout_at(answer_by, answer).await.unwrap_or_else(|_| Err(Failure::no_connack()))
}

/// The failure of a connection that had no CONNACK.
pub(super) fn unanswered(
    failure: Failure,
    source: &MqttSource,
    version: Version,
    relay: &Relay,
) -> Failure {
    if version == Version::V5 && relay.refused_version_in_old_form() {
        return Failure::version_refused("5");
    }
    let failure = explained(failure, source, relay);
    match failure.kind {
        FailureKind::Closed => Failure::new(
            FailureKind::ClosedUnanswered,
            format!(
                "{} instead of answering the CONNECT: is it just starting, or does it refuse this client?",
                failure.text
            ),
        ),
        _ => failure,
    }
}

/// What broke the connection underneath says more than the library, which only saw its own end close.
fn explained(failure: Failure, source: &MqttSource, relay: &Relay) -> Failure {
    let underneath = match failure.kind {
        FailureKind::Closed => relay.take_error(),
        _ => None,
    };
    match underneath {
        None => failure,
        Some(error) => match tls::explain(&error, dial::server_name(source)) {
            Some(text) => Failure::new(FailureKind::Unreachable, text),
            None => Failure::closed(&error),
        },
    }
}

/// A message that is not taken.
enum Dropped {
    Oversize(usize),
    InvalidTopic,
}
