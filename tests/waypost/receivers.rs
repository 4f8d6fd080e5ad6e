//! Receivers that misbehave: everything arrives in the end, once the receiver wants it.

use std::time::Duration;

use crate::support::device::Device;
use crate::support::http::{Reply, Request, Server};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// A gateway with the embedded broker, fast retries and short timeouts, and 40 messages published through it.
fn publish_forty(service: &Server, sink: &str) -> Waypost {
    publish_forty_with(service, sink, "300ms")
}

/// As [`publish_forty`], with another upper bound of the wait between attempts.
fn publish_forty_with(service: &Server, sink: &str, retry_max: &str) -> Waypost {
    let port = free_port();
    let mut gateway = Waypost::prepare("");
    std::fs::write(gateway.directory().join("token"), "s3cret\n").unwrap();
    gateway.configure(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n\
         timeouts = {{ connect = \"1s\", request = \"1s\" }}\nretry = {{ initial = \"50ms\", max = \"{retry_max}\" }}\n{sink}\n",
        service.url()
    ));
    gateway.launch();
    let device = Device::start(port, "d1", "t/1", 40, Duration::ZERO);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 40);
    device.stop();
    gateway
}

/// Answers `trouble` to the first `times` requests, and 200 to the rest.
fn first(times: usize, trouble: Reply) -> impl FnMut(&Request) -> Reply + Send {
    let mut seen = 0;
    move |_| {
        seen += 1;
        if seen <= times { trouble.clone() } else { Reply::Status(200) }
    }
}

const BATCHES: &str = "batch = { max_records = 10, linger = \"20ms\" }\n";

#[track_caller]
fn everything_arrives_in_order_after(trouble: &Reply) {
    for sink in ["", BATCHES] {
        let service = Server::scripted(first(3, trouble.clone()));
        let gateway = publish_forty(&service, sink);
        gateway.drained("cloud");
        let expected: Vec<u64> = (0..40).collect();
        assert_eq!(service.sequence("d1"), expected, "after {trouble:?} with {sink:?}");
    }
}

#[test]
fn everything_arrives_in_order_after_500() {
    everything_arrives_in_order_after(&Reply::Status(500));
}

#[test]
fn everything_arrives_in_order_after_503() {
    everything_arrives_in_order_after(&Reply::Status(503));
}

#[test]
fn everything_arrives_in_order_after_answers_cut_in_the_middle() {
    everything_arrives_in_order_after(&Reply::Cut);
}

#[test]
fn everything_arrives_in_order_after_connections_closed_without_an_answer() {
    everything_arrives_in_order_after(&Reply::Close);
}

#[test]
fn everything_arrives_in_order_after_requests_that_hang() {
    everything_arrives_in_order_after(&Reply::Hang);
}

#[test]
fn everything_arrives_in_order_from_a_slow_service() {
    everything_arrives_in_order_after(&Reply::Slow(Duration::from_millis(300)));
}

#[test]
fn a_service_that_closes_each_connection_after_an_answer_gets_everything_once_and_in_order() {
    for sink in ["", "order = \"none\"\nconcurrency = 8"] {
        let service = Server::scripted(|_| Reply::OkAndClose);
        let gateway = publish_forty(&service, sink);
        gateway.drained("cloud");
        let mut arrived = service.sequence("d1");
        if !sink.is_empty() {
            arrived.sort_unstable();
        }
        assert_eq!(arrived, (0..40).collect::<Vec<_>>(), "{sink:?}");
    }
}

#[track_caller]
fn retry_after_is_waited_for(header: impl Fn() -> String + Send + 'static) {
    let mut asked = false;
    let service = Server::scripted(move |_| {
        if std::mem::replace(&mut asked, true) {
            return Reply::Status(200);
        }
        Reply::With(429, vec![format!("retry-after: {}", header())])
    });
    let gateway = publish_forty_with(&service, "", "10s");
    gateway.drained("cloud");
    let requests = service.requests();
    let waited = requests[1].at - requests[0].at;
    assert!(waited > Duration::from_millis(1500), "waited {waited:?}");
    assert!(waited < Duration::from_secs(9), "waited {waited:?}");
}

#[test]
fn retry_after_in_seconds_is_waited_for() {
    retry_after_is_waited_for(|| "2".to_owned());
}

