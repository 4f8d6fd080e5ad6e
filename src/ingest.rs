//! Joins sources and queues: route, group, append, acknowledge.
//!
//! Custody of an event is accepted once every queue it was routed to holds it durably, or a policy that the operator
//! named has dropped and counted it. What no rule wants needs no commit. Nothing is waited for between two groups: while one
//! commits the next is routed, and a queue that takes long holds back the acknowledgements of its own events
//! only. Sources restore the order of acknowledgements (`source::Ledger`).

mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, OptionFuture, Shared, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::event::{Event, Record};
use crate::metrics::RuleMetrics;
use crate::name::SinkName;
use crate::rule::program::Input;
use crate::rule::run::RunError;
use crate::rule::{Match, Router, Selection};
use crate::source::Incoming;
use crate::store::Queue;
use crate::tail::{self, Audience, Tail};
use telling::Appending;

/// Events routed in one go: bounds the memory of a group and lets receipts of large backlogs come early.
const GROUP_EVENTS_MAX: usize = 1024;

/// Groups whose commits are awaited at once; the intake's bound in bytes usually comes first.
const GROUPS_IN_FLIGHT_MAX: usize = 64;

/// What [`run`] works on.
#[derive(Debug)]
pub struct Ingest {
    /// Decides which rule wants which event.
    pub router: Router,
    /// One queue per sink that a rule names.
    pub queues: BTreeMap<SinkName, Queue>,
    /// Counts what each rule does, in the order of the router's rules.
    pub rules: Vec<RuleMetrics>,
    /// Who looks on.
    pub tail: Tail,
}

/// Whether a queue holds its records of a group; asked by everything of the group that went there.
type Held = Shared<BoxFuture<'static, bool>>;

/// Events of one group that went to the same set of queues, and what they wait for.
struct Pending {
    held_by: Vec<Held>,
    events: Vec<Incoming>,
}

impl Pending {
    /// Waits for all queues and resolves the custody of the events. True when they were refused.
    async fn settle(self) -> bool {
        let held = join_all(self.held_by).await.into_iter().all(|held| held);
        for incoming in self.events {
            if held {
                incoming.custody.accept();
            } else {
                incoming.custody.refuse();
            }
        }
        !held
    }
}

/// What ingest is asked for between two groups.
#[derive(Debug)]
enum Order {
    /// Take nothing until `go` says on what to go on, or is dropped.
    Hold { held: oneshot::Sender<()>, go: oneshot::Receiver<Ingest> },
    /// Say that it gets anywhere.
    Answer(oneshot::Sender<()>),
}

/// Ingest has stopped; the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ingest has stopped")]
pub struct Stopped;

/// Steers a running [`run`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Helm(mpsc::Sender<Order>);

/// What [`run`] is steered by.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Order>);

/// Ingest takes nothing as long as this lives: what sources hand over waits, within the intake's bound. Commits go on.
#[derive(Debug)]
pub struct Hold(oneshot::Sender<Ingest>);

impl Helm {
    /// A helm and what it steers.
    #[must_use]
    pub fn new() -> (Self, Orders) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), Orders(receiver))
    }

    /// Waits until the group at hand is with the queues, and lets no other follow.
    pub async fn hold(&self) -> Result<Hold, Stopped> {
        let (held, is_held) = oneshot::channel();
        let (release, go) = oneshot::channel();
        self.0.send(Order::Hold { held, go }).await.map_err(|_| Stopped)?;
        is_held.await.map_err(|_| Stopped)?;
        Ok(Hold(release))
    }

    /// Returns once ingest has gone round.
    pub async fn answer(&self) -> Result<(), Stopped> {
        let (sender, answer) = oneshot::channel();
        self.0.send(Order::Answer(sender)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

impl Hold {
    /// Goes on with other rules and queues: the groups before went by the old ones, all others go by these.
    pub fn go_on_with(self, ingest: Ingest) {
        // It may be stopping.
        drop(self.0.send(ingest));
    }
}

enum Next {
    Group(usize),
    Settled,
    Ordered(Order),
    Released(Option<Ingest>),
    Stop,
}

/// Runs until `stop` is cancelled or all sources are gone, then waits for the commits under way.
///
/// Events that were received but not yet handed to a queue when it stops are refused: their sources send them again.
pub async fn run(
    mut ingest: Ingest,
    mut incoming: mpsc::Receiver<Incoming>,
    mut orders: Orders,
    stop: CancellationToken,
) {
    let mut held: Option<oneshot::Receiver<Ingest>> = None;
    let mut group = Vec::with_capacity(GROUP_EVENTS_MAX);
    let mut commits = FuturesUnordered::new();
    let mut refusing = false;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => Next::Stop,
            Some(refused) = commits.next(), if !commits.is_empty() => {
                tell_refusal(&mut refusing, refused);
                Next::Settled
            }
            Some(order) = orders.0.recv() => Next::Ordered(order),
            Some(go) = OptionFuture::from(held.as_mut()) => Next::Released(go.ok()),
            received = incoming.recv_many(&mut group, GROUP_EVENTS_MAX),
                if held.is_none() && commits.len() < GROUPS_IN_FLIGHT_MAX => Next::Group(received),
        };
        match next {
            Next::Settled => {}
            Next::Ordered(Order::Answer(answer)) => answer.send(()).unwrap_or_default(),
            Next::Ordered(Order::Hold { held: is_held, go }) => {
                held = Some(go);
                is_held.send(()).unwrap_or_default();
            }
            Next::Released(replaced) => {
                held = None;
                ingest = replaced.unwrap_or(ingest);
            }
            Next::Group(0) | Next::Stop => break,
            Next::Group(_) => {
                for pending in ingest.append(group.drain(..)) {
                    commits.push(pending.settle());
                }
            }
        }
    }
    while commits.next().await.is_some() {}
}

