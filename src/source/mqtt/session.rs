//! What outlives a connection: the session at the broker, as far as it is known here, and its subscriptions. A note of it outlives
//! the process.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};
use tracing::{info, warn};

use super::cover::{self, Cover};
use super::ear::Ear;
use super::failure::Failure;
use super::wire::{Ended, Grant, Requests, Subscription, Version};
use crate::config::MqttSource;
use crate::event::Qos;
use crate::source::{Problem, SourceContext, SourceState, Wanted};
use crate::store::{KnownSession, SessionNote};
use crate::topic::TopicFilter;

/// Filters of one SUBSCRIBE; some hosted brokers take no more.
pub(super) const FILTERS_MAX: usize = 8;
/// A refused filter is tried again this often: access rules change.
const REFUSED_RETRY: Duration = Duration::from_mins(5);

/// The session of one source.
#[derive(Debug)]
pub(super) struct Session {
    /// What is to be heard.
    subscriptions: Vec<TopicFilter>,
    /// What is asked for, so that each message comes once.
    cover: Cover,
    /// What the broker may hold for us.
    held: KnownSession,
    note: SessionNote,
    /// What is in the note: the broker has accepted us before, in this process or an earlier one.
    noted: Option<KnownSession>,
    /// The broker has accepted us since this process started.
    was_connected: bool,
    /// What the session has been granted since this process started.
    granted: BTreeSet<TopicFilter>,
    /// MQTT 3.1.1 has no way to ask for retained messages with a new subscription only.
    repeats_retained: bool,
}

impl Session {
    /// The session of `client_id` at `broker`, as an earlier process noted it.
    pub(super) async fn recall(note: SessionNote, broker: String, client_id: String) -> Self {
        let is_ours = |found: &KnownSession| found.broker == broker && found.client_id == client_id;
        let noted = note.read().await.filter(is_ours);
        let unknown = || KnownSession { broker, client_id, filters: BTreeSet::new() };
        Self {
            subscriptions: Vec::new(),
            cover: Cover::default(),
            held: noted.clone().unwrap_or_else(unknown),
            note,
            noted,
            was_connected: false,
            granted: BTreeSet::new(),
            repeats_retained: false,
        }
    }

    /// Notes a CONNACK.
    pub(super) fn resume(&mut self, context: &SourceContext, version: Version, present: bool) {
        let source = &context.name;
        if self.was_connected {
            context.health.metrics.reconnects.inc();
        }
        if self.noted.is_some() && !present {
            context.health.count(Problem::SessionLost);
            warn!(%source, "the broker lost our session: what it held for us is gone; let it keep sessions on disk (Mosquitto: `persistence true`, `autosave_interval 10`)");
        }
        if !present {
            self.granted.clear();
            self.held.filters.clear();
        }
        self.was_connected = true;
        self.repeats_retained = version == Version::V311;
    }

    /// Subscribes on a new connection, and again when the rules want other filters; says how the source is. Ends only
    /// with a failure.
    pub(super) async fn subscribe(
        &mut self,
        context: &SourceContext,
        source: &MqttSource,
        ear: Option<&Ear>,
        requests: &Requests,
        grants: mpsc::Receiver<Vec<Grant>>,
    ) -> Failure {
        let mut wanted_now = context.wanted.clone();
        self.want(&wanted_now.borrow_and_update(), ear);
        let mut inquiry = Inquiry { context, source, requests, grants, complaints: self.doubled() };
        let mut wanted = self.cover.filters.clone();
        if self.repeats_retained {
            wanted.retain(|filter| !self.granted.contains(filter));
        }
        loop {
            let refused = match self.subscribe_once(&mut inquiry, &wanted).await {
                Ok(refused) => refused,
                Err(failure) => return failure,
            };
            if let Some(ear) = ear {
                ear.subscribed(context).await;
            }
            let retry = async {
                if refused.is_empty() {
                    std::future::pending::<()>().await;
                }
                sleep(REFUSED_RETRY).await;
            };
            tokio::select! {
                () = retry => wanted = refused.iter().map(|(filter, _)| filter.clone()).collect(),
                Ok(()) = wanted_now.changed() => {
                    self.want(&wanted_now.borrow_and_update(), ear);
                    self.granted.retain(|filter| self.cover.filters.contains(filter));
                    inquiry.complaints = self.doubled();
                    wanted = self.cover.filters.clone();
                    // As the session is the same, these are there.
                    wanted.retain(|filter| !self.granted.contains(filter));
                }
            }
        }
    }

