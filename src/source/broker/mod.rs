//! The MQTT broker inside Waypost: devices connect straight to it, nothing else installed.
//!
//! It promises what a broker in front of Waypost cannot: PUBACK (QoS 1) and PUBREC (QoS 2) leave only after every
//! queue the message is routed to holds it. A message that no rule wants is acknowledged at once, and one that
//! could not be made safe never with success: MQTT 5 clients see "quota exceeded", MQTT 3.1.1, which has no negative
//! answer, sees the connection closed. Other subscribers of this broker get the messages as from any broker.
//!
//! It keeps nothing on disk: sessions, subscriptions and retained messages live in memory and end with the process.
//! It is the only module that names rmqtt, which runs on a runtime of its own, so that stopping the source ends
//! every task that rmqtt has started.

mod access;
mod front;
mod gate;
mod hooks;
mod peers;
mod prompt;
mod retained;
mod server;
mod shared;
mod tls;
mod translate;
mod users;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use super::{Problem, SourceContext, SourceState};
use crate::config;

pub use server::Broker;
pub use tls::TlsError;

/// Why the broker does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address cannot be had; trying again may help.
    #[error("cannot listen on {address}: {hint}")]
    Listen {
        /// The address of the config.
        address: SocketAddr,
        /// What to do about it.
        hint: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key is of no use; trying again helps once the file is mended.
    #[error("cannot listen with TLS on {address}")]
    Tls {
        /// The address of the config.
        address: SocketAddr,
        /// Which file, and why.
        source: Box<TlsError>,
    },
    /// The broker's own loopback listener, which rmqtt serves.
    #[error("cannot set up the broker's inner listener on 127.0.0.1")]
    Inner {
        /// What rmqtt said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The threads of the broker could not be started.
    #[error("cannot start the broker's runtime")]
    Runtime {
        /// What the system said.
        source: std::io::Error,
    },
}

/// Longest wait between two attempts to listen.
const LISTEN_RETRY_MAX: Duration = Duration::from_secs(30);

/// Listens on every address of `config` and serves devices until `context.stop` is cancelled.
///
/// When an address cannot be had it says so once, keeps trying with growing pauses, and leaves the other sources alone.
pub async fn run(context: SourceContext, config: config::BrokerSource) {
    let mut pause = Duration::from_secs(1);
    loop {
        match Broker::bind(context.clone(), &config).await {
            Ok(broker) => return broker.run().await,
            Err(error) => {
                context.health.count(Problem::Unreachable);
                context.health.change(SourceState::Disconnected(describe(&error)));
            }
        }
        tokio::select! {
            () = context.stop.cancelled() => return context.health.change(SourceState::Stopped),
            // Dropping the timer loses nothing: the next round starts a new one.
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LISTEN_RETRY_MAX),
        }
    }
}

/// The error and its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
