//! Another config while it runs: nothing lost, nothing repeated, nothing half done.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use expect_test::expect;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::{Mosquitto, mosquitto_pub};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port, pause};

fn source(port: u16) -> String {
    format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n")
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!(
        "[webhooks.{name}]\ntopics = [\"t/#\"]\nurl = \"{url}/{name}\"\n\
         retry = {{ initial = \"50ms\", max = \"200ms\" }}\n{more}\n\n"
    )
}

fn text(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n--- stdout\n{out}--- stderr\n{error}")
}

#[track_caller]
fn reload(gateway: &Waypost, config: &str) -> String {
    gateway.configure(config);
    let told = text(&gateway.run(&["reload"]));
    told.replace(&gateway.config_path().display().to_string(), "CONFIG")
}

fn hang_up(gateway: &Waypost) {
    let pid = gateway.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
}

/// The numbers that arrived at a sink's path, in order, and their record ids.
fn arrivals(service: &Server, sink: &str) -> (Vec<u64>, Vec<String>) {
    let path = format!("/{sink}");
    let requests = service.requests();
    let accepted = requests.iter().filter(|request| request.accepted && request.target == path);
    let record = |record: serde_json::Value, id: &str| {
        let payload =
            serde_json::from_str::<serde_json::Value>(record["payload"].as_str().unwrap());
        let id = record["record_id"].as_str().unwrap_or(id).to_owned();
        (payload.unwrap()["n"].as_u64().unwrap(), id)
    };
    let records = accepted.flat_map(|request| {
        let id = request.headers["webhook-id"].clone();
        request.records().into_iter().map(move |one| record(one, &id)).collect::<Vec<_>>()
    });
    records.unzip()
}

#[test]
fn sinks_come_change_and_go_under_load_and_nothing_is_lost_or_repeated() {
    let service = Server::scripted(|_| Reply::Slow(Duration::from_millis(20)));
    let (port, url) = (free_port(), service.url());
    let batch = |records: u32| format!("batch = {{ max_records = {records}, linger = \"20ms\" }}");
    let config = |changing: u32, third: &str| {
        source(port)
            + &webhook("kept", &url, &batch(20))
            + &webhook("changing", &url, &batch(changing))
            + &webhook(third, &url, &batch(20))
    };
    let gateway = Waypost::start(&config(10, "comes"));
    let device = Device::start(port, "d1", "t/1", u64::MAX, Duration::from_millis(1));
    let arrived = |sink: &str| arrivals(&service, sink).0.len();
    let rounds = 4;
    for round in 0..rounds {
        for (changing, third, gone) in
            [(11 + round, "goes", "comes"), (30 + round, "comes", "goes")]
        {
            let before = arrived(gone) + 20;
            eventually("it delivers", || arrived(gone), |arrived| *arrived > before);
            let told = reload(&gateway, &config(changing, third));
            let expected = format!(
                "exit 0\n--- stdout\nreloaded\n  added    rule {third}\n  added    sink {third}\n  \
                 changed  sink changing\n  removed  rule {gone}\n  removed  sink {gone}\n--- stderr\n"
            );
            assert_eq!(told, expected);
            let metrics = gateway.metrics();
            metrics.assert_conservation();
            let series =
                |sink: &str| metrics.get("waypost_queue_records", &format!("sink=\"{sink}\""));
            assert_eq!((series(third).is_some(), series(gone)), (true, None));
            assert_eq!(metrics.sum("waypost_http_requests_total", &format!("\"{gone}\"")), 0.0);
        }
    }
    let acknowledged = device.stop();
    for sink in ["kept", "changing", "comes"] {
        gateway.drained(sink);
    }
    let redelivered =
        gateway.metrics().get("waypost_events_redelivered_total", "source=\"devices\"");
    assert_eq!(redelivered, Some(0.0), "the device's connection was broken");
    for sink in ["kept", "changing"] {
        let (numbers, _) = arrivals(&service, sink);
        // The last ones may have been taken when the device was gone already.
        assert!(
            numbers.len() >= acknowledged.len(),
            "{sink}: {} lost",
            acknowledged.len() - numbers.len()
        );
        let all: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(numbers, all, "{sink}: not all, once, and in order");
    }
    // These miss what came while they were away, and nothing else.
    for sink in ["comes", "goes"] {
        let (numbers, ids) = arrivals(&service, sink);
        let jumps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect::<Vec<_>>();
        assert!(numbers.is_sorted(), "{sink}: repeated or out of order: {jumps:?}");
        assert!(jumps.len() <= rounds as usize, "{sink}: lost in between: {jumps:?}");
        let once: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(once.len(), ids.len(), "{sink}: a record id is used twice");
    }
}

