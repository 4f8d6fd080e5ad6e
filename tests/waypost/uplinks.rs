//! The way to the service: cut, silent, thin. Everything arrives in the end.

use std::time::Duration;

use crate::support::device::Device;
use crate::support::http::Server;
use crate::support::link::Link;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// A gateway with the embedded broker, its port, and a sink behind `link`.
fn gateway(link: &Link, sink: &str) -> (Waypost, u16) {
    let port = free_port();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:{}\"\n\
         timeouts = {{ connect = \"1s\", request = \"1s\" }}\nretry = {{ initial = \"20ms\", max = \"200ms\" }}\n{sink}\n",
        link.port
    ));
    (gateway, port)
}

fn state(gateway: &Waypost) -> String {
    gateway.status()["sinks"]["cloud"]["state"].as_str().unwrap().to_owned()
}

/// Waits until everything that was acknowledged to `device` is there, each key in order but for repeats.
#[track_caller]
fn all_arrived(gateway: &Waypost, device: Device, service: &Server) {
    let acknowledged = device.stop();
    gateway.drained("cloud");
    let missing: Vec<_> = acknowledged.difference(&service.numbers("d1")).copied().collect();
    assert!(missing.is_empty(), "{missing:?} are missing");
    let letters = gateway.metrics().sum("waypost_records_dead_lettered_total", "cloud");
    assert!(letters == 0.0, "{letters} dead letters");
    let mut seen = std::collections::BTreeSet::new();
    let first_seen = service.sequence("d1").into_iter().filter(|n| seen.insert(*n));
    let first_seen: Vec<_> = first_seen.collect();
    assert!(first_seen.is_sorted(), "out of order: {first_seen:?}");
}

#[test]
fn an_uplink_that_is_cut_or_silent_again_and_again_loses_nothing() {
    let service = Server::start();
    let link = Link::to(service.port);
    let (gateway, port) = gateway(&link, "batch = { max_records = 20, linger = \"20ms\" }");
    let device = Device::start(port, "d1", "t/1", u64::MAX, Duration::from_millis(2));
    for trouble in [Link::cut, Link::silence, Link::cut, Link::silence] {
        let so_far = service.numbers("d1").len();
        eventually("progress", || service.numbers("d1").len(), |now| *now > so_far + 100);
        trouble(&link);
        eventually("told", || state(&gateway), |state| state == "retrying");
        let acknowledged = device.acknowledged().len();
        eventually("taken", || device.acknowledged().len(), |now| *now > acknowledged + 100);
        link.open();
        eventually("told", || state(&gateway), |state| state == "ok");
    }
    all_arrived(&gateway, device, &service);
}

#[test]
fn batches_that_are_too_big_for_a_thin_link_are_halved_until_they_get_through() {
    let service = Server::start();
    let link = Link::to(service.port);
    let (gateway, port) = gateway(&link, "batch = { max_records = 100, linger = \"1s\" }");
    link.cut();
    let noise = |_| {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(2000).collect();
        format!(",\"noise\":\"{noise}\"")
    };
    let device = Device::start_with(port, "d1", "t/1", 300, Duration::ZERO, noise);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 300);
    // 100 records are 250 KB, for which this takes three times as long as a request may.
    link.throttle(80_000);
    link.open();
    all_arrived(&gateway, device, &service);
    let requests = gateway.metrics().sum("waypost_http_requests_total", "class=\"2xx\"");
    assert!((6.0..60.0).contains(&requests), "{requests} requests for 300 records");
    let sizes: Vec<_> = service.requests().iter().map(|request| request.records().len()).collect();
    assert!(sizes.iter().any(|size| *size <= 50), "{sizes:?}");
}
