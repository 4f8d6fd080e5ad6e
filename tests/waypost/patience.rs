//! How long a record is tried: what `Retry-After` asks for, and what `max_attempts` and `max_age` allow.

use std::time::{Duration, Instant};

use crate::support::http::{Reply, Request, Server};
use crate::support::sinks::{Sinks, assert_arrived_once, messages, requests_by_sink, sink_of};
use crate::support::{eventually, free_port};

/// Waits that may be asked for, with the time between the first two requests, in milliseconds. `retry.max` is 2 s, and
/// without a wish the second request comes within 20 ms.
fn wishes() -> Vec<(&'static str, String, std::ops::Range<u64>)> {
    let (none, longest) = (0..1900, 1990..20_000);
    let wishes = [
        ("seconds", "1", 990..1990),
        ("zero", "0", none.clone()),
        ("negative", "-5", none.clone()),
        ("decimal", "1.5", none.clone()),
        ("words", "soon", none.clone()),
        ("empty", "", none.clone()),
        ("two", "1, 2", none.clone()),
        ("in-1970", "Thu, 01 Jan 1970 00:00:00 GMT", none.clone()),
        ("no-such-day", "Thu, 31 Feb 2099 00:00:00 GMT", none),
        ("huge", "86400", longest.clone()),
        ("more-than-fits", "99999999999999999999999", longest.clone()),
        ("in-2099", "Thu, 01 Jan 2099 00:00:00 GMT", longest),
    ];
    wishes.map(|(name, wish, wait)| (name, wish.to_owned(), wait)).into()
}

#[test]
fn retry_after_is_obeyed_in_both_forms_and_absurd_ones_neither_stop_nor_hurry_a_sink() {
    for status in [429, 503] {
        let wishes = wishes();
        let script = wishes.clone();
        let mut asked = std::collections::BTreeSet::new();
        let service = Server::scripted(move |request| {
            let sink = sink_of(request).to_owned();
            let wish = &script.iter().find(|(name, ..)| *name == sink).unwrap().1;
            if asked.insert(sink) {
                Reply::With(status, vec![format!("retry-after: {wish}")])
            } else {
                Reply::Status(200)
            }
        });
        let lines = "retry = { initial = \"20ms\", max = \"2s\" }\n";
        let sinks = wishes.iter().map(|(name, ..)| (*name, lines.to_owned()));
        let mut sinks = Sinks::prepare(&service.url(), sinks);
        sinks.gateway.launch();
        sinks.publish(&[("d1", 1)]);
        sinks.drained();

        let requests = requests_by_sink(&service);
        for (name, wish, wait) in &wishes {
            let requests = &requests[*name];
            assert_eq!(requests.len(), 2, "{name}");
            let waited = u64::try_from((requests[1].at - requests[0].at).as_millis()).unwrap();
            assert!(wait.contains(&waited), "{status} with `{wish}`: waited {waited} ms");
        }
    }
}

const DEVICES: [(&str, u64); 2] = [("d1", 10), ("d2", 10)];

