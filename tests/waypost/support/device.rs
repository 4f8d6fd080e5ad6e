//! A device that publishes with QoS 1 over MQTT 3.1.1 and knows exactly what was acknowledged.
//!
//! On raw sockets: a client library that queues and forgets on its own cannot say which message a PUBACK was for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages sent and not yet acknowledged.
const WINDOW: usize = 100;

/// Publishes numbered messages; the payload is `{"device":NAME,"n":NUMBER}`. What is not acknowledged when the
/// connection breaks is sent again on the next one, as MQTT demands.
#[derive(Debug)]
pub struct Device {
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What a device publishes.
struct Plan {
    port: u16,
    name: String,
    topic: String,
    count: u64,
    period: Duration,
    more: Box<dyn Fn(u64) -> String + Send>,
}

impl Device {
    /// Publishes up to `count` messages, one each `period`, as far as acknowledgements come.
    pub fn start(port: u16, name: &str, topic: &str, count: u64, period: Duration) -> Self {
        Self::start_with(port, name, topic, count, period, |_| String::new())
    }

    /// As [`Self::start`]; `more` gives further members of the payload's object, such as `,"a":1`.
    pub fn start_with(
        port: u16,
        name: &str,
        topic: &str,
        count: u64,
        period: Duration,
        more: impl Fn(u64) -> String + Send + 'static,
    ) -> Self {
        let (name, topic) = (name.to_owned(), topic.to_owned());
        let plan = Plan { port, name, topic, count, period, more: Box::new(more) };
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let enough = Arc::new(AtomicBool::new(false));
        let (taken, stop) = (Arc::clone(&acknowledged), Arc::clone(&enough));
        let thread = std::thread::spawn(move || publish(&plan, &taken, &stop));
        Self { acknowledged, enough, thread }
    }

    /// Numbers of the messages acknowledged so far.
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Stops; returns the numbers of all messages that were acknowledged.
    pub fn stop(self) -> BTreeSet<u64> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.clone()
    }
}

fn publish(plan: &Plan, acknowledged: &Mutex<BTreeSet<u64>>, enough: &AtomicBool) {
    let mut unacknowledged = BTreeMap::new();
    let mut next = 0;
    let done = || enough.load(Ordering::Relaxed);
    while !done() && (next < plan.count || !unacknowledged.is_empty()) {
        let Ok(stream) = connect(plan) else {
            super::pause();
            continue;
        };
        let mut session = Session { stream, input: Vec::new() };
        // Whatever breaks the connection, the next one goes on.
        drop(session.run(plan, &mut next, &mut unacknowledged, acknowledged, &done));
    }
}

fn connect(plan: &Plan) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", plan.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut body = b"\x00\x04MQTT\x04\x00\x00\x3c".to_vec();
    push_text(&mut body, &plan.name);
    stream.write_all(&packet(0x10, &body))?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack)?;
    if connack[3] == 0 { Ok(stream) } else { Err(io::Error::other("refused")) }
}

struct Session {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Session {
    fn run(
        &mut self,
        plan: &Plan,
        next: &mut u64,
        unacknowledged: &mut BTreeMap<u16, u64>,
        acknowledged: &Mutex<BTreeSet<u64>>,
        done: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let mut again: Vec<(u64, u16)> =
            unacknowledged.iter().map(|(&packet_id, &number)| (number, packet_id)).collect();
        again.sort_unstable();
        for (number, packet_id) in again {
            self.send(plan, packet_id, number, true)?;
        }
        let mut due = Instant::now();
        while !done() && (*next < plan.count || !unacknowledged.is_empty()) {
            let room = unacknowledged.len() < WINDOW && *next < plan.count;
            if room && Instant::now() >= due {
                // Packet ids run from 1 to 60,000: with a window of 100 none is in use twice.
                let packet_id = u16::try_from(*next % 60_000).unwrap() + 1;
                unacknowledged.insert(packet_id, *next);
                self.send(plan, packet_id, *next, false)?;
                *next += 1;
                due += plan.period;
            }
            let patience = match (room, due.checked_duration_since(Instant::now())) {
                (true, None) => Duration::ZERO,
                (true, Some(wait)) => wait.min(Duration::from_millis(100)),
                (false, _) => Duration::from_millis(100),
            };
            for packet_id in self.acknowledgements(patience)? {
                if let Some(number) = unacknowledged.remove(&packet_id) {
                    acknowledged.lock().unwrap().insert(number);
                }
            }
        }
        self.stream.write_all(&[0xe0, 0])
    }

    fn send(&mut self, plan: &Plan, packet_id: u16, number: u64, again: bool) -> io::Result<()> {
        let more = (plan.more)(number);
        let payload = format!("{{\"device\":\"{}\",\"n\":{number}{more}}}", plan.name);
        let mut body = Vec::new();
        push_text(&mut body, &plan.topic);
        body.extend(packet_id.to_be_bytes());
        body.extend(payload.as_bytes());
        let flags = if again { 0x3a } else { 0x32 };
        self.stream.write_all(&packet(flags, &body))
    }

    /// Packet ids of the PUBACKs that arrive within `patience`; at once when some are there.
    fn acknowledgements(&mut self, patience: Duration) -> io::Result<Vec<u16>> {
        if patience.is_zero() {
            self.stream.set_nonblocking(true)?;
        } else {
            self.stream.set_nonblocking(false)?;
            self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        }
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.input.extend(&bytes[..count]),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        let mut packet_ids = Vec::new();
        while let [kind, length, ..] = *self.input.as_slice() {
            let end = 2 + usize::from(length);
            if self.input.len() < end {
                break;
            }
            let packet: Vec<u8> = self.input.drain(..end).collect();
            if kind == 0x40 {
                packet_ids.push(u16::from_be_bytes([packet[2], packet[3]]));
            }
        }
        Ok(packet_ids)
    }
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}

fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}
