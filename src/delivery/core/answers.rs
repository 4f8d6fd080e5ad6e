//! What an answer leads to.

use super::{
    Attempt, Burial, CANARY_REACH_MAX, Core, DeadLetterReason, Delays, Duration, Epoch, Flight,
    Instant, Lot, Outcome, RecordNumber, Role, SUSPECTS_BYTES_MAX, SUSPECTS_MAX, Suspect, Trouble,
    Turn, Watch,
};
use crate::delivery::health::Standing;
use crate::delivery::outcome::Kind;
use crate::delivery::retry::{Failed, Failure};

/// Timeouts in a row after which a lot goes in halves.
const TIMEOUTS_MAX: u32 = 2;

/// Deliveries of records that the oldest one holds back, one after each of its failures, that find it guilty.
const OVERTAKEN_TIMES: u32 = 3;

impl Flight {
    pub(super) fn is_suspect(&self) -> bool {
        matches!(self.role, Role::Suspect(_))
    }
}

/// An answer and what it was to.
struct Answer {
    /// Records of the request.
    count: usize,
    epoch: Epoch,
    now: Instant,
}

impl Core {
    pub(super) fn answered(&mut self, attempt: &Attempt, outcome: Outcome, now: Instant) {
        let first = attempt.batch.first();
        let flight = self.in_flight.remove(&first).expect("an answer is to a request in flight");
        self.suspects_in_flight -= usize::from(flight.is_suspect());
        let count = attempt.batch.numbers.len();
        let answer = Answer { count, epoch: attempt.epoch, now };
        match outcome {
            Outcome::Delivered => self.delivered(flight, attempt, &answer),
            Outcome::Retry { after, trouble } => {
                self.troubled(flight, Failure::Transient { after }, trouble, &answer);
            }
            Outcome::Suspend(trouble) => {
                self.troubled(flight, Failure::Lasting, trouble, &answer);
            }
            Outcome::Split(trouble) => {
                self.refused(flight, DeadLetterReason::TooLarge, trouble, &answer);
            }
            Outcome::Reject(trouble) => {
                self.refused(flight, DeadLetterReason::Rejected, trouble, &answer);
            }
        }
    }

    fn delivered(&mut self, flight: Flight, attempt: &Attempt, answer: &Answer) {
        let Flight { mut lot, role } = flight;
        self.effects.settled.extend_from_slice(&attempt.batch.numbers);
        let delivered = lot.records().take(answer.count);
        self.effects.accepted_at.extend(delivered.map(|record| record.accepted_at));
        if let Some(sizes) = lot.delivered(answer.count) {
            self.size.learn(sizes);
        }
        self.rejects = 0;
        if !matches!(role, Role::Overtaking) {
            // More of those that the oldest one holds back are tried at once.
            self.canaries_failed = 0;
        }
        self.works(answer.epoch);
        self.witness();
        match role {
            Role::Ordinary => {
                self.size.delivered(answer.count);
                // A part of what failed as a whole: the sink is well, and something of the rest is not.
                if lot.is_narrowed() && lot.streak.is_some() && self.has_room_for_suspects() {
                    self.suspect(lot, answer.now);
                } else {
                    self.go_on(lot);
                }
            }
            Role::Suspect(watch) => self.suspect_goes_on(lot, watch, answer.now),
            Role::CanaryOfLot | Role::CanaryOfQueue => {
                self.go_on(lot);
                self.suspect_head(answer.now);
            }
            Role::Overtaking => self.head_was_overtaken(answer.now),
        }
    }