#[test]
fn a_record_that_was_tried_as_often_as_allowed_becomes_a_dead_letter_and_the_next_ones_arrive() {
    // What happens to every request with a message of d2, and whether such an attempt counts. One that does not is
    // answered to every request: the sink is suspended.
    let sinks = [
        ("s500", Reply::Status(500), true),
        ("s429", Reply::Status(429), true),
        ("closes", Reply::Close, true),
        ("hangs", Reply::Hang, true),
        ("s401", Reply::Status(401), false),
    ];
    for form in ["", "batch = { max_records = 5, linger = \"100ms\" }\n"] {
        let script = sinks.clone();
        let service = Server::scripted(move |request| {
            let row = script.iter().find(|(name, ..)| *name == sink_of(request)).unwrap();
            let (_, reply, counts) = row;
            let is_bad = !counts || messages(request).iter().any(|it| it.device == "d2");
            if is_bad { reply.clone() } else { Reply::Status(200) }
        });
        let lines =
            format!("retry = {{ initial = \"20ms\", max = \"100ms\", max_attempts = 3 }}\n{form}");
        let lines = |name: &str| {
            let timeout = if name == "hangs" { "timeouts.request = \"300ms\"\n" } else { "" };
            format!("{lines}{timeout}")
        };
        let mut sinks_of_all =
            Sinks::prepare(&service.url(), sinks.iter().map(|(name, ..)| (*name, lines(name))));
        sinks_of_all.gateway.launch();
        // Apart, so that no batch has both.
        for device in ["d2", "d1"] {
            sinks_of_all.publish(&[(device, 10)]);
        }
        for (name, _, counts) in &sinks {
            let labels = format!("sink=\"{name}\"");
            let gateway = &sinks_of_all.gateway;
            if *counts {
                gateway.until("waypost_queue_records", &labels, |queued| queued == 0.0);
            } else {
                let labels = format!("class=\"4xx\",{labels}");
                gateway.until("waypost_http_requests_total", &labels, |count| count > 10.0);
            }
        }
        let metrics = sinks_of_all.gateway.metrics();
        metrics.assert_conservation();
        let requests = requests_by_sink(&service);
        for (name, _, counts) in &sinks {
            let labels = format!("reason=\"max_attempts\",sink=\"{name}\"");
            let letters = metrics.get("waypost_records_dead_lettered_total", &labels).unwrap();
            assert_eq!(letters, if *counts { 10.0 } else { 0.0 }, "{name} {form:?}");
            if !counts {
                continue;
            }
            let accepted = requests[*name].iter().filter(|request| request.accepted);
            let arrivals: Vec<_> = accepted.flat_map(messages).collect();
            let missing: Vec<_> = (0..10).map(|n| ("d2", n)).collect();
            assert_arrived_once(&arrivals, &DEVICES, &missing, "key", name);
            for n in 0..10 {
                let has_it = |request: &&Request| {
                    messages(request).iter().any(|it| it.device == "d2" && it.n == n)
                };
                let attempts = requests[*name].iter().filter(has_it).count();
                // In a batch it is tried again with others, for which it was put back.
                let allowed = if form.is_empty() { 3..=3 } else { 3..=9 };
                assert!(allowed.contains(&attempts), "{name} {form:?}: {n} took {attempts}");
            }
        }
    }
}

#[test]
fn a_record_that_is_too_old_becomes_a_dead_letter_sent_or_not_and_over_a_restart() {
    let service = Server::scripted(|_| Reply::Status(500));
    let nobody = free_port();
    let lines = |more: &str| {
        format!("retry = {{ initial = \"20ms\", max = \"100ms\", max_age = \"2s\" }}\n{more}")
    };
    let batches = "batch = { max_records = 5, linger = \"50ms\" }\n";
    let mut sinks = Sinks::prepare(
        &service.url(),
        [
            ("single", lines("")),
            ("batched", lines(batches)),
            ("patient", lines("").replace("2s", "1h")),
        ],
    );
    sinks.gateway.launch();
    sinks.publish(&DEVICES);
    for sink in ["single", "batched"] {
        let labels = format!("reason=\"max_age\",sink=\"{sink}\"");
        let gateway = &sinks.gateway;
        gateway.until("waypost_records_dead_lettered_total", &labels, |letters| letters == 20.0);
    }
    let metrics = sinks.gateway.metrics();
    metrics.assert_conservation();
    assert_eq!(metrics.get("waypost_queue_records", "sink=\"patient\""), Some(20.0));
    // What the service said is kept, where it was asked.
    let listed = sinks.gateway.run(&["dead-letter", "list", "--sink", "single", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let why = "older than `retry.max_age` (2s); the last attempt: status 500";
    assert!(listed.lines().any(|it| it.contains(why) && it.contains("\"status\":500")), "{listed}");

    // Ages are kept over a restart, also of what was never sent.
    let mut late = Sinks::prepare(&format!("http://127.0.0.1:{nobody}"), [("late", lines(""))]);
    late.gateway.launch();
    late.publish(&DEVICES);
    late.gateway.kill();
    let killed = Instant::now();
    eventually("it is too old", || killed.elapsed(), |away| *away > Duration::from_secs(2));
    let service = Server::on_port(nobody, |_| Reply::Status(200));
    late.gateway.launch();
    let metrics = late.drained();
    let letters =
        metrics.get("waypost_records_dead_lettered_total", "reason=\"max_age\",sink=\"late\"");
    assert_eq!(letters, Some(20.0));
    assert_eq!(service.requests().len(), 0, "something too old was sent");
}
