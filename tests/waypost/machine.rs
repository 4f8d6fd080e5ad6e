//! Machines in trouble: no network, a clock at 1970, a disk that fills up, a copied data directory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

fn config(port: u16, service: &Server) -> String {
    format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"50ms\", max = \"200ms\" }}\n\
         batch = {{ max_records = 50 }}\n",
        service.url()
    )
}

/// The binary under test behind `wrapper`, such as `faketime -f ...`.
fn wrapped(wrapper: &str, arguments: &[&str]) -> Command {
    let mut behind = Command::new(wrapper);
    behind.args(arguments).arg(command().get_program());
    behind
}

#[test]
fn it_starts_and_stops_without_any_network() {
    let mut gateway = Waypost::prepare(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://broker.example\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"https://service.example/hook\"\n",
    );
    gateway.launch_with(wrapped("unshare", &["--net"]));
    let source = || gateway.status()["sources"]["local"].clone();
    eventually("told", source, |source| source["state"] == "disconnected");
    let (status, took) = gateway.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(1), "took {took:?}");
}

#[test]
fn it_delivers_with_a_clock_at_1970_and_keeps_its_records_when_the_clock_is_set() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service));
    gateway
        .launch_with(wrapped("faketime", &["--exclude-monotonic", "-f", "@1970-01-01 00:00:10"]));
    let device = Device::start(port, "d1", "t/1", 50, Duration::ZERO);
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 50);
    device.stop();
    gateway.kill();

    gateway.launch();
    let age =
        gateway.metrics().get("waypost_queue_oldest_record_age_seconds", "sink=\"cloud\"").unwrap();
    assert!(age < 3600.0, "records written in 1970 are {age} s old");
    service.answer(|_| Reply::Status(200));
    gateway.drained("cloud");
    assert_eq!(service.sequence("d1"), (0..50).collect::<Vec<_>>());
}

/// A small file system of its own, gone with the value. `None` where mounting is not allowed.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_disk_that_fills_up_and_gets_space_again_loses_nothing_acknowledged() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service));
    let Some(_disk) = SmallDisk::mount(&gateway.data_dir(), "96m") else {
        eprintln!("skipped: mounting a file system needs root");
        return;
    };
    gateway.configure(
        &(config(port, &service) + "queue = { max_bytes = \"1GiB\", when_full = \"block\" }\n"),
    );
    gateway.launch();
    let device = Device::start_with(port, "d1", "t/1", 4000, Duration::ZERO, |_| {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(4096).collect();
        format!(",\"noise\":\"{noise}\"")
    });
    eventually("some acknowledged", || device.acknowledged().len(), |count| *count > 100);
    // Somebody else's data takes what is left.
    let hog = gateway.data_dir().join("somebody-else");
    drop(Command::new("fallocate").args(["-l", "64m"]).arg(&hog).status());
    fill(&hog);
    let stalled = || {
        let before = device.acknowledged().len();
        #[expect(clippy::disallowed_methods, reason = "that nothing happens takes time to see")]
        std::thread::sleep(Duration::from_millis(700));
        (before, device.acknowledged().len())
    };
    let stalled = eventually("a full disk", stalled, |(before, after)| before == after);
    assert!(stalled.1 < 4000, "the disk was never full");
    assert_eq!(gateway.get("/livez").unwrap().0, 200);

    std::fs::remove_file(&hog).unwrap();
    service.answer(|_| Reply::Status(200));
    eventually("all acknowledged", || device.acknowledged().len(), |count| *count == 4000);
    let acknowledged = device.stop();
    eventually(
        "every acknowledged message delivered",
        || acknowledged.difference(&service.numbers("d1")).count(),
        |missing| *missing == 0,
    );
    gateway.drained("cloud");
}

/// Takes the last free bytes of the file system that `path` is on.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    let block = vec![7; 64 << 10];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_copied_data_directory_on_another_machine_gets_ids_of_its_own() {
    let service = Server::start();
    let mut gateway = Waypost::start(&config(free_port(), &service));
    let id = gateway.status()["store_id"].as_str().unwrap().to_owned();
    gateway.terminate();
    gateway.launch();
    assert_eq!(gateway.status()["store_id"], id.as_str(), "the id changed on the same machine");
    gateway.terminate();

    let machine_id = gateway.directory().join("machine-id");
    std::fs::write(&machine_id, "0123456789abcdef0123456789abcdef\n").unwrap();
    let machine_id = machine_id.display().to_string();
    let script = format!("mount --bind {machine_id} /etc/machine-id && exec \"$0\" \"$@\"");
    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !Path::new("/etc/machine-id").exists() || !allowed.unwrap().success() {
        eprintln!("skipped: needs root and /etc/machine-id");
        return;
    }
    gateway.launch_with(wrapped("unshare", &["--mount", "sh", "-c", &script]));
    assert_ne!(gateway.status()["store_id"], id.as_str(), "two gateways share an id");
    assert!(gateway.log().contains("another machine"), "{}", gateway.log());
}
