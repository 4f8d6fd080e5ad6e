//! One process per data directory.
//!
//! The lock is an advisory lock (`flock`) on the file `lock`, so it ends with the process however that ends. The
//! file says who holds it, for people.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

const FILE: &str = "lock";

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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Who it is helps people; that somebody has it is certain without.
                drop(file.read_to_string(&mut holder));
                let holder = match holder.trim() {
                    "" => "unknown".to_owned(),
                    holder => holder.to_owned(),
                };
                return Err(StoreError::InUse { path: data_dir.to_owned(), holder });
            }
            Err(error) => return Err(failed("lock")(error.into())),
        }
        // A full disk must not stop the start: the lock holds without the text.
        drop(write_holder(&mut file));
        Ok(Self { _file: file })
    }
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