#[test]
fn a_changed_rule_set_holds_from_one_event_to_the_next_and_the_broker_stays_up() {
    let service = Server::start();
    let (port, url) = (free_port(), service.url());
    let rule = |topics: &str| webhook("cloud", &url, "").replace("t/#", topics);
    let gateway = Waypost::start(&(source(port) + &rule("a/#")));
    let device = Device::start(port, "d1", "b/1", u64::MAX, Duration::from_millis(1));
    eventually("acknowledged", || device.acknowledged().len(), |count| *count > 50);
    assert_eq!(arrivals(&service, "cloud").0, [] as [u64; 0]);

    let told = reload(&gateway, &(source(port) + &rule("b/#")));
    let last = device.acknowledged().len() as u64;
    assert_eq!(told, "exit 0\n--- stdout\nreloaded\n  changed  rule cloud\n--- stderr\n");
    eventually("more", || device.acknowledged().len() as u64, |count| *count > last + 50);
    let acknowledged = device.stop();
    gateway.drained("cloud");

    let (numbers, _) = arrivals(&service, "cloud");
    // As far as the device was ahead of what it had seen acknowledged.
    assert!(numbers[0] <= last + 100, "{} came after the reload and is missing", numbers[0]);
    let expected: Vec<u64> = (numbers[0]..=numbers[numbers.len() - 1]).collect();
    assert_eq!(numbers, expected);
    assert!(numbers.last() >= acknowledged.last(), "the last ones are missing");
    let metrics = gateway.metrics();
    let redelivered = metrics.get("waypost_events_redelivered_total", "source=\"devices\"");
    assert_eq!(redelivered, Some(0.0), "the device's connection was broken");
}

#[test]
fn an_mqtt_source_follows_the_rules_without_a_new_connection_and_its_own_settings_with_one() {
    let broker = Mosquitto::start("");
    let service = Server::start();
    let config = |topics: &str, more: &str| {
        format!("[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n{more}\n\n", broker.url())
            + &webhook("cloud", &service.url(), "").replace("\"t/#\"", topics)
    };
    let gateway = Waypost::start(&config("\"a/#\"", ""));
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
    let received =
        |topic: &str| service.records().iter().filter(|record| record["topic"] == topic).count();
    let arrives = |topic: &str| {
        let before = received(topic);
        let publish = || {
            assert!(broker.publish(&["-q", "1", "-t", topic, "-m", "x"]));
            received(topic)
        };
        eventually(topic, publish, |count| *count > before);
    };
    arrives("a/1");

    let told = reload(&gateway, &config("\"a/#\", \"b/#\"", ""));
    assert_eq!(told, "exit 0\n--- stdout\nreloaded\n  changed  rule cloud\n--- stderr\n");
    arrives("b/1");
    arrives("a/1");
    reload(&gateway, &config("\"b/#\"", ""));
    let log = || gateway.log();
    eventually("unsubscribed", log, |log| log.contains("unsubscribed: no rule wants it any more"));
    let before =
        gateway.metrics().get("waypost_events_received_total", "source=\"local\"").unwrap();
    assert!(broker.publish(&["-q", "1", "-t", "a/2", "-m", "x"]));
    assert!(broker.publish(&["-q", "1", "-t", "b/2", "-m", "x"]));
    eventually("b/2", || received("b/2"), |count| *count == 1);
    let metrics = gateway.metrics();
    assert_eq!(
        metrics.get("waypost_events_received_total", "source=\"local\""),
        Some(before + 1.0)
    );
    let reconnects =
        || gateway.metrics().get("waypost_source_reconnects_total", "source=\"local\"");
    assert_eq!(reconnects(), Some(0.0));

    // What comes while it is away is in its session.
    let device = Device::start(broker.port, "d1", "b/3", u64::MAX, Duration::from_millis(1));
    for receive_maximum in [500, 600, 700] {
        eventually(
            "published",
            || device.acknowledged().len(),
            |count| *count > receive_maximum / 5,
        );
        let told =
            reload(&gateway, &config("\"b/#\"", &format!("receive_maximum = {receive_maximum}")));
        assert_eq!(told, "exit 0\n--- stdout\nreloaded\n  changed  source local\n--- stderr\n");
        gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
    }
    let acknowledged = device.stop();
    let missing = || acknowledged.difference(&service.numbers("d1")).copied().collect::<Vec<_>>();
    eventually("all that the broker had acknowledged", missing, Vec::is_empty);
    gateway.drained("cloud");
}

