//! The listening ends: the admin API on a Unix socket, `/metrics`, `/livez` and `/readyz` on TCP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::letters::{self, LetterDesk};
use super::queues::{self, Queues};
use super::reload::{self, Reloader};
use super::rules::{self, RuleReporter};
use super::sinks::{self, SinkSteerer};
use super::{SinkStatus, Status, status, tail};
use crate::metrics::Metrics;
use crate::tail::Tail;

/// Who may talk to the admin socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// Takes the status of the moment.
pub type StatusReader = Arc<dyn Fn() -> Status + Send + Sync>;

/// What the handlers read.
#[derive(Clone)]
pub struct Views {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/v1/status` and `/readyz`.
    pub status: StatusReader,
    /// For `/v1/rules`.
    pub rule: RuleReporter,
    /// For `/v1/sinks`.
    pub steer: SinkSteerer,
    /// For `/v1/tail`.
    pub tail: Tail,
    /// For `/v1/dead-letters`.
    pub letters: LetterDesk,
    /// For `/v1/queues`.
    pub queues: Queues,
    /// For `/v1/reload`.
    pub reloader: Reloader,
}

impl fmt::Debug for Views {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Views").finish_non_exhaustive()
    }
}

/// Why a listening end cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address of the exporter.
    #[error("cannot listen on {address} for metrics (`metrics.listen`; `\"off\"` turns it off)")]
    Metrics {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The path of the admin socket.
    #[error("cannot listen on the admin socket {} (`gateway.admin_socket`)", path.display())]
    Admin {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens the exporter's port.
pub async fn listen_metrics(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError::Metrics { address, source })
}

/// Opens the admin socket, replacing the file of a process that is gone.
///
/// The caller holds the data directory's lock; a socket elsewhere that somebody still answers on is left alone.
pub async fn listen_admin(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Admin { path: path.to_owned(), source };
    if UnixStream::connect(path).await.is_ok() {
        return Err(failed(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process answers on it",
        )));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let permissions = std::fs::Permissions::from_mode(SOCKET_MODE);
    std::fs::set_permissions(path, permissions).map_err(failed)?;
    Ok(listener)
}

/// Serves `/metrics`, `/livez` and `/readyz` until `stop` is cancelled.
pub async fn serve_metrics(listener: TcpListener, views: Views, stop: CancellationToken) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(views);
    let serving = axum::serve(listener, routes);
    // Scrapes under way are cut: whoever stops the process does not wait for a slow client.
    tokio::select! { () = stop.cancelled() => {}, _ = serving.into_future() => {} }
}

/// Serves the admin API until `stop` is cancelled.
pub async fn serve_admin(listener: UnixListener, views: Views, stop: CancellationToken) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .merge(status::routes())
        .merge(rules::routes())
        .merge(sinks::routes())
        .merge(queues::routes())
        .merge(reload::routes())
        .merge(tail::routes())
        .merge(letters::routes(views.letters.clone()))
        .with_state(views);
    let serving = axum::serve(listener, routes);
    tokio::select! { () = stop.cancelled() => {}, _ = serving.into_future() => {} }
}

async fn metrics(State(views): State<Views>) -> Response {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], views.metrics.render()).into_response()
}

async fn ready(State(views): State<Views>) -> Response {
    let status = (views.status)();
    if status.ready {
        return "ready\n".into_response();
    }
    let problem = |(name, sink): (&String, &SinkStatus)| {
        let why = sink.queue_unavailable.as_ref()?;
        Some(format!("queue `{name}` takes no records: {why}\n"))
    };
    let problems: Vec<String> = status.sinks.iter().filter_map(problem).collect();
    (StatusCode::SERVICE_UNAVAILABLE, problems.concat()).into_response()
}
