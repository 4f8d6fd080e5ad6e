//! Every row of the status policy, for single and batched requests and for every order: what an answer means for the
//! records of its request. Each row is a sink of its own, all in one process with one service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::eventually;
use crate::support::http::{Reply, Request, Server};
use crate::support::sinks::{
    Arrival, Sinks, assert_arrived_once, messages, requests_by_sink, sink_of,
};

/// As in the table of `config/waypost.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Delivered,
    Retry,
    Split,
    Reject,
    Suspend,
}

use Meaning::{Delivered, Reject, Retry, Split, Suspend};

/// The defaults; a status that is not here has no row.
const DEFAULTS: [(Meaning, &[u16]); 5] = [
    (Delivered, &[200, 201, 202, 204, 299]),
    (Retry, &[408, 425, 429, 500, 501, 502, 503, 504, 599]),
    (Split, &[413]),
    (Reject, &[400, 402, 409, 418, 422, 451, 499]),
    (
        Suspend,
        &[300, 301, 302, 303, 304, 307, 308, 401, 403, 404, 405, 406, 407, 410, 415, 421, 426],
    ),
];

/// A status, what `on_status` says, and what it means then.
const OVERRIDES: [(u16, &str, Meaning); 8] = [
    (409, "409 = \"delivered\"", Delivered),
    (418, "4xx = \"retry\"", Retry),
    (404, "404 = \"reject\", 4xx = \"retry\"", Reject),
    (503, "503 = \"split\"", Split),
    (500, "5xx = \"suspend\"", Suspend),
    (302, "3xx = \"retry\"", Retry),
    (202, "2xx = \"reject\", 200 = \"delivered\"", Reject),
    (413, "413 = \"suspend\"", Suspend),
];

#[derive(Debug)]
struct Row {
    sink: String,
    reply: Reply,
    lines: String,
    meaning: Meaning,
}

fn rows() -> Vec<Row> {
    let by_default = DEFAULTS.into_iter().flat_map(|(meaning, statuses)| {
        statuses.iter().map(move |status| Row {
            sink: format!("s{status}"),
            reply: Reply::Status(*status),
            lines: String::new(),
            meaning,
        })
    });
    let overridden = OVERRIDES.into_iter().enumerate().map(|(number, row)| Row {
        sink: format!("override-{number}-{}", row.0),
        reply: Reply::Status(row.0),
        lines: format!("on_status = {{ {} }}\n", row.1),
        meaning: row.2,
    });
    let silent = |sink: &str, reply, lines: &str| Row {
        sink: sink.to_owned(),
        reply,
        lines: lines.to_owned(),
        meaning: Retry,
    };
    let unanswered = [
        silent("hangs", Reply::Hang, "timeouts.request = \"1s\"\n"),
        silent("cuts", Reply::Cut, ""),
        silent("closes", Reply::Close, ""),
    ];
    by_default.chain(overridden).chain(unanswered).collect()
}

const DEVICES: [(&str, u64); 3] = [("d1", 4), ("d2", 4), ("d3", 4)];

/// What a record is at fault for.
const GUILTY: (&str, u64) = ("d2", 2);

fn is_guilty(message: &Arrival) -> bool {
    (message.device.as_str(), message.n) == GUILTY
}

/// Until it is mended, the service answers everything with what the row has. Where a record can be at fault, only
/// that one is answered so, for ever; where a request can be too large, those with more than two records as well.
fn service(rows: &[Row], mended: &Arc<AtomicBool>) -> Server {
    let rows: BTreeMap<_, _> =
        rows.iter().map(|row| (row.sink.clone(), (row.reply.clone(), row.meaning))).collect();
    let mended = Arc::clone(mended);
    Server::scripted(move |request| {
        let (reply, meaning) = &rows[sink_of(request)];
        let messages = messages(request);
        let is_answered_so = match meaning {
            Delivered | Retry | Suspend => !mended.load(Ordering::SeqCst),
            Reject => messages.iter().any(is_guilty),
            Split => messages.len() > 2 || messages.iter().any(is_guilty),
        };
        if is_answered_so { reply.clone() } else { Reply::Status(200) }
    })
}

/// Whether the sink took this answer for a delivery.
fn was_delivered(row: &Row, request: &Request) -> bool {
    let is_the_rows = matches!(row.reply, Reply::Status(status) if status == request.status);
    if is_the_rows { row.meaning == Delivered } else { request.status == 200 }
}

#[track_caller]
fn each_answer_means_what_the_policy_says(form: &str, order: &str) {
    let (rows, mended) = (rows(), Arc::new(AtomicBool::new(false)));
    let service = service(&rows, &mended);
    let retry = "retry = { initial = \"20ms\", max = \"100ms\" }";
    let lines = rows.iter().map(|row| {
        (row.sink.as_str(), format!("{retry}\norder = \"{order}\"\n{form}{}", row.lines))
    });
    let mut sinks = Sinks::prepare(&service.url(), lines);
    sinks.gateway.launch();
    sinks.publish(&DEVICES);
    for row in &rows {
        let case = format!("{} with {form:?} in order {order}", row.sink);
        let sink = || sinks.status().remove(&row.sink).unwrap();
        let status = row.sink.rsplit_once(|c: char| !c.is_ascii_digit()).unwrap().1;
        eventually(&case, sink, |sink| match row.meaning {
            Delivered | Reject | Split => sink["state"] == "ok" && sink["queued"] == 0,
            Retry => sink["state"] == "retrying" && sink["queued"] == 12,
            Suspend => {
                let told = sink["last_error"].as_str().unwrap_or_default();
                sink["state"] == "suspended" && sink["queued"] == 12 && told.contains(status)
            }
        });
    }
    mended.store(true, Ordering::SeqCst);
    let metrics = sinks.drained();

    let requests = requests_by_sink(&service);
    for row in &rows {
        let case = format!("{row:?} with {form:?} in order {order}");
        let requests = &requests[&row.sink];
        let delivered = requests.iter().filter(|request| was_delivered(row, request));
        let arrivals: Vec<_> = delivered.flat_map(messages).collect();
        let (missing, reason) = match row.meaning {
            Reject => (&[GUILTY][..], Some("rejected")),
            Split => (&[GUILTY][..], Some("too_large")),
            Delivered | Retry | Suspend => (&[][..], None),
        };
        assert_arrived_once(&arrivals, &DEVICES, missing, order, &case);
        let letters = metrics.series("waypost_records_dead_lettered_total");
        let letters: Vec<_> = letters
            .into_iter()
            .filter(|(labels, count)| {
                labels.ends_with(&format!("sink=\"{}\"", row.sink)) && *count > 0.0
            })
            .collect();
        let expected = reason.map(|reason| format!("reason=\"{reason}\",sink=\"{}\"", row.sink));
        let expected: Vec<_> = expected.iter().map(|labels| (labels.as_str(), 1.0)).collect();
        assert_eq!(letters, expected, "{case}");
        if !form.is_empty() {
            assert!(requests.iter().any(|request| messages(request).len() > 2), "{case}");
        }
    }
}

const BATCHES: &str = "batch = { max_records = 6, linger = \"500ms\" }\n";

#[test]
fn each_answer_to_a_single_request_means_what_the_policy_says_in_every_order() {
    for order in ["key", "sink", "none"] {
        each_answer_means_what_the_policy_says("", order);
    }
}

#[test]
fn each_answer_to_a_batch_means_what_the_policy_says_in_every_order() {
    for order in ["key", "sink", "none"] {
        each_answer_means_what_the_policy_says(BATCHES, order);
    }
}
