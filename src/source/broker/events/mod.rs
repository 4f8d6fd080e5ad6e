//! What happens in the broker beside published messages, told as EMQX tells it.
//!
//! Only kinds that some rule wants are made: rmqtt is asked for no others, and for more when rules come to want more. Nobody waits for an answer, so these events go
//! to the intake without custody, and are as durable from there on. While the intake is full they wait a moment; then they
//! are dropped and counted.

mod clients;
mod columns;
mod tags;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rmqtt::hook::Type;
use rmqtt::session::Session;
use rmqtt::types::{ConnectInfo, Id, Publish, Reason, Subscribe, SubscriptionOptions, Unsubscribe};
use serde_json::Value;
use tokio::sync::watch;

use self::clients::Clients;
use self::columns::{Draft, filter, no_properties};
use self::tags::Tags;
use super::peers::{Peer, Peers};
use super::translate;
use crate::clock::UnixMillis;
use crate::event::{Event, EventKind, Occurrence};
use crate::source::{Custody, NoRoom, SourceContext, Wanted};

pub(super) use self::tags::Tag;

/// Longest wait for room in the intake: whoever is told of waits meanwhile.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// When a connection that has ended is looked at: rmqtt may have said nothing of it.
const LOOKS_BACK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(40)];

/// What is noted of a connection until it is told.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// CONNACK and end of this client, but for their reasons; there once CONNECT has come.
    connack: Option<Occurrence>,
    end: Option<Occurrence>,
    /// The end was told.
    is_over: bool,
    /// It is hung up on, because a message was not stored and it could not be told so.
    pub(super) is_not_stored: bool,
    /// The message that is being published.
    publishing: Option<(Publish, Tag)>,
    /// The quality of service of the subscription that is being given up.
    unsubscribing: Option<u8>,
}

/// Tells the intake what happens.
#[derive(Debug)]
pub(super) struct Teller {
    context: SourceContext,
    peers: Arc<Peers>,
    inflight_max: u16,
    tags: Tags,
    clients: Clients,
}

impl Teller {
    pub(super) fn new(context: SourceContext, peers: Arc<Peers>, inflight_max: u16) -> Self {
        let (tags, clients) = (Tags::default(), Clients::default());
        Self { context, peers, inflight_max, tags, clients }
    }

    /// What the rules come to want from now on.
    pub(super) fn changes(&self) -> watch::Receiver<Wanted> {
        self.context.wanted.clone()
    }

    /// Whether some rule wants events of this kind.
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        self.context.wanted.borrow().kinds.contains(&kind)
    }

    fn wants_any(&self, kinds: &[EventKind]) -> bool {
        kinds.iter().any(|kind| self.wants(*kind))
    }

    /// Connections are followed from their beginning to their end.
    fn follows(&self) -> bool {
        self.wants_any(&[
            EventKind::ClientConnected,
            EventKind::ClientConnack,
            EventKind::ClientDisconnected,
            EventKind::SessionCreated,
            EventKind::SessionTerminated,
        ])
    }

    /// Messages are told of again after they were published.
    fn tags_messages(&self) -> bool {
        self.wants_any(&[
            EventKind::MessageDelivered,
            EventKind::MessageAcked,
            EventKind::MessageDropped,
            EventKind::DeliveryDropped,
        ])
    }

    /// What rmqtt is to be asked for, beside what the broker answers anyway.
    pub(super) fn questions(&self) -> Vec<Type> {
        let wanted = [
            (Type::ClientConnect, self.follows() || self.wants(EventKind::ClientConnect)),
            (Type::ClientConnected, self.follows()),
            (Type::SessionCreated, self.follows()),
            (Type::SessionTerminated, self.follows()),
            // Comes after every packet.
            (
                Type::ClientKeepalive,
                self.wants_any(&[EventKind::ClientPing, EventKind::MessageDropped]),
            ),
            (Type::ClientSubscribe, self.wants(EventKind::ClientSubscribe)),
            (Type::SessionSubscribed, self.wants(EventKind::SessionSubscribed)),
            (
                Type::ClientUnsubscribe,
                self.wants_any(&[EventKind::ClientUnsubscribe, EventKind::SessionUnsubscribed]),
            ),
            (Type::SessionUnsubscribed, self.wants(EventKind::SessionUnsubscribed)),
            (Type::MessageDelivered, self.wants(EventKind::MessageDelivered)),
            (Type::MessageAcked, self.wants(EventKind::MessageAcked)),
            (
                Type::MessageDropped,
                self.wants_any(&[EventKind::MessageDropped, EventKind::DeliveryDropped]),
            ),
            (Type::MessageNonsubscribed, self.wants(EventKind::MessageDropped)),
        ];
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(question, _)| question).collect()
    }

    async fn tell(&self, occurrence: Occurrence) {
        let event = Event::of(self.context.name.clone(), UnixMillis::now(), occurrence);
        let (intake, bytes) = (&self.context.intake, event.memory_bytes());
        let room = match intake.try_reserve(bytes) {
            Ok(room) => Some(room),
            Err(NoRoom::Closed) => None,
            Err(NoRoom::Full) => {
                let room = tokio::time::timeout(ROOM_WAIT_MAX, intake.reserve(bytes)).await;
                room.ok().and_then(Result::ok)
            }
        };
        match room {
            Some(room) => room.submit(event, Custody::none()),
            None => self.context.health.metrics.dropped.inc(),
        }
    }

    async fn tell_wanted(&self, occurrence: Occurrence) {
        if self.wants(occurrence.kind()) {
            self.tell(occurrence).await;
        }
    }

    fn peer(&self, id: &Id) -> Option<Arc<Peer>> {
        self.peers.find(id.remote_addr)
    }

    fn client(&self, kind: EventKind, id: &Id) -> Draft {
        Draft::of_client(kind, id, self.peer(id).as_deref())
    }
}

