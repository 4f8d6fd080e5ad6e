//! What Prometheus and probes see.

use std::io::Write as _;
use std::process::{Command, Stdio};

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
    assert_eq!(metrics.get("waypost_sink_state", "sink=\"cloud\",state=\"ok\""), Some(1.0));
    assert_eq!(metrics.get("waypost_queue_available", "sink=\"cloud\""), Some(1.0));
    assert!(metrics.get("waypost_queue_limit_bytes", "sink=\"cloud\"").unwrap() > 0.0);
    assert!(metrics.sum("waypost_source_problems_total", "source=\"devices\"") == 0.0);
    assert!(metrics.get("process_resident_memory_bytes", "").unwrap() > 0.0);
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
