//! What systemd is told: ready, reloading, stopping, and signs of life that stop when a thread hangs, and only then.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::small_disk::{Kind, SmallDisk};
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    /// With an abstract address, as containers have it, or a path.
    fn start(directory: &std::path::Path, is_abstract: bool) -> Self {
        let path = directory.join("notify.sock").display().to_string();
        let socket = if is_abstract {
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&path).unwrap()).unwrap()
        } else {
            UnixDatagram::bind(&path).unwrap()
        };
        let name = if is_abstract { format!("@{path}") } else { path };
        Self { socket, name }
    }

    /// The next message, unless none comes for so long.
    fn next(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Reads on until a message holds.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let Some(message) = self.next(Duration::from_secs(30)) else {
                panic!("no {what} after {seen:?}");
            };
            seen.push(message);
            if holds(seen.last().unwrap()) {
                return seen;
            }
        }
    }

    /// Reads what has come so far.
    fn forget(&self) {
        while self.next(Duration::from_millis(1)).is_some() {}
    }

    fn command(&self, watchdog: Option<Duration>) -> Command {
        let mut command = command();
        command.env("NOTIFY_SOCKET", &self.name);
        if let Some(period) = watchdog {
            command.env("WATCHDOG_USEC", period.as_micros().to_string());
        }
        command
    }
}

fn config(port: u16, service: &Server) -> String {
    format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"50ms\", max = \"200ms\" }}\n",
        service.url()
    )
}

#[test]
fn the_service_manager_is_told_of_the_start_a_reload_and_the_end() {
    for is_abstract in [true, false] {
        let service = Server::start();
        let mut gateway = Waypost::prepare(&config(free_port(), &service));
        let manager = Manager::start(gateway.directory(), is_abstract);
        gateway.launch_with(manager.command(None));
        manager.until("READY", |message| message == "READY=1");
        let told = manager.until("STATUS", |message| message.starts_with("STATUS="));
        assert_eq!(
            told.last().unwrap(),
            "STATUS=1 of 1 sources connected, 1 of 1 sinks ok, 0 records queued"
        );

        gateway.run(&["reload"]);
        let told = manager.until("RELOADING", |message| message.starts_with("RELOADING=1"));
        let micros = told.last().unwrap().strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ago = uptime - micros.parse::<f64>().unwrap() / 1e6;
        assert!((-1.0..60.0).contains(&ago), "the reload began {ago} s ago");
        manager.until("READY", |message| message == "READY=1");

        gateway.terminate();
        let told = manager.until("STOPPING", |message| message == "STOPPING=1");
        let signs = told.iter().filter(|message| *message == "WATCHDOG=1").count();
        assert_eq!(signs, 0, "nobody asked for signs of life");
    }
}

/// Longest silence within a period of looking on.
#[track_caller]
fn longest_silence(manager: &Manager, looking: Duration) -> Duration {
    let started = Instant::now();
    let mut last = started;
    let mut longest = Duration::ZERO;
    while started.elapsed() < looking {
        let message = manager.next(looking);
        if message.is_none_or(|message| message == "WATCHDOG=1") {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    longest
}

const WATCHDOG: Duration = Duration::from_secs(4);

#[test]
fn a_service_that_hangs_or_is_gone_does_not_stop_the_signs_of_life() {
    for reply in ["hang", "gone"] {
        let service =
            Server::scripted(move |_| if reply == "hang" { Reply::Hang } else { Reply::Close });
        let port = free_port();
        let mut gateway = Waypost::prepare(&config(port, &service));
        let manager = Manager::start(gateway.directory(), true);
        gateway.launch_with(manager.command(Some(WATCHDOG)));
        let device = Device::start(port, "d1", "t/1", 200, Duration::ZERO);
        eventually("acknowledged", || device.acknowledged().len(), |count| *count == 200);
        eventually("attempted", || service.requests().len(), |count| *count > 0);
        device.stop();
        manager.forget();
        let silence = longest_silence(&manager, 2 * WATCHDOG);
        assert!(silence < WATCHDOG, "{reply}: silent for {silence:?}\n{}", gateway.log());
    }
}

#[test]
fn a_full_disk_does_not_stop_the_signs_of_life() {
    let service = Server::scripted(|_| Reply::Status(503));
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service));
    let Some(disk) = SmallDisk::mount(&gateway.data_dir(), Kind::Tmpfs, 64) else { return };
    let manager = Manager::start(gateway.directory(), true);
    gateway.launch_with(manager.command(Some(WATCHDOG)));
    disk.fill();
    let device = Device::start(port, "d1", "t/1", u64::MAX, Duration::from_millis(1));
    let available = "waypost_queue_available";
    gateway.until(available, "sink=\"cloud\"", |available| available == 0.0);
    manager.forget();
    let silence = longest_silence(&manager, 2 * WATCHDOG);
    assert!(silence < WATCHDOG, "silent for {silence:?}\n{}", gateway.log());
    device.stop();
    gateway.terminate();
}

/// From now on every sync of a process hangs.
struct HangingDisk(Child);

impl HangingDisk {
    fn under(pid: u32) -> Self {
        let inject = "inject=fdatasync:delay_enter=600000000";
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=fdatasync", "-e", inject, "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed (tests/run installs it)");
        // Until every thread is traced.
        let traced = || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
            tasks.into_iter().all(|task| {
                let status =
                    std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            })
        };
        eventually("traced", traced, |traced| *traced);
        Self(strace)
    }
}

impl Drop for HangingDisk {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_queue_whose_thread_hangs_in_the_disk_gets_no_more_signs_of_life() {
    let service = Server::start();
    let port = free_port();
    let mut gateway = Waypost::prepare(&config(port, &service));
    let manager = Manager::start(gateway.directory(), true);
    gateway.launch_with(manager.command(Some(WATCHDOG)));
    manager.until("WATCHDOG", |message| message == "WATCHDOG=1");

    let disk = HangingDisk::under(gateway.pid());
    manager.forget();
    manager.until("WATCHDOG", |message| message == "WATCHDOG=1");
    let device = Device::start(port, "d1", "t/1", 1, Duration::ZERO);
    let log = || gateway.log();
    eventually("told", log, |log| log.contains("no sign of life for the watchdog"));
    manager.forget();
    let silence = longest_silence(&manager, 2 * WATCHDOG);
    assert!(silence >= WATCHDOG.mul_f64(1.8), "a sign of life after {silence:?}");
    assert!(gateway.log().contains("silent=[\"queue cloud\"]"), "{}", gateway.log());

    // What systemd does then. What is traced goes only when its tracer lets it.
    let pid = gateway.pid().to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    drop(disk);
    gateway.kill();
    assert!(device.acknowledged().is_empty(), "acknowledged without a sync");
    gateway.launch();
    eventually("delivered", || service.numbers("d1").len(), |count| *count == 1);
    device.stop();
}
