//! Who gets in, and what they may do there.

use super::client::{BOTH, Device, Login, PATIENCE, Seen, Version, WATCH, answer, puback};
use super::{Running, config};
use crate::access::TopicPattern;
use crate::config::{AccessAction, AccessRule, BrokerSource, BrokerUser};
use crate::password::hash_password;
use crate::source::Problem;

fn with_users(allow_anonymous: bool) -> BrokerSource {
    let user = |name: &str, password: &str| BrokerUser {
        username: name.into(),
        password_hash: hash_password(password),
    };
    let users = vec![user("alice", "wonderland"), user("bob", "builder")];
    BrokerSource { users, allow_anonymous, ..config() }
}

fn allow(action: Option<AccessAction>, topics: &[&str]) -> AccessRule {
    let topics = topics.iter().map(|text| TopicPattern::new(text).unwrap()).collect();
    AccessRule { allow: true, username: None, client_id: None, action, topics }
}

async fn code(broker: &Running, login: Login<'_>) -> Option<u8> {
    Device::open(broker.address, login.version).await.login(login).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_with_their_password_get_in() {
    let broker = Running::with(with_users(false), &["#"]).await;
    for (version, bad_credentials, not_authorized) in
        [(Version::V311, 4, 5), (Version::V5, 0x86, 0x87)]
    {
        let login = |user| Login { user, ..Login::new(version, "d") };
        // Twice: the second time from memory.
        assert_eq!(code(&broker, login(Some(("alice", "wonderland")))).await, Some(0));
        assert_eq!(code(&broker, login(Some(("alice", "wonderland")))).await, Some(0));
        for wrong in [("alice", "builder"), ("alice", ""), ("carol", "wonderland"), ("", "")] {
            let refused = code(&broker, login(Some(wrong))).await;
            assert_eq!(refused, Some(bad_credentials), "{wrong:?}");
        }
        assert_eq!(code(&broker, login(None)).await, Some(not_authorized));
    }
    assert_eq!(broker.problems(Problem::NotAuthorized), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_devices_get_in_where_the_config_says_so_but_a_wrong_password_never_does() {
    let broker = Running::with(with_users(true), &["#"]).await;
    assert_eq!(code(&broker, Login::new(Version::V311, "d")).await, Some(0));
    let login = Login { user: Some(("alice", "x")), ..Login::new(Version::V311, "d") };
    assert_eq!(code(&broker, login).await, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_the_rules_forbid_is_never_taken() {
    let rules = vec![allow(Some(AccessAction::Publish), &["dev/${clientid}/#"])];
    let mut broker = Running::with(BrokerSource { access: rules, ..config() }, &["#"]).await;
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        let mut device = Device::connect(broker.address, Login::new(Version::V5, "d1")).await;
        device.publish("dev/d2/t", qos, 7, b"x").await;
        assert_eq!(answer(device.see(PATIENCE).await), (first, 7, 0x87), "QoS {qos}");
        let mut device = Device::connect(broker.address, Login::new(Version::V311, "d1")).await;
        device.publish("dev/d2/t", qos, 7, b"x").await;
        assert_eq!(device.see(PATIENCE).await, Seen::Closed, "3.1.1 has no negative answer");
    }
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d1")).await;
    device.publish("dev/d2/t", 0, 0, b"forbidden").await;
    device.publish("dev/d1/t", 1, 8, b"allowed").await;
    let incoming = broker.next().await;
    assert_eq!(&incoming.event.message().unwrap().payload[..], b"allowed");
    incoming.custody.accept();
    assert_eq!(broker.problems(Problem::NotAuthorized), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_made_of_wildcards_reaches_nobody_elses_topics() {
    let rules = vec![allow(None, &["dev/${clientid}/t"])];
    let mut broker = Running::with(BrokerSource { access: rules, ..config() }, &["#"]).await;
    for id in ["+", "#", "d2/t/#", "+/t"] {
        let mut device = Device::connect(broker.address, Login::new(Version::V5, id)).await;
        device.publish("dev/d2/t", 1, 7, b"x").await;
        assert_eq!(answer(device.see(PATIENCE).await).2, 0x87, "{id} publishes");
        for filter in ["dev/d2/t", "dev/+/t", "dev/#", "#", "$share/g/dev/+/t"] {
            assert_eq!(device.subscribe(filter).await, 0x87, "{id} subscribes {filter}");
        }
    }
    assert!(broker.incoming.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscription_gets_a_failure_code_and_no_messages() {
    let rules = vec![allow(Some(AccessAction::Publish), &[]), allow(None, &["public/#"])];
    for version in BOTH {
        let config = BrokerSource { access: rules.clone(), ..config() };
        let mut broker = Running::with(config, &["#"]).await;
        let _events = broker.accept_all();
        let failure = if version == Version::V5 { 0x87 } else { 0x80 };
        let mut device = Device::connect(broker.address, Login::new(version, "d")).await;
        assert_eq!(device.subscribe("secret/#").await, failure);
        assert_eq!(device.subscribe("#").await, failure);
        assert_eq!(device.subscribe("public/t").await, 1);
        let mut other = Device::connect(broker.address, Login::new(version, "e")).await;
        other.publish("secret/t", 1, 7, b"secret").await;
        assert_eq!(answer(other.see(PATIENCE).await).1, 7);
        assert_eq!(device.see(WATCH).await, Seen::Nothing);
        assert_eq!(broker.problems(Problem::SubscriptionRefused), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_that_the_rules_forbid_is_refused_at_connect() {
    let rules = vec![allow(Some(AccessAction::Publish), &["dev/${clientid}/#"])];
    let mut broker = Running::with(BrokerSource { access: rules, ..config() }, &["#"]).await;
    for (version, not_authorized) in [(Version::V311, 5), (Version::V5, 0x87)] {
        let login = |topic| Login { will: Some((topic, b"bye")), ..Login::new(version, "d1") };
        for topic in ["dev/d2/t", "dev/d1/+"] {
            assert_eq!(code(&broker, login(topic)).await, Some(not_authorized), "{topic}");
        }
        assert_eq!(code(&broker, login("dev/d1/gone")).await, Some(0));
        assert_eq!(broker.next().await.event.message().unwrap().topic.as_str(), "dev/d1/gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_on_this_machine_cannot_pass_for_a_device_behind_the_front() {
    let broker = Running::start().await;
    let mut device = Device::open(broker.inner, Version::V311).await;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1, 0x12, 0x34, 0x07, 0x5b]);
    device.send(&header).await;
    assert_eq!(device.login(Login::new(Version::V311, "d")).await, Some(5));
    let mut device = Device::connect(broker.address, Login::new(Version::V311, "d")).await;
    device.publish("t", 1, 1, b"").await;
    drop(broker);
    assert_ne!(device.see(WATCH).await, puback(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_come_back_all_together_are_all_let_in() {
    let password_hash = hash_password("secret");
    let user = |n| BrokerUser { username: format!("u{n}"), password_hash: password_hash.clone() };
    let config = BrokerSource { users: (0..30).map(user).collect(), ..config() };
    let broker = Running::with(config, &["#"]).await;
    let mut devices = tokio::task::JoinSet::new();
    for n in 0..30 {
        let address = broker.address;
        devices.spawn(async move {
            let (user, id) = (format!("u{n}"), format!("d{n}"));
            let login = Login { user: Some((&user, "secret")), ..Login::new(BOTH[n % 2], &id) };
            Device::connect(address, login).await;
        });
    }
    devices.join_all().await;
}
