//! What happens to a message before it is acknowledged: custody first.
//!
//! rmqtt's session loop is serial, and calls here between reading a PUBLISH and answering it. So the answer
//! waits as long as [`Gate::take`] does, and acknowledgements leave in the order received per connection.

use std::net::SocketAddr;
use std::time::Duration;

use rmqtt::types::{Id, Publish, QoS};

use super::translate;
use crate::event::{Event, Qos};
use crate::source::{Custody, Problem, SourceContext, SourceHealth, Verdict};
use crate::topic::Topic;

/// Longest wait for custody before the message is refused. Beyond it devices give up on a silent connection anyway
/// (usual keep-alives are 30 to 60 s), and a session that waits cannot be taken over by its own reconnect.
const CUSTODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How the answer to a PUBLISH is decided.
#[derive(Debug)]
pub(super) struct Gate {
    context: SourceContext,
}

/// What to answer to a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is safe, or needs not be.
    Acknowledge,
    /// It is not safe: never a success.
    NotStored,
    /// The access rules say no.
    NotAllowed,
    /// The topic is none (wildcards, empty).
    InvalidTopic,
}

impl Gate {
    pub(super) fn new(context: SourceContext) -> Self {
        Self { context }
    }

    pub(super) fn health(&self) -> &SourceHealth {
        &self.context.health
    }

    /// Takes custody of a message that the client `id` published from `address`, and says what to answer.
    ///
    /// Dropping the future refuses nothing that was handed over already: the event may become durable, and the
    /// device, which got no answer, sends it again.
    pub(super) async fn publish(
        &self,
        id: &Id,
        address: Option<SocketAddr>,
        publish: &Publish,
    ) -> Answer {
        let Ok(topic) = Topic::new(&publish.topic) else {
            self.context.health.count(Problem::Protocol);
            return Answer::InvalidTopic;
        };
        let metrics = &self.context.health.metrics;
        metrics.received.inc();
        if publish.dup {
            metrics.redelivered.inc();
        }
        let answer = if self.is_wanted(&topic) {
            self.take(translate::event(&self.context, id, address, topic, publish)).await
        } else {
            Answer::Acknowledge
        };
        match answer {
            Answer::Acknowledge if publish.qos != QoS::AtMostOnce => {
                metrics.acknowledged.inc();
            }
            Answer::NotStored => self.context.health.count(Problem::NotStored),
            Answer::Acknowledge | Answer::NotAllowed | Answer::InvalidTopic => {}
        }
        answer
    }

    /// Takes a will that the broker publishes for a client that is gone. Nobody waits for an answer, so all
    /// that can be done for a will that is not safe is to count it.
    pub(super) async fn will(&self, id: &Id, address: Option<SocketAddr>, publish: &Publish) {
        let Answer::NotStored = self.publish(id, address, publish).await else { return };
        self.context.health.metrics.dropped.inc();
    }

    fn is_wanted(&self, topic: &Topic) -> bool {
        self.context.subscriptions.iter().any(|filter| filter.matches(topic))
    }

    async fn take(&self, event: Event) -> Answer {
        if event.qos == Qos::AtMostOnce {
            if self.context.intake.try_submit(event, Custody::none()).is_err() {
                self.context.health.metrics.dropped.inc();
            }
            return Answer::Acknowledge;
        }
        let (custody, verdict) = Custody::channel();
        let accepted = async {
            self.context.intake.submit(event, custody).await.ok()?;
            verdict.await.ok()
        };
        match tokio::time::timeout(CUSTODY_WAIT_MAX, accepted).await {
            Ok(Some(Verdict::Accepted)) => Answer::Acknowledge,
            Ok(Some(Verdict::Refused) | None) | Err(_) => Answer::NotStored,
        }
    }
}
