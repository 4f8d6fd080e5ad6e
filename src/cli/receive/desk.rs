//! Looks at requests as a careful receiver does: the signature first, then which records it has seen before.

use std::collections::{HashSet, VecDeque};
use std::io::Read as _;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::signature::{SigningKey, verify};

/// Record ids remembered; older ones are forgotten.
const IDS_MAX: usize = 100_000;
/// How far the time of a signature may be from ours, in seconds, as the specification advises.
const TOLERANCE_SECONDS: u64 = 5 * 60;

/// What a receiver keeps between requests.
#[derive(Debug)]
pub(super) struct Desk {
    keys: Vec<SigningKey>,
    seen: HashSet<String>,
    order: VecDeque<String>,
    bytes_max: u64,
}

/// A request that may be processed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The body, decompressed.
    pub(super) body: Vec<u8>,
    /// Ids of its records that have not been here.
    pub(super) new: Vec<String>,
    /// Ids of its records that have: processing them again would be once too often.
    pub(super) again: Vec<String>,
}

impl Desk {
    /// Wants a signature with one of `keys` where there are any; bodies may have `bytes_max` once decompressed.
    pub(super) fn new(keys: Vec<SigningKey>, bytes_max: usize) -> Self {
        let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        Self { keys, seen: HashSet::new(), order: VecDeque::new(), bytes_max }
    }

    /// Takes a request in, or says what is wrong with it; `now` in seconds since 1970. Nothing is remembered of it before
    /// [`Self::remember`].
    pub(super) fn accept(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: u64,
    ) -> Result<Accepted, String> {
        self.check_signature(headers, body, now)?;
        let body = self.decompressed(headers, body)?;
        let ids = record_ids(headers, &body).into_iter();
        let (again, new) = ids.partition(|id| self.seen.contains(id));
        Ok(Accepted { body, new, again })
    }

    /// The request was answered well: its records count as processed.
    pub(super) fn remember(&mut self, ids: &[String]) {
        for id in ids {
            if self.seen.insert(id.clone()) {
                self.order.push_back(id.clone());
            }
        }
        while self.order.len() > IDS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
    }

    fn check_signature(&self, headers: &HeaderMap, body: &[u8], now: u64) -> Result<(), String> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let signature =
            header(headers, "webhook-signature").ok_or("there is no `webhook-signature`")?;
        let id = header(headers, "webhook-id").ok_or("there is no `webhook-id`")?;
        let timestamp = header(headers, "webhook-timestamp").and_then(|text| text.parse().ok());
        let timestamp: u64 = timestamp.ok_or("there is no `webhook-timestamp` in seconds")?;
        if timestamp.abs_diff(now) > TOLERANCE_SECONDS {
            return Err(
                "its `webhook-timestamp` is more than 5 minutes away from this clock".to_owned()
            );
        }
        if verify(&self.keys, signature, id, timestamp, body) {
            Ok(())
        } else {
            Err("its signature was made with another secret, or over another body".to_owned())
        }
    }

    fn decompressed(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        let read = match header(headers, "content-encoding") {
            None | Some("identity") => return Ok(body.to_vec()),
            Some("gzip") => {
                flate2::read::GzDecoder::new(body).take(self.bytes_max).read_to_end(&mut plain)
            }
            Some("zstd") => zstd::Decoder::new(body)
                .and_then(|decoder| decoder.take(self.bytes_max).read_to_end(&mut plain)),
            Some(other) => return Err(format!("its `content-encoding` is `{other}`")),
        };
        read.map(|_| plain).map_err(|error| format!("its body cannot be decompressed: {error}"))
    }
}

/// The ids of the records in a body, or the one of the request where they carry none.
fn record_ids(headers: &HeaderMap, body: &[u8]) -> Vec<String> {
    let id_of = |record: &Value| Some(record.get("record_id")?.as_str()?.to_owned());
    let mut ids: Vec<String> = match serde_json::from_slice(body) {
        Ok(Value::Array(records)) => records.iter().filter_map(id_of).collect(),
        Ok(record) => id_of(&record).into_iter().collect(),
        Err(_) => {
            let lines = body.split(|byte| *byte == b'\n');
            lines.filter_map(|line| id_of(&serde_json::from_slice(line).ok()?)).collect()
        }
    };
    if ids.is_empty() {
        ids.extend(header(headers, "webhook-id").map(str::to_owned));
    }
    ids
}

fn header<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    headers.get(name)?.to_str().ok()
}
