//! What requests carry: signatures, compressed bodies, templates.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use waypost::signature::{SigningKey, verify};

use crate::requests::{Gateway, delivered};
use crate::support::http::{Reply, Request, Server};
use crate::support::waypost::command;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_bmV3ZXIga2V5IG9mIHRoZSBwbGFudCwgMzIgYnl0ZXM=";
const STRANGE: &str = "whsec_c3RyYW5nZSBrZXkgb2YgdGhlIHBsYW50LCAzMiBieXQ=";

fn is_signed_with(key: &str, request: &Request) -> bool {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let keys = [SigningKey::new(key).unwrap()];
    let (signature, id) = (header("webhook-signature"), header("webhook-id"));
    verify(&keys, &signature, &id, timestamp, &request.body)
}

#[test]
fn every_request_is_signed_with_every_key_single_batched_compressed_and_without_a_body() {
    for sink in [
        "",
        "batch = { max_records = 3, linger = \"300ms\" }",
        "compression = \"gzip\"",
        "method = \"DELETE\"",
    ] {
        for request in delivered(&format!("sign = [\"{NEW}\", \"{OLD}\"]\n{sink}")) {
            for (key, expected) in [(OLD, true), (NEW, true), (STRANGE, false)] {
                assert_eq!(is_signed_with(key, &request), expected, "{sink}: {request:?}");
            }
        }
    }
    let unsigned = delivered("");
    assert!(unsigned.iter().all(|request| !request.headers.contains_key("webhook-signature")));
}

#[test]
fn a_rotated_signing_key_is_read_again_after_401() {
    let service = Server::scripted(|request| {
        Reply::Status(if is_signed_with(NEW, request) { 200 } else { 401 })
    });
    let mut gateway = Gateway::with_sink(&service.url(), "sign = { file = \"key\" }");
    gateway.file("key", OLD);
    gateway.launch();
    gateway.publish("t/1", 2);
    gateway.tells("401");
    // What is no key leaves the old one in force, and is told of.
    gateway.file("key", "no key at all");
    let told = || gateway.waypost.log().contains("a signing key must be 24 to 64 bytes in base64");
    crate::support::eventually("told of", told, |told| *told);
    gateway.file("key", NEW);
    gateway.waypost.drained("cloud");
    assert_eq!(service.sequence("d1"), [0, 1]);
}

#[test]
fn signed_requests_wait_while_the_clock_is_before_the_day_of_the_build_and_say_so() {
    let service = Server::start();
    let mut gateway = Gateway::with_sink(&service.url(), &format!("sign = \"{OLD}\""));
    let clock = gateway.waypost.directory().join("clock");
    std::fs::write(&clock, "@2001-01-01 00:00:10\n").unwrap();
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]
        .map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| path.exists())
        .expect("Debian's package `faketime` has it");
    let mut early = command();
    early.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
    early.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    gateway.waypost.launch_with(early);
    gateway.publish("t/1", 3);
    gateway.tells("a signed request waits until it is set");
    assert_eq!((service.requests().len(), &gateway.sink()["queued"]), (0, &3.into()));
    // The clock is set, and nothing else is needed.
    std::fs::write(&clock, "+0\n").unwrap();
    gateway.waypost.drained("cloud");
    assert_eq!(service.sequence("d1"), [0, 1, 2]);
    assert!(service.requests().iter().all(|request| is_signed_with(OLD, request)));
}

#[test]
fn bodies_are_compressed_when_asked_for_and_small_ones_are_not() {
    for (compression, batch) in [("gzip", 100), ("zstd", 100), ("none", 100), ("gzip", 1)] {
        let body = if batch == 1 { "body = \"short\"\n" } else { "" };
        let sink = format!(
            "{body}compression = \"{compression}\"\nbatch = {{ max_records = {batch}, linger = \"300ms\" }}"
        );
        let requests = delivered(&sink);
        for request in &requests {
            let encoding = request.headers.get("content-encoding").map(String::as_str);
            let mut plain = Vec::new();
            match encoding {
                None => plain.clone_from(&request.body),
                Some("gzip") => {
                    let mut decoder = flate2::read::GzDecoder::new(&request.body[..]);
                    decoder.read_to_end(&mut plain).unwrap();
                }
                Some("zstd") => plain = zstd::decode_all(&request.body[..]).unwrap(),
                Some(other) => panic!("{other}"),
            }
            let expected = (compression != "none" && batch > 1).then_some(compression);
            assert_eq!(encoding, expected, "{sink}");
            let text = String::from_utf8(plain).unwrap();
            let whole = if batch == 1 { text == "short" } else { text.contains("record_id") };
            assert!(whole, "{sink}: {text}");
            let type_of_plain = &request.headers["content-type"];
            assert_eq!(type_of_plain, "application/json", "{sink}");
        }
    }
}

#[test]
fn a_batch_template_stands_around_the_bodies_of_its_records() {
    let sink = "batch = { max_records = 3, linger = \"300ms\", format = \"template\", template = \
                '{\"site\": \"${node}\", \"batch\": ${json:batch_id}, \"count\": ${count}, \"records\": [${records}]}' }";
    for request in delivered(sink) {
        assert_eq!(request.headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let records = body["records"].as_array().unwrap();
        assert_eq!(
            (&body["site"], &body["batch"]),
            (&json!("plant-7"), &json!(request.headers["webhook-id"]))
        );
        assert_eq!(body["count"], records.len());
        assert!(
            records.iter().all(|record| record["record_id"].as_str().unwrap().contains("-cloud-"))
        );
    }
    let sink = "headers = { content-type = \"text/csv\" }\nbody = \"${record_id};${payload.n}\"\n\
                batch = { max_records = 3, linger = \"300ms\", format = \"template\", \
                template = \"id;n\\n${records}\\n\", separator = \"\\n\" }";
    let mut n = 0;
    for request in delivered(sink) {
        assert_eq!(request.headers["content-type"], "text/csv");
        let text = String::from_utf8(request.body).unwrap();
        let lines = text.strip_prefix("id;n\n").unwrap().strip_suffix('\n').unwrap();
        for line in lines.split('\n') {
            assert!(line.ends_with(&format!("-cloud-{};{n}", n + 1)), "{text}");
            n += 1;
        }
    }
    assert_eq!(n, 3);
}

#[test]
fn the_record_id_stands_wherever_a_template_names_it() {
    let sink = "path = \"/r/${record_id}\"\nquery = { id = \"${record_id}\" }\nbody = \"${json:record_id}\"\n\
                headers = { x-record = \"${record_id}\", \"x-of-${clientid}\" = \"${payload.n}\" }";
    for (n, request) in delivered(sink).iter().enumerate() {
        let id = &request.headers["webhook-id"];
        assert_eq!(request.target, format!("/r/{id}?id={id}"));
        assert_eq!(request.body, format!("\"{id}\"").into_bytes());
        assert_eq!(
            (&request.headers["x-record"], &request.headers["x-of-d1"]),
            (id, &n.to_string())
        );
    }
}
