//! Devices that misbehave, many at once, and addresses that cannot be had.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::client::{BOTH, Device, Login, PATIENCE, Seen, Version, WATCH, puback, publish};
use super::mosquitto::Mosquitto;
use super::{Running, config, context};
use crate::config::{BrokerSource, Listener};
use crate::source::broker::{Broker, run};
use crate::source::listen::describe;
use crate::source::{Problem, SourceState};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_publishers_at_once_keep_their_order_and_lose_nothing() {
    const EACH: u16 = 200;
    let mut broker = Running::start().await;
    let mut events = broker.accept_all();
    let mut publishers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (address, version) = (broker.address, BOTH[n % 2]);
        publishers.spawn(async move {
            let id = format!("d{n}");
            let mut device = Device::connect(address, Login::new(version, &id)).await;
            for number in 1..=EACH {
                device.publish("t", 1, number, &number.to_be_bytes()).await;
            }
            for number in 1..=EACH {
                assert_eq!(device.see(PATIENCE).await.packet_id(), number, "{id}");
            }
        });
    }
    publishers.join_all().await;
    let mut last: HashMap<String, u16> = HashMap::new();
    for _ in 0..50 * usize::from(EACH) {
        let event = events.recv().await.unwrap();
        let number = u16::from_be_bytes(event.message().unwrap().payload[..].try_into().unwrap());
        let before = last
            .insert(event.message().unwrap().client_id.as_deref().unwrap().into(), number)
            .unwrap_or(0);
        assert_eq!(number, before + 1, "{:?}", event.message().unwrap().client_id);
    }
    assert_eq!(broker.context.health.metrics.acknowledged.get(), 50 * u64::from(EACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_waits_for_custody() {
    let mut broker = Running::start().await;
    let arguments = ["-i", "emqx_c", "-t", "t/1", "-m", "hello"];
    let mut publisher = Mosquitto::start("mosquitto_pub", "127.0.0.1", &broker, &arguments);
    let incoming = broker.next().await;
    assert_eq!(incoming.event.message().unwrap().client_id.as_deref(), Some("emqx_c"));
    tokio::time::sleep(WATCH).await;
    assert!(publisher.is_running(), "it still waits");
    incoming.custody.accept();
    assert!(publisher.succeeds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_killed_in_the_middle_of_a_publish_is_no_event_and_its_next_connection_works() {
    let mut broker = Running::start().await;
    let whole = publish(Version::V311, "t", 1, 1, 0, &[1; 5000]);
    for cut in [1, 2, 5, 100, whole.len() - 1] {
        let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
        device.send(&whole[..cut]).await;
    }
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.send(&whole).await;
    let incoming = broker.next().await;
    assert_eq!(incoming.event.message().unwrap().payload.len(), 5000);
    incoming.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(1));
    assert!(broker.incoming.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_taken_from_a_device_that_is_gone_can_still_become_safe() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("t", 1, 1, b"last words").await;
    let incoming = broker.next().await;
    drop(device);
    incoming.custody.accept();
    let metrics = broker.context.health.metrics.clone();
    broker.until(|| metrics.acknowledged.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    let mut broker = Running::start().await;
    let mut neighbour = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    let mut random = fastrand::Rng::with_seed(7);
    for piece in [&b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"[..], &[0; 100], &[0xff; 100]] {
        let mut stranger = Device::open(broker.address, Version::V311).await;
        stranger.send(piece).await;
        assert_eq!(stranger.see(PATIENCE).await, Seen::Closed, "{piece:?}");
    }
    broker.until(|| broker.problems(Problem::Protocol) == 3).await;
    for _ in 0..50 {
        let piece: Vec<u8> = (0..random.usize(1..300)).map(|_| random.u8(..)).collect();
        let mut stranger = Device::open(broker.address, Version::V311).await;
        stranger.send(&piece).await;
    }
    neighbour.publish("t", 1, 1, b"hello").await;
    broker.next().await.custody.accept();
    assert_eq!(neighbour.see(PATIENCE).await, puback(1));
    let mut device = Device::connect(broker.address, Login::new(Version::V5, "e")).await;
    device.send(&[0x30, 0x02, 0xff, 0xff]).await;
    while let Seen::Packet(_) = device.see(PATIENCE).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_none_are_not_taken() {
    for version in BOTH {
        let mut broker = Running::start().await;
        for topic in ["a/+", "#", ""] {
            let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
            device.publish(topic, 1, 1, b"x").await;
            while let Seen::Packet(packet) = device.see(PATIENCE).await {
                assert_eq!(packet.first, 0xe0, "{topic:?}: {packet:?} is only a DISCONNECT");
            }
        }
        assert!(broker.incoming.try_recv().is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_over_the_limit_ends_its_connection_only() {
    let limit = BrokerSource { packet_bytes_max: NonZeroU32::new(1000).unwrap(), ..config() };
    let mut broker = Running::with(limit, &["#"]).await;
    for version in BOTH {
        let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
        device.publish("t", 1, 1, &[0; 2000]).await;
        while let Seen::Packet(packet) = device.see(PATIENCE).await {
            assert_eq!(packet.first, 0xe0, "{packet:?} is only a DISCONNECT");
        }
    }
    assert!(broker.incoming.try_recv().is_err());
    broker.until(|| broker.problems(Problem::Protocol) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_belongs_to_the_last_who_came_with_it() {
    for version in BOTH {
        let broker = Running::start().await;
        let mut first = Device::connect(broker.address, Login::new(version, "d")).await;
        let _second = Device::connect(broker.address, Login::new(version, "d")).await;
        while let Seen::Packet(packet) = first.see(PATIENCE).await {
            assert_eq!(packet.first, 0xe0, "{packet:?} is only a DISCONNECT");
        }
        broker.until(|| broker.problems(Problem::SessionTakenOver) == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_over_the_limit_are_turned_away_and_it_is_said() {
    let limit = BrokerSource { connections_max: NonZeroUsize::new(2).unwrap(), ..config() };
    let broker = Running::with(limit, &["#"]).await;
    let first = Device::connect(broker.address, Login::new(Version::V311, "1")).await;
    let second = Device::connect(broker.address, Login::new(Version::V311, "2")).await;
    let mut third = Device::open(broker.address, Version::V311).await;
    assert_eq!(third.see(PATIENCE).await, Seen::Closed);
    let health = &broker.context.health;
    let said = health.state().0;
    assert_eq!(said.detail(), Some("max_connections = 2 is reached: no more devices are let in"));
    assert_eq!(broker.problems(Problem::TooManyConnections), 1);
    drop((first, second));
    let address = broker.address;
    tokio::time::timeout(PATIENCE, async {
        loop {
            let mut device = Device::open(address, Version::V311).await;
            if device.try_login(Login::new(Version::V311, "3")).await == Some(0) {
                break;
            }
        }
    })
    .await
    .expect("there is room again");
    broker.until(|| health.state().0 == SourceState::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named_and_tried_again_until_it_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listeners = vec![Listener { address, tls: None }];
    let config = BrokerSource { listeners, ..config() };
    let (context, _incoming) = context(&["#"]);
    let error = Broker::bind(context.clone(), &config).await.unwrap_err();
    let expected = format!(
        "cannot listen on {address}: another program listens there, perhaps a broker such as Mosquitto or \
         another Waypost; stop it or choose another address: Address already in use (os error 98)"
    );
    assert_eq!(describe(&error), expected);

    let task = tokio::spawn(run(context.clone(), config));
    let health = context.health.clone();
    super::until(|| health.state().0 == SourceState::Disconnected(expected.clone())).await;
    drop(taken);
    super::until(|| health.state().0 == SourceState::Connected).await;
    drop(Device::connect(address, Login::new(Version::V311, "d")).await);
    context.stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
    assert_eq!(health.state().0, SourceState::Stopped);
    std::net::TcpListener::bind(address).expect("the address is free again");
}
