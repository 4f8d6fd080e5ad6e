//! The binary under test, as an operator starts it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::metrics::Metrics;
use super::{PATIENCE, eventually, free_port, pause};

/// A gateway: a directory with its config and data, and the process while it runs.
#[derive(Debug)]
pub struct Waypost {
    directory: TempDir,
    metrics_port: u16,
    child: Option<Child>,
}

/// The binary that cargo built for these tests.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_waypost"))
}

/// What `waypost hash-password` prints for a password on its standard input.
pub fn hash_password(input: &str) -> String {
    let mut child = command()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Waypost {
    /// A gateway that is not running yet. `rest` is the config after `[gateway]` and `[metrics]`.
    pub fn prepare(rest: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let gateway = Self { directory, metrics_port: free_port(), child: None };
        gateway.configure(rest);
        gateway
    }

    /// A gateway that is running and ready.
    pub fn start(rest: &str) -> Self {
        let mut gateway = Self::prepare(rest);
        gateway.launch();
        gateway
    }

    /// Replaces the config; takes effect with the next launch.
    pub fn configure(&self, rest: &str) {
        let text = format!(
            "[gateway]\nname = \"plant-7\"\ndata_dir = \"{}\"\n\n[metrics]\nlisten = \"127.0.0.1:{}\"\n\n{rest}",
            self.data_dir().display(),
            self.metrics_port
        );
        fs::write(self.config_path(), text).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("waypost.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the process and waits until it can accept events.
    #[track_caller]
    pub fn launch(&mut self) {
        self.launch_with(command());
    }

    /// As [`Self::launch`], with a command that ends in the waypost binary (`faketime`, `strace`, ...).
    #[track_caller]
    pub fn launch_with(&mut self, command: Command) {
        self.launch_until(command, |status| status["ready"] == true);
    }

    /// Starts the process and waits until it answers, ready or not.
    #[track_caller]
    pub fn launch_unready(&mut self) {
        self.launch_until(command(), |_| true);
    }

    /// Starts the process and waits for nothing.
    pub fn launch_waiting(&mut self) {
        self.spawn(command());
    }

    #[track_caller]
    fn launch_until(&mut self, command: Command, is_wanted: impl Fn(&Value) -> bool) {
        self.spawn(command);
        let started = Instant::now();
        while !self.answer().is_some_and(|status| is_wanted(&status)) {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("waypost ended with {status} while starting:\n{}", self.log());
            }
            assert!(started.elapsed() < PATIENCE, "not ready within {PATIENCE:?}:\n{}", self.log());
            pause();
        }
    }

    fn spawn(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "already running");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = command
            .args(["run", "--config"])
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Of its own, so that what a wrapper starts is killed with it.
            .process_group(0)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Its status, asked over the admin socket: the network may be what is missing.
    fn answer(&self) -> Option<Value> {
        let socket = self.data_dir().join("admin.sock");
        // The file of an earlier process may still be there, but then nobody answers on it.
        let (_, body) = super::http::get_from_socket(&socket, "/v1/status")?;
        serde_json::from_str(&body).ok()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("waypost.log")
    }

    /// Everything it has logged, over all launches.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(&mut self) {
        kill_group(self.child.take().expect("it runs"));
    }

    /// SIGTERM; returns how it ended and how long that took.
    #[track_caller]
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        assert_sums(self.get("/metrics"));
        let mut child = self.child.take().expect("it runs");
        let asked = Instant::now();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status, asked.elapsed());
            }
            assert!(asked.elapsed() < PATIENCE, "still there after SIGTERM:\n{}", self.log());
            pause();
        }
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        eventually("waypost ends", || child.try_wait().unwrap(), Option::is_some).unwrap()
    }

    /// Runs another `waypost` command with this gateway's config.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command();
        command.args(arguments).arg("--config").arg(self.config_path());
        command.output().unwrap()
    }

    /// What `waypost status --json` prints.
    #[track_caller]
    pub fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "status failed: {error}\n{}", self.log());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What `/metrics` says.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let (status, text) = self.get("/metrics").unwrap_or_else(|| panic!("{}", self.log()));
        assert_eq!(status, 200);
        Metrics::parse(&text)
    }

    /// GET on the metrics port: status and body. `None` while nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        super::http::get(self.metrics_port, path)
    }

    /// Waits until `metric` of the series with `labels` satisfies `holds`.
    #[track_caller]
    pub fn until(&self, metric: &str, labels: &str, holds: impl Fn(f64) -> bool) -> f64 {
        let what = format!("{metric}{{{labels}}}");
        let value = eventually(
            &what,
            || self.metrics().get(metric, labels),
            |value| value.is_some_and(&holds),
        );
        value.unwrap()
    }

    /// Waits until the sink's queue is empty and checks the sums of every sink.
    #[track_caller]
    pub fn drained(&self, sink: &str) {
        self.until("waypost_queue_records", &format!("sink=\"{sink}\""), |queued| queued == 0.0);
        self.metrics().assert_conservation();
    }
}

/// Checks the sums of every sink in one scrape, where there was somebody to ask: they hold at any moment.
#[track_caller]
fn assert_sums(scraped: Option<(u16, String)>) {
    let Some((200, text)) = scraped else { return };
    let metrics = Metrics::parse(&text);
    if !metrics.series("waypost_queue_records").is_empty() {
        metrics.assert_conservation();
    }
}

/// SIGKILL to a process and to what it has started.
fn kill_group(mut child: Child) {
    let group = format!("-{}", child.id());
    // Nobody is left in it where the process has ended by itself.
    drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
    child.wait().unwrap();
}

impl Drop for Waypost {
    /// Every test that has a gateway running at its end ends with a look at its sums.
    fn drop(&mut self) {
        let running = self.child.take();
        let has_failed = std::thread::panicking();
        let scraped = running.as_ref().filter(|_| !has_failed).and_then(|_| self.get("/metrics"));
        running.into_iter().for_each(kill_group);
        if has_failed {
            eprintln!("--- log of waypost ---\n{}", self.log());
        }
        assert_sums(scraped);
    }
}
