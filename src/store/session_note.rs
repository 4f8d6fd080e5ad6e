//! What a source knows of its session at an MQTT broker beyond the end of the process.
//!
//! One small JSON file per source, `sessions/<source>`. It is written before a filter is subscribed, so it names
//! every filter that the session may hold. A note that is missing or damaged costs what it is good for and nothing
//! else: filters that the config no longer names stay subscribed, and a session that was lost meanwhile is not told.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sync;
use crate::name::SourceName;

/// A session that a broker has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSession {
    /// Where the broker is.
    pub broker: String,
    /// Whose session it is.
    pub client_id: String,
    /// Every filter that it may hold.
    pub filters: BTreeSet<String>,
}

/// The note of one source.
#[derive(Debug, Clone)]
pub struct SessionNote {
    path: PathBuf,
}

impl SessionNote {
    /// The note of `source` in a data directory, written or not.
    #[must_use]
    pub fn of(data_dir: &Path, source: &SourceName) -> Self {
        Self { path: data_dir.join("sessions").join(source.as_str()) }
    }

    /// What it says; `None` without an intact one.
    pub async fn read(&self) -> Option<KnownSession> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || fs::read(path)).await.ok()?.ok()?;
        serde_json::from_slice(&read).ok()
    }

    /// Writes it, durably. Not cancel safe only in that the write goes on.
    pub async fn write(&self, session: &KnownSession) -> io::Result<()> {
        let path = self.path.clone();
        let text = serde_json::to_vec_pretty(session).map_err(io::Error::other)?;
        tokio::task::spawn_blocking(move || replace(&path, &text))
            .await
            .map_err(io::Error::other)?
    }
}

/// Writes a small file anew, durably: it has the old text or the new one whatever happens.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    // Names of sources and sinks have no dot.
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync::sync_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_note_says_what_was_written_last_and_a_damaged_one_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let note = SessionNote::of(dir.path(), &SourceName::new("local").unwrap());
        assert_eq!(note.read().await, None);
        for filters in [&["t/#", "u/+"][..], &["t/#"]] {
            let session = KnownSession {
                broker: "mqtt.example:1883".to_owned(),
                client_id: "waypost-abc-local".to_owned(),
                filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            };
            note.write(&session).await.unwrap();
            assert_eq!(note.read().await, Some(session));
        }
        fs::write(&note.path, "half").unwrap();
        assert_eq!(note.read().await, None);
    }
}