#[test]
fn a_config_that_is_wrong_changes_nothing_and_says_so_in_full() {
    let service = Server::start();
    let port = free_port();
    let good = source(port) + &webhook("cloud", &service.url(), "");
    let gateway = Waypost::start(&good);
    let successful = "waypost_config_last_reload_successful";
    let timestamp = "waypost_config_last_reload_success_timestamp_seconds";
    let first = gateway.metrics();
    assert_eq!(first.get(successful, ""), Some(1.0));

    gateway.configure(&(good.clone() + "[webhooks.other]\ntopics = [\"a/#/b\"]\nurl = 5\n"));
    hang_up(&gateway);
    gateway.until(successful, "", |value| value == 0.0);
    let log = gateway.log();
    for problem in ["webhooks.other.topics[0]: `#` must be the last level", "webhooks.other.url: "]
    {
        assert!(log.contains(problem), "{problem:?} is not in the log:\n{log}");
    }
    assert!(log.contains("config not reloaded: nothing has changed"), "{log}");
    let told = text(&gateway.run(&[
        "reload",
        "--socket",
        &gateway.data_dir().join("admin.sock").display().to_string(),
    ]));
    assert!(told.starts_with("exit 78\n--- stdout\n--- stderr\nerror: webhooks.other."), "{told}");
    assert!(told.contains("2 problems in"), "{told}");
    assert_eq!(gateway.metrics().get(timestamp, ""), first.get(timestamp, ""));

    let device = Device::start(port, "d1", "t/1", 10, Duration::ZERO);
    eventually("delivered all the same", || service.numbers("d1").len(), |count| *count == 10);
    device.stop();
    gateway.configure(&(good + &webhook("other", &service.url(), "")));
    hang_up(&gateway);
    gateway.until(successful, "", |value| value == 1.0);
    let second = gateway.metrics();
    assert!(second.get(timestamp, "") > first.get(timestamp, ""));
    assert_eq!(second.get("waypost_queue_records", "sink=\"other\""), Some(0.0));
}

