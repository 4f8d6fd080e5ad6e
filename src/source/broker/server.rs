//! The listeners, the runtime they live on, and their end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Listener};
use rmqtt::server::MqttServer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tracing::debug;

use super::events::Teller;
use super::front::Front;
use super::gate::Gate;
use super::hooks::House;
use super::peers::Peers;
use super::retained::Retained;
use super::shared::InTurn;
use super::users::Users;
use super::{BrokerError, hooks, users};
use crate::config;
use crate::name::SourceName;
use crate::source::listen::{Entrance, listen};
use crate::source::{SourceContext, SourceState};

/// Longest client id; MQTT promises devices 23 bytes.
const CLIENT_ID_BYTES_MAX: usize = 1024;
/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 1000;
/// Messages kept for a subscriber that is away or slow; beyond that the oldest go.
const OFFLINE_MESSAGES_MAX: usize = 256;
/// How long the session of a client that is away is kept, whatever it asks for.
const SESSION_EXPIRY_MAX: Duration = Duration::from_hours(24);
/// Messages in flight to or from one client before it must wait.
const INFLIGHT_MAX: NonZeroU16 = NonZeroU16::new(1000).expect("not zero");
/// Time to send CONNECT, and to be let in.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// Time the tasks of the broker get to end when it stops.
const STOP_MAX: Duration = Duration::from_millis(300);

/// A broker that listens and does not serve yet.
pub struct Broker {
    context: SourceContext,
    front: Arc<Front>,
    entrances: Vec<Entrance>,
    server: MqttServer,
    runtime: OwnRuntime,
}

/// Ends its tasks when dropped, also inside another runtime, where dropping a [`Runtime`] would panic.
struct OwnRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    fn start(name: &SourceName) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name(format!("broker-{name}"))
            // Only passwords are verified there.
            .max_blocking_threads(users::verifications_at_once())
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Drops every task, waiting a moment for those that run.
    async fn stop(mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // Off the caller's threads: the shutdown blocks until the tasks have ended.
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_MAX)).await;
        ended.expect("shutting down a runtime does not panic");
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Broker {
    /// Takes every address of `config`; devices that connect wait until [`Broker::run`].
    ///
    /// Raises the process's limit of open files as far as the system allows: a device takes three.
    pub async fn bind(
        context: SourceContext,
        config: &config::BrokerSource,
    ) -> Result<Self, BrokerError> {
        raise_open_files_limit();
        let runtime =
            OwnRuntime::start(&context.name).map_err(|source| BrokerError::Runtime { source })?;
        let inside = runtime.handle.enter();
        let entrances = config.listeners.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let inner = listen_inside(config)?;
        drop(inside);
        let inner_address =
            inner.local_addr().map_err(|source| BrokerError::Inner { source: source.into() })?;
        let health = Arc::clone(&context.health);
        let peers = Arc::new(Peers::new(config.connections_max.get(), Arc::clone(&health)));
        let teller = Arc::new(Teller::new(context.clone(), Arc::clone(&peers), INFLIGHT_MAX.get()));
        let house = Arc::new(House {
            teller: Arc::clone(&teller),
            gate: Gate::new(context.clone()),
            users: Users::new(config),
            access: config.access.clone(),
            peers: Arc::clone(&peers),
        });
        let front = Front::new(inner_address, peers, teller, health, config.connections_max.get());
        let retained = Retained::new(config.retained_messages_max, Arc::clone(&context.health));
        let setup = set_up(inner, config.connections_max.get(), retained, house);
        let server = runtime.handle.spawn(setup);
        let server = server.await.expect("setting up only builds values");
        Ok(Self { context, front: Arc::new(front), entrances, server, runtime })
    }

    /// The addresses in the order of the config, with the port that a port of 0 became.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |entrance: &Entrance| entrance.listener.local_addr().ok();
        self.entrances.iter().filter_map(address).collect()
    }

    #[cfg(test)]
    pub(super) fn inner_address(&self) -> SocketAddr {
        self.front.broker()
    }

    /// Serves until the source is stopped, then closes every connection.
    pub async fn run(self) {
        let handle = &self.runtime.handle;
        let mut serving = JoinSet::new();
        serving.spawn_on(async { drop(self.server.run().await) }, handle);
        for Entrance { listener, tls } in self.entrances {
            serving.spawn_on(Arc::clone(&self.front).accept(listener, tls), handle);
        }
        self.context.health.change(SourceState::Connected);
        tokio::select! {
            () = self.context.stop.cancelled() => {}
            // None of them ends by itself.
            Some(Err(error)) = serving.join_next() => std::panic::resume_unwind(error.into_panic()),
        }
        // The addresses are free once this returns; the connections end with the runtime.
        serving.shutdown().await;
        self.runtime.stop().await;
        self.context.health.change(SourceState::Stopped);
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Broker")
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

/// On failure there are just as many as before, and `accept` tells when they run out.
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        debug!(%error, "limit of open files not raised");
    }
}

/// The listener that the front passes connections on to, on a port that the system chooses.
fn listen_inside(config: &config::BrokerSource) -> Result<Listener, BrokerError> {
    let listener = Builder::new()
        .name("waypost")
        .laddr(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .proxy_protocol(true)
        // The front writes the header as it connects; another program must not hold up the devices behind it.
        .proxy_protocol_timeout(Duration::from_millis(200))
        .nodelay(true)
        .tcp_keepalive(false)
        .allow_anonymous(false)
        .max_connections(config.connections_max.get())
        .max_packet_size(config.packet_bytes_max.get())
        .max_inflight(INFLIGHT_MAX)
        .max_mqueue_len(OFFLINE_MESSAGES_MAX)
        .max_clientid_len(CLIENT_ID_BYTES_MAX)
        .max_subscriptions(SUBSCRIPTIONS_MAX)
        .max_session_expiry_interval(SESSION_EXPIRY_MAX)
        .handshake_timeout(HANDSHAKE_MAX)
        // Zero: messages for offline subscribers expire when their publisher says so, never by default.
        .message_expiry_interval(Duration::ZERO)
        .bind()
        .and_then(Listener::tcp);
    listener.map_err(|source| BrokerError::Inner { source: source.into() })
}

async fn set_up(
    inner: Listener,
    connections_max: usize,
    retained: Retained,
    house: Arc<House>,
) -> MqttServer {
    // Sessions of devices that are away count too.
    let sessions_max = isize::try_from(connections_max.saturating_mul(2)).unwrap_or(isize::MAX);
    let context =
        ServerContext::new().busy_check_enable(false).mqtt_max_sessions(sessions_max).build().await;
    *context.extends.retain_mut().await = Box::new(retained);
    *context.extends.shared_subscription_mut().await = Box::new(InTurn::default());
    hooks::install(context.extends.hook_mgr().register(), house).await;
    MqttServer::new(context).listener_by_id(inner, 1).build()
}
