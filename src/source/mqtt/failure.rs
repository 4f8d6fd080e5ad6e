//! Why a connection failed: what to do about it, what to count, what to tell the operator.

use crate::source::Problem;

/// What went wrong with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// For the operator: what happened and what would be right. The same text for the same trouble, so that it is
    /// told once.
    pub(super) text: String,
}

/// Kinds of failure by what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No connection.
    Unreachable,
    /// The broker does not want this user or client id.
    NotAuthorized,
    /// The broker does not speak this version of MQTT.
    VersionRefused,
    /// The broker closed the connection instead of answering the CONNECT. Old brokers answer MQTT 5 like that, and so does
    /// anything that is just starting or stopping.
    ClosedUnanswered,
    /// Another client connected with our client id.
    SessionTakenOver,
    /// No sign of life.
    Silent,
    /// A packet larger than the hard limit.
    Oversize,
    /// Bytes that are not MQTT.
    Protocol,
    /// The connection was closed or broke.
    Closed,
    /// An event could not be made durable.
    NotStored,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// What to count it as.
    pub(super) const fn problem(&self) -> Problem {
        match self.kind {
            FailureKind::Unreachable => Problem::Unreachable,
            FailureKind::NotAuthorized => Problem::NotAuthorized,
            FailureKind::VersionRefused | FailureKind::Protocol => Problem::Protocol,
            FailureKind::ClosedUnanswered | FailureKind::Closed => Problem::Closed,
            FailureKind::SessionTakenOver => Problem::SessionTakenOver,
            FailureKind::Silent => Problem::Silent,
            FailureKind::Oversize => Problem::Oversize,
            FailureKind::NotStored => Problem::NotStored,
        }
    }
}

/// The texts that both versions of the protocol share.
impl Failure {
    pub(super) fn silent() -> Self {
        Self::new(
            FailureKind::Silent,
            "the broker has not answered pings for two keep-alives: the link is dead, or the broker is stuck",
        )
    }

    pub(super) fn acknowledgements_unread() -> Self {
        Self::new(
            FailureKind::Silent,
            "the broker has read no acknowledgement for a whole keep-alive: the link is dead, or the broker is stuck",
        )
    }

    pub(super) fn no_connack() -> Self {
        Self::new(
            FailureKind::Unreachable,
            "the broker accepts the connection but does not answer the CONNECT: is this an MQTT port, and plain or TLS as configured?",
        )
    }

    pub(super) fn closed_by_broker() -> Self {
        Self::new(FailureKind::Closed, "the broker closed the connection")
    }

    /// A client that keeps being thrown out shortly after it was accepted. MQTT 3.1.1 cannot say that another client took the
    /// session, and Mosquitto 2.0 does not say it in MQTT 5 either.
    pub(super) fn with_guess(mut self) -> Self {
        if self.kind == FailureKind::Closed {
            self.text.push_str(", again and again: does another client use our client id?");
        }
        self
    }

    pub(super) fn closed(error: &std::io::Error) -> Self {
        Self::new(FailureKind::Closed, format!("the connection broke: {error}"))
    }

    pub(super) fn protocol(error: &dyn std::fmt::Display) -> Self {
        Self::new(
            FailureKind::Protocol,
            format!("what arrives is not MQTT as it should be: {error}; is this an MQTT port?"),
        )
    }

    pub(super) fn oversize(bytes: usize) -> Self {
        Self::new(
            FailureKind::Oversize,
            format!(
                "the broker sends a packet of {bytes} bytes, which is far above `max_packet_bytes`: raise that, or remove the message at the broker"
            ),
        )
    }

    pub(super) fn version_refused(version: &str) -> Self {
        Self::new(
            FailureKind::VersionRefused,
            format!("the broker does not speak MQTT {version}: set `protocol` to one that it does"),
        )
    }

    pub(super) fn bad_client_id() -> Self {
        Self::new(
            FailureKind::NotAuthorized,
            "the broker does not accept the client id: set `client_id` to one that it does",
        )
    }

    pub(super) fn bad_password() -> Self {
        Self::new(
            FailureKind::NotAuthorized,
            "the broker refuses the user name or password: check `username` and `password`",
        )
    }

    pub(super) fn not_authorized() -> Self {
        Self::new(
            FailureKind::NotAuthorized,
            "the broker does not let this client in: check `username`, `password` and `client_id`, and the broker's access rules",
        )
    }

    pub(super) fn not_available(reason: &str) -> Self {
        Self::new(FailureKind::Closed, format!("the broker is not ready for clients: {reason}"))
    }

    pub(super) fn session_taken_over() -> Self {
        Self::new(
            FailureKind::SessionTakenOver,
            "another client connected with our client id: give each gateway a `client_id` of its own (a copied data directory?)",
        )
    }
}
