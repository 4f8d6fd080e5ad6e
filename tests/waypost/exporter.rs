//! What Prometheus and probes see.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::certificates::Certificates;
use crate::support::http::Server;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

fn gateway(service: &Server) -> Waypost {
    Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        free_port(),
        service.url()
    ))
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let service = Server::start();
    let gateway = gateway(&service);
    promtool_is_content(&gateway);
}

#[track_caller]
fn promtool_is_content(gateway: &Waypost) {
    let (_, text) = gateway.get("/metrics").unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (tests/run installs it)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn every_series_of_a_source_a_rule_and_a_sink_is_there_from_the_start() {
    let service = Server::start();
    let metrics = gateway(&service).metrics();
    for (name, labels) in [
        ("waypost_events_received_total", "source=\"devices\""),
        ("waypost_events_acknowledged_total", "source=\"devices\""),
        ("waypost_events_redelivered_total", "source=\"devices\""),
        ("waypost_events_dropped_total", "source=\"devices\""),
        ("waypost_source_reconnects_total", "source=\"devices\""),
        ("waypost_rule_matched_total", "rule=\"cloud\""),
        ("waypost_queue_enqueued_total", "sink=\"cloud\""),
        ("waypost_queue_recovered_total", "sink=\"cloud\""),
        ("waypost_queue_records", "sink=\"cloud\""),
        ("waypost_queue_oldest_record_age_seconds", "sink=\"cloud\""),
        ("waypost_records_delivered_total", "sink=\"cloud\""),
        ("waypost_http_requests_total", "class=\"2xx\",sink=\"cloud\""),
        ("waypost_sink_retry_delay_seconds", "sink=\"cloud\""),
        ("waypost_store_commit_records_count", ""),
    ] {
        assert_eq!(metrics.get(name, labels), Some(0.0), "{name}{{{labels}}}");
    }
    for state in ["ok", "retrying", "suspended", "paused"] {
        let labels = format!("sink=\"cloud\",state=\"{state}\"");
        let expected = if state == "ok" { 1.0 } else { 0.0 };
        assert_eq!(metrics.get("waypost_sink_state", &labels), Some(expected), "{state}");
    }
    assert_eq!(metrics.get("waypost_queue_available", "sink=\"cloud\""), Some(1.0));
    assert!(metrics.get("waypost_queue_limit_bytes", "sink=\"cloud\"").unwrap() > 0.0);
    assert!(metrics.sum("waypost_source_problems_total", "source=\"devices\"") == 0.0);
    assert!(metrics.get("process_resident_memory_bytes", "").unwrap() > 0.0);
}

#[test]
fn every_metric_that_the_design_names_is_there_from_the_start() {
    let service = Server::start();
    let (_, text) = gateway(&service).get("/metrics").unwrap();
    for name in [
        "events_received_total{source=",
        "events_acknowledged_total{source=",
        "rule_matched_total{rule=",
        "rule_passed_total{rule=",
        "rule_failed_total{reason=",
        "source_connected{source=",
        "source_reconnects_total{source=",
        "queue_enqueued_total{sink=",
        "queue_records{sink=",
        "queue_bytes{sink=",
        "queue_limit_bytes{sink=",
        "queue_oldest_record_age_seconds{sink=",
        "records_delivered_total{sink=",
        "records_dead_lettered_total{reason=",
        "records_dropped_total{reason=",
        "delivery_latency_seconds_bucket{sink=",
        "http_requests_total{class=",
        "http_request_duration_seconds_bucket{sink=",
        "sink_state{sink=",
        "sink_retry_delay_seconds{sink=",
        "dead_letters{reason=",
        "dead_letter_bytes{sink=",
        "store_commit_duration_seconds_bucket",
        "store_commit_records_bucket",
        "store_written_bytes_total",
        "store_disk_bytes",
        "store_repairs_total{reason=",
        "build_info{version=",
        "config_info{hash=",
    ] {
        let series = format!("\nwaypost_{name}");
        assert!(text.contains(&series), "no {name} in\n{text}");
    }
}

#[test]
fn the_config_in_use_is_named_by_its_hash() {
    let service = Server::start();
    let gateway = gateway(&service);
    let output = Command::new("sha256sum").arg(gateway.config_path()).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap();
    let labels = format!("hash=\"{}\"", &digest[..16]);
    assert_eq!(gateway.metrics().get("waypost_config_info", &labels), Some(1.0), "{labels}");
    assert_eq!(gateway.status()["config_hash"], digest[..16]);
}

#[test]
fn certificates_tell_when_they_expire() {
    let certificates = Certificates::new();
    certificates.issue("broker.plant");
    certificates.issue_until("devices", 2027);
    certificates.issue_until("old", 2026);
    let identity = |name: &str| {
        let (cert, key) =
            (certificates.file(&format!("{name}.pem")), certificates.file(&format!("{name}.key")));
        format!("tls = {{ cert_file = \"{cert}\", key_file = \"{key}\" }}")
    };
    let (devices, old, far) = (identity("devices"), identity("old"), identity("broker.plant"));
    let port = free_port();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nallow_anonymous = true\n\
         listen = [\"127.0.0.1:{}\", {{ address = \"127.0.0.1:{port}\", {devices} }}]\n\n\
         [connectors.plant]\nurl = \"https://127.0.0.1:1\"\n{old}\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nconnector = \"plant\"\n\n\
         [webhooks.plain]\ntopics = [\"t/#\"]\nurl = \"https://127.0.0.1:1\"\n{far}\n",
        free_port(),
    ));
    let expires = |labels: &str| {
        let get = || gateway.metrics().get("waypost_certificate_expiry_timestamp_seconds", labels);
        eventually("looked at", get, Option::is_some).unwrap()
    };
    let new_year_2027 = 1_798_761_600.0;
    let new_year_2026 = 1_767_225_600.0;
    assert_eq!(expires("connector=\"\",sink=\"\",source=\"devices\""), new_year_2027);
    assert_eq!(expires("connector=\"plant\",sink=\"\",source=\"\""), new_year_2026);
    assert!(expires("connector=\"\",sink=\"plain\",source=\"\"") > new_year_2027);
    let status = gateway.status();
    let notes = status["notes"].as_array().unwrap();
    let told = |note: &&serde_json::Value| {
        note["about"] == "connector plant" && note["what"].as_str().unwrap().contains("has expired")
    };
    assert_eq!(notes.iter().filter(told).count(), 1, "{notes:?}");
    promtool_is_content(&gateway);
}

#[test]
fn livez_and_readyz_do_not_depend_on_the_uplink() {
    let service = Server::start();
    let port = service.port;
    let gateway = gateway(&service);
    drop(service);
    let refused = || std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
    eventually("the service is gone", refused, |refused| *refused);
    assert_eq!(gateway.get("/livez"), Some((200, "ok\n".to_owned())));
    assert_eq!(gateway.get("/readyz"), Some((200, "ready\n".to_owned())));
}
