//! Kills and full quotas: nothing is lost, and nothing is a letter twice.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::plant::{Plant, refuse_some, said, text};
use crate::support::device::Device;
use crate::support::eventually;
use crate::support::http::{Reply, Server};
use crate::support::waypost::{Waypost, command};

/// SIGKILLs in the middle of replays; `WAYPOST_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("WAYPOST_KILLS").map_or(12, |count| count.parse().unwrap())
}

/// The ids of all letters, of a gateway that runs or not. Each is there once.
#[track_caller]
fn letter_ids(plant: &Plant) -> BTreeSet<String> {
    let listed = plant.run(&["list", "--json", "--limit", "100000"]);
    assert!(listed.status.success(), "{}", said(&listed));
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let ids: Vec<_> = listed.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    let once: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(once.len(), ids.len(), "a letter is there twice");
    once
}

/// The gateway on a disk whose every sync takes so long that a kill comes in the middle of one.
fn on_a_slow_disk() -> Command {
    let mut slow = Command::new("strace");
    slow.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    slow.args(["-e", "inject=fdatasync:delay_enter=40000"]).arg(command().get_program());
    slow
}

#[test]
fn a_kill_in_the_middle_of_replays_loses_nothing_and_doubles_no_letter() {
    let mut plant = Plant::start();
    plant.publish("d1", 600);
    plant.until_letters(200);
    let all = letter_ids(&plant);
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    plant.gateway.terminate();
    plant.gateway.launch_with(on_a_slow_disk());
    for kill in 0..kills() {
        // Every other time they are refused again, and become the same letters.
        if kill % 2 == 0 {
            plant.service.answer(refuse_some);
        } else {
            plant.service.answer(|_| Reply::Status(503));
        }
        let mut replay = command()
            .args(["dead-letter", "replay", "--rate", "400", "--config"])
            .arg(plant.gateway.config_path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It begins: some letters have left, or are about to.
        let before = (plant.letters(), plant.replayed());
        eventually(
            "a replay under way, or over",
            || {
                replay.try_wait().unwrap().is_some()
                    || (plant.letters(), plant.replayed()) != before
            },
            |begun| *begun,
        );
        let moment = Duration::from_millis(random.u64(0..120));
        #[expect(clippy::disallowed_methods, reason = "a kill comes at a random moment")]
        std::thread::sleep(moment);
        plant.gateway.kill();
        // A process that is traced takes a moment to go.
        let socket = plant.gateway.data_dir().join("admin.sock");
        eventually("it has ended", || UnixStream::connect(&socket).is_err(), |ended| *ended);
        // It has lost its connection; what it says is of no interest.
        replay.wait().unwrap();
        let letters = letter_ids(&plant);
        assert!(letters.is_subset(&all), "kill {kill}: a letter that there was not");
        plant.gateway.launch_with(on_a_slow_disk());
        plant.gateway.metrics().assert_conservation();
    }
    plant.service.answer(refuse_some);
    plant.gateway.until("waypost_queue_records", "sink=\"cloud\"", |queued| queued == 0.0);
    assert_eq!(letter_ids(&plant), all, "every one is refused again, and a letter again");

    plant.service.answer(|_| Reply::Status(200));
    assert!(plant.run(&["replay"]).status.success());
    plant.until_letters(0);
    plant.gateway.drained("cloud");
    let mut message_of = BTreeMap::new();
    for request in plant.service.requests() {
        let message = request.records()[0]["id"].to_string();
        let id = request.headers["webhook-id"].clone();
        let earlier = message_of.entry(id.clone()).or_insert_with(|| message.clone());
        assert_eq!(*earlier, message, "record id {id} stands for two messages");
    }
    assert_eq!(message_of.len(), 600);
    let delivered = plant.ids_of(|request| request.accepted);
    assert!(all.is_subset(&delivered), "lost: {:?}", all.difference(&delivered));
    assert_eq!(plant.service.numbers("d1").len(), 600);
}

#[test]
fn full_dead_letters_and_full_queues_stop_neither_live_traffic_nor_lose_replays() {
    let service = Server::scripted(|request| {
        let text = String::from_utf8_lossy(&request.body);
        Reply::Status(if text.contains("noise") { 422 } else { 200 })
    });
    let port = crate::support::free_port();
    let gateway = Waypost::start(&format!(
        "[dead_letters]\nmax_bytes = \"64MiB\"\n\n\
         [sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nreject_storm = 100000\n\
         queue = {{ max_bytes = \"32MiB\", when_full = \"drop_oldest\" }}\n\
         retry = {{ initial = \"50ms\", max = \"200ms\" }}\n",
        service.url()
    ));
    let noise = |_: u64| {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(100_000).collect();
        format!(",\"noise\":\"{noise}\"")
    };
    let poison = Device::start_with(port, "bad", "t/bad", 320, Duration::ZERO, noise);
    let live = Device::start(port, "good", "t/good", 500, Duration::from_millis(2));
    eventually("all acknowledged", || poison.acknowledged().len(), |count| *count == 320);
    eventually("all acknowledged", || live.acknowledged().len(), |count| *count == 500);
    gateway.drained("cloud");
    assert_eq!(service.numbers("good").len(), 500, "live traffic went on");
    let metrics = gateway.metrics();
    let letters = metrics.sum("waypost_dead_letters", "sink=");
    let dropped = metrics.sum("waypost_dead_letters_dropped_total", "sink=");
    assert_eq!(letters + dropped, 320.0, "{letters} letters, {dropped} dropped");
    assert!(dropped > 50.0 && letters > 150.0, "{letters} letters, {dropped} dropped");
    let bytes = metrics.sum("waypost_dead_letter_bytes", "sink=");
    assert!(bytes <= 64.0 * 1024.0 * 1024.0 / 3.0, "{bytes}");

    // While the service is down its queue takes some of them, and stays usable.
    service.answer(|_| Reply::Status(503));
    let backlog = Device::start_with(port, "more", "t/more", 100, Duration::ZERO, noise);
    eventually("all acknowledged", || backlog.acknowledged().len(), |count| *count == 100);
    let replay = gateway.run(&["dead-letter", "replay"]);
    let error = text(&replay.stderr);
    assert!(!replay.status.success(), "all of them went in");
    assert!(error.contains("the queue of `cloud` is too full"), "{error}");
    let metrics = gateway.metrics();
    let replayed = metrics.sum("waypost_records_replayed_total", "sink=");
    assert!(replayed > 50.0, "{replayed} replayed");
    assert_eq!(metrics.sum("waypost_dead_letters", "sink="), letters - replayed);
    let live = Device::start(port, "later", "t/later", 20, Duration::ZERO);
    eventually("all acknowledged", || live.acknowledged().len(), |count| *count == 20);
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("waypost_records_dropped_total", "sink="), 0.0, "pushed out");
    metrics.assert_conservation();

    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert!(gateway.run(&["dead-letter", "replay"]).status.success());
    gateway.drained("cloud");
    assert_eq!(service.numbers("bad").len() as f64, letters);
}
