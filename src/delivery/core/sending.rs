//! What leaves next.

use super::{
    Attempt, BTreeSet, Batch, CANARY_REACH_MAX, Core, Flight, Instant, LaneId, Lot, Role, Turn,
};
use crate::delivery::batch;
use crate::delivery::lot::{Suspect, Watch};
use crate::delivery::window::Overtaker;
use std::sync::Arc;

/// So often the latest record is tried instead of the next one. Should the service be well again by then, the latest
/// arrives before all others of its lane.
const LATEST_EVERY: u32 = 4;

impl Core {
    /// The next request to send now, if one may leave. Its answer must come back as [`super::Event::Answered`].
    pub(in crate::delivery) fn next_attempt(&mut self, now: Instant) -> Option<Attempt> {
        if self.is_paused {
            return None;
        }
        if let Some((lot, watch)) = self.due_suspect(now) {
            return Some(self.leave(lot, Role::Suspect(watch), now));
        }
        if self.pace.is_failing() {
            let (lot, role) = self.next_probe(now)?;
            return Some(self.leave(lot, role, now));
        }
        if !self.pace.may_leave(self.ordinary_in_flight(), now) {
            return None;
        }
        let lot = self.next_lot(now)?;
        Some(self.leave(lot, Role::Ordinary, now))
    }

    /// When the next suspect is due, while none is in flight and the sink works.
    pub(super) fn next_suspect_at(&self) -> Option<Instant> {
        if self.suspects_in_flight > 0 || self.pace.is_failing() {
            return None;
        }
        self.suspects.values().map(|suspect| suspect.watch.not_before).min()
    }

    /// Beside the others, and one at a time.
    fn due_suspect(&mut self, now: Instant) -> Option<(Lot, Watch)> {
        loop {
            let due = self.next_suspect_at().filter(|at| *at <= now)?;
            let (first, _) =
                self.suspects.iter().find(|(_, suspect)| suspect.watch.not_before == due)?;
            let first = *first;
            let Suspect { lot, mut watch } = self.suspects.remove(&first)?;
            let works = self.failures == self.failures_at_delivery;
            watch.worked = works.then_some(self.failures);
            if let Some(lot) = self.without_expired(lot, now) {
                return Some((lot, watch));
            }
        }
    }

    /// What leaves while the sink works: what failed before anything new.
    fn next_lot(&mut self, now: Instant) -> Option<Lot> {
        loop {
            let lot = match self.retries.pop_first() {
                Some((_, lot)) => lot,
                None if self.batch_is_due(now) => {
                    batch::form(&mut self.window, self.size.limit(), &mut self.renderer)?
                }
                None => return None,
            };
            if let Some(lot) = self.without_expired(lot, now) {
                return Some(lot);
            }
        }
    }

    /// What leaves while the sink fails: one at a time, the oldest lot and a canary in turns.
    fn next_probe(&mut self, now: Instant) -> Option<(Lot, Role)> {
        if !self.pace.is_waiting() {
            return None;
        }
        let is_due = self.pace.may_leave(0, now);
        if self.turn == Turn::Canary {
            // One delivery after each failure, without another failure in between, is what tells.
            if self.is_head_overtaken(now)
                && let Some(probe) = self.overtaking()
            {
                return Some(probe);
            }
            if is_due
                && !self.is_head_to_be_narrowed()
                && let Some(canary) = self.canary(now)
            {
                return Some(canary);
            }
            if self.reading.as_ref().is_some_and(|reading| !reading.stale) {
                // One may be about to come.
                return None;
            }
            // Right after the oldest lot has failed once more: the sink has hardly had the time to recover in between, so
            // that the lot is guilty if this one is delivered. It overtakes the others only then.
            if self.is_head_stuck(now)
                && let Some(probe) = self.overtaking()
            {
                return Some(probe);
            }
        }
        if !is_due {
            return None;
        }
        let was_for_canary = std::mem::replace(&mut self.turn, Turn::Head) == Turn::Canary;
        if was_for_canary {
            self.canary_reach = (self.canary_reach * 2).min(CANARY_REACH_MAX);
            self.look_into_head();
        }
        self.head_probe(now).map(|lot| (lot, Role::Ordinary))
    }

    fn head_probe(&mut self, now: Instant) -> Option<Lot> {
        loop {
            let lot = if let Some((_, lot)) = self.retries.pop_first() {
                lot
            } else if let Some(lot) = batch::form(&mut self.window, 1, &mut self.renderer) {
                lot
            } else {
                let (_, suspect) = self.suspects.pop_first()?;
                self.reopen(&suspect.lot.lanes);
                suspect.lot
            };
            self.give_back_waiting();
            if let Some(lot) = self.without_expired(lot, now) {
                return Some(lot);
            }
        }
    }

