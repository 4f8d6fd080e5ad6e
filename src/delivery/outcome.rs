//! What an answer means for the records of a request. Pure: no clock, no socket.
//!
//! Every answer and every transport error has exactly one [`Outcome`]. A success is a final status of 200 to 299 and
//! nothing else: a redirect is never followed (a captive portal would turn the POST into a GET that answers
//! 200), and what a retry cannot mend is never taken for delivered.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use http::{StatusCode, Uri};

use crate::clock::UnixMillis;
use crate::config::{Meaning, StatusPolicy};

/// What becomes of the records of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service has them.
    Delivered,
    /// Try the same request again.
    Retry {
        /// Not before this has passed, as the service asked.
        after: Option<Duration>,
        /// What is wrong.
        trouble: Trouble,
    },
    /// Too much at once: send it in parts.
    Split(Trouble),
    /// The service is there and will not have one of these records: the data is at fault.
    Reject(Trouble),
    /// The service will have no record as things are: credentials, address or method are at fault.
    Suspend(Trouble),
}

impl Outcome {
    /// What is wrong, where something is.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Delivered => None,
            Self::Retry { trouble, .. }
            | Self::Split(trouble)
            | Self::Reject(trouble)
            | Self::Suspend(trouble) => Some(trouble),
        }
    }
}

/// A request that was not delivered, for an operator and for the dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// In words.
    pub(super) why: String,
    /// The first bytes of the answer's body.
    pub(super) excerpt: Vec<u8>,
}

/// Ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was no connection to the service: says nothing of a record.
    NotConnected,
    /// The service took the request and did not answer in time.
    Timeout,
    /// The service took the request and broke the connection, or answered what is not HTTP.
    Broken,
    /// The service answered this.
    Status(u16),
}

impl Kind {
    /// Whether the service got the request.
    pub(super) fn has_reached(self) -> bool {
        self != Self::NotConnected
    }

    /// Whether two failures are the same way to fail. A service that crashes is restarted behind a proxy that says
    /// 502, 503 or 504 meanwhile: statuses are alike by class.
    pub(super) fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Status(one), Self::Status(other)) => one / 100 == other / 100,
            _ => self == other,
        }
    }

    /// The status that was answered.
    pub(super) fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::NotConnected | Self::Timeout | Self::Broken => None,
        }
    }
}

/// The outcome of a request that was answered in full with `status` and `headers`, and a body that starts with
/// `excerpt`; `now` dates a `Retry-After` that comes without a `Date`.
pub(super) fn classify(
    policy: &StatusPolicy,
    status: StatusCode,
    headers: &HeaderMap,
    excerpt: Vec<u8>,
    now: UnixMillis,
) -> Outcome {
    let meaning = policy.meaning(status.as_u16());
    if meaning == Meaning::Delivered {
        return Outcome::Delivered;
    }
    let why = match (status.as_u16(), meaning) {
        (300..=399, _) => redirect_in_words(status, headers),
        (401 | 403, _) => format!("{}: check the credentials", in_words(status)),
        (200..=299, _) => format!("{}, which `on_status` takes for no success", in_words(status)),
        (413, _) => format!("{}: the body is too large for the service", in_words(status)),
        (400..=599, Meaning::Suspend) => format!("{}: check the URL and headers", in_words(status)),
        (400..=599, _) => in_words(status),
        _ => format!("{}, which is no final HTTP status", status.as_u16()),
    };
    let trouble = Trouble { kind: Kind::Status(status.as_u16()), why, excerpt };
    match meaning {
        Meaning::Delivered => Outcome::Delivered,
        Meaning::Retry => Outcome::Retry { after: retry_after(headers, now), trouble },
        Meaning::Split => Outcome::Split(trouble),
        Meaning::Reject => Outcome::Reject(trouble),
        Meaning::Suspend => Outcome::Suspend(trouble),
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransportError {
    /// The host has no address, or nobody to ask for it.
    #[error("host name not resolved")]
    NameNotResolved,
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No route, or the network is down.
    #[error("network unreachable")]
    Unreachable,
    /// No connection within `timeouts.connect`.
    #[error("timeout while connecting")]
    ConnectTimeout,
    /// No complete answer within `timeouts.request`.
    #[error("no answer within the request timeout")]
    RequestTimeout,
    /// The TLS handshake failed; says how.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection ended before the answer did.
    #[error("connection closed before the answer was complete")]
    Closed,
    /// What came back is not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// No HTTP library sends such a URL: what the record says made it too long.
    #[error("the URL is longer than 65,534 bytes")]
    UrlTooLong,
    /// Nothing was sent: a signature would carry a time that cannot be right.
    #[error(
        "this machine's clock is before the day when this Waypost was built: a signed request waits until it is set"
    )]
    ClockNotSet,
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl TransportError {
    /// The request may or may not have arrived: it is sent again. One that can never be sent is as good as refused.
    pub(super) fn outcome(&self) -> Outcome {
        let kind = match self {
            Self::RequestTimeout => Kind::Timeout,
            Self::Closed | Self::NotHttp => Kind::Broken,
            _ => Kind::NotConnected,
        };
        let trouble = Trouble { kind, why: self.to_string(), excerpt: Vec::new() };
        match self {
            Self::UrlTooLong => Outcome::Reject(trouble),
            _ => Outcome::Retry { after: None, trouble },
        }
    }
}

/// `503 Service Unavailable`.
fn in_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("status {} ({reason})", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    }
}

