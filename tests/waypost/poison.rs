//! One record that its service cannot digest among 1,000 good ones: the others arrive, once and in order, and looking
//! for it costs little.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::http::{Reply, Request, Server};
use crate::support::metrics::Metrics;
use crate::support::sinks::{Sinks, assert_arrived_once, messages, requests_by_sink, sink_of};
use crate::support::{eventually, free_port};

const DEVICES: [(&str, u64); 10] = [
    ("d0", 100),
    ("d1", 100),
    ("d2", 100),
    ("d3", 101),
    ("d4", 100),
    ("d5", 100),
    ("d6", 100),
    ("d7", 100),
    ("d8", 100),
    ("d9", 100),
];

const POISON: (&str, u64) = ("d3", 50);

/// Whether it is in the request: as text, which costs the service nothing, however busy the machine is.
fn has_poison(request: &Request) -> bool {
    let (device, n) = POISON;
    let poison = format!(r#"\"device\":\"{device}\",\"n\":{n}}}"#);
    std::str::from_utf8(&request.body).unwrap().contains(&poison)
}

/// What the service does with a request that has the poison in it, for ever; the reason of its dead letter; and the
/// least number of requests with nothing else in them that it takes to know.
type Fault = (&'static str, Reply, &'static str, usize);

fn answers() -> [Fault; 5] {
    [
        ("r500", Reply::Status(500), "poison", FAILURES),
        ("r404", Reply::Status(404), "poison", FAILURES),
        ("r413", Reply::Status(413), "too_large", 1),
        ("r400", Reply::Status(400), "rejected", 1),
        ("reset", Reply::Close, "poison", FAILURES),
    ]
}

fn hang() -> [Fault; 1] {
    [("hang", Reply::Hang, "poison", FAILURES)]
}

/// `canary.failures` and `canary.period`, 5 and a minute by default.
const FAILURES: usize = 3;
const PERIOD: Duration = Duration::from_secs(1);

/// Twice as many and as long where there are no others, each after a timeout and a delay; and time for a busy machine.
const PROVING_MAX: Duration = Duration::from_secs(30);

struct Case {
    sink: String,
    reply: Reply,
    reason: &'static str,
    proof: usize,
    order: &'static str,
    records_max: usize,
}

fn cases(faults: &[Fault], forms: &[(&'static str, usize)]) -> Vec<Case> {
    let of_fault = |(fault, reply, reason, proof): &Fault| {
        let of_form = move |(order, records_max): &(&'static str, usize)| Case {
            sink: format!("{fault}-{order}-{records_max}"),
            reply: reply.clone(),
            reason,
            proof: *proof,
            order,
            records_max: *records_max,
        };
        forms.iter().map(of_form).collect::<Vec<_>>()
    };
    faults.iter().flat_map(of_fault).collect()
}

fn lines(case: &Case) -> String {
    let batch = match case.records_max {
        1 => String::new(),
        max => format!("batch = {{ max_records = {max}, linger = \"1s\" }}\n"),
    };
    // Where all others are answered, the default: no request of theirs must look like one that hangs.
    let timeout =
        if matches!(case.reply, Reply::Hang) { "timeouts.request = \"2s\"\n" } else { "" };
    format!(
        "order = \"{}\"\ncanary = {{ failures = {FAILURES}, period = \"1s\" }}\n\
         retry = {{ initial = \"20ms\", max = \"200ms\" }}\n{timeout}{batch}",
        case.order
    )
}

/// What a sink's requests have cost beyond what would have done without the poison, and beyond those that carry the
/// poison alone, to prove it.
#[derive(Debug)]
struct Cost {
    extra: usize,
    alone: usize,
    /// Between the first of these and the last.
    proving: Duration,
    /// Between the first request that has the poison in it, which is a failure of it, too, and the last.
    failing: Duration,
}

fn cost(requests: &[Request], case: &Case) -> Cost {
    let all: u64 = DEVICES.iter().map(|(_, count)| count).sum();
    let needed = usize::try_from(all - 1).unwrap().div_ceil(case.records_max);
    let failing: Vec<&Request> = requests.iter().filter(|request| has_poison(request)).collect();
    let is_alone = |request: &&Request| matches!(messages(request).as_slice(), [_]);
    let alone: Vec<&Request> = failing.iter().copied().filter(is_alone).collect();
    let lasted = |requests: &[&Request]| {
        let ends = requests.last().zip(requests.first());
        ends.map(|(last, first)| last.at - first.at).unwrap_or_default()
    };
    Cost {
        extra: (requests.len() - alone.len()).saturating_sub(needed),
        alone: alone.len(),
        proving: lasted(&alone),
        failing: lasted(&failing),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a logarithm")]
fn two_log2(records: usize) -> usize {
    (2.0 * (records as f64).log2()).floor() as usize
}

fn one_poison_record_among_a_thousand(faults: &[Fault], forms: &[(&'static str, usize)]) {
    let cases = cases(faults, forms);
    let replies: BTreeMap<_, _> =
        cases.iter().map(|case| (case.sink.clone(), case.reply.clone())).collect();
    let port = free_port();
    let sinks = cases.iter().map(|case| (case.sink.as_str(), lines(case)));
    let mut sinks = Sinks::prepare(&format!("http://127.0.0.1:{port}"), sinks);
    sinks.gateway.launch();
    sinks.publish(&DEVICES);
    // All of it waits when the service comes.
    sinks.gateway.terminate();
    let service = Server::on_port(port, move |request| {
        if has_poison(request) { replies[sink_of(request)].clone() } else { Reply::Status(200) }
    });
    let started = Instant::now();
    sinks.gateway.launch();
    let waits_alone = |metrics: &Metrics| {
        metrics.series("waypost_queue_records").values().all(|queued| *queued <= 1.0)
    };
    eventually("all others have arrived", || sinks.gateway.metrics(), waits_alone);
    let metrics = sinks.drained_with_news();

    eprintln!("{} sinks took {:?}", cases.len(), started.elapsed());
    let mut requests = requests_by_sink(&service);
    for case in &cases {
        let requests = requests.get_mut(&case.sink).unwrap();
        requests.retain(|request| messages(request).iter().any(|it| it.device != "news"));
        let cost = cost(requests, case);
        eprintln!("{}: {cost:?}", case.sink);
        let accepted = requests.iter().filter(|request| request.accepted);
        let arrivals: Vec<_> = accepted.flat_map(messages).collect();
        assert_arrived_once(&arrivals, &DEVICES, &[POISON], case.order, &case.sink);
        let labels = format!("reason=\"{}\",sink=\"{}\"", case.reason, case.sink);
        let letters = metrics.get("waypost_records_dead_lettered_total", &labels);
        assert_eq!(letters, Some(1.0), "{}", case.sink);
        let total =
            metrics.sum("waypost_records_dead_lettered_total", &format!("sink=\"{}\"", case.sink));
        assert!(total == 1.0, "{}: {total} dead letters", case.sink);
        assert!(cost.extra <= two_log2(case.records_max), "{}: {cost:?}", case.sink);
        if case.proof == 1 {
            assert_eq!(cost.alone, 1, "{}: {cost:?}", case.sink);
        } else {
            assert!(cost.alone >= case.proof, "{}: {cost:?}", case.sink);
            let in_time = cost.failing >= PERIOD && cost.proving < PROVING_MAX;
            assert!(in_time, "{}: {cost:?}", case.sink);
        }
    }
}

const SINGLE: [(&str, usize); 2] = [("key", 1), ("sink", 1)];
const BATCHES: [(&str, usize); 4] = [("key", 100), ("sink", 100), ("none", 100), ("key", 1001)];

#[test]
fn one_poison_record_among_a_thousand_single_ones_is_given_up_and_the_others_arrive() {
    one_poison_record_among_a_thousand(&answers(), &SINGLE);
}

#[test]
fn one_poison_record_among_a_thousand_in_batches_is_found_and_the_others_arrive() {
    one_poison_record_among_a_thousand(&answers(), &BATCHES);
}

#[test]
fn one_record_among_a_thousand_that_the_service_hangs_on_is_found_and_the_others_arrive() {
    let forms: Vec<_> = SINGLE.into_iter().chain(BATCHES).collect();
    one_poison_record_among_a_thousand(&hang(), &forms);
}
