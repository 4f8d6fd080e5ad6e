//! What happens to a request: who sends it, what it says, and custody of that before it is answered.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::answer::{Refused, accepted};
use super::token::Token;
use crate::config;
use crate::event::Event;
use crate::source::dialect::Refusal;
use crate::source::dialect::hook::Format;
use crate::source::{Custody, Problem, SourceContext, SourceHealth, Verdict};

/// Bodies that are being read or wait for the intake, together; at least two of the largest allowed.
const BODIES_BYTES_MAX: usize = 16 << 20;
/// Time for the whole body of a request.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Longest wait for room in the intake: senders in a client's way give up after 5 s.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(2);
/// Longest wait for custody.
const CUSTODY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pause between two log lines about refused requests.
const COMPLAINT_PAUSE: Duration = Duration::from_mins(1);

/// Answers requests.
pub(super) struct Desk {
    context: SourceContext,
    token: Option<Token>,
    format: Format,
    body_bytes_max: usize,
    bodies: Semaphore,
    complained: Mutex<Option<Instant>>,
}

impl Desk {
    pub(super) fn new(context: SourceContext, config: &config::HttpSource) -> Self {
        let body_bytes_max = config.body_bytes_max.get();
        Self {
            context,
            token: config.token.clone().map(Token::new),
            format: Format::from(&config.format),
            body_bytes_max,
            bodies: Semaphore::new(BODIES_BYTES_MAX.max(2 * body_bytes_max)),
            complained: Mutex::new(None),
        }
    }

    pub(super) fn health(&self) -> &SourceHealth {
        &self.context.health
    }

    /// Counts a refusal, and tells of it once in a while.
    pub(super) fn complain(&self, problem: Problem, why: &str) {
        self.health().count(problem);
        {
            let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
            if complained.is_some_and(|last| last.elapsed() < COMPLAINT_PAUSE) {
                return;
            }
            *complained = Some(Instant::now());
        }
        let source = &self.context.name;
        warn!(%source, ?why, "request refused; others within a minute are only counted");
    }

    /// Answers a request. `admitted` is cancelled once its sender is known to be one.
    ///
    /// Dropping the future refuses nothing that was handed over already: the events may become durable, and the sender, which
    /// got no answer, sends them again.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        admitted: &CancellationToken,
    ) -> Response<Full<Bytes>> {
        match self.take(request, admitted).await {
            Ok(response) => response,
            Err(refused) => {
                self.complain(refused.problem, &refused.why);
                refused.response()
            }
        }
    }

    async fn take(
        &self,
        request: Request<Incoming>,
        admitted: &CancellationToken,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        self.check(&request)?;
        admitted.cancel();
        let (body, _share) = self.body(request).await?;
        let told = self.format.read(&body).map_err(|refused| {
            let status = match refused.refusal {
                Refusal::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            };
            Refused::new(status, Problem::Unreadable, refused.to_string())
        })?;
        drop(body);
        let events: Vec<Event> =
            told.events.into_iter().map(|said| said.into_event(&self.context)).collect();
        let count = events.len();
        let metrics = &self.health().metrics;
        let counted = u64::try_from(count).unwrap_or(u64::MAX);
        metrics.received.inc_by(counted);
        self.store(events).await?;
        metrics.acknowledged.inc_by(counted);
        Ok(accepted(count, told.ignored))
    }

    /// What the head says.
    fn check(&self, request: &Request<Incoming>) -> Result<(), Refused> {
        let headers = request.headers();
        if let Some(token) = &self.token {
            let shown = headers.get(AUTHORIZATION);
            if !shown.is_some_and(|value| token.is_in(value.as_bytes())) {
                return Err(Refused::new(
                    StatusCode::UNAUTHORIZED,
                    Problem::NotAuthorized,
                    "needs the token of this source, as `authorization: Bearer TOKEN` or as the password in the URL",
                ));
            }
        }
        let protocol = |status, why: &str| Err(Refused::new(status, Problem::Protocol, why));
        if !matches!(*request.method(), Method::POST | Method::PUT) {
            return protocol(StatusCode::METHOD_NOT_ALLOWED, "events come with POST or PUT");
        }
        let encoding = headers.get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return protocol(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bodies are taken as they are: send them without compression",
            );
        }
        Ok(())
    }

    /// The body, with its share of what all bodies may take.
    async fn body(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Refused> {
        let too_large = || {
            let max = self.body_bytes_max;
            Refused::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Problem::Oversize,
                format!("the body is larger than max_body_bytes, which is {max} bytes"),
            )
        };
        let length = request.headers().get(CONTENT_LENGTH);
        let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = length.unwrap_or(self.body_bytes_max);
        if length > self.body_bytes_max {
            return Err(too_large());
        }
        let share = u32::try_from(length).unwrap_or(u32::MAX);
        let share = timeout(ROOM_WAIT_MAX, self.bodies.acquire_many(share)).await;
        let Ok(Ok(share)) = share else { return Err(no_room()) };
        let body = Limited::new(request.into_body(), self.body_bytes_max).collect();
        match timeout(BODY_MAX, body).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), share)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Refused::new(
                StatusCode::BAD_REQUEST,
                Problem::Closed,
                format!("the body did not come: {error}"),
            )),
            Err(_) => Err(Refused::new(
                StatusCode::REQUEST_TIMEOUT,
                Problem::Silent,
                "the body did not come in time",
            )),
        }
    }

    /// Hands all events over, and comes back once all of them are safe.
    async fn store(&self, events: Vec<Event>) -> Result<(), Refused> {
        let unavailable =
            |why: &str| Refused::new(StatusCode::SERVICE_UNAVAILABLE, Problem::NotStored, why);
        let stopping = || unavailable("Waypost is stopping");
        let room = timeout(ROOM_WAIT_MAX, self.context.intake.reserve_all(&events)).await;
        let room = room.map_err(|_| no_room())?.map_err(|_| stopping())?;
        let (custody, verdict) = Custody::channel();
        room.submit(events, custody);
        match timeout(CUSTODY_WAIT_MAX, verdict).await {
            Ok(Ok(Verdict::Accepted)) => Ok(()),
            Ok(Ok(Verdict::Refused)) => Err(unavailable(
                "could not be stored: `waypost status` says which queue takes no records, and why",
            )),
            Ok(Err(_)) => Err(stopping()),
            Err(_) => {
                Err(unavailable("could not be stored in time: is a queue full, or the disk slow?"))
            }
        }
    }
}

fn no_room() -> Refused {
    Refused::new(
        StatusCode::TOO_MANY_REQUESTS,
        Problem::IntakeFull,
        "more is on its way to the disk than `gateway.intake_max_bytes` allows: send it again later",
    )
}
