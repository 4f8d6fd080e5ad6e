//! What a rule sees of a message, and what other subscribers get of it.

use super::Running;
use super::client::{BOTH, Device, Login, PATIENCE, Version, packet, puback, publish, text};
use crate::event::{PublishProperties, Qos};

/// Flags of a PUBLISH.
const DUP_AND_RETAIN: u8 = 0b1001;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_carries_what_the_broker_knows_of_the_publisher() {
    for version in BOTH {
        let mut broker = Running::start().await;
        let login = Login { user: Some(("alice", "x")), ..Login::new(version, "pump-1") };
        let mut device = Device::connect(broker.address, login).await;
        device.send(&publish(version, "plant/1", 1, 7, DUP_AND_RETAIN, b"\x00\xff")).await;
        let event = broker.next().await.event;
        assert_eq!(event.message().unwrap().client_id.as_deref(), Some("pump-1"));
        assert_eq!(event.message().unwrap().username.as_deref(), Some("alice"));
        assert_eq!(event.message().unwrap().peer, Some(device.local_address()));
        assert_eq!(event.message().unwrap().topic.as_str(), "plant/1");
        assert_eq!(&event.message().unwrap().payload[..], b"\x00\xff");
        assert_eq!(
            (
                event.message().unwrap().qos,
                event.message().unwrap().retain,
                event.message().unwrap().dup
            ),
            (Qos::AtLeastOnce, true, true)
        );
        assert_eq!(event.message().unwrap().properties, None);
        assert_eq!(broker.context.health.metrics.redelivered.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_properties_arrive_with_their_duplicates_in_order() {
    let mut broker = Running::start().await;
    let mut device = Device::connect(broker.address, Login::new(Version::V5, "d")).await;
    let mut properties = vec![0x01, 1, 0x02, 0, 0, 0, 60, 0x03];
    properties.extend(text("text/plain"));
    properties.push(0x08);
    properties.extend(text("reply/to"));
    properties.push(0x09);
    properties.extend(text("\u{1}id"));
    for value in ["1", "2"] {
        properties.push(0x26);
        properties.extend(text("k"));
        properties.extend(text(value));
    }
    let mut body = text("t");
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend(properties);
    body.extend(b"hello");
    device.send(&packet(0x30, &body)).await;
    let event = broker.next().await.event;
    let expected = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        content_type: Some("text/plain".into()),
        response_topic: Some("reply/to".into()),
        correlation_data: Some(bytes::Bytes::from_static(b"\x01id")),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
    };
    assert_eq!(event.message().unwrap().properties.as_deref(), Some(&expected));
    assert_eq!(&event.message().unwrap().payload[..], b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_subscribers_get_the_messages() {
    for version in BOTH {
        let mut broker = Running::start().await;
        let _events = broker.accept_all();
        let mut listener = Device::connect(broker.address, Login::new(version, "listener")).await;
        assert_eq!(listener.subscribe("plant/+").await, 1);
        let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
        device.publish("plant/1", 1, 7, b"hello").await;
        assert_eq!(device.see(PATIENCE).await, puback(7));
        assert_eq!(listener.message().await, ("plant/1".into(), b"hello".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_is_taken_when_its_client_is_gone_without_goodbye() {
    for version in BOTH {
        let mut broker = Running::start().await;
        let login = Login { will: Some(("plant/gone", b"bye")), ..Login::new(version, "pump-1") };
        drop(Device::connect(broker.address, login).await);
        let event = broker.next().await.event;
        assert_eq!(
            (event.message().unwrap().topic.as_str(), &event.message().unwrap().payload[..]),
            ("plant/gone", &b"bye"[..])
        );
        assert_eq!(event.message().unwrap().client_id.as_deref(), Some("pump-1"));
        assert_eq!(event.message().unwrap().qos, Qos::AtLeastOnce);
    }
}
