//! The HTTP service of the demo: takes batches and counts records by their id. As strict services do, it answers 422 to a
//! batch with a message in it that it cannot use.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<String>,
    repeated: u64,
}

type Shared = Arc<Mutex<Seen>>;

/// What the demo looks at in a record.
#[derive(Debug, Deserialize)]
struct Received {
    record_id: String,
    payload: String,
}

impl Received {
    /// It has no temperature.
    fn is_poison(&self) -> bool {
        self.payload.contains("\"temperature\":null")
    }
}

#[derive(Debug)]
pub(super) struct Receiver {
    address: SocketAddr,
    seen: Shared,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Shared::default();
        let routes = axum::Router::new()
            .route("/ingest", axum::routing::post(take))
            .with_state(Arc::clone(&seen));
        let stop = CancellationToken::new();
        let serving = async { drop(axum::serve(listener, routes).await) };
        let task = super::spawn(&stop, serving);
        Ok(Self { address, seen, stop, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Records received, each id counted once.
    pub(super) fn received(&self) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(seen.ids.len()).unwrap_or(u64::MAX)
    }

    /// Records that came again.
    pub(super) fn repeated(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).repeated
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        drop(self.task.await);
    }
}

async fn take(
    State(seen): State<Shared>,
    Json(batch): Json<Vec<Received>>,
) -> (StatusCode, &'static str) {
    if batch.iter().any(Received::is_poison) {
        return (StatusCode::UNPROCESSABLE_ENTITY, "a message without a temperature");
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for record in batch {
        if !seen.ids.insert(record.record_id) {
            seen.repeated += 1;
        }
    }
    (StatusCode::OK, "")
}
