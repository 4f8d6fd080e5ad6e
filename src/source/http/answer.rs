//! What is answered: one line of JSON, always.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::json;

use crate::source::Problem;

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// How it is counted.
    pub(super) problem: Problem,
    /// What a person reads.
    pub(super) why: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, problem: Problem, why: impl Into<String>) -> Self {
        Self { status, problem, why: why.into() }
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = respond(self.status, &json!({ "error": self.why }));
        let headers = response.headers_mut();
        let text = HeaderValue::from_static;
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, text("Bearer"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, text("POST, PUT"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, text("1"));
            }
            // The rest of the body may not have been read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(CONNECTION, text("close"));
            }
            _ => {}
        }
        response
    }
}

/// Every event is safe.
pub(super) fn accepted(events: usize, ignored: usize) -> Response<Full<Bytes>> {
    let body = match ignored {
        0 => json!({ "accepted": events }),
        _ => json!({ "accepted": events, "ignored": ignored }),
    };
    respond(StatusCode::OK, &body)
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A whole answer for a connection of which nothing is read.
pub(super) fn raw_unavailable(why: &str) -> String {
    let body = format!("{}\n", json!({ "error": why }));
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
