//! Dead letters of a data directory that no process has open, to look at: nothing is written there.
//!
//! sled writes when it opens a database, and a letter that was removed is still in its raw file. So the letters are
//! copied to the folder for temporary files, and opened and, where it must be, mended in the copy.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::database::Purpose;
use super::{DeadLetters, FOLDER};
use crate::metrics::Metrics;
use crate::store::StoreError;
use crate::store::lock::{self, DirLock};
use crate::store::repair::SET_ASIDE;

/// Room that the copy may need beyond what is copied: opening and mending writes.
const SLACK_BYTES: u64 = 8 * 1024 * 1024;

/// A copy of the dead letters. It goes when this is dropped.
#[derive(Debug)]
pub struct DeadLettersCopy {
    letters: DeadLetters,
    /// Removed after the letters have been closed.
    _dir: TempDir,
}

impl DeadLettersCopy {
    /// Copies the letters of a data directory.
    ///
    /// `Err` also when a process has the data directory open, or has opened it meanwhile: what was copied may be torn.
    pub fn of(data_dir: &Path) -> Result<Self, StoreError> {
        fs::metadata(data_dir).map_err(failed("read", data_dir))?;
        lock::check_unused(data_dir)?;
        let dir = tempfile::Builder::new().prefix("waypost-look-").tempdir();
        let dir = dir.map_err(failed("make a folder in", &std::env::temp_dir()))?;
        copy(&data_dir.join(FOLDER), &dir.path().join(FOLDER))?;
        lock::check_unused(data_dir)?;
        let lock = Arc::new(DirLock::take(dir.path())?);
        let letters = DeadLetters::open_for(
            Purpose::Look,
            dir.path(),
            NonZeroU64::MAX,
            Metrics::new().store,
            lock,
        )?;
        Ok(Self { letters, _dir: dir })
    }

    /// The letters of the copy.
    #[must_use]
    pub const fn letters(&self) -> &DeadLetters {
        &self.letters
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { operation, path: path.clone(), source }
}

/// Copies the databases of the letters, without what was set aside. Where there are none there is nothing to copy.
fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    for database in entries(from)? {
        let name = database.file_name().unwrap_or_default().to_owned();
        if name.to_string_lossy().starts_with(SET_ASIDE) {
            continue;
        }
        // sled's `blobs` has no file: no value is large enough for one.
        for file in entries(&database)?.into_iter().filter(|file| file.is_file()) {
            let copy = to.join(&name).join(file.file_name().unwrap_or_default());
            files.push((file, copy));
        }
    }
    let sizes = files.iter().filter_map(|(file, _)| fs::metadata(file).ok());
    let bytes: u64 = sizes.map(|data| data.len()).sum::<u64>() + SLACK_BYTES;
    let room = rustix::fs::statvfs(std::env::temp_dir());
    if let Ok(room) = room.map(|room| room.f_bavail * room.f_frsize)
        && room < bytes
    {
        let why =
            format!("it has {room} bytes free, {bytes} are needed; TMPDIR names another folder");
        let no_room = io::Error::new(io::ErrorKind::StorageFull, why);
        return Err(failed("copy the dead letters to", &std::env::temp_dir())(no_room));
    }
    for (file, copy) in files {
        let parent = copy.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
        fs::copy(&file, &copy).map_err(failed("copy", &file))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(failed("read", dir)),
        // A plain file has nothing in it, either.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(failed("read", dir)(error)),
    }
}
