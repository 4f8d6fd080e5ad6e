//! Steering a sink by hand: `waypost sink pause`, `resume` and `retry-now`.

use std::time::{Duration, Instant};

use expect_test::{Expect, expect};

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

const NOW: Duration = Duration::ZERO;

fn gateway(port: u16, service: &Server, more: &str) -> Waypost {
    Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n\
         queue = {{ max_bytes = \"64MiB\" }}\n{more}",
        service.url()
    ))
}

/// What a command prints, both outputs, and its exit code.
#[track_caller]
fn says(gateway: &Waypost, arguments: &[&str], expected: &Expect) {
    let output = gateway.run(arguments);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let said = said.replace(&gateway.config_path().display().to_string(), "CONFIG");
    expected.assert_eq(&format!("{said}exit {}", output.status.code().unwrap()));
}

#[track_caller]
fn published(port: u16, device: &str, count: u64) {
    let device = Device::start(port, device, "t/1", count, NOW);
    eventually("all acknowledged", || device.acknowledged().len() as u64, |n| *n == count);
}

#[track_caller]
fn has_state(gateway: &Waypost, state: &str) {
    for word in ["ok", "retrying", "suspended", "paused"] {
        let labels = format!("sink=\"cloud\",state=\"{word}\"");
        let expected = if word == state { 1.0 } else { 0.0 };
        assert_eq!(gateway.metrics().get("waypost_sink_state", &labels), Some(expected), "{word}");
    }
    assert_eq!(gateway.status()["sinks"]["cloud"]["state"], state);
}

#[test]
fn a_paused_sink_sends_nothing_also_after_a_restart_and_everything_once_resumed() {
    let service = Server::start();
    let port = free_port();
    let mut gateway = gateway(port, &service, "");
    published(port, "before", 3);
    gateway.drained("cloud");
    says(
        &gateway,
        &["sink", "pause", "cloud"],
        &expect![[r#"
        sink cloud is paused: nothing waits; its queue may take 64.0 MiB (then: drop_oldest). `waypost sink resume cloud --config CONFIG` lets it send
        exit 0"#]],
    );
    has_state(&gateway, "paused");
    published(port, "while", 5);
    has_state(&gateway, "paused");

    gateway.kill();
    gateway.launch();
    has_state(&gateway, "paused");
    published(port, "again", 2);
    let status = gateway.status();
    assert_eq!(status["sinks"]["cloud"]["queued"], 7, "{status}");
    assert_eq!(service.records().len(), 3, "nothing has left");

    says(
        &gateway,
        &["sink", "resume", "cloud"],
        &expect![[r#"
        sink cloud sends again: 7 records wait
        exit 0"#]],
    );
    gateway.drained("cloud");
    has_state(&gateway, "ok");
    assert_eq!(service.records().len(), 10);
    assert_eq!(service.sequence("while"), [0, 1, 2, 3, 4]);

    gateway.kill();
    gateway.launch();
    has_state(&gateway, "ok");
    let log = gateway.log();
    for line in ["sink paused: everything is kept in its queue", "sink resumed"] {
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn retry_now_ends_the_wait_at_once() {
    let service = Server::scripted(|_| Reply::With(503, vec!["retry-after: 3600".to_owned()]));
    let port = free_port();
    let gateway = gateway(port, &service, "retry = { initial = \"1s\", max = \"1h\" }\n");
    says(
        &gateway,
        &["sink", "retry-now", "cloud"],
        &expect![[r#"
        sink cloud waits for no next attempt: its last one was delivered
        exit 0"#]],
    );
    published(port, "d1", 2);
    let waits = |seconds: &f64| *seconds > 3000.0;
    let next = || gateway.status()["sinks"]["cloud"]["next_attempt_in_seconds"].as_f64();
    eventually("an hour to wait", || next().unwrap_or(0.0), waits);

    let before = Instant::now();
    says(
        &gateway,
        &["sink", "retry-now", "cloud"],
        &expect![[r#"
        sink cloud tries again now: 2 records wait
        exit 0"#]],
    );
    eventually("a second attempt", || service.requests().len(), |count| *count == 2);
    eventually("an hour to wait", || next().unwrap_or(0.0), waits);
    service.answer(|_| Reply::Status(200));
    let output = gateway.run(&["sink", "retry-now", "cloud", "--json"]);
    let steered: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&steered["sink"], &steered["changed"]), (&"cloud".into(), &true.into()));
    // How many are still queued depends on how fast the service is.
    assert_eq!(steered["status"]["enqueued"], 2, "{steered}");
    gateway.drained("cloud");
    assert!(before.elapsed() < Duration::from_mins(10), "long before the hour is over");
    has_state(&gateway, "ok");
}

#[test]
fn commands_that_make_no_sense_say_so() {
    let service = Server::start();
    let gateway = gateway(free_port(), &service, "");
    says(
        &gateway,
        &["sink", "resume", "cloud"],
        &expect![[r#"
        sink cloud is not paused: nothing waits
        exit 0"#]],
    );
    says(
        &gateway,
        &["sink", "pause", "clowd"],
        &expect![[r#"
        error: there is no sink `clowd`; there is cloud
        exit 1"#]],
    );
    gateway.run(&["sink", "pause", "cloud"]);
    says(
        &gateway,
        &["sink", "pause", "cloud"],
        &expect![[r#"
        sink cloud has been paused for 0 s already: nothing waits
        exit 0"#]],
    );
    says(
        &gateway,
        &["sink", "retry-now", "cloud"],
        &expect![[r#"
            error: sink `cloud` is paused; `waypost sink resume cloud --config CONFIG` lets it send
            exit 1"#]],
    );
}
