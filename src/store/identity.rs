//! Who this store is.
//!
//! The id is minted once into the data directory and bound to the machine. On a cloned image or a restored copy, that
//! is where the machine has another id, a new one is minted, so that two gateways never share record ids or an MQTT
//! session. A missing machine id, as in containers, proves nothing. The file `identity` has two lines: the store id
//! and the machine id (empty when there was none).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use super::{RecordNumber, StoreError, sync};
use crate::name::{RecordId, SinkName};

const FILE: &str = "identity";
const ID_CHARS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 60 bits: among a million gateways two share an id with a chance of one in two million.
const ID_LEN: usize = 12;

/// The id of a record, the same on every attempt, after restarts and after a replay: `<store>-<sink>-<number>`.
#[must_use]
pub fn record_id(store_id: &str, sink: &SinkName, number: RecordNumber) -> RecordId {
    let id = format!("{store_id}-{sink}-{}", number.0);
    RecordId::new(&id)
        .expect("store ids, names of sinks and numbers are letters, digits, `_` and `-`")
}

/// The store id.
#[derive(Debug)]
pub(super) struct Identity {
    id: String,
    data_dir: PathBuf,
    /// The machine to bind it to, while that is not on disk yet.
    unwritten: Mutex<Option<String>>,
}

impl Identity {
    /// Reads the store id, minting it where there is none or where this is another machine.
    ///
    /// What is new may not be on disk yet: see [`Self::make_durable`].
    pub(super) fn load_or_mint(
        data_dir: &Path,
        machine_id_file: &Path,
    ) -> Result<Self, StoreError> {
        let machine = fs::read_to_string(machine_id_file).unwrap_or_default().trim().to_owned();
        let path = data_dir.join(FILE);
        let found = read(&path).map_err(|source| {
            let operation = "read";
            StoreError::Io { operation, path, source }
        })?;
        let (id, unwritten) = match found {
            Some((id, bound)) if bound == machine || machine.is_empty() => (id, None),
            Some((id, bound)) if bound.is_empty() => (id, Some(machine)),
            Some((old, _)) => {
                let id = mint();
                warn!(
                    old,
                    new = id,
                    "data directory comes from another machine: store id minted anew"
                );
                (id, Some(machine))
            }
            None => {
                let id = mint();
                info!(id, "store id minted");
                (id, Some(machine))
            }
        };
        let unwritten = Mutex::new(unwritten);
        Ok(Self { id, data_dir: data_dir.to_owned(), unwritten })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Writes a new id, or a new binding, where that has not been done; a full disk may be why.
    pub(super) fn make_durable(&self) -> io::Result<()> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = unwritten.as_ref() {
            write(&self.data_dir, &self.id, machine)?;
            *unwritten = None;
        }
        Ok(())
    }
}

/// The id of the store in a data directory, as it is noted there; empty without an intact note.
pub(super) fn read_id(data_dir: &Path) -> io::Result<String> {
    Ok(read(&data_dir.join(FILE))?.map(|(id, _)| id).unwrap_or_default())
}

/// The id and the machine it is bound to; `None` without an intact file.
fn read(path: &Path) -> io::Result<Option<(String, String)>> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = text.lines();
    let id = lines.next().unwrap_or_default();
    let is_id = id.len() == ID_LEN && id.bytes().all(|byte| ID_CHARS.contains(&byte));
    Ok(is_id.then(|| (id.to_owned(), lines.next().unwrap_or_default().to_owned())))
}

fn write(data_dir: &Path, id: &str, machine: &str) -> io::Result<()> {
    let unfinished = data_dir.join("identity.new");
    let mut file = File::create(&unfinished)?;
    file.write_all(format!("{id}\n{machine}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, data_dir.join(FILE))?;
    sync::sync_dir(data_dir)
}

fn mint() -> String {
    let mut random = [0; ID_LEN];
    if getrandom::fill(&mut random).is_err() {
        // No entropy source at all: the clock and the process id seed this one.
        fastrand::fill(&mut random);
    }
    random
        .iter()
        .filter_map(|byte| ID_CHARS.get(usize::from(byte % 32)))
        .map(|c| char::from(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts on `machine` (none when empty) and says the store id.
    fn start(dir: &Path, machine: &str) -> String {
        let file = dir.join("machine-id");
        fs::write(&file, machine).unwrap();
        let identity = Identity::load_or_mint(dir, &file).unwrap();
        identity.make_durable().unwrap();
        identity.id().to_owned()
    }

    #[test]
    fn the_store_id_stays_on_its_machine_and_changes_on_another() {
        let dir = tempfile::tempdir().unwrap();
        let first = start(dir.path(), "aaaa\n");
        assert!(first.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_eq!(start(dir.path(), "aaaa\n"), first, "same machine");
        assert_eq!(start(dir.path(), ""), first, "no machine id, as in a container");
        let clone = start(dir.path(), "bbbb\n");
        assert_ne!(clone, first, "another machine");
        assert_eq!(start(dir.path(), "bbbb\n"), clone, "bound to the new machine");
    }

    #[test]
    fn an_id_minted_without_a_machine_is_bound_to_the_first_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let id = start(dir.path(), "");
        assert_eq!(start(dir.path(), "aaaa"), id);
        assert_ne!(start(dir.path(), "bbbb"), id);
    }

    #[test]
    fn a_damaged_identity_is_minted_anew_instead_of_stopping_the_start() {
        let dir = tempfile::tempdir().unwrap();
        for damage in [&b""[..], b"\xff\xfe", b"short\n"] {
            fs::write(dir.path().join(FILE), damage).unwrap();
            assert_eq!(start(dir.path(), "aaaa").len(), ID_LEN, "{damage:?}");
        }
    }

    #[test]
    fn a_record_id_names_store_sink_and_number() {
        let sink = SinkName::new("cloud-1").unwrap();
        assert_eq!(record_id("abc", &sink, RecordNumber(42)).as_str(), "abc-cloud-1-42");
    }
}
