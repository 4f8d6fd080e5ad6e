//! That an operator has paused a sink, beyond the end of the process.
//!
//! One small file per paused sink, `paused/<sink>`. That it is there is what counts; a damaged one pauses all the same:
//! nothing is lost by waiting, and `status` says why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::session_note::replace;
use super::sync;
use crate::clock::UnixMillis;
use crate::name::SinkName;

#[derive(Debug, Serialize, Deserialize)]
struct Paused {
    since: UnixMillis,
}

/// The note of one sink. Blocks: call it where that is allowed.
#[derive(Debug, Clone)]
pub struct PauseNote {
    path: PathBuf,
}

impl PauseNote {
    pub(super) fn of(data_dir: &Path, sink: &SinkName) -> Self {
        Self { path: data_dir.join("paused").join(sink.as_str()) }
    }

    /// Since when the sink is paused; `None` when it is not.
    #[must_use]
    pub fn since(&self) -> Option<UnixMillis> {
        match fs::read(&self.path) {
            Ok(text) => {
                let paused = serde_json::from_slice::<Paused>(&text);
                Some(paused.map_or_else(|_| UnixMillis::now(), |paused| paused.since))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(UnixMillis::now()),
        }
    }

    /// Writes it, durably.
    pub fn set(&self, since: UnixMillis) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec(&Paused { since }).map_err(io::Error::other)?)
    }

    /// Removes it, durably.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync::sync_dir(self.path.parent().unwrap_or(&self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_holds_until_it_is_cleared_and_a_damaged_one_pauses_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let note = PauseNote::of(dir.path(), &SinkName::new("cloud").unwrap());
        assert_eq!(note.since(), None);
        note.clear().unwrap();
        note.set(UnixMillis(42)).unwrap();
        assert_eq!(note.since(), Some(UnixMillis(42)));
        fs::write(&note.path, "half").unwrap();
        assert!(note.since().is_some());
        note.clear().unwrap();
        assert_eq!(note.since(), None);
    }
}
