//! The acknowledgements of one connection.
//!
//! MQTT wants them in the order in which the messages came (MQTT-4.6.0-2), while commits may finish in any order. So only
//! the committed prefix is ever given out. A ledger belongs to one connection and dies with it: what is resolved
//! later lands nowhere, because on a new connection the same packet id means another message.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::Qos;
use crate::source::{Ledger, Verdict};

/// What an acknowledgement must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    /// Packet id of the PUBLISH on its connection.
    pub(super) packet_id: u16,
    /// 1 is answered with PUBACK, 2 with PUBREC.
    pub(super) qos: Qos,
}

/// A message of this connection could not be made durable: the broker must send it again, which it does on a new
/// connection only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// Receipts in the order received, with what is known of each.
#[derive(Debug, Default)]
pub(super) struct AckLedger {
    state: Mutex<State>,
    /// The head became durable, or something was refused.
    ready: Notify,
    /// Nothing is outstanding any more.
    empty: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Ticket of the entry in front.
    first_ticket: u64,
    entries: VecDeque<Entry>,
    refused: bool,
    /// What was given out last is not sent yet.
    sending: bool,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    accepted: bool,
}

impl AckLedger {
    /// Notes a message that must be acknowledged one day; the ticket is for its custody.
    pub(super) fn admit(&self, receipt: Receipt) -> u64 {
        let mut state = self.lock();
        state.entries.push_back(Entry { receipt, accepted: false });
        state.first_ticket + length(&state.entries) - 1
    }

    /// Waits until acknowledgements are due and moves them into `due`, oldest first. Cancel safe. Calling again says that
    /// the last ones were sent.
    ///
    /// `Err` once a message was refused and everything durable before it has been given out.
    pub(super) async fn due(&self, due: &mut Vec<Receipt>) -> Result<(), Refused> {
        loop {
            {
                let mut state = self.lock();
                state.take_prefix(due);
                state.sending = !due.is_empty();
                if state.sending {
                    return Ok(());
                }
                if state.entries.is_empty() {
                    self.empty.notify_waiters();
                }
                if state.refused {
                    return Err(Refused);
                }
            }
            self.ready.notified().await;
        }
    }

    /// Waits until every message was acknowledged. Cancel safe.
    pub(super) async fn settled(&self) {
        loop {
            let empty = self.empty.notified();
            if self.lock().is_settled() {
                return;
            }
            empty.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_settled(&self) -> bool {
        self.entries.is_empty() && !self.sending
    }

    fn take_prefix(&mut self, due: &mut Vec<Receipt>) {
        while self.entries.front().is_some_and(|entry| entry.accepted) {
            due.extend(self.entries.pop_front().map(|entry| entry.receipt));
            self.first_ticket += 1;
        }
    }
}

impl Ledger for AckLedger {
    fn resolve(&self, ticket: u64, verdict: Verdict) {
        let mut state = self.lock();
        let Some(index) = ticket.checked_sub(state.first_ticket) else { return };
        match verdict {
            Verdict::Accepted => {
                let entry =
                    usize::try_from(index).ok().and_then(|index| state.entries.get_mut(index));
                if let Some(entry) = entry {
                    entry.accepted = true;
                }
            }
            Verdict::Refused => state.refused = true,
        }
        if index == 0 || state.refused {
            drop(state);
            self.ready.notify_one();
        }
    }
}

fn length(entries: &VecDeque<Entry>) -> u64 {
    u64::try_from(entries.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    fn receipt(packet_id: u16) -> Receipt {
        Receipt { packet_id, qos: Qos::AtLeastOnce }
    }

    fn due_now(ledger: &AckLedger) -> Option<Result<Vec<u16>, Refused>> {
        let mut due = Vec::new();
        let result = ledger.due(&mut due).now_or_never()?;
        Some(result.map(|()| due.iter().map(|receipt| receipt.packet_id).collect()))
    }

    #[test]
    fn whatever_order_commits_finish_in_acknowledgements_leave_in_the_order_received() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..200 {
            let ledger = AckLedger::default();
            let count = random.u16(1..40);
            let mut tickets: Vec<u64> = (1..=count).map(|id| ledger.admit(receipt(id))).collect();
            random.shuffle(&mut tickets);
            let mut given_out = Vec::new();
            for ticket in tickets {
                ledger.resolve(ticket, Verdict::Accepted);
                given_out.extend(due_now(&ledger).into_iter().flat_map(Result::unwrap));
            }
            assert_eq!(given_out, (1..=count).collect::<Vec<_>>(), "round {round}");
        }
    }

    #[test]
    fn nothing_behind_a_refused_message_is_acknowledged() {
        let ledger = AckLedger::default();
        let tickets: Vec<u64> = (1..=3).map(|id| ledger.admit(receipt(id))).collect();
        ledger.resolve(tickets[2], Verdict::Accepted);
        ledger.resolve(tickets[1], Verdict::Refused);
        ledger.resolve(tickets[0], Verdict::Accepted);
        assert_eq!(due_now(&ledger), Some(Ok(vec![1])), "what was durable before it");
        assert_eq!(due_now(&ledger), Some(Err(Refused)));
    }

    #[tokio::test]
    async fn a_waiting_acknowledger_is_woken_by_the_head_only() {
        let ledger = Arc::new(AckLedger::default());
        let (first, second) = (ledger.admit(receipt(1)), ledger.admit(receipt(2)));
        let mut due = Vec::new();
        {
            let mut waiting = std::pin::pin!(ledger.due(&mut due));
            assert!(futures_util::poll!(&mut waiting).is_pending());
            ledger.resolve(second, Verdict::Accepted);
            assert!(futures_util::poll!(&mut waiting).is_pending(), "the head is not durable yet");
            ledger.resolve(first, Verdict::Accepted);
            assert_eq!(waiting.await, Ok(()));
        }
        assert_eq!(due, [receipt(1), receipt(2)]);
        assert!(ledger.settled().now_or_never().is_none(), "they are not sent yet");
        assert_eq!(due_now(&ledger), None);
        assert!(ledger.settled().now_or_never().is_some());
    }
}
