//! What the machine gives to programs that do much less, in the same run.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

use crate::gateway;
use crate::publisher::{Plan, sleep_until};
use crate::receiver::{Receiver, Tally, percentile};
use crate::report::{Report, Target};

/// All references by themselves: whether the machine is in a state to measure anything.
pub fn measure(report: &mut Report, messages: usize) {
    let rate = subscriber(messages);
    report.figure("bare MQTT subscriber", rate, "events/s", Target::None);
    let rate = requests(messages, 64, &[b'x'; 640]);
    report.figure("bare pooled loop, 64 in flight", rate, "requests/s", Target::None);
    for place in [Place::End, Place::Over] {
        let (median, p99) = paced_syncs(place, 1000);
        let name = format!("4 KiB sync at 200/s, {place:?}");
        report.figure(&format!("{name}: p50"), median.as_secs_f64() * 1e3, "ms", Target::None);
        report.figure(&format!("{name}: p99"), p99.as_secs_f64() * 1e3, "ms", Target::None);
    }
}

/// Messages a second through the same broker into a bare subscriber: automatic acknowledgements, no rules, no
/// store, no HTTP.
pub fn subscriber(messages: usize) -> f64 {
    let broker = gateway::broker();
    let plan = Plan::full_speed(broker.port, messages);
    let tally = Tally::of(messages);
    let (subscribed, waiting) = std::sync::mpsc::sync_channel(1);
    let taking = Arc::clone(&tally);
    let port = broker.port;
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(subscribe(port, messages, &taking, &subscribed));
    });
    waiting.recv().unwrap();
    let publishers = plan.start(&tally);
    let started = publishers.started;
    tally.wait("messages received by the bare subscriber", messages, Tally::distinct);
    let took = tally.last() - started;
    publishers.join();
    thread.join().unwrap();
    messages as f64 / took.as_secs_f64()
}

async fn subscribe(
    port: u16,
    messages: usize,
    tally: &Tally,
    subscribed: &std::sync::mpsc::SyncSender<()>,
) {
    let mut options = MqttOptions::new("bench-reference", "127.0.0.1", port);
    options.set_receive_maximum(Some(1000));
    let (client, mut events): (AsyncClient, EventLoop) = AsyncClient::new(options, 10);
    client.subscribe("bench/#", QoS::AtLeastOnce).await.unwrap();
    while tally.distinct() < messages {
        match events.poll().await.unwrap() {
            Event::Incoming(Packet::SubAck(_)) => subscribed.send(()).unwrap(),
            Event::Incoming(Packet::Publish(publish)) => tally.received(&publish.payload),
            _ => {}
        }
    }
}

/// Requests a second of a bare loop over a pooled client: `in_flight` at once, `body` to the same receiver.
pub fn requests(messages: usize, in_flight: usize, body: &[u8]) -> f64 {
    let tally = Tally::of(1);
    let receiver = Receiver::start(&tally);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (url, body) = (receiver.url(), bytes::Bytes::copy_from_slice(body));
    let client = reqwest::Client::builder().pool_max_idle_per_host(in_flight).build().unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (client, url, body) = (client.clone(), url.clone(), body.clone());
            runtime.spawn(async move {
                for _ in 0..messages / in_flight {
                    let request = client.post(&url).header("content-type", "application/json");
                    let answer = request.body(body.clone()).send().await.unwrap();
                    assert!(answer.status().is_success(), "{answer:?}");
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    tally.requests() as f64 / started.elapsed().as_secs_f64()
}

/// Where a synced write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the end of a growing file, as a log does.
    End,
    /// Over bytes that were written and synced before.
    Over,
}

/// Median and 99th percentile of 4 KiB written and synced (`fdatasync`) 200 times a second.
pub fn paced_syncs(place: Place, count: usize) -> (Duration, Duration) {
    let file = tempfile::tempfile().unwrap();
    if place == Place::Over {
        for index in 0..count {
            write(&file, index);
        }
        file.sync_all().unwrap();
    }
    let started = Instant::now();
    let mut durations: Vec<Duration> = (0..count)
        .map(|index| {
            sleep_until(started + Duration::from_millis(5).mul_f64(index as f64));
            let begun = Instant::now();
            write(&file, index);
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    durations.sort_unstable();
    (percentile(&durations, 0.5), percentile(&durations, 0.99))
}

fn write(file: &File, index: usize) {
    let block: Vec<u8> =
        (0..4096_usize).map(|byte| u8::try_from((byte * 31 + index) % 256).unwrap()).collect();
    file.write_all_at(&block, index as u64 * 4096).unwrap();
}
