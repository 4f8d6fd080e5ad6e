//! What a source knows of a broker's clients beyond the end of the process: bytes that are the source's own business.
//!
//! One small file per source, `presence/<source>`. One that is missing costs that clients who were connected are not
//! reported as lost.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::session_note::replace;
use crate::clock::UnixMillis;
use crate::name::SourceName;

/// The note of one source.
#[derive(Debug, Clone)]
pub struct PresenceNote {
    path: PathBuf,
}

impl PresenceNote {
    /// The note of `source` in a data directory, written or not.
    #[must_use]
    pub fn of(data_dir: &Path, source: &SourceName) -> Self {
        Self { path: data_dir.join("presence").join(source.as_str()) }
    }

    /// What it says, and when it was written or touched last; `None` without one.
    pub async fn read(&self) -> Option<(Vec<u8>, UnixMillis)> {
        let path = self.path.clone();
        let read = move || {
            let touched = fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH);
            let touched = touched.unwrap_or_default().as_millis();
            let touched = UnixMillis(u64::try_from(touched).unwrap_or_default());
            Ok::<_, io::Error>((fs::read(&path)?, touched))
        };
        tokio::task::spawn_blocking(read).await.ok()?.ok()
    }

    /// Writes it, durably. Not cancel safe only in that the write goes on.
    pub async fn write(&self, text: Vec<u8>) -> io::Result<()> {
        let path = self.path.clone();
        let write = move || replace(&path, &text);
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Says that it still holds, for a few bytes of the file system's own.
    pub async fn touch(&self) -> io::Result<()> {
        let path = self.path.clone();
        let now = UNIX_EPOCH + Duration::from_millis(UnixMillis::now().0);
        let touch = move || File::options().write(true).open(path)?.set_modified(now);
        tokio::task::spawn_blocking(touch).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_note_says_what_was_written_last_and_when_it_was_touched() {
        let dir = tempfile::tempdir().unwrap();
        let note = PresenceNote::of(dir.path(), &SourceName::new("local").unwrap());
        assert_eq!(note.read().await, None);
        assert!(note.touch().await.is_err(), "there is nothing to touch");
        for text in ["one", "two"] {
            note.write(text.into()).await.unwrap();
            assert_eq!(note.read().await.unwrap().0, text.as_bytes());
        }
        let long_ago = UNIX_EPOCH + Duration::from_secs(1000);
        File::options().write(true).open(&note.path).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(note.read().await, Some((b"two".to_vec(), UnixMillis(1_000_000))));
        note.touch().await.unwrap();
        assert!(note.read().await.unwrap().1 > UnixMillis(1_000_000));
    }
}
