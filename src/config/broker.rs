//! `[sources.NAME]` with `type = "broker"`.
#![cfg(feature = "broker")]

use std::num::NonZeroUsize;

use super::reader::{Table, Value};
use super::{AccessAction, AccessRule, BrokerSource, BrokerUser};
use crate::access::TopicPattern;
use crate::password::PasswordHash;

const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
const RETAINED_MESSAGES: usize = 10_000;

pub(super) fn source(table: &mut Table<'_>) -> Option<BrokerSource> {
    let listen = table.require("listen", "[\"127.0.0.1:1883\"]");
    let listeners = listen
        .as_ref()
        .and_then(|value| value.some("a broker that listens nowhere is no use", Value::listener));
    let users =
        table.or("users", Vec::new(), |value| value.some("leave it out when there are none", user));
    check_users(table, &users);
    let anonymous = table.get("allow_anonymous");
    let allow_anonymous = anonymous.as_ref().and_then(Value::boolean);
    if let (Some(false), true, Some(value)) = (allow_anonymous, users.is_empty(), &anonymous) {
        value.wrong::<()>("is false and there are no `users`, so nobody could connect");
    }
    let access = table.or("access", Vec::new(), |value| {
        value.some("leave it out to allow everything", access_rule)
    });
    let packet_bytes_max = table.packet_bytes_max();
    let connections_max = table.or("max_connections", CONNECTIONS, |value| value.count(1_000_000));
    let retained_messages_max = table.or("max_retained_messages", RETAINED_MESSAGES, |value| {
        usize::try_from(value.integer(0..=10_000_000)?).ok()
    });
    let listeners = listeners?;
    let open = listeners.iter().find(|listener| !listener.address.ip().is_loopback());
    if let (Some(open), true, false, Some(listen)) =
        (open, users.is_empty(), allow_anonymous == Some(true), &listen)
    {
        return listen.wrong(format!(
            "{} can be reached from other machines and there are no `users`: anybody could publish; add `users`, \
             listen on 127.0.0.1, or write `allow_anonymous = true`",
            open.address
        ));
    }
    Some(BrokerSource {
        listeners,
        // Without users a loopback listener is open to every process of the machine, which is its purpose.
        allow_anonymous: allow_anonymous.unwrap_or(users.is_empty()),
        users,
        access,
        packet_bytes_max,
        connections_max,
        retained_messages_max,
    })
}

fn user(value: &Value<'_>) -> Option<BrokerUser> {
    let mut table = value.table()?;
    let username = table.require("username", "\"pump-1\"").and_then(|value| value.nonempty_text());
    let hash = table.require("password_hash", "\"$argon2id$...\"");
    let password_hash = hash.and_then(|value| {
        let hash = PasswordHash::new(&value.text()?);
        hash.map_err(|error| value.wrong_secret::<()>(error.to_string())).ok()
    });
    table.finish();
    Some(BrokerUser { username: username?, password_hash: password_hash? })
}

fn check_users(table: &Table<'_>, users: &[BrokerUser]) {
    for (index, user) in users.iter().enumerate() {
        if users.iter().take(index).any(|other| other.username == user.username) {
            let key = format!("{}.users[{index}].username", table.path());
            table
                .reader
                .problem_with(&key, format!("there are two users called {:?}", user.username));
        }
    }
}

fn access_rule(value: &Value<'_>) -> Option<AccessRule> {
    let mut table = value.table()?;
    let allow = table.require("allow", "true").and_then(|value| value.boolean());
    let actions = [
        ("publish", Some(AccessAction::Publish)),
        ("subscribe", Some(AccessAction::Subscribe)),
        ("any", None),
    ];
    let rule = AccessRule {
        allow: allow.unwrap_or_default(),
        username: table.get("username").and_then(|value| value.nonempty_text()),
        client_id: table.get("client_id").and_then(|value| value.nonempty_text()),
        action: table.or("action", None, |value| value.word(&actions)),
        topics: table.or("topics", Vec::new(), |value| {
            value.some("leave it out for every topic", |topic| {
                // `${clientid}` and `${username}` are the broker's business, not the environment's.
                let pattern = TopicPattern::new(topic.raw_text()?);
                pattern.map_err(|error| topic.wrong::<()>(error.to_string())).ok()
            })
        }),
    };
    table.finish();
    allow.map(|_| rule)
}
