//! The routes: each takes a JSON object and answers with one.

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};

use super::desk::LetterDesk;
use super::{
    Content, ContentRequest, EditRequest, Edited, Export, Group, GroupRequest, Page, PageRequest,
    Purged, ReplayRequest, Replayed,
};
use crate::admin::Refusal;

/// What the paths begin with.
pub(super) const PREFIX: &str = "/v1/dead-letters/";
/// Largest request: an edited payload, in base64.
const REQUEST_BYTES_MAX: usize = 32 << 20;

/// The routes of a desk.
pub(in crate::admin) fn routes<S: Clone + Send + Sync + 'static>(desk: LetterDesk) -> Router<S> {
    let path = |operation: &str| format!("{PREFIX}{operation}");
    Router::new()
        .route(&path("list"), post(list))
        .route(&path("group"), post(group))
        .route(&path("export"), post(export))
        .route(&path("replay"), post(replay))
        .route(&path("content"), post(content))
        .route(&path("edit"), post(edit))
        .route(&path("purge"), post(purge))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(desk)
}

type Answer<T> = Result<Json<T>, Refusal>;

async fn list(State(desk): State<LetterDesk>, Json(request): Json<PageRequest>) -> Answer<Page> {
    desk.page(request).await.map(Json)
}

async fn group(
    State(desk): State<LetterDesk>,
    Json(request): Json<GroupRequest>,
) -> Answer<Vec<Group>> {
    desk.groups(request).await.map(Json)
}

async fn export(
    State(desk): State<LetterDesk>,
    Json(request): Json<PageRequest>,
) -> Answer<Export> {
    desk.export(request).await.map(Json)
}

async fn replay(
    State(desk): State<LetterDesk>,
    Json(request): Json<ReplayRequest>,
) -> Answer<Replayed> {
    desk.replay(request).await.map(Json)
}

async fn content(
    State(desk): State<LetterDesk>,
    Json(request): Json<ContentRequest>,
) -> Answer<Content> {
    desk.content(request).await.map(Json)
}

async fn edit(State(desk): State<LetterDesk>, Json(request): Json<EditRequest>) -> Answer<Edited> {
    desk.edit(request).await.map(Json)
}

async fn purge(State(desk): State<LetterDesk>, Json(request): Json<PageRequest>) -> Answer<Purged> {
    desk.purge(request).await.map(Json)
}