/// Names the host only: the rest of a `Location` may carry tokens.
fn redirect_in_words(status: StatusCode, headers: &HeaderMap) -> String {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let host = location
        .and_then(|location| location.parse::<Uri>().ok())
        .and_then(|uri| uri.host().map(str::to_owned));
    let to = host.map_or_else(|| "elsewhere".to_owned(), |host| format!("to `{host}`"));
    format!("{} redirects {to}: a captive portal, or the URL has moved", in_words(status))
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3); `None` when absent or malformed.
///
/// A date is measured against the answer's own `Date`, so that neither clock has to be right; against `now` only
/// when there is none. A date in the past is zero.
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit is still "very long", which the caller caps.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let answered = date(headers, &DATE).unwrap_or(UNIX_EPOCH + Duration::from_millis(now.0));
    Some(until.duration_since(answered).unwrap_or_default())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&'static str, &str)]) -> Outcome {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let policy = StatusPolicy::default();
        let status = StatusCode::from_u16(status).unwrap();
        classify(&policy, status, &headers, b"because".to_vec(), UnixMillis(784_111_777_000))
    }

    #[track_caller]
    fn after(headers: &[(&'static str, &str)]) -> Option<Duration> {
        match of(503, headers) {
            Outcome::Retry { after, .. } => after,
            other => panic!("503 gave {other:?}"),
        }
    }

    #[test]
    fn every_status_has_the_outcome_of_the_policy() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => "Delivered",
                408 | 425 | 429 | 500..=599 => "Retry",
                401 | 403..=407 | 410 | 415 | 421 | 426 | 300..=399 => "Suspend",
                413 => "Split",
                400..=499 => "Reject",
                _ => "Suspend",
            };
            let outcome = of(status, &[]);
            let shown = format!("{outcome:?}");
            assert!(shown.starts_with(expected), "{status} gives {shown}, not {expected}");
            let (Outcome::Retry { trouble, .. }
            | Outcome::Split(trouble)
            | Outcome::Reject(trouble)
            | Outcome::Suspend(trouble)) = outcome
            else {
                continue;
            };
            assert_eq!(trouble.kind.status(), Some(status));
            assert!(trouble.why.contains(&status.to_string()), "{trouble:?}");
            assert_eq!(trouble.excerpt, b"because");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_otherwise_ignored() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[("retry-after", "120")]), seconds(120));
        assert_eq!(after(&[("retry-after", " 0 ")]), seconds(0));
        assert_eq!(after(&[("retry-after", "99999999999999999999999")]), seconds(u64::MAX));
        for malformed in ["", "soon", "-1", "1.5", "1s"] {
            assert_eq!(after(&[("retry-after", malformed)]), None, "{malformed:?}");
        }
        let date = "Sun, 06 Nov 1994 08:49:47 GMT";
        assert_eq!(after(&[("retry-after", date)]), seconds(10), "by our clock");
        let answered = ("date", "Sun, 06 Nov 1994 08:48:47 GMT");
        assert_eq!(after(&[("retry-after", date), answered]), seconds(60), "by the answer's Date");
        let late = ("date", "Sun, 06 Nov 1994 08:50:47 GMT");
        assert_eq!(after(&[("retry-after", date), late]), seconds(0), "in the past");
    }

    #[test]
    fn a_redirect_names_the_host_it_points_to_and_nothing_of_its_path() {
        let outcome = of(302, &[("location", "http://portal.example/login?token=secret")]);
        let why = "status 302 (Found) redirects to `portal.example`: a captive portal, or the URL has moved";
        let Outcome::Suspend(trouble) = outcome else { panic!("{outcome:?}") };
        assert_eq!(trouble.why, why);
        let Outcome::Suspend(trouble) = of(301, &[("location", "/elsewhere")]) else { panic!() };
        assert!(trouble.why.contains("redirects elsewhere"), "{trouble:?}");
    }
}