/// One line when queues begin to refuse and one when they take records again, not one per event.
fn tell_refusal(refusing: &mut bool, refused: bool) {
    if refused && !*refusing {
        warn!("events are refused: a queue cannot make them durable, their sources keep them");
    } else if !refused && *refusing {
        info!("events are taken again");
    }
    *refusing = refused;
}

impl Ingest {
    /// Routes a group and appends it to the queues. Events are kept by the set of queues they went to, so that a
    /// queue that cannot commit holds back only what it shall hold.
    fn append(&self, events: impl Iterator<Item = Incoming>) -> Vec<Pending> {
        let audience = self.tail.audience();
        let mut by_sinks: BTreeMap<Vec<&SinkName>, Vec<Incoming>> = BTreeMap::new();
        let mut records: BTreeMap<&SinkName, Vec<Record>> = BTreeMap::new();
        for incoming in events {
            let mut sinks: Vec<&SinkName> = Vec::new();
            let columns = self.router.columns(&incoming.event);
            let input = Input::new(&columns);
            let mut is_matched = false;
            for found in self.router.route(&incoming.event) {
                is_matched = true;
                let mut add = |event: &Arc<Event>, output: Option<Bytes>| {
                    for sink in found.sinks {
                        let (rule, event) = (found.rule.clone(), Arc::clone(event));
                        let output = output.clone();
                        let record = Record { rule, event, output, replay: None };
                        records.entry(sink).or_default().push(record);
                        if !sinks.contains(&sink) {
                            sinks.push(sink);
                        }
                    }
                };
                let selected = self.select(&found, &input, &incoming.event);
                if let Some(audience) = &audience {
                    telling::selected(audience, &found, &incoming.event, &selected);
                }
                match selected {
                    // A rule that fails wants nothing of it.
                    Ok(Selection::Nothing) | Err(_) => {}
                    Ok(Selection::Event) => add(&incoming.event, None),
                    Ok(Selection::Outputs(outputs)) => {
                        let event = Arc::new(incoming.event.without_content());
                        for output in outputs {
                            add(&event, Some(output));
                        }
                    }
                }
            }
            if let Some(audience) = audience.as_ref().filter(|_| !is_matched) {
                tail::tell_of_unwanted(audience, &incoming.event);
            }
            if sinks.is_empty() {
                incoming.custody.accept();
            } else {
                by_sinks.entry(sinks).or_default().push(incoming);
            }
        }
        let held: BTreeMap<&SinkName, Held> = records
            .into_iter()
            .map(|(sink, records)| (sink, self.hand_over(sink, records, audience.as_ref())))
            .collect();
        by_sinks
            .into_iter()
            .map(|(sinks, events)| Pending {
                held_by: sinks.iter().filter_map(|sink| held.get(sink).cloned()).collect(),
                events,
            })
            .collect()
    }

    /// What a rule makes of an event, counted.
    fn select(
        &self,
        found: &Match<'_>,
        input: &Input<'_>,
        event: &Event,
    ) -> Result<Selection, RunError> {
        let metrics = self.rules.get(found.index).expect("each rule of the router is counted");
        metrics.matched.inc();
        let selected = found.select(input);
        match &selected {
            Ok(Selection::Nothing) => {}
            Ok(Selection::Event | Selection::Outputs(_)) => metrics.passed.inc(),
            Err(error) => {
                metrics.note_failure(error, event);
                debug!(rule = %found.rule, %error, "rule failed for an event");
            }
        }
        selected
    }

    fn hand_over(
        &self,
        sink: &SinkName,
        records: Vec<Record>,
        audience: Option<&Audience>,
    ) -> Held {
        let queue = self.queues.get(sink).expect("the config gives every sink of a rule a queue");
        let appending = audience.map(|audience| Appending::begin(audience, sink, &records));
        let receipt = queue.append(records);
        let held = async move {
            let is_held = matches!(receipt.await, Ok(Ok(_)));
            if let Some(appending) = appending {
                appending.end(is_held);
            }
            is_held
        };
        held.boxed().shared()
    }
}
