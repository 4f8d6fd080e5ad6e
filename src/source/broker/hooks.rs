//! Where rmqtt asks: who may connect, what may be subscribed, and what to answer to a PUBLISH.

use std::sync::Arc;

use async_trait::async_trait;
use rmqtt::codec::v5::PublishAckReason;
use rmqtt::hook::{Handler, HookResult, Parameter, Register, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{AuthResult, ConnectInfo, FromType, Publish, PublishAclResult, PublishResult};

use super::gate::{Answer, Gate};

/// The questions that are answered here.
const TYPES: [Type; 3] =
    [Type::ClientAuthenticate, Type::MessagePublish, Type::MessagePublishCheckAcl];

/// One handler for all questions.
struct Hooks {
    gate: Arc<Gate>,
}

/// Has rmqtt ask us from now on.
pub(super) async fn install(register: &dyn Register, gate: Arc<Gate>) {
    for question in TYPES {
        register.add(question, Box::new(Hooks { gate: Arc::clone(&gate) })).await;
    }
    register.start().await;
}

#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, earlier: Option<HookResult>) -> ReturnType {
        let answer = match parameter {
            // Never a superuser: those skip the question that takes custody.
            Parameter::ClientAuthenticate(_) => {
                HookResult::AuthResult(AuthResult::Allow(false, None))
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                HookResult::PublishAclResult(self.publish(session, publish).await)
            }
            // Wills are published without the question above.
            Parameter::MessagePublish(_, from, publish)
                if matches!(from.typ(), FromType::LastWill) =>
            {
                self.gate.will(&from.id, publish).await;
                return (true, earlier);
            }
            _ => return (true, earlier),
        };
        (false, Some(answer))
    }
}

impl Hooks {
    async fn publish(&self, session: &Session, publish: &Publish) -> PublishAclResult {
        let (reason, text) = match self.gate.publish(&session.id, publish).await {
            Answer::Acknowledge => return PublishAclResult::allow(),
            Answer::NotStored => {
                (PublishAckReason::QuotaExceeded, "the message could not be stored")
            }
            Answer::InvalidTopic => (PublishAckReason::TopicNameInvalid, "not a topic name"),
        };
        let disconnect = !speaks_mqtt5(session).await;
        PublishAclResult(PublishResult::reason_code(reason, Some(text.into()), disconnect))
    }
}

/// MQTT 5 has negative answers. For anything older, `disconnect = false` would make rmqtt send a PUBACK.
async fn speaks_mqtt5(session: &Session) -> bool {
    matches!(session.connect_info().await.as_deref(), Ok(ConnectInfo::V5(..)))
}
