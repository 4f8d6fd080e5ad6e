//! Simulated devices: MQTT clients that publish telemetry with QoS 1 and count what is acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    acknowledged: AtomicU64,
    publishing: AtomicUsize,
    enough: AtomicBool,
}

/// All devices of the demo.
#[derive(Debug)]
pub(super) struct Devices {
    counts: Arc<Counts>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Of so many messages of a device one has no temperature.
const POISON_PERIOD: u64 = 200;
/// That with this number, counted from 0.
const POISON_AT: u64 = 60;
/// Requests a device may have waiting for its connection.
const REQUESTS_MAX: usize = 64;

impl Devices {
    /// Connects the devices and lets them publish, together at `messages_per_second`.
    pub(super) fn start(broker: SocketAddr, devices: usize, messages_per_second: u32) -> Self {
        let counts = Arc::new(Counts::default());
        counts.publishing.store(devices, Ordering::Relaxed);
        let stop = CancellationToken::new();
        let share = u32::try_from(devices).unwrap_or(u32::MAX).max(1);
        let period = Duration::from_secs(1) * share / messages_per_second.max(1);
        let mut tasks = Vec::new();
        for number in 0..devices {
            let name = format!("device-{number}");
            let mut options = MqttOptions::new(&name, broker.ip().to_string(), broker.port());
            options.set_keep_alive(Duration::from_secs(10)).set_clean_start(false);
            let (client, connection) = AsyncClient::new(options, REQUESTS_MAX);
            let counting = Arc::clone(&counts);
            tasks.push(super::spawn(&stop, keep_connected(connection, Arc::clone(&counts))));
            tasks.push(super::spawn(&stop, publish(client, name, period, counting)));
        }
        Self { counts, stop, tasks }
    }

    pub(super) fn published(&self) -> u64 {
        self.counts.published.load(Ordering::Relaxed)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.load(Ordering::Relaxed)
    }

    /// No device publishes from here on; acknowledgements are still taken.
    pub(super) fn stop_publishing(&self) {
        self.counts.enough.store(true, Ordering::Relaxed);
    }

    /// Every device has published its last message.
    pub(super) fn finished(&self) -> bool {
        self.counts.publishing.load(Ordering::Relaxed) == 0
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            drop(task.await);
        }
    }
}

async fn keep_connected(mut connection: EventLoop, counts: Arc<Counts>) {
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) => {
                counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            // The broker may not listen yet; the client connects again with the next poll.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn publish(client: AsyncClient, name: String, period: Duration, counts: Arc<Counts>) {
    let topic = format!("demo/{name}/telemetry");
    let mut ticks = tokio::time::interval(period);
    let mut number = 0_u64;
    while !counts.enough.load(Ordering::Relaxed) {
        ticks.tick().await;
        let temperature = 20.0 + f64::from(fastrand::u16(..100)) / 10.0;
        // Now and then a sensor fails.
        let temperature = (number % POISON_PERIOD != POISON_AT).then_some(temperature);
        let payload =
            serde_json::json!({ "device": name, "n": number, "temperature": temperature });
        number += 1;
        if client.publish(&topic, QoS::AtLeastOnce, false, payload.to_string()).await.is_err() {
            break;
        }
        counts.published.fetch_add(1, Ordering::Relaxed);
    }
    counts.publishing.fetch_sub(1, Ordering::Relaxed);
    // The client must live until its acknowledgements are in.
    std::future::pending::<()>().await;
}