    /// The service is there, and has said no to something of the request.
    fn refused(
        &mut self,
        mut flight: Flight,
        reason: DeadLetterReason,
        trouble: Trouble,
        answer: &Answer,
    ) {
        self.rejects = self.rejects.saturating_add(1);
        let is_storm = self.rejects >= self.reject_storm;
        if is_storm || (answer.count == 1 && !self.may_bury()) {
            let why = if is_storm {
                let rejects = self.rejects;
                format!(
                    "{rejects} rejects in a row, the last with {}: everything is kept",
                    trouble.why
                )
            } else {
                format!("dead letters cannot be written; the next is for {}", trouble.why)
            };
            let is_head = matches!(flight.role, Role::Ordinary);
            if is_head {
                flight.lot.note(trouble.kind, answer.now);
            }
            let trouble = Trouble { why, ..trouble };
            self.put_back(flight, None, answer);
            self.fails(Failure::Lasting, trouble, is_head, answer);
            return;
        }
        self.works(answer.epoch);
        let Flight { mut lot, role } = flight;
        lot.attempts += 1;
        if answer.count == 1 {
            self.give_up(&mut lot, 1, reason, trouble);
        } else if !self.size.is_too_large(answer.count) {
            lot.narrow(answer.count);
        }
        match role {
            Role::Suspect(watch) => self.suspect_goes_on(lot, watch, answer.now),
            _ => self.go_on(lot),
        }
    }

    /// No success, and perhaps no fault of a record.
    fn troubled(
        &mut self,
        mut flight: Flight,
        failure: Failure,
        trouble: Trouble,
        answer: &Answer,
    ) {
        let has_reached = trouble.kind.has_reached();
        flight = match flight {
            Flight { lot, role: Role::Suspect(watch) } if has_reached => {
                self.suspect_failed(lot, watch, failure, trouble, answer);
                return;
            }
            other => other,
        };
        let is_head = matches!(flight.role, Role::Ordinary) && has_reached;
        let lot = &mut flight.lot;
        if is_head {
            let streak = lot.note(trouble.kind, answer.now);
            let is_probe = self.pace.is_failing();
            if answer.count > 1 && !is_probe && self.size.is_too_large(answer.count) {
                lot.streak = None;
                self.go_on(flight.lot);
                return;
            }
            let is_slow = trouble.kind == Kind::Timeout && streak.failures >= TIMEOUTS_MAX;
            if is_slow && answer.count > 1 {
                lot.narrow(answer.count);
            }
            if matches!(failure, Failure::Transient { .. }) {
                lot.attempts += 1;
            }
            self.give_up_after_attempts(lot, &trouble, answer);
            lot.trouble = Some(trouble.clone());
        }
        let after = match failure {
            Failure::Transient { after } => after,
            Failure::Lasting => None,
        };
        self.put_back(flight, after, answer);
        self.fails(failure, trouble, is_head, answer);
    }

    /// Keeps what was sent and failed together with the sink.
    fn put_back(&mut self, flight: Flight, after: Option<Duration>, answer: &Answer) {
        let Flight { lot, role } = flight;
        let is_canary = matches!(role, Role::CanaryOfLot | Role::CanaryOfQueue);
        self.canaries_failed += u32::from(is_canary);
        match role {
            Role::Ordinary | Role::CanaryOfLot => self.go_on(lot),
            Role::Suspect(mut watch) => {
                watch.not_before = answer.now + watch.delays.next(after);
                self.keep_suspect(lot, watch);
            }
            Role::CanaryOfQueue | Role::Overtaking => {
                if let Some(mut head) = self.retries.first_entry() {
                    head.get_mut().note_not_overtaken(!is_canary);
                }
                self.window.free(&lot.lanes);
                let numbers = lot.numbers().collect::<Vec<_>>();
                let first = lot.first();
                self.effects.released.extend(numbers);
                self.canary_reach = (self.canary_reach * 2).min(CANARY_REACH_MAX);
                self.rewind(first);
            }
        }
    }

