//! The way from the sources to `ingest`: bounded by bytes, never by luck.
//!
//! An event occupies its share of the bound from the moment it is submitted until its custody is resolved, so the
//! bound covers what waits and what is being committed. Resolving never waits for anybody: whoever resolves is
//! the commit path, and a source that is not polling at the moment must not stop it.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

use super::Event;

/// What became of an event that a source handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every queue it was routed to holds it durably, or a named policy has dropped and counted it, or no
    /// rule wanted it. Acknowledge it.
    Accepted,
    /// It is not safe. Do not acknowledge it; arrange that it is sent again.
    Refused,
}

/// Keeps the order of a connection's acknowledgements.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Takes the verdict on the event that was submitted with `ticket`. Must not block.
    fn resolve(&self, ticket: u64, verdict: Verdict);
}

/// The one-shot right to acknowledge an event. Dropping it unresolved refuses the event.
#[derive(Debug)]
pub struct Custody(Holder);

#[derive(Debug)]
enum Holder {
    Nobody,
    Ledger(Arc<dyn Ledger>, u64),
    Channel(oneshot::Sender<Verdict>),
}

impl Custody {
    /// For what cannot be acknowledged: QoS 0.
    #[must_use]
    pub const fn none() -> Self {
        Self(Holder::Nobody)
    }

    /// Resolves into a ledger under the source's own `ticket`.
    #[must_use]
    pub fn ledger(ledger: Arc<dyn Ledger>, ticket: u64) -> Self {
        Self(Holder::Ledger(ledger, ticket))
    }

    /// Resolves into a channel; a closed channel means [`Verdict::Refused`] never came to be said.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<Verdict>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Holder::Channel(sender)), receiver)
    }

    /// The same right in `count` parts: the whole is accepted once every part is, and refused once all are resolved
    /// and one was refused. Of none there is nothing to wait for.
    #[must_use]
    pub fn split(self, count: usize) -> Vec<Self> {
        match count {
            0 => {
                self.accept();
                Vec::new()
            }
            1 => vec![self],
            _ => {
                let whole = Parts { left: count, refused: false, custody: Some(self) };
                let whole: Arc<dyn Ledger> = Arc::new(Mutex::new(whole));
                (0..count).map(|_| Self::ledger(Arc::clone(&whole), 0)).collect()
            }
        }
    }

    /// The event is safe.
    pub fn accept(mut self) {
        self.resolve(Verdict::Accepted);
    }

    /// The event is not safe; the same as dropping the custody.
    pub fn refuse(mut self) {
        self.resolve(Verdict::Refused);
    }

    fn resolve(&mut self, verdict: Verdict) {
        match std::mem::replace(&mut self.0, Holder::Nobody) {
            Holder::Nobody => {}
            Holder::Ledger(ledger, ticket) => ledger.resolve(ticket, verdict),
            // The source may have dropped the connection; the event is what it is all the same.
            Holder::Channel(sender) => drop(sender.send(verdict)),
        }
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        self.resolve(Verdict::Refused);
    }
}

/// Custody that was split.
#[derive(Debug)]
struct Parts {
    left: usize,
    refused: bool,
    custody: Option<Custody>,
}

impl Ledger for Mutex<Parts> {
    fn resolve(&self, _: u64, verdict: Verdict) {
        let whole = {
            let mut parts = self.lock().unwrap_or_else(PoisonError::into_inner);
            parts.left = parts.left.saturating_sub(1);
            parts.refused |= verdict == Verdict::Refused;
            if parts.left > 0 {
                return;
            }
            (parts.refused, parts.custody.take())
        };
        match whole {
            (false, Some(custody)) => custody.accept(),
            (true, Some(custody)) => custody.refuse(),
            (_, None) => {}
        }
    }
}

/// An event on its way to the queues.
#[derive(Debug)]
pub struct Incoming {
    /// The event, ready to be shared between queues.
    pub event: Arc<Event>,
    /// Resolve it once the event is durable.
    pub custody: Custody,
    /// The event's share of the bound; dropped together with this.
    _share: OwnedSemaphorePermit,
}

/// `ingest` has stopped; the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the intake is closed")]
pub struct IntakeClosed;

/// Why an event was not taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The bound is reached.
    #[error("the intake is full")]
    Full,
    /// `ingest` has stopped.
    #[error("the intake is closed")]
    Closed,
}

/// The sending end; cheap to clone, one bound for all clones.
#[derive(Debug, Clone)]
pub struct Intake {
    sender: mpsc::Sender<Incoming>,
    share: Arc<Semaphore>,
    bytes_max: usize,
}

/// Events that may wait at once, whatever their size; the bound in bytes is the one that matters.
pub const EVENTS_MAX: usize = 65_536;

impl Intake {
    /// An intake that holds events of up to `bytes_max` bytes in memory, and its receiving end.
    #[must_use]
    pub fn bounded(bytes_max: NonZeroUsize) -> (Self, mpsc::Receiver<Incoming>) {
        let bytes_max = bytes_max.get().min(Semaphore::MAX_PERMITS);
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        (Self { sender, share: Arc::new(Semaphore::new(bytes_max)), bytes_max }, receiver)
    }

