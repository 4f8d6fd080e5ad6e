//! Requests that are not granted.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Why a request is not granted: a text for whoever typed the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    /// There is no such thing; `known` are the names there are.
    #[must_use]
    pub fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<_> = known.collect();
        let known = match known.as_slice() {
            [] => "there are none".to_owned(),
            [one] => format!("there is {one}"),
            some => format!("there are {}", some.join(", ")),
        };
        let message = format!("there is no {kind} `{name}`; {known}");
        Self { status: StatusCode::NOT_FOUND, message }
    }

    /// Not as things are.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.message).into_response()
    }
}