    /// The sink itself fails, or nobody can say yet.
    fn fails(&mut self, failure: Failure, trouble: Trouble, is_head: bool, answer: &Answer) {
        let was_failing = self.pace.is_failing();
        let failed = self.pace.failed(answer.epoch, failure, answer.now);
        let Failed::Waits { delay, attempts } = failed else { return };
        self.failures += 1;
        self.turn = if is_head { Turn::Canary } else { Turn::Head };
        if !was_failing {
            self.give_back_waiting();
        }
        let why = trouble.why;
        self.effects.standings.push(match failure {
            Failure::Transient { .. } => Standing::Retrying { why, attempts, delay },
            Failure::Lasting => Standing::Suspended { why, attempts, delay },
        });
    }

    fn works(&mut self, epoch: Epoch) {
        if let Some(attempts) = self.pace.succeeded(epoch) {
            self.effects.standings.push(Standing::Ok { attempts });
        }
    }

    /// What is left of a lot is sent as soon as the sink's clock allows.
    fn go_on(&mut self, lot: Lot) {
        if lot.is_empty() {
            self.let_go(&lot);
        } else {
            self.retries.insert(lot.first(), lot);
        }
    }

    fn give_up(&mut self, lot: &mut Lot, count: usize, reason: DeadLetterReason, trouble: Trouble) {
        let (attempts, first_left_at) = (lot.attempts, lot.first_left_at);
        let records = lot.take_guilty(count);
        self.bury(Burial { records, reason, trouble: Some(trouble), attempts, first_left_at });
    }

    /// Gives up what the request carried when it was tried as often as the config allows.
    fn give_up_after_attempts(&mut self, lot: &mut Lot, trouble: &Trouble, answer: &Answer) {
        let is_over = self.retry.attempts_max.is_some_and(|max| lot.attempts >= max.get());
        if is_over && self.may_bury() {
            self.give_up(lot, answer.count, DeadLetterReason::MaxAttempts, trouble.clone());
        }
    }
}

/// Suspects.
impl Core {
    /// Another record was delivered: the oldest lot has a fault of its own, unless it goes through now.
    fn suspect_head(&mut self, now: Instant) {
        if self.has_room_for_suspects()
            && self.head_on_trial().is_some()
            && let Some((_, lot)) = self.retries.pop_first()
        {
            self.suspect(lot, now);
        }
    }

    fn has_room_for_suspects(&self) -> bool {
        let bytes = self.suspects.values().map(|suspect| suspect.lot.memory_bytes());
        self.suspects() < SUSPECTS_MAX && bytes.sum::<usize>() < SUSPECTS_BYTES_MAX
    }

    /// A record was delivered that the oldest one holds back, right after that had failed: once may be chance, with a
    /// service that hardly works.
    fn head_was_overtaken(&mut self, now: Instant) {
        let (is_stuck, may_bury) = (self.is_head_on_trial_long(now), self.may_bury());
        let Some(mut head) = self.retries.first_entry() else { return };
        if head.get_mut().note_overtaken() >= OVERTAKEN_TIMES && is_stuck && may_bury {
            let mut lot = head.remove();
            self.give_up_poison(&mut lot);
            self.go_on(lot);
        }
    }

    /// A request was delivered: suspects that have failed since the last one was did so while the sink worked, as far
    /// as can be known. One that is in flight now is not given up before it has failed once more.
    fn witness(&mut self) {
        self.failures_at_delivery = self.failures;
        let (failures, canary) = (self.failures, self.canary);
        if self.suspects_in_flight > 0 {
            for flight in self.in_flight.values_mut() {
                if let Role::Suspect(watch) = &mut flight.role {
                    watch.witness(&mut flight.lot, failures);
                }
            }
        }
        let is_guilty = |(first, Suspect { lot, watch }): (&RecordNumber, &mut Suspect)| {
            let failed_at = watch.witness(lot, failures)?;
            lot.streak.is_some_and(|it| it.is_long(&canary, failed_at)).then_some(*first)
        };
        let guilty: Vec<_> = self.suspects.iter_mut().filter_map(is_guilty).collect();
        for first in guilty {
            if self.may_bury()
                && let Some(Suspect { mut lot, .. }) = self.suspects.remove(&first)
            {
                self.give_up_poison(&mut lot);
                self.let_go(&lot);
            }
        }
    }

