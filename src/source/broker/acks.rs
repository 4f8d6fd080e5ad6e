//! The acknowledgements of one connection, held back until their messages are safe.
//!
//! rmqtt answers one PUBLISH before it reads the next. Were it to wait for each commit, a device would get one message
//! a commit through, however many it sends at once. So for QoS 1 it is told to go on, and the PUBACK that it writes
//! is kept back on its way out, at [`super::front`]. There is one promise for each PUBACK, in the same order; the first
//! of both leave together, so acknowledgements leave in the order received.
//!
//! After a connection has ended, what becomes of its messages is counted all the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::puback::Puback;
use crate::source::{Custody, Ledger, Problem, SourceHealth, Verdict};

/// Messages of one connection that are not acknowledged; as many as an MQTT 5 client is told it may have in flight.
pub(super) const PROMISES_MAX: usize = 1000;
/// Longest wait for one of these places; a device that reads no acknowledgements has taken them all.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What is still to be acknowledged on a connection.
#[derive(Debug)]
pub(super) struct Acks {
    health: Arc<SourceHealth>,
    state: Mutex<State>,
    /// For promises.
    places: Semaphore,
    /// The first promise was resolved.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Ticket of the first promise.
    first: u64,
    promises: VecDeque<Promise>,
}

#[derive(Debug)]
struct Promise {
    packet_id: u16,
    since: Instant,
    verdict: Option<Verdict>,
    has_place: bool,
}

/// A place for one message that will be acknowledged.
#[derive(Debug)]
pub(super) struct Place<'a>(SemaphorePermit<'a>);

/// A PUBACK that came without a promise before it, or for another message: whether it may leave is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpromised;

impl Acks {
    pub(super) fn new(health: Arc<SourceHealth>) -> Self {
        let places = Semaphore::new(PROMISES_MAX);
        Self { health, state: Mutex::default(), places, changed: Notify::new() }
    }

    /// Waits until the connection may have one more message that is not acknowledged. Cancel safe.
    pub(super) async fn place(&self) -> Place<'_> {
        Place(self.places.acquire().await.expect("it is never closed"))
    }

    /// The same without waiting.
    pub(super) fn try_place(&self) -> Option<Place<'_>> {
        self.places.try_acquire().ok().map(Place)
    }

    /// The PUBACK that rmqtt writes next for `packet_id` leaves once the custody is accepted.
    pub(super) fn promise(self: &Arc<Self>, place: Place<'_>, packet_id: u16) -> Custody {
        let ledger: Arc<dyn Ledger> = Arc::<Self>::clone(self);
        Custody::ledger(ledger, self.push(packet_id, None, Some(place)))
    }

    /// The PUBACK that rmqtt writes next for `packet_id` leaves as it is, in its turn.
    pub(super) async fn keep_turn(&self, packet_id: u16) {
        let place = match self.try_place() {
            Some(place) => Some(place),
            // One more each time is no harm.
            None => tokio::time::timeout(PLACE_WAIT_MAX, self.place()).await.ok(),
        };
        self.push(packet_id, Some(Verdict::Accepted), place);
    }

    fn push(&self, packet_id: u16, verdict: Option<Verdict>, place: Option<Place<'_>>) -> u64 {
        let mut state = self.lock();
        let has_place = place.is_some();
        state.promises.push_back(Promise { packet_id, since: Instant::now(), verdict, has_place });
        // Given back when the acknowledgement leaves.
        if let Some(place) = place {
            place.0.forget();
        }
        state.first + length(&state.promises) - 1
    }

    /// The next of `held` that may leave, and what became of its message. A message that is not resolved for longer than
    /// `wait_max` is not stored, as far as its device is concerned.
    pub(super) fn next(
        &self,
        held: &mut VecDeque<Puback>,
        wait_max: Duration,
    ) -> Result<Option<(Puback, Verdict)>, Unpromised> {
        let Some(puback) = held.front() else { return Ok(None) };
        let (verdict, is_late, has_place) = {
            let mut state = self.lock();
            let promise = state.promises.front().ok_or(Unpromised)?;
            if promise.packet_id != puback.packet_id() {
                return Err(Unpromised);
            }
            let is_late = promise.verdict.is_none() && promise.since.elapsed() >= wait_max;
            let verdict = if is_late { Some(Verdict::Refused) } else { promise.verdict };
            let Some(verdict) = verdict else { return Ok(None) };
            let has_place = promise.has_place;
            state.promises.pop_front();
            state.first += 1;
            (verdict, is_late, has_place)
        };
        self.places.add_permits(usize::from(has_place));
        if is_late {
            self.health.count(Problem::NotStored);
        }
        Ok(held.pop_front().map(|puback| (puback, verdict)))
    }

    /// Waits until the first promise may have been resolved. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When the message that waits longest was promised.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lock().promises.front().map(|promise| promise.since)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for Acks {
    fn resolve(&self, ticket: u64, verdict: Verdict) {
        let index = {
            let mut state = self.lock();
            let Some(index) = ticket.checked_sub(state.first) else { return };
            let promise = usize::try_from(index).ok().and_then(|at| state.promises.get_mut(at));
            let Some(promise) = promise else { return };
            promise.verdict = Some(verdict);
            index
        };
        match verdict {
            Verdict::Accepted => self.health.metrics.acknowledged.inc(),
            Verdict::Refused => self.health.count(Problem::NotStored),
        }
        if index == 0 {
            self.changed.notify_one();
        }
    }
}

fn length(promises: &VecDeque<Promise>) -> u64 {
    u64::try_from(promises.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::source::broker::puback::Splitter;
    use crate::source::broker::tests::context;

    #[tokio::test]
    async fn a_device_that_reads_no_acknowledgements_has_no_more_than_so_many_promises() {
        let (context, _) = context(&["#"]);
        let acks = Acks::new(Arc::clone(&context.health));
        for _ in 0..PROMISES_MAX {
            acks.keep_turn(7).now_or_never().expect("there is a place");
        }
        assert!(acks.keep_turn(7).now_or_never().is_none() && acks.try_place().is_none());
        let mut held = VecDeque::new();
        Splitter::default().take(&[0x40, 2, 0, 7], &mut Vec::new(), &mut held).unwrap();
        let next = acks.next(&mut held, Duration::MAX).unwrap();
        assert_eq!(
            next.map(|(puback, verdict)| (puback.packet_id(), verdict)),
            Some((7, Verdict::Accepted))
        );
        acks.keep_turn(7).now_or_never().expect("there is a place again");
    }
}
