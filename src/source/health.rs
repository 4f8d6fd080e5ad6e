//! How a source is doing: for `status`, `/metrics` and the log, said once per change.

use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use crate::clock::UnixMillis;
use crate::metrics::SourceMetrics;
use crate::name::SourceName;
use crate::topic::TopicFilter;

/// What a source is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// Not connected yet, no attempt has failed.
    Connecting,
    /// Connected (an MQTT client) or listening (a broker).
    Connected,
    /// Connected, but something is not as configured; says what, and what would help.
    Degraded(String),
    /// Not connected; says why, and what would help.
    Disconnected(String),
    /// Stopped on request.
    Stopped,
}

impl SourceState {
    /// One word for tables and JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Degraded(_) => "degraded",
            Self::Disconnected(_) => "disconnected",
            Self::Stopped => "stopped",
        }
    }

    /// The reason, where there is one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Degraded(detail) | Self::Disconnected(detail) => Some(detail),
            Self::Connecting | Self::Connected | Self::Stopped => None,
        }
    }
}

/// What can go wrong with a source, as the `reason` label of `waypost_source_problems_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// No TCP or TLS connection: unknown host, refused, unreachable, certificate.
    Unreachable,
    /// The other side refused the user name, password or client id.
    NotAuthorized,
    /// The broker refused a subscription.
    SubscriptionRefused,
    /// The broker has no session for us although it had one: it may have dropped messages.
    SessionLost,
    /// Another client connected with our client id.
    SessionTakenOver,
    /// The link went silent: no answer to a PINGREQ.
    Silent,
    /// A packet larger than the limit.
    Oversize,
    /// Bytes that are not MQTT, or not as the protocol demands.
    Protocol,
    /// The link was closed.
    Closed,
    /// A device was turned away because as many as allowed are connected.
    TooManyConnections,
    /// A retained message was not kept for later subscribers because as many as allowed are.
    RetainedLimit,
    /// A body or a line that tells of no event as it should: counted, and explained at level debug or in the answer.
    Unreadable,
    /// No room in the intake for the events of a request.
    IntakeFull,
    /// Events of clients may be missing, because nothing was heard of the broker for a while.
    Gap,
    /// A client is not known as connected because as many as allowed are.
    KnownClientsLimit,
    /// An event could not be made durable, so the connection was given up to have it sent again.
    NotStored,
}

impl Problem {
    /// Every reason there is: the series exist at zero from the start.
    pub const ALL: [Self; 16] = [
        Self::Unreachable,
        Self::NotAuthorized,
        Self::SubscriptionRefused,
        Self::SessionLost,
        Self::SessionTakenOver,
        Self::Silent,
        Self::Oversize,
        Self::Protocol,
        Self::Closed,
        Self::TooManyConnections,
        Self::RetainedLimit,
        Self::Unreadable,
        Self::IntakeFull,
        Self::Gap,
        Self::KnownClientsLimit,
        Self::NotStored,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NotAuthorized => "not_authorized",
            Self::SubscriptionRefused => "subscription_refused",
            Self::SessionLost => "session_lost",
            Self::SessionTakenOver => "session_taken_over",
            Self::Silent => "silent",
            Self::Oversize => "oversize",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
            Self::TooManyConnections => "too_many_connections",
            Self::RetainedLimit => "retained_limit",
            Self::Unreadable => "unreadable",
            Self::IntakeFull => "intake_full",
            Self::Gap => "gap",
            Self::KnownClientsLimit => "known_clients_limit",
            Self::NotStored => "not_stored",
        }
    }
}

/// The health of one source.
#[derive(Debug)]
pub struct SourceHealth {
    name: SourceName,
    /// Its counters.
    pub metrics: SourceMetrics,
    current: Mutex<(SourceState, UnixMillis)>,
    /// Subscriptions that were asked for and refused.
    refused: Mutex<Vec<TopicFilter>>,
}

impl SourceHealth {
    /// A source that has not connected yet.
    #[must_use]
    pub fn new(name: SourceName, metrics: SourceMetrics) -> Self {
        let current = Mutex::new((SourceState::Connecting, UnixMillis::now()));
        Self { name, metrics, current, refused: Mutex::default() }
    }

    /// Its state and since when.
    #[must_use]
    pub fn state(&self) -> (SourceState, UnixMillis) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Subscriptions that the broker refuses.
    #[must_use]
    pub fn refused(&self) -> Vec<TopicFilter> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes which they are; none of the earlier ones otherwise.
    pub fn note_refused(&self, filters: Vec<TopicFilter>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = filters;
    }

    /// Says what it does now. Logs one line when that differs from before.
    pub fn change(&self, state: SourceState) {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.0 == state {
                return;
            }
            *current = (state.clone(), UnixMillis::now());
        }
        let connected = matches!(state, SourceState::Connected | SourceState::Degraded(_));
        self.metrics.connected.set(connected.into());
        let source = &self.name;
        match state {
            SourceState::Connecting => info!(%source, "source connecting"),
            SourceState::Connected => info!(%source, "source connected"),
            SourceState::Stopped => info!(%source, "source stopped"),
            SourceState::Degraded(why) => warn!(%source, why, "source degraded"),
            SourceState::Disconnected(why) => warn!(%source, why, "source disconnected"),
        }
    }

    /// Counts a problem. Telling it is the business of [`Self::change`].
    pub fn count(&self, problem: Problem) {
        self.metrics.problem(problem.reason()).inc();
    }
}