/// Connections and sessions.
impl Teller {
    /// CONNECT has come; once more when the front repeats it.
    pub(super) async fn connect(&self, connect: &ConnectInfo) {
        let id = connect.id();
        let Some(peer) = self.peer(id) else { return };
        let draft = |kind| Draft::of_client(kind, id, Some(&peer)).with_connect(connect).done();
        let is_first = {
            let mut notes = peer.notes();
            let is_first = notes.connack.is_none();
            notes.connack = Some(draft(EventKind::ClientConnack));
            let end = draft(EventKind::ClientDisconnected);
            notes.end = Some(end.with("disconn_props", no_properties()));
            is_first
        };
        if is_first {
            self.tell_wanted(draft(EventKind::ClientConnect)).await;
        }
    }

    /// It is known who a client is, or not.
    pub(super) async fn authenticated(&self, connect: &ConnectInfo, refusal: Option<&str>) {
        let id = connect.id();
        if refusal.is_none() && self.follows() {
            self.clients.arrives(&id.client_id, connect.clean_start());
        }
        if self.wants(EventKind::ClientCheckAuthn) {
            let told = self
                .client(EventKind::ClientCheckAuthn, id)
                .set("reason_code", refusal.unwrap_or("success"))
                .set("is_anonymous", refusal.is_none() && connect.username().is_none())
                .set("is_superuser", false);
            self.tell(told.done()).await;
        }
    }

    /// The front passes a CONNACK on that lets nobody in.
    pub(super) async fn refused(&self, peer: &Peer, code: u8) {
        if !self.wants(EventKind::ClientConnack) {
            return;
        }
        let noted = peer.notes().connack.take();
        let connack = noted.unwrap_or_else(|| {
            Occurrence::new(EventKind::ClientConnack)
                .with("peername", peer.address.to_string())
                .with("sockname", peer.entrance.to_string())
        });
        self.tell(connack.with("reason_code", words::connack(code))).await;
    }

    /// A session begins. Where it takes the place of another, that one has ended.
    pub(super) async fn session_created(&self, id: &Id) {
        self.end_of_earlier(id).await;
        if self.clients.session_begins(&id.client_id) {
            let ended = self.client(EventKind::SessionTerminated, id).set("reason", "discarded");
            self.tell_wanted(ended.done()).await;
        }
        let begins = self.client(EventKind::SessionCreated, id);
        self.tell_wanted(begins.set("created_at", UnixMillis::now().0).done()).await;
    }

    /// A client is connected, and CONNACK will say so.
    pub(super) async fn connected(&self, session: &Session) {
        let id = &session.id;
        self.end_of_earlier(id).await;
        if let Some(token) = id.remote_addr {
            self.clients.connected(&id.client_id, token);
        }
        let Ok(connect) = session.connect_info().await else { return };
        let connected_at = moment(session.connected_at().await.ok());
        let connected = self
            .client(EventKind::ClientConnected, id)
            .with_connect(&connect)
            .set("receive_maximum", columns::receive_maximum(&connect, self.inflight_max))
            .set("is_bridge", false)
            .set_some("connected_at", connected_at);
        self.tell_wanted(connected.done()).await;
        let connack = self
            .client(EventKind::ClientConnack, id)
            .with_connect(&connect)
            .set("reason_code", words::connack(0))
            .set_some("connected_at", connected_at);
        self.tell_wanted(connack.done()).await;
        if let (Some(peer), Some(at)) = (self.peer(id), connected_at) {
            let mut notes = peer.notes();
            notes.connack = None;
            notes.end = notes.end.take().map(|end| end.with("connected_at", at));
        }
    }

