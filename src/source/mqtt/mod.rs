//! The `mqtt` source: a subscription on somebody's broker.
//!
//! Promises: a message above QoS 0 is acknowledged after its custody was accepted, in the order received, on the connection it came
//! on; what was not acknowledged comes again, because the session is kept and the connection is dropped when something cannot
//! be stored. A message arrives once, however filters overlap. It reconnects for ever and stops within half a second.
//! Never: acknowledges on behalf of another connection, waits for the intake where it polls (up to a bound), or takes a plain outage for
//! a broker that does not speak MQTT 5.
//!
//! `wire` is the only code that names rumqttc. What it is kept from doing, and why:
//!
//! | what it would do | so |
//! |---|---|
//! | acknowledge before we have seen the message | manual acknowledgement |
//! | hand out events of the last connection after the next CONNACK, when their packet ids mean other messages | an event loop and a ledger for each connection |
//! | throw away or repeat queued requests at a reconnect | the same; every connection subscribes anew |
//! | refuse a PUBREL of a message that an earlier process took, for ever | a state that knows all packet ids |
//! | hang when a request is awaited where it is polled | requests come from other futures, acknowledgements pass it by |
//! | reconnect at once and for ever | our own back-off |
//! | ping without a pause when the broker's keep-alive is 0 | our keep-alive is set again |
//! | wait for ever when the broker takes no more bytes | a watch on its progress |
//! | take 10 KiB for the largest packet | limits from the config |

mod backlog;
mod connection;
mod cover;
mod dial;
mod ear;
mod failure;
mod ledger;
mod probe;
mod reconnect;
mod roll;
mod session;
mod tls;
mod version;
mod wire;

use std::time::Duration;

use tracing::info;

pub use self::probe::probe;

use self::connection::End;
use self::ear::Ear;
use self::failure::{Failure, FailureKind};
use self::reconnect::Waits;
use self::session::Session;
use self::version::Choice;
use self::wire::Hello;
use super::{SourceContext, SourceState};
use crate::config::MqttSource;
use crate::store::{PresenceNote, SessionNote};

/// Serves the source until `context.stop` is cancelled, reconnecting for ever. Returns within half a second of that, whatever
/// the broker does.
///
/// `default_client_id` is used when the config has none; it must be this gateway's own, and the same after a restart.
pub async fn run(
    context: SourceContext,
    config: MqttSource,
    default_client_id: String,
    (session, presence): (SessionNote, PresenceNote),
) {
    let hello = hello(&config, default_client_id);
    let broker = format!("{}:{}", config.host, config.port);
    let ear = Ear::open(config.events.clone(), presence, &broker, &hello.client_id).await;
    let mut session = Session::recall(session, broker, hello.client_id.clone()).await;
    if let Some(ear) = &ear {
        ear.report(&context).await;
    }
    let mut versions = Choice::new(config.protocol);
    let mut waits = Waits::default();
    while !context.stop.is_cancelled() {
        let version = versions.next();
        match connection::serve(&context, &config, &hello, version, ear.as_ref(), &mut session)
            .await
        {
            End::Stopped => break,
            End::Failed { why, up } => {
                match up {
                    Some(_) => {
                        versions.accepted();
                        if let Some(ear) = &ear {
                            ear.lost(&context).await;
                        }
                    }
                    None if versions.failed(why.kind) => {
                        let source = &context.name;
                        info!(%source, "the broker does not speak MQTT 5, trying 3.1.1");
                        continue;
                    }
                    None => {}
                }
                let wait = wait_after(&why, up.unwrap_or_default(), &mut waits);
                context.health.count(why.problem());
                let thrown_out = up.is_some() && waits.keeps_failing();
                let why = if thrown_out { why.with_guess() } else { why };
                context.health.change(SourceState::Disconnected(why.text));
                tokio::select! {
                    () = context.stop.cancelled() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
    if let Some(ear) = &ear {
        ear.keep_now().await;
    }
    context.health.change(SourceState::Stopped);
}

fn wait_after(why: &Failure, up: Duration, waits: &mut Waits) -> Duration {
    match why.kind {
        FailureKind::SessionTakenOver => Waits::after_take_over(),
        _ => waits.after_failure(up),
    }
}

fn hello(config: &MqttSource, default_client_id: String) -> Hello {
    Hello {
        client_id: config.client_id.clone().unwrap_or(default_client_id),
        username: config.username.clone(),
        password: config.password.as_ref().map(|password| password.expose().to_owned()),
        keep_alive: config.keep_alive,
        connect_timeout: config.connect_timeout,
        keeps_session: true,
        session_expiry_seconds: u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX),
        receive_maximum: config.receive_maximum.get(),
        packet_bytes_max: config.packet_bytes_max.get(),
    }
}

#[cfg(test)]
mod tests;
