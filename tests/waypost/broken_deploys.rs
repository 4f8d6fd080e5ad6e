//! A service that is broken for everything for a while: nothing is given up but what the reject-storm limit allows, and
//! everything else arrives afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::eventually;
use crate::support::http::{Reply, Server};
use crate::support::sinks::{
    Arrival, Sinks, assert_arrived_once, messages, requests_by_sink, sink_of,
};

const DEVICES: [(&str, u64); 4] = [("d1", 50), ("d2", 50), ("d3", 50), ("d4", 50)];

/// Rejects in a row that suspend a sink: one less is the most that a deploy may cost.
const STORM: usize = 5;

/// Requests after which it is mended. A record is found guilty after two failures over 200 ms, and probes come every
/// 50 ms on average.
const REQUESTS: f64 = 40.0;

/// Sinks whose service answers the same to everything; a redirect with the place that it leads to.
fn breakages(elsewhere: &Server) -> [(&'static str, Reply); 6] {
    let location = vec![format!("location: {}/login", elsewhere.url())];
    [
        ("s400", Reply::Status(400)),
        ("s404", Reply::Status(404)),
        ("s500", Reply::Status(500)),
        ("redirects", Reply::With(302, location)),
        ("s413", Reply::Status(413)),
        ("closes", Reply::Close),
    ]
}

/// Puts the first arrival to where it belongs: devices do not wait for each other where `order` is by key.
fn first_in_order(arrivals: &[Arrival], order: &str) -> Vec<Arrival> {
    let Some((first, rest)) = arrivals.split_first() else { return Vec::new() };
    let is_later =
        |it: &Arrival| it.record > first.record && (order != "key" || it.device == first.device);
    let place = rest.iter().position(is_later).unwrap_or(rest.len());
    let (before, after) = rest.split_at(place);
    [before, std::slice::from_ref(first), after].concat()
}

#[track_caller]
fn a_broken_deploy_costs_nothing_but_what_the_storm_limit_allows(form: &str) {
    let elsewhere = Server::start();
    let breakages = breakages(&elsewhere);
    let is_broken = Arc::new(AtomicBool::new(true));
    let (broken, replies) = (Arc::clone(&is_broken), breakages.clone());
    let service = Server::scripted(move |request| {
        let sink = sink_of(request);
        // Ends in its order.
        let reply = replies.iter().find(|(name, _)| sink.starts_with(name)).unwrap().1.clone();
        if broken.load(Ordering::SeqCst) { reply } else { Reply::Status(200) }
    });
    let orders = ["key", "sink", "none"];
    let names: Vec<_> = breakages
        .iter()
        .flat_map(|(name, _)| orders.map(|order| (format!("{name}-{order}"), order)))
        .collect();
    let lines = |order: &str| {
        format!(
            "order = \"{order}\"\nreject_storm = {STORM}\ncanary = {{ failures = 2, period = \"200ms\" }}\n\
             retry = {{ initial = \"20ms\", max = \"100ms\" }}\n{form}"
        )
    };
    let sinks = names.iter().map(|(name, order)| (name.as_str(), lines(order)));
    let mut sinks = Sinks::prepare(&service.url(), sinks);
    sinks.gateway.launch();
    sinks.publish(&DEVICES);
    let requests = || {
        let metrics = sinks.gateway.metrics();
        let of = |name: &str| metrics.sum("waypost_http_requests_total", &format!("\"{name}\""));
        names.iter().map(|(name, _)| of(name)).fold(f64::MAX, f64::min)
    };
    eventually("all have tried for long", requests, |least| *least >= REQUESTS);
    let status = sinks.status();
    for (name, _) in &names {
        let rejects = name.starts_with("s400") || name.starts_with("s413");
        let state = if rejects || name.starts_with("s404") || name.starts_with("redirects") {
            "suspended"
        } else {
            "retrying"
        };
        assert_eq!(status[name]["state"], state, "{name}: {}", status[name]);
    }
    for order in orders {
        let told = status[&format!("s400-{order}")]["last_error"].as_str().unwrap();
        assert!(told.contains("rejects in a row, the last with status 400"), "{told}");
    }
    assert_eq!(elsewhere.requests().len(), 0, "a redirect was followed");
    is_broken.store(false, Ordering::SeqCst);
    let metrics = sinks.drained();

    let requests = requests_by_sink(&service);
    for (name, order) in &names {
        let letters =
            metrics.sum("waypost_records_dead_lettered_total", &format!("sink=\"{name}\""));
        let is_storm = name.starts_with("s400") || name.starts_with("s413");
        let allowed = if is_storm { STORM - 1 } else { 0 };
        assert!(letters <= allowed as f64, "{name}: {letters} dead letters");
        let accepted = requests[name].iter().filter(|request| request.accepted);
        let arrivals: Vec<_> = accepted.flat_map(messages).collect();
        // What was given up is what is missing; which that is depends on what came first.
        let all = DEVICES.iter().flat_map(|(device, count)| (0..*count).map(move |n| (*device, n)));
        let missing: Vec<_> = all
            .filter(|(device, n)| !arrivals.iter().any(|it| it.device == *device && it.n == *n))
            .collect();
        assert!(missing.len() as f64 == letters, "{name}: {letters} letters, {missing:?} missing");
        // After so long a record is tried that breaks the order: that may be what finds the service well again.
        let arrivals = first_in_order(&arrivals, order);
        assert_arrived_once(&arrivals, &DEVICES, &missing, order, name);
    }
}

#[test]
fn a_broken_deploy_costs_no_single_record_but_what_the_storm_limit_allows() {
    a_broken_deploy_costs_nothing_but_what_the_storm_limit_allows("");
}

#[test]
fn a_broken_deploy_costs_no_batch_but_what_the_storm_limit_allows() {
    a_broken_deploy_costs_nothing_but_what_the_storm_limit_allows(
        "batch = { max_records = 20, linger = \"100ms\" }\n",
    );
}
