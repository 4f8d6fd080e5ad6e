//! Where rmqtt asks: who may connect, what may be subscribed, and what to answer to a PUBLISH.

use std::sync::Arc;

use async_trait::async_trait;
use rmqtt::codec::v5::{PublishAckReason, SubscribeAckReason};
use rmqtt::hook::{Handler, HookResult, Parameter, Register, ReturnType, Type};
use rmqtt::net::MqttError;
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ConnectInfo, FromType, Id, LastWill, Publish, PublishAclResult, PublishResult, QoS,
    Reason, Subscribe, SubscribeAclResult,
};

use super::access;
use super::events::Teller;
use super::gate::{Answer, Gate};
use super::peers::Peers;
use super::users::{Admission, Users};
use crate::access::Client;
use crate::config::AccessRule;
use crate::event::EventKind;
use crate::source::Problem;
use crate::topic::{Topic, TopicFilter};

/// The questions that are answered here, whatever else is told.
const QUESTIONS: [Type; 5] = [
    Type::ClientAuthenticate,
    Type::ClientDisconnected,
    Type::ClientSubscribeCheckAcl,
    Type::MessagePublish,
    Type::MessagePublishCheckAcl,
];

/// Everything that decides.
#[derive(Debug)]
pub(super) struct House {
    pub(super) gate: Gate,
    pub(super) teller: Arc<Teller>,
    pub(super) users: Users,
    pub(super) access: Vec<AccessRule>,
    pub(super) peers: Arc<Peers>,
}

/// One handler for all questions.
struct Hooks(Arc<House>);

/// Has rmqtt ask us from now on, and for more when rules come to want more. Nothing waits for the task that sees to that,
/// which ends with the runtime.
pub(super) async fn install(register: Box<dyn Register>, house: Arc<House>) {
    let mut asked = Vec::new();
    ask(register.as_ref(), &house, &mut asked).await;
    tokio::spawn(async move {
        let mut changes = house.teller.changes();
        while changes.changed().await.is_ok() {
            ask(register.as_ref(), &house, &mut asked).await;
        }
    });
}

async fn ask(register: &dyn Register, house: &Arc<House>, asked: &mut Vec<Type>) {
    for question in QUESTIONS.into_iter().chain(house.teller.questions()) {
        if !asked.contains(&question) {
            register.add(question, Box::new(Hooks(Arc::clone(house)))).await;
            asked.push(question);
        }
    }
    register.start().await;
}

#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, earlier: Option<HookResult>) -> ReturnType {
        let house = &self.0;
        let answer = match parameter {
            Parameter::ClientAuthenticate(connect) => {
                HookResult::AuthResult(house.connect(connect).await)
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                match house.subscribe(session, subscribe).await {
                    None => return (true, earlier),
                    Some(refusal) => HookResult::SubscribeAclResult(refusal),
                }
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                HookResult::PublishAclResult(house.publish(session, publish).await)
            }
            Parameter::ClientDisconnected(session, reason) => {
                if let Some(problem) = problem(reason) {
                    house.gate.health().count(problem);
                }
                house.teller.disconnected(session, reason).await;
                return (true, earlier);
            }
            Parameter::MessagePublish(_, from, publish) => {
                let tagged = house.teller.tagged(publish);
                // Wills are published without the question above; whether they may be was asked at CONNECT.
                if matches!(from.typ(), FromType::LastWill) {
                    house.will(&from.id, tagged.as_ref().unwrap_or(publish)).await;
                }
                match tagged {
                    Some(tagged) => HookResult::Publish(tagged),
                    None => return (true, earlier),
                }
            }
            told => {
                house.tell(told).await;
                return (true, earlier);
            }
        };
        (false, Some(answer))
    }
}

impl House {
    /// What is asked only because some rule wants to know.
    async fn tell(&self, parameter: &Parameter<'_>) {
        let teller = &self.teller;
        match parameter {
            Parameter::ClientConnect(connect) => teller.connect(connect).await,
            Parameter::SessionCreated(session) => teller.session_created(&session.id).await,
            Parameter::ClientConnected(session) => teller.connected(session).await,
            Parameter::SessionTerminated(session, reason) => {
                teller.session_terminated(session, reason).await;
            }
            Parameter::ClientKeepalive(session, is_ping) => {
                teller.after_packet(session, *is_ping).await;
            }
            Parameter::ClientSubscribe(session, subscribe) => {
                teller.subscribe(EventKind::ClientSubscribe, &session.id, subscribe).await;
            }
            Parameter::SessionSubscribed(session, subscribe) => {
                teller.subscribe(EventKind::SessionSubscribed, &session.id, subscribe).await;
            }
            Parameter::ClientUnsubscribe(session, unsubscribe) => {
                teller.unsubscribe(session, unsubscribe).await;
            }
            Parameter::SessionUnsubscribed(session, unsubscribe) => {
                teller.unsubscribed(session, unsubscribe).await;
            }
            Parameter::MessageDelivered(session, from, publish) => {
                teller.reaches(EventKind::MessageDelivered, &session.id, from, publish).await;
            }
            Parameter::MessageAcked(session, from, publish) => {
                teller.reaches(EventKind::MessageAcked, &session.id, from, publish).await;
            }
            Parameter::MessageDropped(to, from, publish, reason) => {
                teller.dropped(to.as_ref(), from, publish, reason).await;
            }
            Parameter::MessageNonsubscribed(from) => teller.no_subscribers(from).await,
            _ => {}
        }
    }