    /// Events of a client leave in order: those of its last connection before those of this one.
    async fn end_of_earlier(&self, id: &Id) {
        if let Some(token) = id.remote_addr {
            self.clients.earlier_has_ended(&id.client_id, token).await;
        }
    }

    /// A connection has ended.
    pub(super) async fn disconnected(&self, session: &Session, reason: &Reason) {
        let id = &session.id;
        if let Some(peer) = self.peer(id) {
            let word = if peer.notes().is_not_stored {
                words::NOT_STORED
            } else {
                words::disconnected(reason, self.clients.kicked(&id.client_id))
            };
            self.note_late(session, &peer).await;
            self.end(id.remote_addr, &peer, word, columns::disconnect_properties(reason)).await;
        }
    }

    /// Notes of a connection what was noted at its beginning, had some rule wanted it then.
    async fn note_late(&self, session: &Session, peer: &Peer) {
        if peer.notes().end.is_some() {
            return;
        }
        let Ok(connect) = session.connect_info().await else { return };
        let end = Draft::of_client(EventKind::ClientDisconnected, &session.id, Some(peer))
            .with_connect(&connect)
            .set_some("connected_at", moment(session.connected_at().await.ok()));
        let mut notes = peer.notes();
        if !notes.is_over {
            notes.end = Some(end.done());
        }
    }

