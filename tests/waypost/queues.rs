//! Looking at queues and dropping what is in them: of a gateway that runs, of one that is stopped, of a copy, of what is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

const RECORDS: u64 = 300;

/// A gateway with records that wait: some large, so that they fill several files.
fn with_backlog(service: &Server) -> (Waypost, u16) {
    let port = free_port();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"10m\", max = \"10m\" }}\n\
         queue = {{ max_bytes = \"64MiB\" }}\n",
        service.url()
    ));
    let more = |n: u64| {
        let mut random = fastrand::Rng::with_seed(n);
        let noise: String = (0..40_000).map(|_| random.alphanumeric()).collect();
        format!(",\"noise\":\"{noise}\"")
    };
    let device = Device::start_with(port, "d1", "t/1", RECORDS, Duration::ZERO, more);
    let count = usize::try_from(RECORDS).unwrap();
    eventually(
        "acknowledged",
        || device.acknowledged().len(),
        |acknowledged| *acknowledged == count,
    );
    device.stop();
    let state = || gateway.status()["sinks"]["cloud"]["state"].clone();
    eventually("it fails", state, |state| state == "retrying");
    (gateway, port)
}

fn failing() -> Server {
    Server::scripted(|_| Reply::Status(503))
}

/// Everything under a folder: when it was last written, and of files every byte.
fn files(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        }
        let bytes = if metadata.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        found.insert(entry.path(), (metadata.modified().unwrap(), bytes));
    }
    found
}

fn offline(dir: &Path, arguments: &[&str]) -> Output {
    command().args(arguments).arg("--data-dir").arg(dir).output().unwrap()
}

#[track_caller]
fn out(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The numbers of the messages and the record ids of an export.
#[track_caller]
fn exported(output: &Output) -> Vec<(u64, String)> {
    let record = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&record["sink"], &record["rule"]), (&"cloud".into(), &"cloud".into()));
        let payload = record["body"]["payload"].as_str().unwrap();
        let payload: Value = serde_json::from_str(payload).unwrap();
        (payload["n"].as_u64().unwrap(), record["record_id"].as_str().unwrap().to_owned())
    };
    out(output).lines().map(record).collect()
}

#[test]
fn queues_look_the_same_of_a_running_gateway_of_a_copy_and_when_it_is_stopped() {
    let service = failing();
    let (mut gateway, _) = with_backlog(&service);
    let store = gateway.status()["store_id"].as_str().unwrap().to_owned();
    let expected: Vec<(u64, String)> =
        (0..RECORDS).map(|n| (n, format!("{store}-cloud-{}", n + 1))).collect();

    let live = gateway.run(&["queue", "export", "cloud"]);
    assert!(exported(&live) == expected, "live: {} records", exported(&live).len());
    let list = out(&gateway.run(&["queue", "ls"]));
    let lines: Vec<Vec<&str>> =
        list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["QUEUE", "RECORDS", "OLDEST", "DISK"]);
    assert_eq!(lines[1][..2], ["cloud", "300"], "{list}");

    let copy = gateway.directory().join("copy");
    let copied = Command::new("cp").arg("-r").arg(gateway.data_dir()).arg(&copy).status();
    assert!(copied.unwrap().success());
    let before = files(&copy);
    let of_copy = offline(&copy, &["queue", "export", "cloud"]);
    assert!(exported(&of_copy) == expected, "copy: {} records", exported(&of_copy).len());
    let rows: Value =
        serde_json::from_str(&out(&offline(&copy, &["queue", "ls", "--json"]))).unwrap();
    assert_eq!((&rows[0]["sink"], &rows[0]["records"]), (&"cloud".into(), &RECORDS.into()));
    assert!(rows[0]["oldest_age_seconds"].as_f64().unwrap() > 0.0);
    assert!(files(&copy) == before, "the copy has changed");
    // Nothing of this concerns the one that runs.
    assert_eq!(gateway.status()["sinks"]["cloud"]["queued"], RECORDS);

    gateway.terminate();
    let before = files(&gateway.data_dir());
    let stopped = gateway.run(&["queue", "export", "cloud"]);
    assert!(exported(&stopped) == expected, "stopped: {} records", exported(&stopped).len());
    let peeked = out(&gateway.run(&["queue", "peek", "cloud", "--from", "7", "--limit", "2"]));
    let numbers: Vec<&str> = peeked.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(numbers, ["NUMBER", "7", "8"], "{peeked}");
    assert!(files(&gateway.data_dir()) == before, "the data directory has changed");
}

#[test]
fn queues_that_are_damaged_show_what_is_whole_and_are_left_as_they_are() {
    let service = failing();
    let (mut gateway, _) = with_backlog(&service);
    gateway.kill();
    let queue = gateway.data_dir().join("queues/cloud");
    let mut databases: Vec<PathBuf> =
        fs::read_dir(&queue).unwrap().map(|entry| entry.unwrap().path().join("db")).collect();
    databases.retain(|database| database.exists());
    databases.sort();
    assert!(databases.len() > 1, "{databases:?}");
    // Of the oldest the beginning, of the newest the end: sled opens neither.
    let mut bytes = fs::read(&databases[0]).unwrap();
    bytes[..100_000].fill(0xaa);
    fs::write(&databases[0], bytes).unwrap();
    let newest = databases.last().unwrap();
    let bytes = fs::read(newest).unwrap();
    fs::write(newest, &bytes[..bytes.len() - 1000]).unwrap();

    let before = files(&gateway.data_dir());
    let found = exported(&gateway.run(&["queue", "export", "cloud"]));
    let peeked: Value = serde_json::from_str(&out(
        &gateway.run(&["queue", "peek", "cloud", "--json", "--limit", "1000"])
    ))
    .unwrap();
    out(&gateway.run(&["queue", "ls"]));
    assert!(files(&gateway.data_dir()) == before, "the data directory has changed");
    let least = usize::try_from(RECORDS * 9 / 10).unwrap();
    assert!(found.len() > least, "only {} of {RECORDS}", found.len());
    assert!(found.is_sorted_by(|one, other| one.0 < other.0), "out of order");
    assert_eq!(peeked["records"].as_array().unwrap().len(), found.len());
    assert_eq!(gateway.run(&["queue", "export", "nothing"]).status.code(), Some(1));
}