    /// Notes what is to be heard: what the rules want, and what the broker tells of that.
    fn want(&mut self, wanted: &Wanted, ear: Option<&Ear>) {
        let ears = ear.map(|ear| ear.filters(&wanted.kinds)).unwrap_or_default();
        self.subscriptions = wanted.topics.iter().cloned().chain(ears).collect();
        self.cover = Cover::of(&self.subscriptions);
    }

    /// Asks for filters, then lets go of those that are not wanted any more: the other way round what both match would
    /// be missed in between. Gives what was refused.
    async fn subscribe_once(
        &mut self,
        inquiry: &mut Inquiry<'_>,
        wanted: &[TopicFilter],
    ) -> Result<Vec<Refusal>, Failure> {
        self.remember(inquiry.context, wanted).await;
        let mut answers = inquiry.ask(wanted).await?;
        let parts = inquiry.parts_of(&mut answers.refused, &self.subscriptions);
        self.remember(inquiry.context, &parts).await;
        answers.extend(inquiry.ask(&parts).await?);
        self.granted.extend(answers.granted);
        inquiry.tell(&answers.refused, self.granted.len() + answers.refused.len());
        for filter in self.unwanted() {
            inquiry.unsubscribe(&filter).await?;
            let source = &inquiry.context.name;
            info!(%source, filter, "unsubscribed: no rule wants it any more");
            self.held.filters.remove(&filter);
        }
        self.remember(inquiry.context, &[]).await;
        Ok(answers.refused)
    }

    /// Filters that the session may hold and that are not wanted.
    fn unwanted(&self) -> Vec<String> {
        let wanted = self.cover.filters.iter().chain(&self.granted).map(TopicFilter::as_str);
        let wanted: BTreeSet<&str> = wanted.collect();
        self.held.filters.iter().filter(|held| !wanted.contains(held.as_str())).cloned().collect()
    }

    /// Notes that the session may hold `filters` from now on.
    async fn remember(&mut self, context: &SourceContext, filters: &[TopicFilter]) {
        self.held.filters.extend(filters.iter().map(ToString::to_string));
        if self.noted.as_ref() == Some(&self.held) {
            return;
        }
        if let Err(error) = self.note.write(&self.held).await {
            let source = &context.name;
            warn!(%source, %error, "what is subscribed cannot be noted: a later config may leave it subscribed");
        }
        // Once is enough, also where it failed.
        self.noted = Some(self.held.clone());
    }

    fn doubled(&self) -> Vec<String> {
        let pairs = self.cover.apart.iter().map(|(one, other)| {
            format!(
                "`{one}` and `{other}` overlap, and one filter over both would reach into a shared subscription: what matches both may be stored twice"
            )
        });
        pairs.collect()
    }
}

/// What the broker said to some filters.
#[derive(Debug, Default)]
struct Answers {
    granted: Vec<TopicFilter>,
    refused: Vec<Refusal>,
}

/// A filter that was refused, and why.
type Refusal = (TopicFilter, &'static str);

impl Answers {
    fn extend(&mut self, more: Self) {
        self.granted.extend(more.granted);
        self.refused.extend(more.refused);
    }
}

/// Subscribing on one connection.
struct Inquiry<'a> {
    context: &'a SourceContext,
    source: &'a MqttSource,
    requests: &'a Requests,
    grants: mpsc::Receiver<Vec<Grant>>,
    /// What is not as wanted, refused filters apart.
    complaints: Vec<String>,
}

