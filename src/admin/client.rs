//! Asks a running Waypost over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{STATUS_PATH, Status};

/// Longest a local answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer read; a status with hundreds of sinks is far below.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("waypost is not running: nobody answers on {}", path.display())]
    NotRunning {
        /// The admin socket.
        path: PathBuf,
    },
    /// The file system does not let us in.
    #[error("not allowed to talk to waypost on {}: become its user or join its group", path.display())]
    NotAllowed {
        /// The admin socket.
        path: PathBuf,
    },
    /// It answers, but not as it should.
    #[error("no usable answer from waypost on {}: {why}", path.display())]
    BadAnswer {
        /// The admin socket.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// The status of the process that listens on `socket`.
pub async fn status(socket: &Path) -> Result<Status, ClientError> {
    let bad = |why: String| ClientError::BadAnswer { path: socket.to_owned(), why };
    let body = tokio::time::timeout(ANSWER_TIMEOUT, get(socket, STATUS_PATH))
        .await
        .map_err(|_| bad(format!("it took longer than {} s", ANSWER_TIMEOUT.as_secs())))??;
    serde_json::from_slice(&body).map_err(|error| bad(format!("{error} (is it another version?)")))
}

async fn get(socket: &Path, path: &str) -> Result<Bytes, ClientError> {
    let bad = |why: String| ClientError::BadAnswer { path: socket.to_owned(), why };
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: socket.to_owned() },
        _ => ClientError::NotRunning { path: socket.to_owned() },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| bad(error.to_string()))?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, "waypost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(error.to_string()))?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok::<_, hyper::Error>((status, body))
    };
    // The connection must be driven while the answer is awaited; it ends when `sender` is dropped.
    let (answer, _ended) = tokio::join!(answer, connection);
    let (status, body) = answer.map_err(|error| bad(error.to_string()))?;
    let body = body.map_err(|error| bad(error.to_string()))?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(bad(format!("it answers {status}"))) }
}