#[test]
fn retry_after_as_a_date_is_waited_for() {
    retry_after_is_waited_for(|| http_date_in(Duration::from_secs(3)));
}

/// A date as `Retry-After` carries it.
#[expect(clippy::disallowed_methods, reason = "a date for a header")]
fn http_date_in(wait: Duration) -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now() + wait)
}

#[test]
fn a_redirect_is_not_followed_and_loses_nothing() {
    let elsewhere = Server::start();
    let location = vec![format!("location: {}/login", elsewhere.url())];
    let service = Server::scripted(move |_| Reply::With(302, location.clone()));
    let gateway = publish_forty(&service, BATCHES);
    let sink = || gateway.status()["sinks"]["cloud"].clone();
    let sink = eventually("suspended", sink, |sink| sink["state"] == "suspended");
    assert_eq!(sink["queued"], 40, "{sink}");
    assert!(sink["last_error"].as_str().unwrap().contains("302"), "{sink}");
    assert_eq!(elsewhere.requests().len(), 0);

    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..40).collect::<Vec<_>>());
}

#[test]
fn statuses_that_a_retry_cannot_mend_keep_every_record() {
    for status in [401, 403, 404, 410, 415] {
        let service = Server::scripted(move |_| Reply::Status(status));
        let gateway = publish_forty(&service, BATCHES);
        let sink = || gateway.status()["sinks"]["cloud"].clone();
        let sink = eventually("suspended", sink, |sink| sink["state"] == "suspended");
        assert_eq!(sink["queued"], 40, "{sink}");
        assert!(sink["last_error"].as_str().unwrap().contains(&status.to_string()), "{sink}");

        service.answer(|_| Reply::Status(200));
        gateway.drained("cloud");
        assert_eq!(service.numbers("d1").len(), 40, "after {status}");
    }
}

#[test]
fn a_receiver_that_is_down_is_probed_one_request_at_a_time() {
    let port = free_port();
    let down = Server::on_port(port, |_| Reply::Status(503));
    let gateway = publish_forty(&down, "concurrency = 8");
    eventually("some probes", || down.requests().len(), |count| *count > 8);
    // The first failures may have been in flight together; after that one at a time.
    let requests = down.requests();
    let later: Vec<_> = requests.iter().skip(8).map(|request| &request.body).collect();
    assert!(later.windows(2).all(|pair| pair[0] == pair[1]), "several records were probed");
    down.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert_eq!(down.numbers("d1").len(), 40);
}

#[test]
fn a_request_carries_its_ids_and_the_rendered_path_query_and_headers() {
    let service = Server::start();
    let gateway = publish_forty(
        &service,
        "path = \"/in/${clientid}/${topic}\"\nquery = { q = \"${payload.n}\" }\n\
         headers = { x-device = \"${clientid}\" }\nbody = \"n=${payload.n} json=${json:payload}\"\n",
    );
    gateway.drained("cloud");
    let request = &service.requests()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/in/d1/t%2F1?q=0");
    assert_eq!(request.headers["x-device"], "d1");
    assert_eq!(request.headers["idempotency-key"], request.headers["webhook-id"]);
    let id = &request.headers["webhook-id"];
    let store = gateway.status()["store_id"].as_str().unwrap().to_owned();
    assert_eq!(*id, format!("{store}-cloud-1"));
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert_eq!(body, "n=0 json=\"{\\\"device\\\":\\\"d1\\\",\\\"n\\\":0}\"");
}

#[test]
fn ndjson_batches_hold_one_object_a_line() {
    let service = Server::start();
    let sink = "batch = { max_records = 40, linger = \"300ms\", format = \"ndjson\" }";
    let gateway = publish_forty(&service, sink);
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..40).collect::<Vec<_>>());
    let request = &service.requests()[0];
    assert_eq!(request.headers["content-type"], "application/x-ndjson");
    assert!(request.body.iter().filter(|byte| **byte == b'\n').count() > 1);
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let service = Server::start();
    let gateway = publish_forty(
        &service,
        "auth = { bearer = { file = \"token\" } }\nheaders = { x-api-key = { file = \"token\" } }\n",
    );
    gateway.drained("cloud");
    let request = &service.requests()[0];
    assert_eq!(request.headers["authorization"], "Bearer s3cret");
    assert_eq!(request.headers["x-api-key"], "s3cret");
    let shown = gateway.log() + &gateway.status().to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
}