impl Inquiry<'_> {
    async fn ask(&mut self, filters: &[TopicFilter]) -> Result<Answers, Failure> {
        let mut answers = Answers::default();
        for chunk in filters.chunks(FILTERS_MAX) {
            let grants = self.subscribe(chunk).await?;
            if grants.len() != chunk.len() {
                return Err(Failure::protocol(&"a SUBACK that does not fit the SUBSCRIBE"));
            }
            for (filter, grant) in chunk.iter().zip(grants) {
                match grant {
                    Grant::Granted(qos) => {
                        if qos < self.source.qos_max {
                            self.complain_of_lowered(filter, qos);
                        }
                        answers.granted.push(filter.clone());
                    }
                    Grant::Refused(why) => {
                        self.context.health.count(Problem::SubscriptionRefused);
                        answers.refused.push((filter.clone(), why));
                    }
                }
            }
        }
        Ok(answers)
    }

    async fn subscribe(&mut self, filters: &[TopicFilter]) -> Result<Vec<Grant>, Failure> {
        let qos = self.source.qos_max;
        let subscriptions: Vec<Subscription> =
            filters.iter().map(|filter| Subscription { filter: filter.clone(), qos }).collect();
        let sent = self.requests.subscribe(&subscriptions).await;
        sent.map_err(|Ended| Failure::closed_by_broker())?;
        self.answer("no SUBACK for a SUBSCRIBE").await
    }

    async fn unsubscribe(&mut self, filter: &str) -> Result<(), Failure> {
        let sent = self.requests.unsubscribe(filter).await;
        sent.map_err(|Ended| Failure::closed_by_broker())?;
        self.answer("no UNSUBACK for an UNSUBSCRIBE").await.map(drop)
    }

    /// Messages may come first, and many; a broker that answers nothing is not waited for.
    async fn answer(&mut self, missing: &str) -> Result<Vec<Grant>, Failure> {
        match timeout(2 * self.source.keep_alive, self.grants.recv()).await {
            Ok(Some(grants)) => Ok(grants),
            Ok(None) => Err(Failure::closed_by_broker()),
            Err(_) => Err(Failure::protocol(&missing)),
        }
    }

    /// Takes the refused filters that were joined from several out of `refused` and gives what they were joined from.
    fn parts_of(&mut self, refused: &mut Vec<Refusal>, wanted: &[TopicFilter]) -> Vec<TopicFilter> {
        let mut parts = Vec::new();
        refused.retain(|(filter, why)| {
            let of_this = cover::parts(filter, wanted);
            if of_this.is_empty() {
                return true;
            }
            self.complaints.push(format!(
                "the broker refuses `{filter}` ({why}), which stands for overlapping filters: what matches two of them may be stored twice"
            ));
            parts.extend(of_this);
            false
        });
        parts
    }

    fn complain_of_lowered(&mut self, filter: &TopicFilter, granted: Qos) {
        self.context.health.count(Problem::SubscriptionRefused);
        self.complaints.push(format!(
            "the broker grants `{filter}` only QoS {}: messages on it can be lost on the way here",
            granted.level()
        ));
    }

    /// Says how the source is, with these of `all` subscriptions refused.
    fn tell(&self, refused: &[Refusal], all: usize) {
        let filters = refused.iter().map(|(filter, _)| filter.clone());
        self.context.health.note_refused(filters.collect());
        let mut complaints = self.complaints.clone();
        if !refused.is_empty() {
            let each = refused.iter().map(|(filter, why)| format!("`{filter}` ({why})"));
            let (count, plural) = (refused.len(), if all == 1 { "" } else { "s" });
            let it = if count == 1 { "it" } else { "them" };
            complaints.push(format!(
                "the broker refuses {count} of {all} subscription{plural}: {}: allow {it} for this client, or take {it} out of the rules",
                each.collect::<Vec<_>>().join(", ")
            ));
        }
        self.context.health.change(if complaints.is_empty() {
            SourceState::Connected
        } else {
            SourceState::Degraded(complaints.join("; "))
        });
    }
}
