//! Whether a broker lets this gateway in, found out as the source itself would, and without any trace of it.
//!
//! Comes with a client id of its own and a session as short as the connection: with the gateway's own it would throw the
//! gateway out. So it acknowledges nothing, and asks for no shared subscription, which would take messages from others.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::connection::{connack, unanswered};
use super::cover::Cover;
use super::dial;
use super::failure::{Failure, FailureKind};
use super::session::FILTERS_MAX;
use super::version::Choice;
use super::wire::{
    Ended, Grant, Hello, Relay, Rendezvous, Requests, Signal, Subscription, Version, Wire,
};
use crate::config::MqttSource;
use crate::steps::{Ending, Stage, Step, Watch};
use crate::topic::TopicFilter;

/// Time for the DISCONNECT: a probe that says goodbye leaves no will and no line about a broken client in the broker's log.
const LEAVE_MAX: Duration = Duration::from_millis(500);

/// Connects as `client_id`, subscribes to what the rules want, and leaves.
pub async fn probe(
    source: &MqttSource,
    subscriptions: &[TopicFilter],
    client_id: &str,
) -> Vec<Step> {
    let hello = Hello {
        client_id: client_id.to_owned(),
        keeps_session: false,
        session_expiry_seconds: 0,
        // What is subscribed is not taken: the less comes of it, the better.
        receive_maximum: 1,
        ..super::hello(source, String::new())
    };
    let watch = Watch::new();
    let mut versions = Choice::new(source.protocol);
    // MQTT 5 is tried twice where it goes unanswered, and then 3.1.1.
    for _ in 0..3 {
        watch.restart();
        match attempt(source, &hello, versions.next(), subscriptions, &watch).await {
            Ok(()) => break,
            Err(failure) => {
                let again = versions.failed(failure.kind) || versions.is_in_doubt();
                watch.end(Ending::Failed, || in_words(&failure, client_id));
                if !again {
                    break;
                }
            }
        }
    }
    watch.steps()
}

fn in_words(failure: &Failure, client_id: &str) -> String {
    match failure.kind {
        FailureKind::NotAuthorized => format!(
            "{} (this probe came as `{client_id}`: with the gateway's own client id it would throw the gateway out)",
            failure.text
        ),
        _ => failure.text.clone(),
    }
}

async fn attempt(
    source: &MqttSource,
    hello: &Hello,
    version: Version,
    subscriptions: &[TopicFilter],
    watch: &Watch,
) -> Result<(), Failure> {
    let answer_by = Instant::now() + source.connect_timeout;
    let link = timeout_at(answer_by, dial::dial(source, watch)).await;
    let link = link.unwrap_or_else(|_| Err(dial::no_answer(source)))?;
    watch.begin(Stage::Mqtt);
    let rendezvous = Rendezvous::open().map_err(|error| Failure::closed(&error))?;
    let (mut wire, requests) = Wire::open(version, hello, rendezvous.name());
    let relay = Relay::default();
    let mut carried = std::pin::pin!(relay.run(rendezvous, link).fuse());
    let connected = tokio::select! {
        connected = connack(&mut wire, answer_by) => connected,
        () = &mut carried => Err(Failure::closed_by_broker()),
    };
    connected.map_err(|failure| unanswered(failure, source, version, &relay))?;
    watch.done(|| format!("{} accepts `{}`", version.in_words(), hello.client_id));
    let asked = async {
        let subscribed = subscribe(source, &mut wire, &requests, subscriptions, watch).await;
        if requests.disconnect().await.is_ok() {
            let left = async { while !matches!(wire.poll().await, Ok(Signal::Left) | Err(_)) {} };
            drop(tokio::time::timeout(LEAVE_MAX, left).await);
        }
        subscribed
    };
    tokio::select! {
        asked = asked => asked,
        () = &mut carried => Err(Failure::closed_by_broker()),
    }
}

async fn subscribe(
    source: &MqttSource,
    wire: &mut Wire,
    requests: &Requests,
    subscriptions: &[TopicFilter],
    watch: &Watch,
) -> Result<(), Failure> {
    let cover = Cover::of(subscriptions).filters;
    let (plain, special): (Vec<_>, Vec<_>) = cover.into_iter().partition(TopicFilter::is_plain);
    for filters in plain.chunks(FILTERS_MAX) {
        watch.begin(Stage::Subscribe);
        let wanted = filters
            .iter()
            .map(|filter| Subscription { filter: filter.clone(), qos: source.qos_max })
            .collect::<Vec<_>>();
        let sent = requests.subscribe(&wanted).await;
        sent.map_err(|Ended| Failure::closed_by_broker())?;
        let grants = tokio::time::timeout(source.connect_timeout, suback(wire)).await;
        let grants =
            grants.unwrap_or_else(|_| Err(Failure::protocol(&"no SUBACK for a SUBSCRIBE")))?;
        let (ending, text) = told(source, filters, &grants);
        watch.end(ending, || text);
    }
    for filter in special {
        watch.begin(Stage::Subscribe);
        watch.end(Ending::Unsure, || {
            format!("`{filter}` is not tried: what others of its group wait for would come here")
        });
    }
    Ok(())
}

async fn suback(wire: &mut Wire) -> Result<Vec<Grant>, Failure> {
    loop {
        if let Signal::Subscribed(grants) = wire.poll().await? {
            return Ok(grants);
        }
    }
}

/// What the broker said to some filters.
fn told(source: &MqttSource, filters: &[TopicFilter], grants: &[Grant]) -> (Ending, String) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (filter, grant) in filters.iter().zip(grants) {
        match grant {
            Grant::Granted(qos) if *qos >= source.qos_max => good.push(format!("`{filter}`")),
            Grant::Granted(qos) => bad.push(format!(
                "the broker grants `{filter}` only QoS {}: messages on it can be lost on the way here",
                qos.level()
            )),
            Grant::Refused(why) => bad.push(format!(
                "the broker refuses the subscription `{filter}` ({why}): allow it for this client, or take it out of the \
                 rules"
            )),
        }
    }
    if bad.is_empty() { (Ending::Done, good.join(", ")) } else { (Ending::Failed, bad.join("; ")) }
}
