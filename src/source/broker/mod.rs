//! The MQTT broker inside Waypost: devices connect straight to it, nothing else installed.
//!
//! It promises what a broker in front of Waypost cannot: PUBACK (QoS 1) and PUBREC (QoS 2) leave only after every
//! queue the message is routed to holds it. A message that no rule wants is acknowledged at once, and one that
//! could not be made safe never with success: MQTT 5 clients see "quota exceeded", MQTT 3.1.1, which has no negative
//! answer, sees the connection closed. Other subscribers of this broker get the messages as from any broker: those of
//! QoS 0 and 1 at once, whatever the disk does, those of QoS 2 after the commit.
//!
//! It keeps nothing on disk: sessions, subscriptions and retained messages live in memory and end with the process.
//! It is the only module that names rmqtt, which runs on a runtime of its own, so that stopping the source ends
//! every task that rmqtt has started.

mod access;
mod acks;
mod events;
mod front;
mod gate;
mod hooks;
mod peers;
mod prompt;
mod puback;
mod relay;
mod retained;
mod server;
mod shared;
mod translate;
mod users;

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::listen::{self, ListenError};
use super::{SourceContext, SourceState};
use crate::config;

pub use server::Broker;

/// Why the broker does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An address of the config.
    #[error(transparent)]
    Listen(#[from] ListenError),
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

/// Listens on every address of `config` and serves devices until `context.stop` is cancelled.
///
/// When an address cannot be had it says so once, keeps trying with growing pauses, and leaves the other sources alone.
pub async fn run(context: SourceContext, config: config::BrokerSource) {
    let mut pause = Duration::from_secs(1);
    loop {
        let why = match Broker::bind(context.clone(), &config).await {
            Ok(broker) => return broker.run().await,
            Err(error) => listen::describe(&error),
        };
        if !listen::wait_after(why, &mut pause, &context.health, &context.stop).await {
            return context.health.change(SourceState::Stopped);
        }
    }
}
