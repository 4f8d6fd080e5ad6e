//! Asks for dead letters: a running Waypost over its admin socket, or a desk in this process.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::Method;
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_service::Service as _;

use super::desk::LetterDesk;
use super::routes::{PREFIX, routes};
use super::{
    Content, ContentRequest, EditRequest, Edited, Export, Group, GroupRequest, Page, PageRequest,
    Purged, ReplayRequest, Replayed,
};
use crate::admin::client::{self, ClientError};

/// Longest a page may take: a replay waits for the disk.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest answer read: one of the largest records in it, in base64.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct LetterClient {
    /// The admin socket, or what the desk works on: for messages.
    place: PathBuf,
    /// In this process.
    here: Option<Router>,
}

impl LetterClient {
    /// Asks the process that listens on an admin socket.
    #[must_use]
    pub fn of_socket(socket: PathBuf) -> Self {
        Self { place: socket, here: None }
    }

    /// Asks a desk in this process; `place` is the data directory that it works on.
    #[must_use]
    pub fn of_desk(desk: LetterDesk, place: PathBuf) -> Self {
        Self { place, here: Some(routes(desk)) }
    }

    /// Some letters.
    pub async fn list(&self, request: &PageRequest) -> Result<Page, ClientError> {
        self.ask("list", request).await
    }

    /// Counts of letters.
    pub async fn group(&self, request: &GroupRequest) -> Result<Vec<Group>, ClientError> {
        self.ask("group", request).await
    }

    /// Some letters with all that is in them.
    pub async fn export(&self, request: &PageRequest) -> Result<Export, ClientError> {
        self.ask("export", request).await
    }

    /// Puts some letters into queues.
    pub async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, ClientError> {
        self.ask("replay", request).await
    }

    /// What can be edited of a letter.
    pub async fn content(&self, request: &ContentRequest) -> Result<Content, ClientError> {
        self.ask("content", request).await
    }

    /// Puts another letter in the place of one.
    pub async fn edit(&self, request: &EditRequest) -> Result<Edited, ClientError> {
        self.ask("edit", request).await
    }

    /// Removes some letters.
    pub async fn purge(&self, request: &PageRequest) -> Result<Purged, ClientError> {
        self.ask("purge", request).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl Serialize,
    ) -> Result<T, ClientError> {
        let bad = |why: String| ClientError::BadAnswer { path: self.place.clone(), why };
        let request = serde_json::to_vec(request).map_err(|error| bad(error.to_string()))?;
        let request = hyper::Request::builder()
            .method(Method::POST)
            .uri(client::url(&format!("{PREFIX}{operation}")))
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(request)
            .map_err(|error| bad(error.to_string()))?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.send(request));
        let late = |_| bad(format!("it took longer than {} s", ANSWER_TIMEOUT.as_secs()));
        let answer = answer.await.map_err(late)??;
        serde_json::from_slice(&answer)
            .map_err(|error| bad(format!("{error} (is it another version?)")))
    }

    async fn send(&self, request: hyper::Request<Vec<u8>>) -> Result<Bytes, ClientError> {
        let bad = |why: String| ClientError::BadAnswer { path: self.place.clone(), why };
        let response = match self.here.clone() {
            Some(mut router) => match router.call(request.map(Body::from)).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            None => client::send(&self.place, request).await?.map(Body::new),
        };
        let response = client::granted(&self.place, response).await?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| bad(error.to_string()))?.to_bytes())
    }
}