    /// The front has seen the end of a connection that rmqtt may never tell of: one that ended before CONNACK was sent.
    pub(super) async fn gone(&self, token: SocketAddr, peer: &Peer) {
        if !self.wants(EventKind::ClientDisconnected) {
            return;
        }
        for pause in LOOKS_BACK {
            if !self.is_open(token, peer) {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        self.end(Some(token), peer, "tcp_closed", no_properties()).await;
    }

    /// Whether the beginning of a connection was told and its end was not.
    fn is_open(&self, token: SocketAddr, peer: &Peer) -> bool {
        let notes = peer.notes();
        let client_id = notes.end.as_ref().and_then(|end| end.text("clientid"));
        client_id.is_some_and(|client_id| self.clients.is_connected(client_id, token))
    }

    /// Tells the end of a connection, once.
    async fn end(&self, token: Option<SocketAddr>, peer: &Peer, reason: &str, properties: Value) {
        let end = {
            let mut notes = peer.notes();
            notes.is_over = true;
            notes.end.take()
        };
        let Some(end) = end else { return };
        let client_id = end.text("clientid").unwrap_or_default().to_owned();
        let end = end
            .with("reason", reason)
            .with("disconn_props", properties)
            .with("disconnected_at", UnixMillis::now().0);
        self.tell_wanted(end).await;
        if let Some(token) = token {
            self.clients.disconnected(&client_id, token);
        }
    }

    /// A session has ended.
    pub(super) async fn session_terminated(&self, session: &Session, reason: &Reason) {
        let id = &session.id;
        self.clients.session_ends(&id.client_id);
        let word = words::terminated(reason, self.clients.kicked(&id.client_id));
        let ended = self.client(EventKind::SessionTerminated, id).set("reason", word);
        self.tell_wanted(ended.done()).await;
    }

    /// A packet of a client has been dealt with.
    pub(super) async fn after_packet(&self, session: &Session, is_ping: bool) {
        if let Some(peer) = self.peer(&session.id) {
            peer.notes().publishing = None;
        }
        if !is_ping || !self.wants(EventKind::ClientPing) {
            return;
        }
        let Ok(connect) = session.connect_info().await else { return };
        let ping = self.client(EventKind::ClientPing, &session.id).with_connect(&connect);
        self.tell(ping.done()).await;
    }
}

/// Subscriptions.
impl Teller {
    pub(super) async fn subscribe(&self, kind: EventKind, id: &Id, subscribe: &Subscribe) {
        let options = &subscribe.opts;
        let group = options.shared_group().map(|group| &**group);
        let told = self
            .client(kind, id)
            .set("sub_props", columns::subscribe_properties(options))
            .set("topic", filter(group, &subscribe.topic_filter))
            .set("qos", options.qos_value())
            .set("opts", columns::options(options));
        self.tell(told.done()).await;
    }

    /// A client gives up a filter; what it had is gone when that has been done.
    pub(super) async fn unsubscribe(&self, session: &Session, unsubscribe: &Unsubscribe) {
        let id = &session.id;
        if let (Some(peer), Ok(subscriptions)) = (self.peer(id), session.subscriptions().await) {
            let qos = {
                let subscriptions = subscriptions.read().await;
                subscriptions.get(&unsubscribe.topic_filter).map(SubscriptionOptions::qos)
            };
            peer.notes().unsubscribing = qos.map(columns::qos_level);
        }
        if self.wants(EventKind::ClientUnsubscribe) {
            self.tell(self.given_up(EventKind::ClientUnsubscribe, id, unsubscribe).done()).await;
        }
    }

    pub(super) async fn unsubscribed(&self, session: &Session, unsubscribe: &Unsubscribe) {
        let id = &session.id;
        let qos = self.peer(id).and_then(|peer| peer.notes().unsubscribing.take());
        let told = self.given_up(EventKind::SessionUnsubscribed, id, unsubscribe);
        self.tell(told.set_some("qos", qos).done()).await;
    }

    fn given_up(&self, kind: EventKind, id: &Id, unsubscribe: &Unsubscribe) -> Draft {
        let group = unsubscribe.shared_group.as_deref();
        self.client(kind, id)
            .set("unsub_props", no_properties())
            .set("topic", filter(group, &unsubscribe.topic_filter))
    }
}

/// Messages.
impl Teller {
    /// The message as it is to go on, so that it is known again; `None` when nobody asks for that.
    pub(super) fn tagged(&self, publish: &Publish) -> Option<Publish> {
        if !self.tags_messages() {
            return None;
        }
        let mut publish = publish.clone();
        let tag = self.new_tag(&publish);
        publish.inner.payload = self.tags.tag(publish.payload.clone(), tag);
        Some(publish)
    }

    /// What is known of a message that was published before.
    pub(super) fn tag(&self, publish: &Publish) -> Option<Tag> {
        if self.tags_messages() { self.tags.find(&publish.payload) } else { None }
    }

    fn new_tag(&self, publish: &Publish) -> Tag {
        Tag {
            id: self.context.ids.mint(),
            received_at: UnixMillis::now(),
            qos: translate::qos(publish.qos),
            retain: publish.retain,
            dup: publish.dup,
        }
    }

    /// Whether a client may do what it wants to do with a topic or a filter.
    pub(super) async fn authorized(&self, id: &Id, action: &str, topic: &str, by: &str, may: bool) {
        if self.wants(EventKind::ClientCheckAuthz) {
            let told = self
                .client(EventKind::ClientCheckAuthz, id)
                .set("topic", topic)
                .set("action", action)
                .set("authz_source", by)
                .set("result", if may { "allow" } else { "deny" });
            self.tell(told.done()).await;
        }
    }

    /// A message goes out to its subscribers now. When there are none, rmqtt says only whose it was.
    pub(super) fn goes_out(&self, id: &Id, publish: &Publish) {
        if !self.wants(EventKind::MessageDropped) {
            return;
        }
        if let (Some(peer), Some(tag)) = (self.peer(id), self.tag(publish)) {
            peer.notes().publishing = Some((publish.clone(), tag));
        }
    }

    /// The message that last went out from a client has no subscribers.
    pub(super) async fn no_subscribers(&self, from: &Id) {
        let last = self.peer(from).and_then(|peer| peer.notes().publishing.take());
        if let Some((publish, tag)) = last {
            let told = self.client(EventKind::MessageDropped, from);
            let told = told.with_message(from, &publish, &tag).set("reason", "no_subscribers");
            self.tell(told.done()).await;
        }
    }

    pub(super) async fn dropped(
        &self,
        to: Option<&Id>,
        from: &Id,
        publish: &Publish,
        reason: &Reason,
    ) {
        let (draft, word) = match to {
            Some(to) => {
                let draft = self.client(EventKind::DeliveryDropped, to);
                (draft, words::delivery_dropped(reason))
            }
            None => match words::dropped(reason) {
                Some(word) => (self.client(EventKind::MessageDropped, from), word),
                None => return,
            },
        };
        let tag = self.tags.find(&publish.payload).unwrap_or_else(|| self.new_tag(publish));
        let told = draft.with_message(from, publish, &tag).set("reason", word).done();
        self.tell_wanted(told).await;
    }

    /// A message is sent to a subscriber, or acknowledged by one.
    pub(super) async fn reaches(&self, kind: EventKind, to: &Id, from: &Id, publish: &Publish) {
        // A retained message was published long ago.
        let tag = self.tags.find(&publish.payload).unwrap_or_else(|| self.new_tag(publish));
        let told = self.client(kind, to).with_message(from, publish, &tag);
        self.tell(told.set("puback_props", no_properties()).done()).await;
    }
}

/// rmqtt's moments.
fn moment(milliseconds: Option<i64>) -> Option<u64> {
    milliseconds.and_then(|at| u64::try_from(at).ok())
}