#[test]
fn what_is_dropped_is_counted_and_old_enough_and_not_in_flight() {
    let service = failing();
    let (mut gateway, _) = with_backlog(&service);
    let refused = gateway.run(&["queue", "drop", "cloud", "--older-than", "0s"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(
        (refused.status.code(), said.trim()),
        (Some(2), "error: records that are dropped are lost: say that you want it with --yes")
    );

    let young = out(&gateway.run(&["queue", "drop", "cloud", "--older-than", "1h", "--yes"]));
    assert_eq!(young, "dropped 0 records of queue cloud\n");
    let told = out(&gateway.run(&["queue", "drop", "cloud", "--older-than", "0s", "--yes"]));
    let metrics = gateway.metrics();
    metrics.assert_conservation();
    let dropped =
        metrics.get("waypost_records_dropped_total", "reason=\"operator\",sink=\"cloud\"").unwrap();
    let queued = metrics.get("waypost_queue_records", "sink=\"cloud\"").unwrap();
    assert_eq!(dropped + queued, RECORDS as f64, "{told}");
    assert!(
        dropped > 0.0 && told.starts_with(&format!("dropped {dropped} records of queue cloud")),
        "{told}"
    );

    gateway.terminate();
    let told = out(&gateway.run(&["queue", "drop", "cloud", "--older-than", "0s", "--yes"]));
    assert_eq!(told, format!("dropped {queued} records of queue cloud\n"));
    service.answer(|_| Reply::Status(200));
    gateway.launch();
    assert_eq!(gateway.metrics().get("waypost_queue_recovered_total", "sink=\"cloud\""), Some(0.0));
}

#[test]
fn records_in_flight_are_never_dropped() {
    const BATCH: u64 = 5;
    // The service has got the request, and answers when it is let.
    let (arrived, let_go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let service = {
        let (arrived, let_go) = (Arc::clone(&arrived), Arc::clone(&let_go));
        Server::scripted(move |_| {
            arrived.store(true, Ordering::Relaxed);
            eventually("let go", || let_go.load(Ordering::Relaxed), |let_go| *let_go);
            Reply::Status(200)
        })
    };
    let port = free_port();
    let mut gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n\
         batch = {{ max_records = {BATCH}, linger = \"1m\" }}\norder = \"sink\"\n",
        service.url()
    ));
    let device = Device::start(port, "d1", "t/1", 20, Duration::ZERO);
    eventually("acknowledged", || device.acknowledged().len(), |count| *count == 20);
    device.stop();
    eventually("in flight", || arrived.load(Ordering::Relaxed), |arrived| *arrived);

    // What the service has not been sent goes back to the queue while the sink is paused.
    out(&gateway.run(&["sink", "pause", "cloud"]));
    let drop = || out(&gateway.run(&["queue", "drop", "cloud", "--older-than", "0s", "--yes"]));
    let stay = |told: &String| told.ends_with(" queue cloud; 5 are in flight and stay\n");
    eventually("only what is in flight is left", drop, stay);
    assert_eq!(gateway.status()["sinks"]["cloud"]["queued"], BATCH);
    out(&gateway.run(&["sink", "resume", "cloud"]));
    let_go.store(true, Ordering::Relaxed);
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..BATCH).collect::<Vec<_>>());
    let metrics = gateway.metrics();
    let delivered = metrics.get("waypost_records_delivered_total", "sink=\"cloud\"");
    assert_eq!(delivered, Some(BATCH as f64), "delivered, and not dropped, too");

    // Those that were dropped do not come back; those that were delivered a moment ago may.
    gateway.kill();
    gateway.launch();
    gateway.drained("cloud");
    assert_eq!(service.numbers("d1"), (0..BATCH).collect());
}

#[test]
fn records_of_a_sink_that_is_gone_are_told_and_can_be_seen_and_dropped() {
    let service = failing();
    let (mut gateway, port) = with_backlog(&service);
    gateway.terminate();
    gateway.configure(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.other]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    gateway.launch();
    let told = "records of a sink that is not in the config";
    eventually("told", || gateway.log(), |log| log.contains(told));
    eventually("shown", || gateway.status()["left_over"]["cloud"].clone(), |left| !left.is_null());
    assert_eq!(gateway.status()["left_over"]["cloud"], RECORDS);
    let note = "* queue cloud: 300 records and no such sink in the config";
    let status = out(&gateway.run(&["status"]));
    assert!(status.lines().any(|line| line == note), "{status}");

    let shown = exported(&gateway.run(&["queue", "export", "cloud"])).len();
    assert_eq!(Ok(shown), usize::try_from(RECORDS));
    let dropped = out(&gateway.run(&["queue", "drop", "cloud", "--older-than", "0s", "--yes"]));
    assert_eq!(dropped, "dropped 300 records of queue cloud\n");
    assert!(gateway.status()["left_over"].as_object().unwrap().is_empty());
    let list = out(&gateway.run(&["queue", "ls"]));
    assert!(!list.contains("cloud"), "{list}");
}
