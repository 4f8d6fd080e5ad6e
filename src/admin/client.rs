//! Asks a running Waypost over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::body::Body;
use reqwest::redirect::Policy;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::queues::{DropAnswer, QUEUES_PATH, QueueRow, QueuedRecord, drop_path, records_path};
use super::reload;
use super::rules::{self, RuleReport};
use super::sinks::{self, SinkCommand, SinkSteered};
use super::tail::{HEARTBEAT, TailQuery};
use super::{STATUS_PATH, Status};
use crate::name::SinkName;
use crate::tail::Line;

/// Longest a local answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest it may take where disks or services are waited for.
const WORK_TIMEOUT: Duration = Duration::from_mins(2);

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
    /// It does not do what it was asked for, and says why.
    #[error("{message}")]
    Refused {
        /// In its words.
        message: String,
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
    ask(socket, Method::GET, STATUS_PATH).await
}

/// What a rule of the process that listens on `socket` does.
pub async fn rule(socket: &Path, rule: &str) -> Result<RuleReport, ClientError> {
    ask(socket, Method::GET, &rules::path(rule)).await
}

/// Steers a sink of the process that listens on `socket`.
pub async fn steer(
    socket: &Path,
    sink: &str,
    command: SinkCommand,
) -> Result<SinkSteered, ClientError> {
    ask(socket, Method::POST, &sinks::path(sink, command)).await
}

/// The queues of the process that listens on `socket`.
pub async fn queues(socket: &Path) -> Result<Vec<QueueRow>, ClientError> {
    ask(socket, Method::GET, QUEUES_PATH).await
}

/// Records of a queue from the number `from` on; none when there are no more.
pub async fn records(
    socket: &Path,
    sink: &SinkName,
    from: u64,
    records_max: usize,
) -> Result<Vec<QueuedRecord>, ClientError> {
    ask_for_work(socket, Method::GET, &records_path(sink, from, records_max)).await
}

/// Drops records of a queue that came `age` ago or earlier.
pub async fn drop_records(
    socket: &Path,
    sink: &SinkName,
    age: Duration,
) -> Result<DropAnswer, ClientError> {
    ask_for_work(socket, Method::POST, &drop_path(sink, age)).await
}

/// Has the config reloaded.
pub async fn reload(socket: &Path, drop_removed: bool) -> Result<reload::Answer, ClientError> {
    ask_for_work(socket, Method::POST, &reload::path(drop_removed)).await
}

/// Looks on at the process that listens on `socket`, from the moment that this returns.
pub async fn tail(socket: &Path, wanted: &TailQuery) -> Result<Lines, ClientError> {
    let body = in_time(socket, ANSWER_TIMEOUT, open(socket, Method::GET, &wanted.path())).await?;
    Ok(Lines { socket: socket.to_owned(), body, rest: Vec::new() })
}

/// Lines as they come.
#[derive(Debug)]
pub struct Lines {
    socket: PathBuf,
    body: reqwest::Body,
    /// Read, and not given out yet.
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when the process has stopped.
    pub async fn next(&mut self) -> Result<Option<Line>, ClientError> {
        let bad = |socket: &Path, why: String| Err(bad_answer(socket, why));
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    return read(&self.socket, &line).map(Some);
                }
            }
            match tokio::time::timeout(3 * HEARTBEAT, self.body.frame()).await {
                Err(_) => return bad(&self.socket, "it has gone silent".to_owned()),
                // Cut off with the process.
                Ok(None | Some(Err(_))) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    self.rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
            }
            if self.rest.len() > ANSWER_BYTES_MAX {
                return bad(&self.socket, "a line without an end".to_owned());
            }
        }
    }
}

/// Asks, and reads the JSON that is answered.
async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    in_time(socket, ANSWER_TIMEOUT, answer(socket, method, path)).await
}

/// As [`ask`], where disks and services are waited for.
async fn ask_for_work<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    in_time(socket, WORK_TIMEOUT, answer(socket, method, path)).await
}

async fn answer<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, ClientError> {
    let body = Limited::new(open(socket, method, path).await?, ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(|error| bad_answer(socket, error.to_string()))?;
    read(socket, &body.to_bytes())
}

fn read<T: DeserializeOwned>(socket: &Path, json: &[u8]) -> Result<T, ClientError> {
    let other_version = |error| bad_answer(socket, format!("{error} (is it another version?)"));
    serde_json::from_slice(json).map_err(other_version)
}

async fn in_time<T>(
    socket: &Path,
    patience: Duration,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let seconds = patience.as_secs();
    let late = |_| bad_answer(socket, format!("it took longer than {seconds} s"));
    tokio::time::timeout(patience, answer).await.map_err(late)?
}

fn bad_answer(socket: &Path, why: String) -> ClientError {
    ClientError::BadAnswer { path: socket.to_owned(), why }
}

/// Whether a process listens on `socket` and lets us in.
pub async fn reaches(socket: &Path) -> Result<(), ClientError> {
    let connected = UnixStream::connect(socket).await;
    connected.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: socket.to_owned() },
        _ => ClientError::NotRunning { path: socket.to_owned() },
    })
}

/// Sends a request without a body and waits for the head of a good answer. What is refused is an error.
async fn open(socket: &Path, method: Method, path: &str) -> Result<reqwest::Body, ClientError> {
    let request = http::Request::builder().method(method).uri(url(path)).body("");
    let request = request.map_err(|error| bad_answer(socket, error.to_string()))?;
    let response = send(socket, request).await?;
    Ok(granted(socket, response).await?.into_body())
}

/// The URL of a path behind the socket, which has no host.
pub(super) fn url(path: &str) -> String {
    format!("http://waypost{path}")
}

/// Why, without what is around it.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

/// Sends a request, whose URL is of [`url`], and waits for the head of the answer.
pub(super) async fn send<B: Into<reqwest::Body>>(
    socket: &Path,
    request: http::Request<B>,
) -> Result<http::Response<reqwest::Body>, ClientError> {
    let bad = |error: reqwest::Error| bad_answer(socket, innermost(&error));
    let client = reqwest::Client::builder().unix_socket(socket).no_proxy();
    let client = client.redirect(Policy::none()).build().map_err(bad)?;
    let request = reqwest::Request::try_from(request).map_err(bad)?;
    match client.execute(request).await {
        Ok(response) => Ok(response.into()),
        // Tells a socket that nobody listens on from one that does not let us in.
        Err(error) if error.is_connect() => reaches(socket).await.and(Err(bad(error))),
        Err(error) => Err(bad(error)),
    }
}

/// The answer, where it is a good one; what is refused is an error. `place` is who answered.
pub(super) async fn granted<B: Body>(
    place: &Path,
    response: hyper::Response<B>,
) -> Result<hyper::Response<B>, ClientError>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let said = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let said = said.map(Collected::to_bytes).unwrap_or_default();
    Err(match std::str::from_utf8(&said) {
        Ok(message) if status.is_client_error() && !message.is_empty() => {
            ClientError::Refused { message: message.to_owned() }
        }
        _ => bad_answer(place, format!("it answers {status}")),
    })
}
