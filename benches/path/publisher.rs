//! Devices that cost next to nothing: MQTT 3.1.1 over plain sockets, packets encoded in blocks, windows of QoS 1.
//!
//! They share two cores with what is measured, so they neither parse nor allocate per message and wake up a
//! thousand times a second at most.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::payload::{Payload, put_number};
use crate::receiver::Tally;

/// Messages of one publisher that may be unacknowledged.
const WINDOW: usize = 1000;
/// Messages written with one call at full speed.
const BLOCK: usize = 50;
/// Between two looks at what has been acknowledged.
const NAP: Duration = Duration::from_millis(1);

/// What to publish.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Port of the broker on loopback.
    pub port: u16,
    /// Connections; each has a thread.
    pub publishers: usize,
    /// Messages of all publishers together, numbered from 0.
    pub messages: usize,
    /// What they carry.
    pub payload: Payload,
    /// Topics, taken in turn.
    pub topics: Vec<String>,
    /// Messages a second of all publishers together; `None` is full speed.
    pub rate: Option<usize>,
}

impl Plan {
    /// Four publishers at full speed, 256 bytes, 200 devices' topics.
    pub fn full_speed(port: u16, messages: usize) -> Self {
        let topics = (0..200).map(|device| format!("bench/d{device:03}")).collect();
        Self { port, publishers: 4, messages, payload: Payload::Padded, topics, rate: None }
    }

    /// As [`Self::full_speed`], at a rate and with telemetry.
    pub fn paced(port: u16, messages: usize, rate: usize) -> Self {
        let plan = Self::full_speed(port, messages);
        Self { payload: Payload::Telemetry, rate: Some(rate), ..plan }
    }

    /// Bytes of payload of the whole plan.
    pub fn payload_bytes(&self) -> f64 {
        let variants = self.payload.variants();
        let sum: usize = variants.iter().map(|(bytes, _)| bytes.len()).sum();
        sum as f64 / variants.len() as f64 * self.messages as f64
    }

    /// Connects all publishers and lets them go. The moment each message was sent goes into `tally`.
    pub fn start(&self, tally: &Arc<Tally>) -> Publishers {
        let streams: Vec<_> = (0..self.publishers)
            .map(|index| connect(self.port, &format!("bench-{index}")))
            .collect();
        let packets = Arc::new(self.packets());
        let started = Instant::now();
        let threads = streams.into_iter().enumerate().map(|(index, stream)| {
            let device = Device {
                stream,
                packets: Arc::clone(&packets),
                tally: Arc::clone(tally),
                next: index,
                step: self.publishers,
                end: self.messages,
                in_flight: 0,
                block: Vec::with_capacity(64 << 10),
            };
            let period = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate as f64));
            std::thread::spawn(move || match period {
                None => device.full_speed(),
                Some(period) => device.paced(started, period),
            })
        });
        Publishers { started, threads: threads.collect() }
    }

    /// PUBLISH packets to take turns with; packet id and number are patched in.
    fn packets(&self) -> Vec<Packet> {
        let with_topic = |(index, (payload, number)): (usize, (Vec<u8>, Option<usize>))| {
            let topic = &self.topics[index % self.topics.len()];
            let mut bytes = vec![0x32];
            push_length(&mut bytes, 2 + topic.len() + 2 + payload.len());
            push_text(&mut bytes, topic);
            let id_at = bytes.len();
            bytes.extend([0, 0]);
            let number_at = number.map(|number| bytes.len() + number);
            bytes.extend(payload);
            Packet { bytes, id_at, number_at }
        };
        self.payload.variants().into_iter().enumerate().map(with_topic).collect()
    }
}

/// Publishers at work.
#[derive(Debug)]
pub struct Publishers {
    /// When they were let go.
    pub started: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl Publishers {
    /// Waits until everything is acknowledged; returns how long that took from the start.
    pub fn join(self) -> Duration {
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.started.elapsed()
    }
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    id_at: usize,
    number_at: Option<usize>,
}

struct Device {
    stream: TcpStream,
    packets: Arc<Vec<Packet>>,
    tally: Arc<Tally>,
    next: usize,
    step: usize,
    end: usize,
    in_flight: usize,
    block: Vec<u8>,
}

impl Device {
    fn full_speed(mut self) {
        while self.next < self.end || self.in_flight > 0 {
            while self.next < self.end && self.in_flight + BLOCK <= WINDOW {
                for _ in 0..BLOCK {
                    self.encode_next();
                }
                self.send();
            }
            sleep_until(Instant::now() + NAP);
            self.read_acknowledgements();
        }
    }

    /// One message each `period` of all publishers together, each at its own time.
    fn paced(mut self, started: Instant, period: Duration) {
        while self.next < self.end {
            let due = started + period.mul_f64(self.next as f64);
            if due > Instant::now() {
                sleep_until(due);
            }
            self.encode_next();
            self.send();
            if self.in_flight >= WINDOW / 2 {
                self.read_acknowledgements();
            }
        }
        while self.in_flight > 0 {
            self.read_acknowledgements();
        }
    }

    fn encode_next(&mut self) {
        if self.next >= self.end {
            return;
        }
        let packet = &self.packets[self.next % self.packets.len()];
        let start = self.block.len();
        self.block.extend_from_slice(&packet.bytes);
        // Ids from 1 to 60,000: with a window of 1,000 none is in use twice.
        let id = u16::try_from(self.next / self.step % 60_000).unwrap() + 1;
        let place = start + packet.id_at;
        self.block[place..place + 2].copy_from_slice(&id.to_be_bytes());
        if let Some(number) = packet.number_at {
            put_number(&mut self.block[start + number..], self.next);
        }
        self.tally.sent(self.next);
        self.next += self.step;
        self.in_flight += 1;
    }

    fn send(&mut self) {
        self.stream.write_all(&self.block).expect("the broker takes what is published");
        self.block.clear();
    }

    /// Reads what is there, at least one PUBACK: four bytes each, and nothing else comes.
    fn read_acknowledgements(&mut self) {
        let mut bytes = [0; 4 * WINDOW];
        if self.in_flight == 0 {
            return;
        }
        let mut read = self.stream.read(&mut bytes).unwrap();
        assert!(read > 0, "the broker closed the connection of a publisher");
        while !read.is_multiple_of(4) {
            read += self.stream.read(&mut bytes[read..]).unwrap();
        }
        self.in_flight -= read / 4;
    }
}

fn connect(port: u16, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    push_text(&mut body, client_id);
    let mut packet = vec![0x10];
    push_length(&mut packet, body.len());
    packet.extend(body);
    stream.write_all(&packet).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack[3], 0, "the broker refused a publisher");
    stream
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap() | 0x80);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap());
}

/// Sleeps until a moment; the pace of everything here that is not driven by sockets.
#[expect(clippy::disallowed_methods, reason = "a device has a rate")]
pub fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
