//! Brokers' web hooks: how many requests a second, and how long each takes to be durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::BATCHES;
use crate::job;
use crate::payload::{MARK, Payload, put_number};
use crate::process;
use crate::receiver::{self, Receiver, Tally, percentile};
use crate::reference::{self, Place};
use crate::report::{Report, Target};
use crate::support::free_port;
use crate::support::waypost::Waypost;

/// As many as `emqx_web_hook` opens.
const CONNECTIONS: usize = 32;
/// Requests a second of the light load.
const RATE: usize = 200;

/// Requests, each with where the digits of its number stand.
struct Requests(Vec<(Vec<u8>, usize)>);

impl Requests {
    /// As EMQX 4's plugin posts a message.
    fn of(payload: Payload) -> Arc<Self> {
        let request = |(payload, _): (Vec<u8>, _)| {
            let payload = String::from_utf8(payload).unwrap();
            let body = json!({
                "action": "message_publish", "node": "emqx@127.0.0.1", "from_client_id": "press", "from_username": null,
                "topic": "bench/press", "qos": 1, "retain": false, "payload": payload, "ts": 1_694_681_417_728_u64,
            });
            let body = body.to_string();
            let request = format!(
                "POST /hook HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes();
            let mark = memchr::memchr(MARK, &request).unwrap();
            (request, mark + 1)
        };
        Arc::new(Self(payload.variants().into_iter().map(request).collect()))
    }

    fn numbered(&self, number: usize) -> Vec<u8> {
        let (request, digits) = &self.0[number % self.0.len()];
        let mut request = request.clone();
        put_number(&mut request[*digits..], number);
        request
    }
}

/// Posts one request and waits for its 200.
async fn post(connection: &mut TcpStream, request: &[u8], answer: &mut Vec<u8>) {
    connection.write_all(request).await.unwrap();
    answer.clear();
    loop {
        let count = connection.read_buf(answer).await.unwrap();
        assert!(count > 0, "closed");
        let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&answer[..head]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
        let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        if answer.len() >= head + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap()) {
            return;
        }
    }
}

/// Posts messages from `connections` senders, each as fast as it is answered. Gives requests a second and what each took,
/// sorted.
fn flood(
    port: u16,
    connections: usize,
    messages: usize,
    requests: &Arc<Requests>,
) -> (f64, Vec<Duration>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut took: Vec<Duration> = runtime.block_on(async {
        let senders = (0..connections).map(|_| {
            let (next, requests) = (Arc::clone(&next), Arc::clone(requests));
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                connection.set_nodelay(true).unwrap();
                let (mut answer, mut took) = (Vec::new(), Vec::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return took;
                    }
                    let request = requests.numbered(number);
                    let begun = Instant::now();
                    post(&mut connection, &request, &mut answer).await;
                    took.push(begun.elapsed());
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        futures_util::future::join_all(senders).await.into_iter().flat_map(Result::unwrap).collect()
    });
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    took.sort_unstable();
    (rate, took)
}

/// Posts at a given rate on one connection; what each request took, sorted, without the first second's.
fn trickle(port: u16, seconds: usize, requests: &Requests) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connection.set_nodelay(true).unwrap();
        let mut ticks =
            tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE).unwrap());
        let (mut answer, mut took) = (Vec::new(), Vec::new());
        for number in 0..RATE * seconds {
            ticks.tick().await;
            let begun = Instant::now();
            post(&mut connection, &requests.numbered(number), &mut answer).await;
            if number >= RATE {
                took.push(begun.elapsed());
            }
        }
        took.sort_unstable();
        took
    })
}

fn start(receiver: &Receiver) -> (Waypost, u16) {
    let port = free_port();
    let gateway = Waypost::start(&format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\nurl = \"{}\"\n{BATCHES}\n",
        receiver::url(receiver.port)
    ));
    gateway.until("waypost_source_connected", "source=\"hooks\"", |listens| listens > 0.0);
    (gateway, port)
}

/// Full speed with 32 connections, beside the same senders on a bare service; then a light load, beside the disk.
pub fn measure(report: &mut Report, messages: usize, seconds: usize, runs: usize) {
    let requests = Requests::of(Payload::Telemetry);
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (mut best, mut bare) = (0.0_f64, 0.0_f64);
    let mut slow = f64::INFINITY;
    for run in 1..=runs.max(1) {
        eprintln!("web hooks, run {run} of {runs} (load {:.2})", process::load());
        let tally = Tally::of(messages);
        let service = Receiver::start(&tally);
        bare = bare.max(flood(service.port, CONNECTIONS, messages, &requests).0);
        let tally = Tally::of(messages);
        let receiver = Receiver::start(&tally);
        let (gateway, port) = start(&receiver);
        let (rate, took) = flood(port, CONNECTIONS, messages, &requests);
        tally.wait("messages received", messages, Tally::distinct);
        job::check(&gateway, &tally);
        eprintln!("  {rate:.0} requests/s, p99 {:.2} ms", milliseconds(percentile(&took, 0.99)));
        best = best.max(rate);
        slow = slow.min(milliseconds(percentile(&took, 0.99)));
    }
    report.compared(
        "web hooks, 32 connections: rate, best run",
        best,
        "requests/s",
        (bare, "requests/s of a bare service"),
        Target::AtLeast(8_000.0),
    );
    report.figure("web hooks, 32 connections: p99", slow, "ms", Target::None);

    let (sync, sync_p99) = reference::paced_syncs(Place::End, RATE * seconds / 4);
    let tally = Tally::of(RATE * seconds);
    let receiver = Receiver::start(&tally);
    let (gateway, port) = start(&receiver);
    let took = trickle(port, seconds, &requests);
    tally.wait("messages received", RATE * seconds, Tally::distinct);
    job::check(&gateway, &tally);
    report.compared(
        "web hooks, light load (200/s): p50",
        milliseconds(percentile(&took, 0.5)),
        "ms",
        (milliseconds(sync), "ms, the median 4 KiB sync at 200/s"),
        Target::None,
    );
    report.compared(
        "web hooks, light load (200/s): p99",
        milliseconds(percentile(&took, 0.99)),
        "ms",
        (milliseconds(sync_p99), "ms, p99 of those syncs"),
        Target::Under(milliseconds(sync_p99) + 2.0),
    );
}
