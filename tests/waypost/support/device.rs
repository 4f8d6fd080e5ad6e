//! A device that publishes with QoS 1 and remembers what was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::{Client, Event, MqttOptions, Outgoing, Packet, QoS};

/// Publishes numbered messages to `topic` until stopped; the payload is `{"device":NAME,"n":NUMBER}`.
#[derive(Debug)]
pub struct Device {
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Device {
    /// Publishes up to `count` messages, as fast as `period` and the acknowledgements allow (100 in flight).
    pub fn start(port: u16, name: &str, topic: &str, count: u64, period: Duration) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30)).set_clean_session(false).set_inflight(100);
        let (client, connection) = Client::new(options, 10);
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let enough = Arc::new(AtomicBool::new(false));
        let (taken, stop) = (Arc::clone(&acknowledged), Arc::clone(&enough));
        let polling = std::thread::spawn(move || poll(connection, count, &taken, &stop));
        let (topic, name, stop) = (topic.to_owned(), name.to_owned(), Arc::clone(&enough));
        let publishing =
            std::thread::spawn(move || publish(&client, &name, &topic, count, period, &stop));
        Self { acknowledged, enough, threads: vec![polling, publishing] }
    }

    /// Numbers of the messages acknowledged so far.
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Stops; returns the numbers of all messages that were acknowledged.
    pub fn stop(self) -> BTreeSet<u64> {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.clone()
    }
}

fn publish(
    client: &Client,
    name: &str,
    topic: &str,
    count: u64,
    period: Duration,
    enough: &AtomicBool,
) {
    for number in 0..count {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let payload = format!("{{\"device\":\"{name}\",\"n\":{number}}}");
        if client.publish(topic, QoS::AtLeastOnce, false, payload).is_err() {
            break;
        }
        if !period.is_zero() {
            #[expect(clippy::disallowed_methods, reason = "the rate of a device")]
            std::thread::sleep(period);
        }
    }
}

/// Numbers are given in the order of publishing, and rumqttc sends in that order: the packet id of each PUBLISH
/// that goes out tells which number a PUBACK belongs to. A repeated packet id is the same message again.
fn poll(
    mut connection: rumqttc::Connection,
    count: u64,
    acknowledged: &Mutex<BTreeSet<u64>>,
    enough: &AtomicBool,
) {
    let mut number_of_packet = std::collections::HashMap::new();
    let mut next = 0_u64;
    loop {
        if enough.load(Ordering::Relaxed) || acknowledged.lock().unwrap().len() as u64 == count {
            return;
        }
        match connection.recv_timeout(Duration::from_millis(100)) {
            Ok(Ok(Event::Outgoing(Outgoing::Publish(packet)))) if packet != 0 => {
                number_of_packet.entry(packet).or_insert_with(|| {
                    next += 1;
                    next - 1
                });
            }
            Ok(Ok(Event::Incoming(Packet::PubAck(ack)))) => {
                if let Some(number) = number_of_packet.remove(&ack.pkid) {
                    acknowledged.lock().unwrap().insert(number);
                }
            }
            Ok(Err(_)) => super::pause(),
            _ => {}
        }
    }
}
