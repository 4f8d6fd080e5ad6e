//! A real Mosquitto on a port of its own.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, free_port};

#[derive(Debug)]
pub struct Mosquitto {
    directory: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Listens on loopback, lets everybody in, keeps sessions on disk, and has `more` lines of config.
    pub fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nautosave_interval 1\nmax_inflight_messages 1000\nmax_queued_messages 0\n{more}\n",
            directory.path().display()
        );
        fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { directory, port, child: None };
        broker.launch();
        broker
    }

    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "already running");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = Command::new("/usr/sbin/mosquitto")
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed (tests/run installs it)");
        self.child = Some(child);
        let connect = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        eventually("mosquitto listens", connect, |listens| *listens);
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("mosquitto.log")
    }

    /// SIGTERM: saves its sessions and ends.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// What it knew of its clients is gone; while it is stopped.
    pub fn forget_sessions(&self) {
        fs::remove_file(self.directory.path().join("mosquitto.db")).unwrap();
    }

    /// The URL of a source.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `mosquitto_pub` with these arguments; returns whether it succeeded.
    pub fn publish(&self, arguments: &[&str]) -> bool {
        mosquitto_pub(self.port, arguments)
    }
}

/// `mosquitto_pub` to a port on loopback; returns whether it succeeded.
pub fn mosquitto_pub(port: u16, arguments: &[&str]) -> bool {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    command.status().expect("mosquitto-clients is installed (tests/run installs it)").success()
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
