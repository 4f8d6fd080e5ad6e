//! One process per data directory.
//!
//! The lock is an advisory lock (`flock`) on the file `lock`, so it ends with the process however that ends. The
//! file says who holds it, for people.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StoreError;

const FILE: &str = "lock";
/// A look at the lock holds it for a moment, and must not keep a gateway from starting.
const ATTEMPTS_MAX: u32 = 5;
const ATTEMPT_PERIOD: Duration = Duration::from_millis(20);

/// The lock; held until it is dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of a data directory, or says who has it.
    pub(super) fn take(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let failed = |operation| {
            let path = path.clone();
            move |source| StoreError::Io { operation, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        let mut attempts = 1;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                    thread::park_timeout(ATTEMPT_PERIOD);
                }
                Err(Errno::WOULDBLOCK) => return Err(in_use(data_dir, file)),
                Err(error) => return Err(failed("lock")(error.into())),
            }
        }
        // A full disk must not stop the start: the lock holds without the text.
        drop(write_holder(&mut file));
        Ok(Self { _file: file })
    }
}

/// Whether nobody has the lock, for somebody who only looks and does not take it.
pub(super) fn check_unused(data_dir: &Path) -> Result<(), StoreError> {
    let path = data_dir.join(FILE);
    let file = match File::open(&path) {
        // There was never a process here, or its disk was full.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::Io { operation: "open", path, source }),
        Ok(file) => file,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        // Given back at once, with the file.
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(in_use(data_dir, file)),
        Err(error) => {
            Err(StoreError::Io { operation: "look at the lock", path, source: error.into() })
        }
    }
}

fn in_use(data_dir: &Path, mut lock: File) -> StoreError {
    let mut holder = String::new();
    // Who it is helps people; that somebody has it is certain without.
    drop(lock.read_to_string(&mut holder));
    let holder = match holder.trim() {
        "" => "unknown".to_owned(),
        holder => holder.to_owned(),
    };
    StoreError::InUse { path: data_dir.to_owned(), holder }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{} ({})", std::process::id(), command())
}

/// The command line of this process, as `ps` shows it.
fn command() -> String {
    let bytes = fs::read("/proc/self/cmdline").unwrap_or_default();
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().chars().take(200).collect()
}