    /// A record that breaks no order, of another lot or from the queue in turns.
    fn canary(&mut self, now: Instant) -> Option<(Lot, Role)> {
        self.head_on_trial()?;
        self.canaries = self.canaries.wrapping_add(1);
        let (lot, role) = if self.canaries.is_multiple_of(2) {
            self.canary_of_queue().or_else(|| self.canary_of_lot())?
        } else {
            self.canary_of_lot().or_else(|| self.canary_of_queue())?
        };
        self.give_back_waiting();
        self.without_expired(lot, now).map(|lot| (lot, role))
    }

    fn canary_of_lot(&mut self) -> Option<(Lot, Role)> {
        let others = self.retries.len() - 1;
        if others == 0 {
            return None;
        }
        let first = *self.retries.keys().nth(1 + fastrand::usize(..others))?;
        Some((self.retries.remove(&first)?, Role::CanaryOfLot))
    }

    fn canary_of_queue(&mut self) -> Option<(Lot, Role)> {
        let taken = self.window.take_canary()?;
        Some((Lot::new(taken.records, taken.lanes, None), Role::CanaryOfQueue))
    }

    /// A record that the oldest lot or a suspect holds back; where every other one that was tried failed as well, that
    /// any lot holds back.
    fn overtaking(&mut self) -> Option<(Lot, Role)> {
        let (_, head) = self.retries.first_key_value()?;
        let (which, holders) = match (head.overtakings_failed + 1) % LATEST_EVERY {
            0 => (Overtaker::Latest, self.retries.len()),
            _ => (Overtaker::Nearest, 1),
        };
        let lanes: BTreeSet<_> =
            self.retries.values().take(holders).flat_map(|it| &it.lanes).collect();
        let (shut, no_suspect_flies) = (&self.shut, self.suspects_in_flight == 0);
        let is_held =
            |lane: &LaneId| lanes.contains(lane) || (no_suspect_flies && shut.contains(lane));
        let record = self.window.take_overtaking(which, is_held)?;
        self.give_back_waiting();
        Some((Lot::new(vec![record], Vec::new(), None), Role::Overtaking))
    }

    /// The oldest lot, where it failed in a way that may be its own fault.
    pub(super) fn head_on_trial(&self) -> Option<&Lot> {
        let (_, head) = self.retries.first_key_value()?;
        head.streak.is_some().then_some(head)
    }

    /// Whether it is time to look into the oldest lot, because everything else that may be tried fails as well.
    fn is_head_to_be_narrowed(&self) -> bool {
        self.canaries_failed >= self.canary.failures.get()
            && self.head_on_trial().is_some_and(|head| head.len() > 1)
    }

    /// Whether the oldest lot has failed for long enough to try a record that it holds back. It is one record then, and
    /// those that break no order had their turns.
    pub(super) fn is_head_stuck(&self, now: Instant) -> bool {
        let has_others = self.retries.len() > 1 || self.window.ready().records > 0;
        (!has_others || self.canaries_failed >= self.canary.failures.get())
            && self.is_head_on_trial_long(now)
    }

    /// Whether the oldest lot is such a record, and the last other one that was tried was one that it holds back, and
    /// delivered.
    fn is_head_overtaken(&self, now: Instant) -> bool {
        let head = self.retries.first_key_value();
        head.is_some_and(|(_, head)| head.is_overtaken()) && self.is_head_on_trial_long(now)
    }

    /// Whether the oldest lot is one record that has failed as often and as long as the config says.
    pub(super) fn is_head_on_trial_long(&self, now: Instant) -> bool {
        let head = self.head_on_trial().filter(|head| head.len() == 1);
        let streak = head.and_then(|head| head.streak);
        streak.is_some_and(|streak| streak.is_long(&self.canary, now))
    }

    /// There is no other record to try: a part of the oldest lot is one.
    fn look_into_head(&mut self) {
        let Some(mut entry) = self.retries.first_entry() else { return };
        let lot = entry.get_mut();
        if lot.streak.is_none() || lot.len() == 1 {
            return;
        }
        match lot.last_size() {
            Some(size) if size > 1 => lot.narrow_blindly(size),
            Some(_) => {
                let (first, mut lot) = entry.remove_entry();
                self.give_back_rest(&mut lot);
                self.retries.insert(first, lot);
            }
            None => {}
        }
    }

    fn leave(&mut self, mut lot: Lot, role: Role, now: Instant) -> Attempt {
        let records_max = match role {
            Role::Ordinary | Role::Suspect(_) => self.size.limit(),
            Role::CanaryOfLot | Role::CanaryOfQueue | Role::Overtaking => 1,
        };
        let batch: Arc<Batch> = lot.request(records_max, &mut self.renderer);
        lot.first_left_at.get_or_insert(now);
        let epoch = self.pace.leaves();
        self.suspects_in_flight += usize::from(matches!(role, Role::Suspect(_)));
        let first = lot.first();
        let before = self.in_flight.insert(first, Flight { lot, role });
        assert!(before.is_none(), "record {first:?} is in flight twice");
        Attempt { batch, epoch }
    }
}