    /// Gives up a record that is alone in its lot.
    fn give_up_poison(&mut self, lot: &mut Lot) {
        assert_eq!(lot.len(), 1, "only one record can be guilty");
        let trouble = lot.trouble.take().expect("a guilty record has failed");
        self.give_up(lot, 1, DeadLetterReason::Poison, trouble);
    }

    fn suspect(&mut self, mut lot: Lot, now: Instant) {
        lot.streak = None;
        let size = lot.last_size().filter(|size| *size > 1 && !lot.is_narrowed());
        if let Some(size) = size.filter(|size| !self.size.is_too_large(*size)) {
            lot.narrow(size);
        }
        let delays = Delays::new(&self.retry, self.canary.period / 4);
        self.shut.extend(&lot.lanes);
        self.keep_suspect(lot, Watch::new(delays, now));
        // What waits behind it would only fill the window.
        self.give_back_waiting();
    }

    fn keep_suspect(&mut self, lot: Lot, watch: Watch) {
        self.suspects.insert(lot.first(), Suspect { lot, watch });
    }

    /// After a part of it was delivered or given up.
    fn suspect_goes_on(&mut self, mut lot: Lot, mut watch: Watch, now: Instant) {
        if lot.is_empty() {
            self.let_go(&lot);
        } else if lot.is_narrowed() {
            lot.streak = None;
            watch.begin_anew(now);
            self.keep_suspect(lot, watch);
        } else {
            lot.streak = None;
            self.reopen(&lot.lanes.clone());
            self.go_on(lot);
        }
    }

    /// A suspect failed while the sink works, as far as is known.
    fn suspect_failed(
        &mut self,
        mut lot: Lot,
        mut watch: Watch,
        failure: Failure,
        trouble: Trouble,
        answer: &Answer,
    ) {
        lot.attempts += 1;
        let after = match failure {
            Failure::Transient { after } => after,
            Failure::Lasting => None,
        };
        // A service that asks to wait blames nothing on the record.
        let asks_to_wait = after.is_some() || trouble.kind == Kind::Status(429);
        if answer.count > 1 {
            if !self.size.is_too_large(answer.count) {
                lot.narrow(answer.count);
            }
            if asks_to_wait {
                watch.worked = None;
                watch.not_before = answer.now + watch.delays.next(after);
                self.keep_suspect(lot, watch);
            } else {
                self.suspect_goes_on(lot, watch, answer.now);
            }
            return;
        }
        if lot.len() > 1 {
            self.give_back_rest(&mut lot);
        }
        self.give_up_after_attempts(&mut lot, &trouble, answer);
        if lot.is_empty() {
            self.let_go(&lot);
            return;
        }
        if asks_to_wait {
            watch.worked = None;
        } else {
            if lot.streak.is_some_and(|streak| streak.is_long(&self.canary, answer.now))
                && self.may_bury()
            {
                // Another record was delivered after the last failure that counts, while it was tried once more.
                lot.trouble = Some(trouble);
                self.give_up_poison(&mut lot);
                self.let_go(&lot);
                return;
            }
            let streak = watch.note_alone(trouble.kind, answer.now);
            if self.skipped_from.is_some() && streak.is_long(&self.canary, answer.now) {
                // Nothing but what it holds back could tell whether the sink works.
                lot.streak = Some(streak);
                lot.trouble = Some(trouble.clone());
                self.reopen(&lot.lanes.clone());
                self.go_on(lot);
                self.fails(failure, trouble, true, answer);
                return;
            }
        }
        lot.trouble = Some(trouble);
        watch.not_before = answer.now + watch.delays.next(after);
        self.keep_suspect(lot, watch);
    }
}
