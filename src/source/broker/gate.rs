//! What happens to a message before it is acknowledged: custody first.
//!
//! rmqtt's session loop is serial, and calls here between reading a PUBLISH and answering it. A message of QoS 1 is handed
//! over, and its PUBACK held back on its way out ([`super::acks`]). For QoS 2 the answer waits here: rmqtt forgets a message
//! of QoS 1 once it has answered, and one of QoS 2 it takes for a duplicate when it comes again.

use std::sync::Arc;
use std::time::Duration;

use rmqtt::types::{Id, Publish, QoS};

use super::acks::Acks;
use super::events::Tag;
use super::peers::Peer;
use super::translate;
use crate::event::Event;
use crate::source::{Custody, Problem, SourceContext, SourceHealth, Verdict};
use crate::tail;
use crate::topic::Topic;

/// Longest wait for custody before the message is refused. Beyond it devices give up on a silent connection anyway
/// (usual keep-alives are 30 to 60 s), and a session that waits here cannot be taken over by its own reconnect.
pub(super) const CUSTODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How the answer to a PUBLISH is decided.
#[derive(Debug)]
pub(super) struct Gate {
    context: SourceContext,
    custody_wait_max: Duration,
}

/// What to answer to a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is safe, or needs not be.
    Acknowledge,
    /// Once it is safe, which is seen to elsewhere.
    Promised,
    /// It is not safe: never a success.
    NotStored,
    /// The access rules say no.
    NotAllowed,
    /// The topic is none (wildcards, empty).
    InvalidTopic,
}

impl Gate {
    pub(super) fn new(context: SourceContext) -> Self {
        Self { context, custody_wait_max: CUSTODY_WAIT_MAX }
    }

    pub(super) fn health(&self) -> &SourceHealth {
        &self.context.health
    }

    /// Takes custody of a message that the client `id` published, and says what to answer. `tag` is what the message goes
    /// by, where it is told of again later. With `acks` the answer may be promised.
    ///
    /// Dropping the future refuses nothing that was handed over already: the event may become durable, and the
    /// device, which got no answer, sends it again.
    pub(super) async fn publish(
        &self,
        id: &Id,
        peer: Option<&Peer>,
        publish: &Publish,
        tag: Option<Tag>,
        acks: Option<&Arc<Acks>>,
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
        let address = peer.map(|peer| peer.address);
        let answer = if self.is_wanted(&topic) {
            let event = translate::event(&self.context, id, address, topic, publish, tag);
            match (publish.qos, acks, publish.packet_id) {
                (QoS::AtMostOnce, ..) => self.take_or_drop(event),
                (QoS::AtLeastOnce, Some(acks), Some(packet_id)) => {
                    self.promise(event, acks, packet_id.get()).await
                }
                _ => self.take(event).await,
            }
        } else {
            if let Some(audience) = self.context.tail.audience() {
                let event = translate::event(&self.context, id, address, topic, publish, tag);
                tail::tell_of_unwanted(&audience, &event);
            }
            Answer::Acknowledge
        };
        match answer {
            Answer::Acknowledge if publish.qos != QoS::AtMostOnce => {
                metrics.acknowledged.inc();
            }
            Answer::NotStored => self.context.health.count(Problem::NotStored),
            _ => {}
        }
        answer
    }

    /// Takes a will that the broker publishes for a client that is gone. Nobody waits for an answer, so all
    /// that can be done for a will that is not safe is to count it.
    pub(super) async fn will(
        &self,
        id: &Id,
        peer: Option<&Peer>,
        publish: &Publish,
        tag: Option<Tag>,
    ) {
        let Answer::NotStored = self.publish(id, peer, publish, tag, None).await else { return };
        self.context.health.metrics.dropped.inc();
    }

    fn is_wanted(&self, topic: &Topic) -> bool {
        self.context.wanted.borrow().topics.iter().any(|filter| filter.matches(topic))
    }

    /// Nobody waits for an answer.
    fn take_or_drop(&self, event: Event) -> Answer {
        if self.context.intake.try_submit(event, Custody::none()).is_err() {
            self.context.health.metrics.dropped.inc();
        }
        Answer::Acknowledge
    }

    /// Hands over an event; its acknowledgement waits elsewhere.
    async fn promise(&self, event: Event, acks: &Arc<Acks>, packet_id: u16) -> Answer {
        let (bytes, intake) = (event.memory_bytes(), &self.context.intake);
        let mut room = acks.try_place().zip(intake.try_reserve(bytes).ok());
        if room.is_none() {
            let waited = async { Some((acks.place().await, intake.reserve(bytes).await.ok()?)) };
            room = tokio::time::timeout(self.custody_wait_max, waited).await.ok().flatten();
        }
        let Some((place, room)) = room else { return Answer::NotStored };
        room.submit(event, acks.promise(place, packet_id));
        Answer::Promised
    }

    /// Hands over an event, and waits until it is safe.
    async fn take(&self, event: Event) -> Answer {
        let (custody, verdict) = Custody::channel();
        let accepted = async {
            self.context.intake.submit(event, custody).await.ok()?;
            verdict.await.ok()
        };
        match tokio::time::timeout(self.custody_wait_max, accepted).await {
            Ok(Some(Verdict::Accepted)) => Answer::Acknowledge,
            Ok(Some(Verdict::Refused) | None) | Err(_) => Answer::NotStored,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::event::{Message, Qos};
    use crate::source::broker::tests::context;

    fn event(context: &SourceContext) -> Event {
        let message = Message {
            id: context.ids.mint(),
            topic: Topic::new("t/1").unwrap(),
            payload: Bytes::from_static(b"hello"),
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            client_id: None,
            username: None,
            peer: None,
            properties: None,
        };
        Event::published(context.name.clone(), UnixMillis(0), message)
    }

    #[tokio::test]
    async fn custody_is_waited_for_so_long_and_no_longer() {
        let wait = Duration::from_millis(400);
        let (early, late) = (wait / 8, wait * 8);
        // In the queue's hands, or still on the way into a full intake.
        for (is_full, accepted_after, expected) in [
            (false, early, Answer::Acknowledge),
            (false, late, Answer::NotStored),
            (true, early, Answer::Acknowledge),
            (true, late, Answer::NotStored),
        ] {
            let (context, mut incoming) = context(&["#"]);
            let gate = Gate { context: context.clone(), custody_wait_max: wait };
            let full = is_full.then(|| context.intake.try_reserve(usize::MAX).unwrap());
            let accept = async {
                tokio::time::sleep(accepted_after).await;
                drop(full);
                incoming.recv().await.unwrap().custody.accept();
                std::future::pending::<()>().await;
            };
            let started = Instant::now();
            let answer = tokio::select! {
                answer = gate.take(event(&context)) => answer,
                () = accept => unreachable!("it is pending"),
            };
            assert_eq!(answer, expected, "full: {is_full}, accepted after {accepted_after:?}");
            let waited = started.elapsed();
            assert!(waited >= wait.min(accepted_after) && waited < late, "{waited:?}");
        }
    }
}
