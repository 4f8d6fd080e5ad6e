//! `waypost receive`: a receiver for first steps, which prints what arrives and misbehaves on request.

mod desk;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use clap::Args;

use super::{Failure, runtime, say, tell};
use crate::clock::UnixMillis;
use crate::signature::SigningKey;
use crate::units;
use desk::Desk;

/// Largest request body taken, also once it is decompressed.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Headers that say what Waypost promises; the others are left out.
const HEADERS_SHOWN: [&str; 6] = [
    "content-type",
    "content-encoding",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "idempotency-key",
];

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
    /// Answer 401 to requests that are not signed with this key, `whsec_...`; may be given several times
    #[arg(long, value_name = "KEY", value_parser = SigningKey::new)]
    secret: Vec<SigningKey>,
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(|status: &StatusCode| status.as_u16() >= 200);
    status.ok_or_else(|| "must be an HTTP status from 200 to 999".to_owned())
}

#[derive(Debug, Clone)]
struct Receiver {
    status: StatusCode,
    delay: Duration,
    desk: Arc<Mutex<Desk>>,
}

pub(super) fn receive(arguments: &ReceiveArguments) -> Result<(), Failure> {
    let desk = Arc::new(Mutex::new(Desk::new(arguments.secret.clone(), BODY_BYTES_MAX)));
    let receiver = Receiver { status: arguments.status, delay: arguments.delay, desk };
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen).await.map_err(|error| {
            let message = format!("error: cannot listen on {}: {error}", arguments.listen);
            Failure { code: 1, message }
        })?;
        let address = listener.local_addr().map_err(|error| Failure::failed(&error))?;
        tell(&format!(
            "listening on http://{address}, answering {}; stop with Ctrl-C",
            receiver.status
        ));
        let routes = axum::Router::new()
            .fallback(print_request)
            .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(receiver);
        tokio::select! {
            ended = axum::serve(listener, routes).into_future() => {
                ended.map_err(|error| Failure::failed(&error))
            }
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn print_request(
    State(receiver): State<Receiver>,
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
    let now = UnixMillis::now().0 / 1000;
    let looked_at = {
        let mut desk = receiver.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let looked_at = desk.accept(&headers, &body, now);
        if let (Ok(accepted), true) = (&looked_at, receiver.status.is_success()) {
            desk.remember(&accepted.new);
        }
        looked_at
    };
    let (status, said) = match &looked_at {
        Ok(accepted) => {
            let twice = accepted.again.iter().map(|id| format!("\n  processed before: {id}"));
            let body = String::from_utf8_lossy(&accepted.body);
            (receiver.status, format!("\n  {body}{}", twice.collect::<String>()))
        }
        Err(why) => (StatusCode::UNAUTHORIZED, format!("\n  refused: {why}")),
    };
    say(&format!("{method} {uri}{shown}{said}"));
    tokio::time::sleep(receiver.delay).await;
    let word = if status.is_success() { "ok" } else { "asked to misbehave" };
    let word = if looked_at.is_ok() { word } else { "refused" };
    (status, format!("{{\"result\":\"{word}\"}}\n"))
}
