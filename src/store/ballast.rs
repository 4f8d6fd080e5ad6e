//! Space kept back for the day the disk is full.
//!
//! sled cannot open a database on a full file system, not even to read it. So a file of some MiB is kept that holds
//! nothing; it is given up when a write fails for want of space, which makes room to open again, and nothing new is
//! accepted until there is room to make it anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

const FILE: &str = "ballast";
/// Opening a generation takes a segment and a snapshot; a few queues may have to at once.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// On a small partition no more than this share.
const PARTITION_SHARE: u64 = 8;

/// The file, made or not.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    is_held: Mutex<bool>,
}

impl Ballast {
    /// Makes the ballast of a data directory if there is room for it.
    pub(super) fn open(data_dir: &Path) -> Self {
        let partition = statvfs(data_dir)
            .map_or(u64::MAX, |volume| volume.f_frsize.saturating_mul(volume.f_blocks));
        let bytes = BYTES_MAX.min(partition / PARTITION_SHARE);
        let path = data_dir.join(FILE);
        let is_held = fs::metadata(&path).is_ok_and(|file| file.len() >= bytes);
        let ballast = Self { path, bytes, is_held: Mutex::new(is_held) };
        ballast.restore_if_room();
        ballast
    }

    fn held(&self) -> MutexGuard<'_, bool> {
        self.is_held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is there.
    pub(super) fn is_held(&self) -> bool {
        *self.held()
    }

    /// Gives the space back to the file system.
    pub(super) fn give_up(&self) {
        let mut held = self.held();
        // What was not there cannot be given up.
        drop(fs::remove_file(&self.path));
        *held = false;
    }

    /// Whether it is there, made now if there is room for it and as much again.
    pub(super) fn restore_if_room(&self) -> bool {
        let mut held = self.held();
        if !*held && self.free_bytes() >= 2 * self.bytes {
            let allocated = self.allocate();
            // A file system that cannot reserve space has to do without.
            *held = !allocated.is_err_and(|error| super::is_no_room(&error));
            if !*held {
                drop(fs::remove_file(&self.path));
            }
        }
        *held
    }

    fn free_bytes(&self) -> u64 {
        let dir = self.path.parent().unwrap_or(&self.path);
        statvfs(dir).map_or(0, |volume| volume.f_frsize.saturating_mul(volume.f_bavail))
    }

    fn allocate(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        Ok(())
    }
}
