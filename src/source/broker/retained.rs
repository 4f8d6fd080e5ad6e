//! Retained messages, in memory: the last one of each topic, for whoever subscribes later.
//!
//! Bounded in number and in bytes. Over a bound a new topic's message is not kept (its delivery to present subscribers,
//! and its custody, do not depend on that), and counted. Nothing survives the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rmqtt::retain::RetainStorage;
use rmqtt::types::{Retain, TopicFilter as FilterText, TopicName};

use crate::source::{Problem, SourceHealth};
use crate::topic::{Topic, TopicFilter};

/// Payloads and topics of all retained messages together.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The retained messages of a broker.
#[derive(Debug)]
pub(super) struct Retained {
    messages_max: usize,
    health: Arc<SourceHealth>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_topic: BTreeMap<String, Message>,
    bytes: usize,
}

#[derive(Debug)]
struct Message {
    topic: Topic,
    retain: Retain,
    expires: Option<Instant>,
}

impl Message {
    fn bytes(&self) -> usize {
        self.topic.as_str().len() + self.retain.publish.payload.len()
    }

    fn is_current(&self) -> bool {
        self.expires.is_none_or(|end| Instant::now() < end)
    }
}

impl Kept {
    fn remove(&mut self, topic: &str) {
        if let Some(old) = self.by_topic.remove(topic) {
            self.bytes -= old.bytes();
        }
    }

    /// Whether `message` is kept.
    fn insert(&mut self, message: Message, messages_max: usize) -> bool {
        let fits = |kept: &Self| {
            kept.by_topic.len() < messages_max && kept.bytes + message.bytes() <= BYTES_MAX
        };
        if !fits(self) {
            self.by_topic.retain(|_, message| message.is_current());
            self.bytes = self.by_topic.values().map(Message::bytes).sum();
        }
        let kept = fits(self);
        if kept {
            self.bytes += message.bytes();
            self.by_topic.insert(message.topic.as_str().to_owned(), message);
        }
        kept
    }

    /// The messages that a subscription to `filter` gets. Looks only at topics that share the filter's
    /// levels before its first wildcard.
    fn matching(&self, filter: &TopicFilter) -> Vec<(TopicName, Retain)> {
        let text = filter.plain();
        let literal = text.find(['+', '#']).map_or(text, |end| text.get(..end).unwrap_or(text));
        // `a/#` also matches `a`.
        let start = literal.strip_suffix('/').unwrap_or(literal);
        let near = self.by_topic.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        near.take_while(|(topic, _)| topic.starts_with(start))
            .filter(|(_, message)| message.is_current() && filter.matches(&message.topic))
            .map(|(topic, message)| (TopicName::from(topic.as_str()), message.retain.clone()))
            .collect()
    }
}

impl Retained {
    pub(super) fn new(messages_max: usize, health: Arc<SourceHealth>) -> Self {
        Self { messages_max, health, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RetainStorage for Retained {
    fn enable(&self) -> bool {
        self.messages_max > 0
    }

    /// Never fails: an error would close the publisher's connection after custody was taken.
    async fn set(
        &self,
        topic: &TopicName,
        mut retain: Retain,
        _: Option<Duration>,
    ) -> rmqtt::Result<()> {
        let mut kept = self.kept();
        kept.remove(topic);
        let Ok(topic) = Topic::new(topic) else { return Ok(()) };
        if retain.publish.payload.is_empty() {
            return Ok(());
        }
        // The payload is a slice of a connection's read buffer, all of which it would keep in memory.
        let payload = Bytes::copy_from_slice(&retain.publish.payload);
        retain.publish.payload = payload;
        let properties = retain.publish.properties.as_ref();
        let seconds = properties.and_then(|properties| properties.message_expiry_interval);
        let expires = seconds.map(|s| Instant::now() + Duration::from_secs(s.get().into()));
        if !kept.insert(Message { topic, retain, expires }, self.messages_max) {
            self.health.count(Problem::RetainedLimit);
        }
        Ok(())
    }

    async fn get(&self, filter: &FilterText) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        let filter = TopicFilter::new(filter);
        Ok(filter.map(|filter| self.kept().matching(&filter)).unwrap_or_default())
    }

    async fn count(&self) -> isize {
        isize::try_from(self.kept().by_topic.len()).unwrap_or(isize::MAX)
    }

    async fn max(&self) -> isize {
        isize::try_from(self.messages_max).unwrap_or(isize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use rmqtt::types::{CodecPublish, From, Id, Publish, QoS};

    use super::*;
    use crate::metrics::Metrics;
    use crate::name::SourceName;

    fn retained(messages_max: usize) -> Retained {
        let name = SourceName::new("devices").unwrap();
        let metrics = Metrics::new().source(&name, &[]);
        Retained::new(messages_max, Arc::new(SourceHealth::new(name, metrics)))
    }

    async fn set(retained: &Retained, topic: &str, payload: &[u8]) {
        let publish = CodecPublish {
            dup: false,
            retain: true,
            qos: QoS::AtMostOnce,
            topic: topic.into(),
            packet_id: None,
            payload: Bytes::copy_from_slice(payload),
            properties: None,
        };
        let publish = Publish::new(Box::new(publish), None, None, None);
        let from = From::from_custom(Id::new(1, 1, None, None, "d".into(), None));
        let retain = Retain { msg_id: None, from, publish };
        retained.set(&topic.into(), retain, None).await.unwrap();
    }

    async fn topics(retained: &Retained, filter: &str) -> Vec<String> {
        let found = retained.get(&filter.into()).await.unwrap();
        found.into_iter().map(|(topic, _)| topic.to_string()).collect()
    }

    #[tokio::test]
    async fn a_filter_finds_exactly_the_topics_it_matches() {
        let retained = retained(100);
        for topic in ["a", "a/b", "a/b/c", "a-z", "ab", "a/", "b/b", "$SYS/x"] {
            set(&retained, topic, b"x").await;
        }
        assert_eq!(topics(&retained, "a/#").await, ["a", "a/", "a/b", "a/b/c"]);
        assert_eq!(topics(&retained, "a/+").await, ["a/", "a/b"]);
        assert_eq!(topics(&retained, "a/b").await, ["a/b"]);
        assert_eq!(topics(&retained, "+/b").await, ["a/b", "b/b"]);
        assert_eq!(topics(&retained, "#").await.len(), 7);
        assert_eq!(topics(&retained, "$SYS/#").await, ["$SYS/x"]);
    }

    #[tokio::test]
    async fn an_empty_payload_forgets_the_topic_and_makes_room() {
        let retained = retained(1);
        set(&retained, "a", b"1").await;
        set(&retained, "b", b"1").await;
        assert_eq!(topics(&retained, "#").await, ["a"], "over the bound nothing is kept");
        let lost = retained.health.metrics.problem(Problem::RetainedLimit.reason()).get();
        assert_eq!(lost, 1);
        set(&retained, "a", b"2").await;
        set(&retained, "a", b"").await;
        set(&retained, "b", b"1").await;
        assert_eq!(topics(&retained, "#").await, ["b"]);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let retained = retained(1000);
        for n in 0..40 {
            set(&retained, &format!("t/{n}"), &vec![0; 1 << 20]).await;
        }
        assert!(retained.kept().bytes <= BYTES_MAX);
        assert_eq!(topics(&retained, "#").await.len(), 15);
        set(&retained, "t/0", b"").await;
        set(&retained, "small", b"x").await;
        assert_eq!(topics(&retained, "small").await, ["small"]);
    }
}
