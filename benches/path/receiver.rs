//! An HTTP service that counts: one thread, raw sockets, no JSON.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::payload::{DIGITS, MARK, number_at};
use crate::publisher::sleep_until;

/// Stands once in every record, and not in a payload, where quotes are escaped.
const KEY: &[u8] = b"\"payload\":";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// When each message was sent and first received, and how many came in all.
#[derive(Debug)]
pub struct Tally {
    epoch: Instant,
    /// Nanoseconds since the epoch; 0 is not yet.
    sent: Vec<AtomicU64>,
    received: Vec<AtomicU64>,
    distinct: AtomicUsize,
    repeats: AtomicUsize,
    requests: AtomicUsize,
    records: AtomicUsize,
    last: AtomicU64,
}

impl Tally {
    /// Room for messages numbered below `messages`.
    pub fn of(messages: usize) -> Arc<Self> {
        let zeros = || (0..messages).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            epoch: Instant::now(),
            sent: zeros(),
            received: zeros(),
            distinct: AtomicUsize::new(0),
            repeats: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            records: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap()
    }

    /// A message is on its way.
    pub fn sent(&self, number: usize) {
        self.sent[number].store(self.now(), Ordering::Relaxed);
    }

    fn body(&self, body: &[u8]) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        self.records.fetch_add(memchr::memmem::find_iter(body, KEY).count(), Ordering::Relaxed);
        for mark in memchr::memchr_iter(MARK, body) {
            if let Some(number) = number_at(&body[mark + 1..(mark + 1 + DIGITS).min(body.len())]) {
                self.message(number, now);
            }
        }
    }

    /// A message has arrived at `now`.
    fn message(&self, number: usize, now: u64) {
        if self.received[number].swap(now, Ordering::Relaxed) == 0 {
            self.distinct.fetch_add(1, Ordering::Relaxed);
        } else {
            self.repeats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message has arrived now; for references that do not speak HTTP.
    pub fn received(&self, payload: &[u8]) {
        self.body(payload);
    }

    /// Messages there is room for.
    pub fn room(&self) -> usize {
        self.received.len()
    }

    /// Different messages that have arrived.
    pub fn distinct(&self) -> usize {
        self.distinct.load(Ordering::Relaxed)
    }

    /// Messages that arrived again.
    pub fn repeats(&self) -> usize {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Records that have arrived, repeats included: for payloads without a number.
    pub fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// Requests that have arrived.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// When the last request came.
    pub fn last(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.last.load(Ordering::Relaxed))
    }

    /// Waits until `count` says `wanted`; panics when nothing new has come for a minute.
    pub fn wait(&self, what: &str, wanted: usize, count: impl Fn(&Self) -> usize) {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let counted = count(self);
            if counted >= wanted {
                return;
            }
            if counted > seen {
                (seen, since) = (counted, Instant::now());
            }
            let stuck = since.elapsed() > Duration::from_mins(1);
            assert!(!stuck, "{what}: {counted} of {wanted}, and nothing new for a minute");
            sleep_until(Instant::now() + Duration::from_millis(5));
        }
    }

    /// From sent to received, sorted, without the first `warmup` messages.
    pub fn latencies(&self, warmup: usize) -> Vec<Duration> {
        let pairs = self.sent.iter().zip(&self.received).skip(warmup);
        let mut latencies: Vec<Duration> = pairs
            .map(|(sent, received)| {
                (sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed))
            })
            .filter(|(_, received)| *received > 0)
            .map(|(sent, received)| Duration::from_nanos(received.saturating_sub(sent)))
            .collect();
        latencies.sort_unstable();
        latencies
    }
}

/// The value below which `part` of a sorted list lies.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let last = sorted.len() - 1;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = (last as f64 * part).round() as usize;
    sorted[index.min(last)]
}

/// The service, on a thread of its own. Dropping it closes the port and the connections.
#[derive(Debug)]
pub struct Receiver {
    /// Port on loopback.
    pub port: u16,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// Listens on any port.
    pub fn start(tally: &Arc<Tally>) -> Self {
        Self::on_port(0, tally)
    }

    /// Listens on `port`.
    pub fn on_port(port: u16, tally: &Arc<Tally>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let stop = CancellationToken::new();
        let (tally, stopped) = (Arc::clone(tally), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(stopped.run_until_cancelled_owned(accept(listener, tally)));
        });
        Self { port, stop, thread: Some(thread) }
    }

    /// The URL of a sink.
    pub fn url(&self) -> String {
        url(self.port)
    }
}

/// The URL of a sink on a port of loopback.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/hook")
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, tally: Arc<Tally>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        connection.set_nodelay(true).unwrap();
        tokio::spawn(serve(connection, Arc::clone(&tally)));
    }
}

async fn serve(mut connection: tokio::net::TcpStream, tally: Arc<Tally>) {
    let mut input = bytes::BytesMut::with_capacity(512 << 10);
    loop {
        let Some(head) = memchr::memmem::find(&input, b"\r\n\r\n") else {
            match connection.read_buf(&mut input).await {
                Ok(count) if count > 0 => continue,
                _ => return,
            }
        };
        let body = content_length(&input[..head]);
        let head = head + 4;
        while input.len() < head + body {
            input.reserve(head + body - input.len());
            match connection.read_buf(&mut input).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
        tally.body(&input[head..head + body]);
        drop(input.split_to(head + body));
        if connection.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let value = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    value.expect("requests say how long they are")
}
