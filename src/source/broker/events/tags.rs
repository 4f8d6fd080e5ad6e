//! What a message is called on its way through rmqtt, which has no name for it.
//!
//! A PUBLISH is cloned for every subscriber, and all clones share the bytes of the payload. So the payload is wrapped in
//! an owner that takes the message's tag out of the table when the last clone is gone; until then no other payload can
//! be at its address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::event::Qos;

/// What is known of a message since it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::broker) struct Tag {
    pub(in crate::source::broker) id: [u8; 16],
    pub(in crate::source::broker) received_at: UnixMillis,
    /// As published; subscribers may get less.
    pub(in crate::source::broker) qos: Qos,
    pub(in crate::source::broker) retain: bool,
    pub(in crate::source::broker) dup: bool,
}

/// The tags of all messages that are somewhere in the broker.
#[derive(Debug, Clone, Default)]
pub(super) struct Tags(Arc<Mutex<HashMap<usize, Tag>>>);

/// A payload whose tag goes with it.
struct Tagged {
    tags: Tags,
    /// Of a payload without bytes, one that lends it an address.
    bytes: Bytes,
    length: usize,
}

impl AsRef<[u8]> for Tagged {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Tagged {
    fn drop(&mut self) {
        self.tags.lock().remove(&address(&self.bytes));
    }
}

impl Tags {
    /// The payload with its tag.
    pub(super) fn tag(&self, payload: Bytes, tag: Tag) -> Bytes {
        let length = payload.len();
        let bytes = if length == 0 { Bytes::from(vec![0]) } else { payload };
        self.lock().insert(address(&bytes), tag);
        Bytes::from_owner(Tagged { tags: self.clone(), bytes, length })
    }

    /// The tag of a payload, or of one of its clones.
    pub(super) fn find(&self, payload: &Bytes) -> Option<Tag> {
        self.lock().get(&address(payload)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Tag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(bytes: &Bytes) -> usize {
    bytes.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_lives_as_long_as_a_clone_of_its_payload() {
        let tags = Tags::default();
        let tag = |number: u8| Tag {
            id: [number; 16],
            received_at: UnixMillis(7),
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
        };
        let buffer = Bytes::from(b"onetwo".to_vec());
        let payloads = [buffer.slice(..3), buffer.slice(3..), Bytes::new(), Bytes::new()];
        let tagged: Vec<Bytes> = (0..)
            .zip(payloads.clone())
            .map(|(number, payload)| tags.tag(payload, tag(number)))
            .collect();
        let clones = tagged.clone();
        drop(tagged);
        for (number, (clone, payload)) in (0..).zip(clones.iter().zip(&payloads)) {
            assert_eq!((clone, tags.find(clone)), (payload, Some(tag(number))));
        }
        drop(clones);
        assert_eq!(tags.lock().len(), 0);
    }
}