#[test]
fn a_gateway_beside_a_wrong_config_can_still_be_asked_and_steered_and_says_so() {
    let service = Server::start();
    let good = source(free_port()) + &webhook("cloud", &service.url(), "");
    let gateway = Waypost::start(&good);
    let wrong = |text: &str| {
        gateway.configure(&(good.clone() + text));
        let told = text_of(&gateway, &["reload"]);
        assert!(
            told.starts_with("exit 78\n--- stdout\n--- stderr\nnote: the config file is wrong"),
            "{told}"
        );
        gateway.until("waypost_config_last_reload_successful", "", |value| value == 0.0);
    };
    wrong("[webhooks.other]\ntopics = [\"a\"]\nurl = 5\nmethd = \"PUT\"\n");
    let status = gateway.status();
    let notes = status["notes"].as_array().unwrap();
    let note = notes.iter().find(|note| note["about"] == "config").expect("it is told");
    expect![[r#"{"about":"config","advice":"`waypost check --config CONFIG` says all that is wrong; once it is mended: `waypost reload --config CONFIG`","level":"wrong","what":"its last reload was refused, what ran before goes on: webhooks.other.url: must be a text in quotes, is the number 5, and 1 problem more"}"#]]
        .assert_eq(&note.to_string().replace(&gateway.config_path().display().to_string(), "CONFIG"));
    for steered in ["pause", "resume"] {
        let told = text_of(&gateway, &["sink", steered, "cloud"]);
        assert!(told.starts_with("exit 0"), "{told}");
    }
    for asked in [vec!["queue", "ls"], vec!["dead-letter", "list"], vec!["rule", "show", "cloud"]] {
        let told = text_of(&gateway, &asked);
        assert!(told.starts_with("exit 0"), "{told}");
    }
    // What is no TOML at all says where its socket is all the same, in the lines before.
    wrong("[webhooks.other\n");
    assert_eq!(gateway.status()["gateway"], "plant-7");

    gateway.configure(&good);
    assert!(text_of(&gateway, &["reload"]).starts_with("exit 0"));
    let notes = gateway.status()["notes"].to_string();
    assert!(!notes.contains("reload"), "{notes}");
}

fn text_of(gateway: &Waypost, arguments: &[&str]) -> String {
    text(&gateway.run(arguments))
}

#[test]
fn what_cannot_change_while_it_runs_is_named_and_nothing_else_changes_either() {
    let service = Server::start();
    let config = source(free_port()) + &webhook("cloud", &service.url(), "");
    let gateway = Waypost::start(&config);
    let told = reload(
        &gateway,
        &(config.clone()
            + "[webhooks.new]\nurl = \"http://127.0.0.1:1\"\n[log]\nfilter = \"debug\"\n[store]\ncommit_window_max = \"1ms\"\n"),
    );
    expect![[r"
        exit 1
        --- stdout
        --- stderr
        error: log.filter has changed, which needs a restart of waypost
        error: store.commit_window_max has changed, which needs a restart of waypost
        not reloaded: nothing has changed
    "]]
    .assert_eq(&told);
    assert_eq!(gateway.status()["sinks"].as_object().unwrap().len(), 1);
    let told = reload(&gateway, &config);
    assert_eq!(told, "exit 0\n--- stdout\nreloaded: nothing has changed\n--- stderr\n");
}

/// A gateway with 50 records for a service that fails, and one that works.
fn with_backlog(service: &Server, port: u16) -> (Waypost, String) {
    service.answer(|request| Reply::Status(if request.target == "/old" { 503 } else { 200 }));
    let stays = source(port) + &webhook("stays", &service.url(), "");
    let gateway = Waypost::start(&(stays.clone() + &webhook("old", &service.url(), "")));
    let device = Device::start(port, "d1", "t/1", 50, Duration::ZERO);
    eventually("acknowledged", || device.acknowledged().len(), |count| *count == 50);
    device.stop();
    let state = || gateway.status()["sinks"]["old"]["state"].clone();
    eventually("it fails", state, |state| state == "retrying");
    gateway.drained("stays");
    (gateway, stays)
}

#[test]
fn a_sink_with_a_backlog_is_not_removed_unless_its_records_may_go() {
    let service = Server::start();
    let port = free_port();
    let (gateway, stays) = with_backlog(&service, port);

    let told = reload(&gateway, &stays);
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: sink old is no longer in the config and has 50 records queued: keep the sink, without a rule, until they are delivered; or drop them, with `waypost queue drop old --older-than 0s --config CONFIG` before or with `waypost reload --drop-removed --config CONFIG`
        not reloaded: nothing has changed
    "#]]
    .assert_eq(&told);
    let queued = gateway.metrics().get("waypost_queue_records", "sink=\"old\"");
    assert_eq!(queued, Some(50.0), "it is still there");
    assert_eq!(gateway.metrics().get("waypost_config_last_reload_successful", ""), Some(0.0));

    let told = text(&gateway.run(&["reload", "--drop-removed"]));
    expect![[r"
        exit 0
        --- stdout
        reloaded
          removed  rule old
          removed  sink old (50 records dropped)
        --- stderr
    "]]
    .assert_eq(&told);
    let metrics = gateway.metrics();
    metrics.assert_conservation();
    assert_eq!(metrics.get("waypost_queue_records", "sink=\"old\""), None);
    let folder = gateway.data_dir().join("queues/old");
    let databases = std::fs::read_dir(&folder).unwrap().flatten();
    let databases = databases.filter(|entry| entry.path().join("db").exists()).count();
    assert_eq!(databases, 0, "its database is still there");
    assert!(gateway.status()["left_over"].as_object().unwrap().is_empty());
}

#[test]
fn sigterm_ends_it_within_a_second_also_in_the_middle_of_a_reload() {
    let service = Server::start();
    let port = free_port();
    let stays = source(port) + &webhook("stays", &service.url(), "");
    let mut gateway = Waypost::start(&(stays.clone() + &webhook("old", &service.url(), "")));
    service
        .answer(|request| if request.target == "/old" { Reply::Hang } else { Reply::Status(200) });
    let device = Device::start(port, "d1", "t/1", 20, Duration::ZERO);
    eventually("acknowledged", || device.acknowledged().len(), |count| *count == 20);
    device.stop();
    eventually("in flight", || service.requests().len(), |count| *count > 0);

    gateway.configure(&stays);
    hang_up(&gateway);
    // Ingest is held now, as long as the sink may deliver what it has.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        pause();
    }
    let (status, took) = gateway.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(1), "took {took:?}\n{}", gateway.log());
    assert!(!gateway.log().contains("not reloaded"), "it was over:\n{}", gateway.log());

    service.answer(|_| Reply::Status(200));
    gateway.launch();
    let left = || gateway.status()["left_over"]["old"].clone();
    eventually("records of a sink that is not in the config", left, |left| *left == 20);
    assert!(gateway.log().contains("records of a sink that is not in the config"));
}

#[test]
fn a_changed_sink_lets_what_is_in_flight_end_and_is_not_held_up_by_it() {
    let service = Server::start();
    let port = free_port();
    let config =
        |path: &str| source(port) + &webhook("cloud", &format!("{}/{path}", service.url()), "");
    let gateway = Waypost::start(&config("one"));
    service.answer(|request| match &*request.target {
        "/one/cloud" => Reply::Slow(Duration::from_secs(2)),
        _ => Reply::Status(200),
    });
    let device = Device::start(port, "d1", "t/1", 40, Duration::ZERO);
    eventually("acknowledged", || device.acknowledged().len(), |count| *count == 40);
    eventually("in flight", || service.requests().len(), |count| *count > 0);
    let told = reload(&gateway, &config("two"));
    assert_eq!(told, "exit 0\n--- stdout\nreloaded\n  changed  sink cloud\n--- stderr\n");
    gateway.drained("cloud");
    device.stop();
    let numbers = service.sequence("d1");
    assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "lost, repeated or out of order");
    let first = service.requests().iter().filter(|one| one.target == "/one/cloud").count();
    assert_eq!(first, 1, "requests by the old settings");
}

#[test]
fn sinks_of_one_connector_share_its_connections_after_each_of_them_has_changed() {
    let service = Server::start();
    let port = free_port();
    let config = |a: &str, b: &str| {
        let sink = |name: &str, path: &str| {
            format!(
                "[webhooks.{name}]\nconnector = \"api\"\ntopics = [\"{name}/#\"]\npath = \"/{path}\"\n\n"
            )
        };
        let connector = format!("[connectors.api]\nurl = \"{}\"\n\n", service.url());
        source(port) + &connector + &sink("a", a) + &sink("b", b)
    };
    let gateway = Waypost::start(&config("a", "b"));
    for (a, b) in [("a2", "b"), ("a2", "b2")] {
        let told = reload(&gateway, &config(a, b));
        assert!(told.contains("changed  sink"), "{told}");
    }
    for name in ["a", "b"] {
        assert!(mosquitto_pub(port, &["-q", "1", "-t", &format!("{name}/1"), "-m", "x"]));
        gateway.drained(name);
    }
    let targets: Vec<_> = service.requests().iter().map(|one| one.target.clone()).collect();
    assert_eq!(targets, ["/a2", "/b2"]);
    assert_eq!(service.connections(), 1);
}
