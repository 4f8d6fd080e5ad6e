//! The listeners, the runtime they live on, and their end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Listener};
use rmqtt::server::MqttServer;
use tokio::runtime::{Handle, Runtime};

use super::gate::Gate;
use super::{BrokerError, hooks};
use crate::config;
use crate::name::SourceName;
use crate::source::{SourceContext, SourceState};

/// Messages in flight to or from one client before it must wait.
const INFLIGHT_MAX: NonZeroU16 = NonZeroU16::new(1000).expect("not zero");
/// Time to send CONNECT, and to be let in.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// Time the tasks of the broker get to end when it stops.
const STOP_MAX: Duration = Duration::from_millis(300);

/// A broker that listens and does not serve yet.
pub struct Broker {
    context: SourceContext,
    addresses: Vec<SocketAddr>,
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
    pub async fn bind(
        context: SourceContext,
        config: &config::BrokerSource,
    ) -> Result<Self, BrokerError> {
        let runtime =
            OwnRuntime::start(&context.name).map_err(|source| BrokerError::Runtime { source })?;
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        {
            let _inside = runtime.handle.enter();
            for listener in &config.listeners {
                let bound = listen(listener, config)?;
                addresses.push(bound.local_addr().unwrap_or(listener.address));
                listeners.push(bound);
            }
        }
        let gate = Arc::new(Gate::new(context.clone()));
        let server = runtime.handle.spawn(set_up(listeners, config.clone(), gate)).await;
        let server = server.expect("setting up only builds values");
        Ok(Self { context, addresses, server, runtime })
    }

    /// The addresses in the order of the config, with the port that a port of 0 became.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the source is stopped, then closes every connection.
    pub async fn run(self) {
        let mut serving = self.runtime.handle.spawn(self.server.run());
        self.context.health.change(SourceState::Connected);
        tokio::select! {
            () = self.context.stop.cancelled() => {}
            // It never ends by itself.
            ended = &mut serving => if let Err(panic) = ended {
                std::panic::resume_unwind(panic.into_panic());
            },
        }
        self.runtime.stop().await;
        self.context.health.change(SourceState::Stopped);
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Broker").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn listen(
    listener: &config::BrokerListener,
    config: &config::BrokerSource,
) -> Result<Listener, BrokerError> {
    let address = listener.address;
    let bound = Builder::new()
        .name("waypost")
        .laddr(address)
        // A restart must not wait for the last connections' TIME_WAIT.
        .reuseaddr(Some(true))
        .nodelay(true)
        .allow_anonymous(false)
        .max_packet_size(config.packet_bytes_max.get())
        .max_inflight(INFLIGHT_MAX)
        .handshake_timeout(HANDSHAKE_MAX)
        // Zero: messages for offline subscribers expire when their publisher says so, never by default.
        .message_expiry_interval(Duration::ZERO)
        .bind()
        .and_then(Listener::tcp);
    bound.map_err(|error| {
        let source = error.downcast::<io::Error>().unwrap_or_else(io::Error::other);
        BrokerError::Listen { address, hint: hint(source.kind()), source }
    })
}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps a broker such as Mosquitto or another Waypost; \
             stop it or choose another address"
        }
        io::ErrorKind::PermissionDenied => "not allowed; ports below 1024 need a privilege",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address at the moment",
        _ => "the system refuses",
    }
}

async fn set_up(
    listeners: Vec<Listener>,
    config: config::BrokerSource,
    gate: Arc<Gate>,
) -> MqttServer {
    let sessions_max = isize::try_from(config.connections_max.get()).unwrap_or(isize::MAX);
    let context =
        ServerContext::new().busy_check_enable(false).mqtt_max_sessions(sessions_max).build().await;
    hooks::install(context.extends.hook_mgr().register().as_ref(), gate).await;
    let numbered = (1..=u16::MAX).zip(listeners);
    let server = numbered.fold(MqttServer::new(context), |server, (number, listener)| {
        server.listener_by_id(listener, number)
    });
    server.build()
}
