//! The PUBACKs among what rmqtt sends, found without looking into anything else.

use std::collections::VecDeque;

use crate::source::Verdict;

/// First byte of a PUBACK: MQTT 3.1.1 section 3.4, MQTT 5 section 3.4.
const FIRST: u8 = 0x40;
/// MQTT 5's reason code of a message that was not stored.
const QUOTA_EXCEEDED: u8 = 0x97;
/// A length takes so many bytes at most.
const LENGTH_BYTES_MAX: usize = 4;

/// A PUBACK as rmqtt wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Puback {
    packet_id: [u8; 2],
    /// Reason code and properties, of MQTT 5 only; none for a plain success.
    more: Vec<u8>,
}

/// What rmqtt sends cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Puback {
    fn of(body: &[u8]) -> Result<Self, Unreadable> {
        let (packet_id, more) = body.split_first_chunk().ok_or(Unreadable)?;
        Ok(Self { packet_id: *packet_id, more: more.to_vec() })
    }

    pub(super) const fn packet_id(&self) -> u16 {
        u16::from_be_bytes(self.packet_id)
    }

    /// Appends the packet to `out`: as it is, or for a client of MQTT 5 with the news that the message was not stored.
    pub(super) fn write(&self, verdict: Verdict, out: &mut Vec<u8>) {
        let more: &[u8] = match verdict {
            Verdict::Accepted => &self.more,
            Verdict::Refused => &[QUOTA_EXCEEDED],
        };
        out.push(FIRST);
        let mut length = self.packet_id.len() + more.len();
        while length >= 0x80 {
            out.push(u8::try_from(length % 0x80).unwrap_or_default() | 0x80);
            length /= 0x80;
        }
        out.push(u8::try_from(length).unwrap_or_default());
        out.extend(self.packet_id);
        out.extend(more);
    }
}

/// Takes a stream apart, however it was cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a packet whose length is not known yet, or of a PUBACK.
    begun: Vec<u8>,
    /// Bytes of a packet that are left to be passed on.
    passing: usize,
}

impl Splitter {
    /// Moves the PUBACKs among `bytes` to `pubacks`, and all else to `out`, each in its order.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        pubacks: &mut VecDeque<Puback>,
    ) -> Result<(), Unreadable> {
        loop {
            let (passed, rest) = bytes.split_at(self.passing.min(bytes.len()));
            out.extend(passed);
            self.passing -= passed.len();
            let Some((next, rest)) = rest.split_first() else { return Ok(()) };
            bytes = rest;
            self.begun.push(*next);
            let Some((head, body)) = length(&self.begun)? else { continue };
            if self.begun.first() != Some(&FIRST) {
                out.append(&mut self.begun);
                self.passing = body;
                continue;
            }
            let missing = (head + body).saturating_sub(self.begun.len());
            let (some, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            self.begun.extend(some);
            if some.len() == missing {
                pubacks.push_back(Puback::of(self.begun.get(head..).unwrap_or_default())?);
                self.begun.clear();
            }
        }
    }
}

/// Bytes of a packet's head, and of what follows it; `None` before the head is complete.
fn length(packet: &[u8]) -> Result<Option<(usize, usize)>, Unreadable> {
    let mut length = 0;
    for (index, byte) in packet.iter().skip(1).enumerate() {
        if index == LENGTH_BYTES_MAX {
            return Err(Unreadable);
        }
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((index + 2, length)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The packet, and what it is if it is a PUBACK.
    fn packets() -> impl Strategy<Value = (u8, Vec<u8>)> {
        let puback = (Just(FIRST), proptest::collection::vec(any::<u8>(), 2..200));
        let other = (
            any::<u8>().prop_filter("no PUBACK", |first| *first != FIRST),
            proptest::collection::vec(any::<u8>(), 0..300),
        );
        prop_oneof![puback, other]
    }

    fn encoded(first: u8, body: &[u8]) -> Vec<u8> {
        crate::source::broker::tests::packet(first, body)
    }

    proptest! {
        #[test]
        fn pubacks_are_taken_out_and_all_else_passes_however_it_is_cut(
            packets in proptest::collection::vec(packets(), 0..20),
            piece in 1..50_usize,
        ) {
            let stream: Vec<u8> = packets.iter().flat_map(|(first, body)| encoded(*first, body)).collect();
            let (mut splitter, mut out, mut pubacks) = (Splitter::default(), Vec::new(), VecDeque::new());
            for piece in stream.chunks(piece) {
                splitter.take(piece, &mut out, &mut pubacks).unwrap();
            }
            let others = packets.iter().filter(|(first, _)| *first != FIRST);
            prop_assert_eq!(out, others.flat_map(|(first, body)| encoded(*first, body)).collect::<Vec<u8>>());
            let mut taken = Vec::new();
            for puback in &pubacks {
                puback.write(Verdict::Accepted, &mut taken);
            }
            let expected = packets.iter().filter(|(first, _)| *first == FIRST);
            prop_assert_eq!(taken, expected.flat_map(|(first, body)| encoded(*first, body)).collect::<Vec<u8>>());
        }

        #[test]
        fn any_bytes_pass_or_are_unreadable(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut out, mut pubacks) = (Vec::new(), VecDeque::new());
            let taken = Splitter::default().take(&bytes, &mut out, &mut pubacks);
            prop_assert!(out.len() <= bytes.len(), "{:?}", taken);
        }
    }

    #[test]
    fn a_refused_message_is_answered_with_quota_exceeded() {
        let (mut out, mut pubacks) = (Vec::new(), VecDeque::new());
        Splitter::default().take(&[0x40, 2, 1, 7], &mut out, &mut pubacks).unwrap();
        pubacks[0].write(Verdict::Refused, &mut out);
        assert_eq!((pubacks[0].packet_id(), &out[..]), (0x0107, &[0x40, 3, 1, 7, 0x97][..]));
    }
}
