//! Makes sled's flush durable.
//!
//! sled 0.34 on Linux ends a flush with `sync_file_range`, which neither commits the file's size and extents nor
//! empties the device's cache: of 240 simulated power cuts 239 lost acknowledged records. This module defines
//! the symbol `sync_file_range` itself, as `fdatasync`, and the linker takes ours before the C library's. It costs no
//! extra sync, and unlike a sync of our own after the flush it also covers the writes that sled makes between two
//! flushes. A counter shows whether it is in force; where it is not, we sync once more ourselves and say so.
//!
//! Files under `durability = "process"` are exempt: sled's flush hands their bytes to the kernel, and the committer
//! syncs them on a period.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::fs::fstat;
use tracing::warn;

static CALLS: AtomicU64 = AtomicU64::new(0);
/// Device and inode of the files that are synced on a period.
static PERIODIC: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());
/// How many there are: mostly none, and then no sync looks at the set.
static PERIODIC_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether sled has flushed without going through the override. Ask after a flush that wrote.
pub(super) fn is_override_missing() -> bool {
    static SAID: Once = Once::new();
    let missing = CALLS.load(Ordering::Relaxed) == 0;
    if missing {
        SAID.call_once(|| warn!("sled's syncs do not go through the override: syncing separately"));
    }
    missing
}

/// Takes the place of the C library's function of this name for the whole program.
///
/// # Safety
/// `fd` must be open during the call, as sled's is.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "overrides a C symbol: the one way to make sled's flush durable")]
unsafe extern "C" fn sync_file_range(
    fd: RawFd,
    _offset: libc::off64_t,
    _bytes: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller keeps the descriptor open during the call.
    let file = unsafe { BorrowedFd::borrow_raw(fd) };
    if is_switched_off() || is_periodic(file) {
        return 0;
    }
    // SAFETY: no memory is involved. The C function sets `errno`, which sled reads.
    unsafe { libc::fdatasync(fd) }
}

#[cfg(not(test))]
const fn is_switched_off() -> bool {
    false
}

/// The power-cut test must fail without the sync; it says so through the environment of its child process.
#[cfg(test)]
fn is_switched_off() -> bool {
    use std::sync::OnceLock;
    static OFF: OnceLock<bool> = OnceLock::new();
    *OFF.get_or_init(|| std::env::var_os("WAYPOST_TEST_WITHOUT_SYNC").is_some())
}

fn is_periodic(file: BorrowedFd<'_>) -> bool {
    PERIODIC_COUNT.load(Ordering::Acquire) > 0
        && fstat(file).is_ok_and(|stat| periodic().contains(&(stat.st_dev, stat.st_ino)))
}

fn periodic() -> MutexGuard<'static, BTreeSet<(u64, u64)>> {
    PERIODIC.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that sled's flush does not sync, as long as this lives.
#[derive(Debug)]
pub(super) struct SyncedOnPeriod {
    file: File,
    key: (u64, u64),
}

impl SyncedOnPeriod {
    pub(super) fn exempt(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let stat = fstat(&file)?;
        let key = (stat.st_dev, stat.st_ino);
        if periodic().insert(key) {
            PERIODIC_COUNT.fetch_add(1, Ordering::Release);
        }
        Ok(Self { file, key })
    }

    /// Makes everything flushed before durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for SyncedOnPeriod {
    fn drop(&mut self) {
        if periodic().remove(&self.key) {
            PERIODIC_COUNT.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Makes a directory's entries durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a file's content and size durable.
pub(super) fn sync_file(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_data()
}
