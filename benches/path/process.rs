//! What a process has used, read from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Ticks a second of the times in `/proc/PID/stat`: part of Linux's interface, the same on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading; differences between two are what a job has cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Bytes handed to the block layer.
    pub written_bytes: u64,
    /// Resident now.
    pub rss_bytes: u64,
    /// Most that was resident since the start or the last [`reset_peak`].
    pub rss_peak_bytes: u64,
    /// Threads now.
    pub threads: u64,
}

/// Reads the usage of a running process.
pub fn usage(pid: u32) -> Usage {
    let stat = read(pid, "stat");
    // The second field is the command in parentheses and may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    let status = read(pid, "status");
    Usage {
        cpu: Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_SECOND),
        written_bytes: value(&read(pid, "io"), "write_bytes:"),
        rss_bytes: value(&status, "VmRSS:") * 1024,
        rss_peak_bytes: value(&status, "VmHWM:") * 1024,
        threads: value(&status, "Threads:"),
    }
}

/// Starts a new peak of resident memory.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Bytes on disk of everything under `folder`; files that vanish meanwhile count nothing.
pub fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// Load of the last minute: whether the machine was quiet.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn read(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

fn value(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Mebibytes, for people.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
