//! What is done to reach another machine, step by step, for whoever watches.
//!
//! The edges tell a [`Watch`] where they are while they connect, with the same code whether somebody watches or not. A
//! watch that nobody looks at keeps nothing.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is done, in the order of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Asking for the addresses of a name.
    Name,
    /// Opening a TCP connection.
    Tcp,
    /// Asking a proxy to go on.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// Opening a WebSocket.
    WebSocket,
    /// CONNECT and CONNACK.
    Mqtt,
    /// SUBSCRIBE and SUBACK.
    Subscribe,
    /// A request that asks for nothing, and its answer.
    Http,
    /// A request with an event that was made up.
    Sample,
}

impl Stage {
    /// One word for tables and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Mqtt => "mqtt",
            Self::Subscribe => "subscribe",
            Self::Http => "http",
            Self::Sample => "sample",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Done,
    /// In a way that proves neither that it works nor that it does not.
    Unsure,
    /// It failed.
    Failed,
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub stage: Stage,
    /// How it ended.
    pub ending: Ending,
    /// What came of it; for a failure what happened and what would be right.
    pub text: String,
    /// How long it took.
    pub took: Duration,
}

/// Keeps the steps of one connection. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Watch(Option<Arc<Mutex<Seen>>>);

#[derive(Debug, Default)]
struct Seen {
    steps: Vec<Step>,
    under_way: Option<(Stage, Instant)>,
    request: Option<Stage>,
}

impl Watch {
    /// One that keeps what it is told; [`Watch::default`] does not.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// A step begins; one that is under way is forgotten.
    pub fn begin(&self, stage: Stage) {
        self.with(|seen| seen.under_way = Some((stage, Instant::now())));
    }

    /// From here on connections are made for this; it is also begun, for where there is a connection already.
    pub fn aim(&self, request: Stage) {
        self.with(|seen| seen.request = Some(request));
        self.begin(request);
    }

    /// The connection is there: what it was made for begins.
    pub fn connected(&self) {
        self.with(|seen| seen.under_way = seen.request.map(|stage| (stage, Instant::now())));
    }

    /// The step under way is done.
    pub fn done(&self, text: impl FnOnce() -> String) {
        self.end(Ending::Done, text);
    }

    /// The step under way has ended.
    pub fn end(&self, ending: Ending, text: impl FnOnce() -> String) {
        self.with(|seen| {
            if let Some((stage, since)) = seen.under_way.take() {
                seen.steps.push(Step { stage, ending, text: text(), took: since.elapsed() });
            }
        });
    }

    /// Another connection is tried: its steps take the place of those seen so far.
    pub fn restart(&self) {
        self.with(|seen| *seen = Seen::default());
    }

    /// What was seen, in the order in which it ended.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.with(|seen| steps.clone_from(&seen.steps));
        steps
    }

    fn with(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = &self.0 {
            change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Addresses of a name, each once.
#[must_use]
pub fn addresses(found: impl Iterator<Item = IpAddr>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for address in found {
        let text = address.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_has_begun_is_kept_when_it_ends_and_only_once() {
        let watch = Watch::new();
        watch.done(|| "nothing was under way".to_owned());
        watch.begin(Stage::Name);
        watch.begin(Stage::Tcp);
        watch.done(|| "there".to_owned());
        watch.end(Ending::Failed, || "it ended before".to_owned());
        let seen: Vec<_> =
            watch.steps().into_iter().map(|step| (step.stage, step.ending, step.text)).collect();
        assert_eq!(seen, [(Stage::Tcp, Ending::Done, "there".to_owned())]);
        watch.restart();
        assert_eq!(watch.steps(), []);
    }
}