    /// What decides whether a client may do something, in EMQX's words.
    fn authz_source(&self) -> &'static str {
        if self.access.is_empty() { "default" } else { "file" }
    }

    async fn connect(&self, connect: &ConnectInfo) -> AuthResult {
        // What does not come through the front is nobody: another program on this machine.
        let Some(peer) = self.peers.find(connect.id().remote_addr) else {
            return AuthResult::NotAuthorized;
        };
        peer.speaks(matches!(connect, ConnectInfo::V5(..)));
        let password = connect.password().map(|password| &password[..]).unwrap_or_default();
        let username = connect.username().map(|name| &**name);
        let refusal = match self.users.admit(username, password, &peer).await {
            Admission::Granted if self.may_leave_will(connect) => {
                self.teller.authenticated(connect, None).await;
                // Never a superuser: those skip the question that takes custody.
                return AuthResult::Allow(false, None);
            }
            Admission::Granted | Admission::Anonymous => AuthResult::NotAuthorized,
            Admission::BadCredentials => AuthResult::BadUsernameOrPassword,
            Admission::Overloaded => {
                // "Not authorized" would be untrue, and devices take it as final.
                peer.hang_up();
                return AuthResult::NotAuthorized;
            }
        };
        self.gate.health().count(Problem::NotAuthorized);
        let word = match refusal {
            AuthResult::BadUsernameOrPassword => "bad_username_or_password",
            _ => "not_authorized",
        };
        self.teller.authenticated(connect, Some(word)).await;
        refusal
    }

    fn may_leave_will(&self, connect: &ConnectInfo) -> bool {
        let topic = match connect.last_will() {
            None => return true,
            Some(LastWill::V3(will)) => &will.topic,
            Some(LastWill::V5(will)) => &will.topic,
        };
        Topic::new(topic).is_ok() && access::may_publish(&self.access, client(connect.id()), topic)
    }

    /// `None` when the subscription is granted.
    async fn subscribe(
        &self,
        session: &Session,
        subscribe: &Subscribe,
    ) -> Option<SubscribeAclResult> {
        let (id, filter) = (&session.id, &subscribe.topic_filter);
        let reason = if TopicFilter::new(filter).is_err() {
            SubscribeAckReason::TopicFilterInvalid
        } else {
            let may = access::may_subscribe(&self.access, client(id), filter);
            self.teller.authorized(id, "subscribe", filter, self.authz_source(), may).await;
            if may {
                return None;
            }
            SubscribeAckReason::NotAuthorized
        };
        self.gate.health().count(Problem::SubscriptionRefused);
        Some(SubscribeAclResult::new_failure(reason))
    }

    async fn publish(&self, session: &Session, publish: &Publish) -> PublishAclResult {
        let (id, topic) = (&session.id, &publish.topic);
        let peer = self.peers.find(id.remote_addr);
        let may = access::may_publish(&self.access, client(id), topic);
        self.teller.authorized(id, "publish", topic, self.authz_source(), may).await;
        let acks = peer.as_deref().map(|peer| &peer.acks);
        let answer = if may {
            let tag = self.teller.tag(publish);
            self.gate.publish(id, peer.as_deref(), publish, tag, acks).await
        } else {
            self.gate.health().count(Problem::NotAuthorized);
            Answer::NotAllowed
        };
        if let (QoS::AtLeastOnce, Some(packet_id), Some(acks)) =
            (publish.qos, publish.packet_id, acks)
            && answer != Answer::Promised
        {
            acks.keep_turn(packet_id.get()).await;
        }
        let (reason, text) = match answer {
            Answer::Acknowledge | Answer::Promised => {
                self.teller.goes_out(id, publish);
                return PublishAclResult::allow();
            }
            Answer::NotStored => (PublishAckReason::QuotaExceeded, "the message was not stored"),
            Answer::NotAllowed => (PublishAckReason::NotAuthorized, "not allowed by access rules"),
            Answer::InvalidTopic => (PublishAckReason::TopicNameInvalid, "not a topic name"),
        };
        let speaks_mqtt5 = peer.is_some_and(|peer| peer.speaks_mqtt5());
        // A QoS 0 message has no answer that could be false: without one it is just not taken. For anything older than
        // MQTT 5, `disconnect = false` would make rmqtt send a PUBACK.
        let disconnect =
            answer == Answer::InvalidTopic || (publish.qos != QoS::AtMostOnce && !speaks_mqtt5);
        PublishAclResult(PublishResult::reason_code(reason, Some(text.into()), disconnect))
    }

    async fn will(&self, id: &Id, publish: &Publish) {
        let peer = self.peers.find(id.remote_addr);
        self.gate.will(id, peer.as_deref(), publish, self.teller.tag(publish)).await;
        self.teller.goes_out(id, publish);
    }
}

fn client(id: &Id) -> Client<'_> {
    Client { client_id: &id.client_id, username: id.username.as_deref() }
}

/// What went wrong with a connection that ended for `reason`; what was refused is counted where it is refused.
fn problem(reason: &Reason) -> Option<Problem> {
    match reason {
        Reason::ConnectKeepaliveTimeout | Reason::ConnectReadWriteTimeout => Some(Problem::Silent),
        Reason::ConnectKicked(_) => Some(Problem::SessionTakenOver),
        Reason::ProtocolError(_)
        | Reason::Error(_)
        | Reason::InflightWindowFull
        | Reason::MqttError(MqttError::Decode(_)) => Some(Problem::Protocol),
        Reason::Reasons(reasons) => reasons.iter().find_map(problem),
        _ => None,
    }
}
