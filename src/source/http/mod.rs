//! The `http` source: brokers' own web hooks, pointed at Waypost.
//!
//! Promises: an answer of 200 leaves after every queue that the events go to holds them. Anything else stored nothing that the
//! sender may forget, and its body says why in one line of JSON. A request is taken whole or not at all. Bounded: connections, bytes
//! of a body, bytes of all bodies that are being read, and the intake; and the time that each of these may take.

mod answer;
mod desk;
mod token;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use super::listen::{self, Entrance, ListenError};
use super::{Problem, SourceContext, SourceState};
use crate::config;

/// Time for the TLS handshake, and again for the head of a first request that has the right token.
const ADMISSION_MAX: Duration = Duration::from_secs(15);
/// How long a sender may be silent. Longer than the pools of brokers keep a connection: what is closed from here may be closed
/// while a request is on its way, which some senders never send again.
const IDLE_MAX: Duration = Duration::from_mins(10);
/// Head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// On stop: time for the answers under way.
const LEAVE_MAX: Duration = Duration::from_millis(150);
/// Pause after a failed accept, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers requests until `context.stop` is cancelled.
///
/// When an address cannot be had it says so once, keeps trying with growing pauses, and leaves the other sources alone.
pub async fn run(context: SourceContext, config: config::HttpSource) {
    let mut pause = Duration::from_secs(1);
    let entrances = loop {
        let opened: Result<Vec<Entrance>, ListenError> =
            config.listeners.iter().map(listen::listen).collect();
        let why = match opened {
            Ok(entrances) => break entrances,
            Err(error) => listen::describe(&error),
        };
        if !listen::wait_after(why, &mut pause, &context.health, &context.stop).await {
            return context.health.change(SourceState::Stopped);
        }
    };
    let house = House {
        places: Arc::new(Semaphore::new(config.connections_max.get())),
        connections_max: config.connections_max.get(),
        stop: context.stop.clone(),
        desk: Arc::new(Desk::new(context.clone(), &config)),
    };
    context.health.change(SourceState::Connected);
    let accepting = entrances.into_iter().map(|entrance| house.accept(entrance));
    futures_util::future::join_all(accepting).await;
    context.health.change(SourceState::Stopped);
}

/// What all connections share.
struct House {
    desk: Arc<Desk>,
    places: Arc<Semaphore>,
    connections_max: usize,
    stop: CancellationToken,
}

impl House {
    /// Accepts connections until the source stops, then waits a moment for those that are being answered.
    async fn accept(&self, entrance: Entrance) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    continue;
                }
                accepted = entrance.listener.accept() => accepted,
            };
            let Ok((sender, _)) = accepted else {
                self.desk.health().count(Problem::Unreachable);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => {
                    let (desk, tls) = (Arc::clone(&self.desk), entrance.tls.clone());
                    connections.spawn(serve(desk, sender, tls, self.stop.clone(), place));
                }
                Err(_) => self.turn_away(sender, entrance.tls.is_some()).await,
            }
        }
        drop(timeout(LEAVE_MAX, connections.join_all()).await);
    }

    /// Says that there is no place; over TLS a handshake would have to come first.
    async fn turn_away(&self, mut sender: TcpStream, is_tls: bool) {
        let max = self.connections_max;
        let why = format!("{max} connections are open, which is max_connections: try again later");
        self.desk.complain(Problem::TooManyConnections, &why);
        if !is_tls {
            let answer = answer::raw_unavailable(&why);
            // It fits into the buffer of a new socket.
            drop(timeout(ACCEPT_PAUSE, sender.write_all(answer.as_bytes())).await);
        }
    }
}

async fn serve(
    desk: Arc<Desk>,
    sender: TcpStream,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // An answer must not wait for a full segment.
    drop(sender.set_nodelay(true));
    let served = match tls {
        None => answer_all(&desk, sender, &stop).await,
        Some(tls) => match timeout(ADMISSION_MAX, tls.accept(sender)).await {
            Ok(Ok(sender)) => answer_all(&desk, sender, &stop).await,
            Ok(Err(_)) | Err(_) => Err(Problem::Protocol),
        },
    };
    if let Err(problem) = served {
        desk.health().count(problem);
    }
}

/// Answers the requests of a connection until either side ends it.
async fn answer_all<Io>(desk: &Desk, sender: Io, stop: &CancellationToken) -> Result<(), Problem>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let admitted = CancellationToken::new();
    let service = service_fn(async |request| {
        Ok::<http::Response<Full<Bytes>>, io::Error>(desk.answer(request, &admitted).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(sender), service);
    let mut connection = std::pin::pin!(connection);
    let unknown = async {
        if timeout(ADMISSION_MAX, admitted.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = unknown => return Err(Problem::Silent),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A sender that goes while it is silent is no problem.
    ended.map_err(|error| if error.is_parse() { Problem::Protocol } else { Problem::Closed })
}
