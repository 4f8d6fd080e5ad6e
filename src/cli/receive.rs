//! `waypost receive`: a receiver for first steps, which prints what arrives and misbehaves on request.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use clap::Args;

use super::{Failure, runtime, say, tell};
use crate::units;

/// Largest request body taken.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Headers that say what Waypost promises; the others are left out.
const HEADERS_SHOWN: [&str; 4] =
    ["content-type", "webhook-id", "webhook-timestamp", "idempotency-key"];

/// Where to listen, and what to answer.
#[derive(Debug, Args)]
pub(super) struct ReceiveArguments {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Answer every request with this status
    #[arg(long, value_name = "CODE", default_value = "200", value_parser = parse_status)]
    status: StatusCode,
    /// Wait this long before each answer, such as `2s`
    #[arg(long, value_name = "PERIOD", default_value = "0s", value_parser = units::parse_period)]
    delay: Duration,
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(|status: &StatusCode| status.as_u16() >= 200);
    status.ok_or_else(|| "must be an HTTP status from 200 to 999".to_owned())
}

#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    delay: Duration,
}

pub(super) fn receive(arguments: &ReceiveArguments) -> Result<(), Failure> {
    let answer = Answer { status: arguments.status, delay: arguments.delay };
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen).await.map_err(|error| {
            let message = format!("error: cannot listen on {}: {error}", arguments.listen);
            Failure { code: 1, message }
        })?;
        let address = listener.local_addr().map_err(|error| Failure::failed(&error))?;
        tell(&format!(
            "listening on http://{address}, answering {}; stop with Ctrl-C",
            answer.status
        ));
        let routes = axum::Router::new()
            .fallback(print_request)
            .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(answer);
        tokio::select! {
            ended = axum::serve(listener, routes).into_future() => {
                ended.map_err(|error| Failure::failed(&error))
            }
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn print_request(
    State(answer): State<Answer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let shown = HEADERS_SHOWN
        .iter()
        .filter_map(|&name| Some((name, headers.get(name)?)))
        .map(|(name, value)| format!("\n  {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let shown: String = shown.collect();
    say(&format!("{method} {uri}{shown}\n  {}", String::from_utf8_lossy(&body)));
    tokio::time::sleep(answer.delay).await;
    let word = if answer.status.is_success() { "ok" } else { "asked to misbehave" };
    (answer.status, format!("{{\"result\":\"{word}\"}}\n"))
}