    /// Hands over an event, waiting for room. Cancel safe: a cancelled call refuses the event.
    pub async fn submit(&self, event: Event, custody: Custody) -> Result<(), IntakeClosed> {
        self.reserve(event.memory_bytes()).await?.submit(event, custody);
        Ok(())
    }

    /// Hands over an event if there is room now; otherwise its custody is refused.
    pub fn try_submit(&self, event: Event, custody: Custody) -> Result<(), NoRoom> {
        self.try_reserve(event.memory_bytes())?.submit(event, custody);
        Ok(())
    }

    /// Waits for room for an event of `memory_bytes`, which stays with the caller meanwhile. Cancel safe: what is not
    /// used is given back.
    pub async fn reserve(&self, memory_bytes: usize) -> Result<Room<'_>, IntakeClosed> {
        let share = Arc::clone(&self.share).acquire_many_owned(self.share_of(memory_bytes)).await;
        let share = share.map_err(|_| IntakeClosed)?;
        let place = self.sender.reserve().await.map_err(|_| IntakeClosed)?;
        Ok(Room { share, place })
    }

    /// Waits for room for all of `events` at once: they are taken together or not at all. Cancel safe.
    ///
    /// At most [`EVENTS_MAX`] of them, or it waits for ever.
    pub async fn reserve_all(&self, events: &[Event]) -> Result<Rooms<'_>, IntakeClosed> {
        let shares: Vec<u32> = {
            // Together no more than the whole bound.
            let mut left = self.share_of(usize::MAX);
            let share = |event: &Event| {
                let share = self.share_of(event.memory_bytes()).min(left);
                left -= share;
                share
            };
            events.iter().map(share).collect()
        };
        let share = Arc::clone(&self.share).acquire_many_owned(shares.iter().sum()).await;
        let share = share.map_err(|_| IntakeClosed)?;
        let places = self.sender.reserve_many(events.len()).await.map_err(|_| IntakeClosed)?;
        Ok(Rooms { share, shares, places })
    }

    /// Takes room for an event of `memory_bytes` if there is some now.
    pub fn try_reserve(&self, memory_bytes: usize) -> Result<Room<'_>, NoRoom> {
        let share = Arc::clone(&self.share)
            .try_acquire_many_owned(self.share_of(memory_bytes))
            .map_err(|error| match error {
                TryAcquireError::NoPermits => NoRoom::Full,
                TryAcquireError::Closed => NoRoom::Closed,
            })?;
        let place = self.sender.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => NoRoom::Full,
            mpsc::error::TrySendError::Closed(()) => NoRoom::Closed,
        })?;
        Ok(Room { share, place })
    }

    /// An event larger than the whole bound takes all of it rather than waiting for ever.
    fn share_of(&self, memory_bytes: usize) -> u32 {
        u32::try_from(memory_bytes.min(self.bytes_max)).unwrap_or(u32::MAX)
    }
}

/// Room for one event, taken before the event is given away; dropping it gives it back.
#[derive(Debug)]
pub struct Room<'a> {
    share: OwnedSemaphorePermit,
    place: mpsc::Permit<'a, Incoming>,
}

impl Room<'_> {
    /// Hands over the event that the room was taken for.
    pub fn submit(self, event: Event, custody: Custody) {
        self.place.send(Incoming { event: Arc::new(event), custody, _share: self.share });
    }
}

/// Room for some events, taken before they are given away; dropping it gives it back.
#[derive(Debug)]
pub struct Rooms<'a> {
    share: OwnedSemaphorePermit,
    /// Of each event, in their order.
    shares: Vec<u32>,
    places: mpsc::PermitIterator<'a, Incoming>,
}

impl Rooms<'_> {
    /// Hands over the events that the room was taken for. `custody` is that of all of them.
    pub fn submit(mut self, events: Vec<Event>, custody: Custody) {
        let custody = custody.split(events.len());
        let places = self.places.zip(self.shares);
        for ((event, custody), (place, bytes)) in events.into_iter().zip(custody).zip(places) {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let share = self.share.split(bytes).expect("it was taken for the sum of these");
            place.send(Incoming { event: Arc::new(event), custody, _share: share });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn custody_in_parts_is_accepted_when_every_part_is(accepted in proptest::collection::vec(any::<bool>(), 0..6)) {
            let (custody, mut verdict) = Custody::channel();
            let mut left = accepted.len();
            for (part, accepted) in custody.split(left).into_iter().zip(&accepted) {
                prop_assert!((&mut verdict).now_or_never().is_none(), "{} parts are left", left);
                if *accepted { part.accept() } else { part.refuse() }
                left -= 1;
            }
            let expected = if accepted.contains(&false) { Verdict::Refused } else { Verdict::Accepted };
            prop_assert_eq!(verdict.now_or_never(), Some(Ok(expected)));
        }
    }
}
