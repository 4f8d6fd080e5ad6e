//! The database of the dead letters: one sled database, opened when the first letter comes.
//!
//! Its folder is `g<number>` in the folder of the letters. sled's file never shrinks, so that space is given back by
//! copying what is left into a new folder: made as `rewriting`, renamed to the next number once it is complete and
//! durable, and only then is the old one removed. So of two folders the later has everything.
//!
//! A body is written before its head and removed after it: a head always has its body. A body without a head, which a
//! crash can leave, takes space until the next rewriting.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::letter::{self, DeadLetter, DeadLetterHead, Encoded, Kind, VALUE_BYTES_MAX};
use crate::metrics::StoreMetrics;
use crate::store::generation::{self, DB_FILE, GenerationError, catching};
use crate::store::{repair, sync};

/// sled's unit of writing. Part of the format: a database opens only with the size it was made with. Small, since each
/// open writes one.
const SEGMENT_BYTES: usize = 512 * 1024;
/// Pages above a quarter of a segment would become files that are never synced. A leaf holds up to 16 values, and one
/// more before it splits; the keys of heads are long, but their values short.
const _: () = assert!(17 * (VALUE_BYTES_MAX + 32) + 2048 < SEGMENT_BYTES / 4);
const HEADS: &[u8] = b"heads";
const BODIES: &[u8] = b"bodies";
const REWRITING: &str = "rewriting";
/// Bytes written between two flushes while copying: bounds what sled buffers.
const COPY_BYTES_PER_FLUSH: u64 = 1024 * 1024;

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To keep letters, for as long as the gateway runs.
    Keep,
    /// To look at a copy of them for a moment: with more memory, and nothing has to last.
    Look,
}

impl Purpose {
    const fn cache_bytes(self) -> u64 {
        match self {
            Self::Keep => 1024 * 1024,
            Self::Look => 64 * 1024 * 1024,
        }
    }
}

/// Where the letters are, and what for.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) purpose: Purpose,
}

type Trees = (sled::Db, sled::Tree, sled::Tree);

/// The open database.
pub(super) struct Database {
    number: u64,
    dir: PathBuf,
    db: sled::Db,
    heads: sled::Tree,
    bodies: sled::Tree,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Database").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A head as it was found.
#[derive(Debug, Clone)]
pub struct FoundLetter {
    /// The head.
    pub head: DeadLetterHead,
    /// Bytes that the letter takes, body included.
    pub bytes: u64,
}

impl Database {
    /// Opens the database in the folder of the letters, mended where it must be; `None` when there is none.
    pub(super) fn open_existing(
        home: &Home,
        metrics: &StoreMetrics,
    ) -> Result<Option<Self>, GenerationError> {
        let mut numbers = match numbers(&home.dir) {
            Ok(numbers) => numbers,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(GenerationError::Io(error)),
        };
        let Some(number) = numbers.pop() else { return Ok(None) };
        for left_over in numbers.into_iter().map(folder).chain([REWRITING.to_owned()]) {
            remove(&home.dir.join(left_over)).map_err(GenerationError::Io)?;
        }
        open_repaired(home, number, metrics).map(Some)
    }

    /// Makes an empty database.
    pub(super) fn create(home: &Home, number: u64) -> Result<Self, GenerationError> {
        let make = fs::create_dir_all(&home.dir)
            .and_then(|()| home.dir.parent().map_or(Ok(()), sync::sync_dir));
        make.map_err(GenerationError::Io)?;
        Self::open(home, &folder(number), number)
    }

    fn open(home: &Home, name: &str, number: u64) -> Result<Self, GenerationError> {
        let Home { dir: letters_dir, purpose } = home;
        let (dir, cache_bytes) = (letters_dir.join(name), purpose.cache_bytes());
        let open = move |dir: &Path| open_trees(dir, cache_bytes);
        let (db, heads, bodies) = generation::open_guarded(&dir, open)?;
        let database = Self { number, dir, db, heads, bodies };
        if *purpose == Purpose::Keep {
            database.flush()?;
            let durable = generation::make_files_durable(&database.dir, letters_dir);
            durable.map_err(GenerationError::Io)?;
        }
        Ok(database)
    }

    /// Which database of the letters this is.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Bytes it takes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        generation::disk_bytes(&self.dir)
    }

    /// Stages a letter: durable after the next [`Self::flush`]. Replaces the one with the same key, whose head it
    /// gives back.
    pub(super) fn stage(&self, letter: Encoded) -> Result<Option<FoundLetter>, GenerationError> {
        catching(|| {
            for part in letter.body {
                self.bodies.insert(part.key, part.value)?;
            }
            let replaced = self.heads.insert(&letter.head.key, letter.head.value)?;
            let replaced = replaced.and_then(|value| found(&letter.head.key, &value));
            if let Some(old) = &replaced {
                self.remove_body(&old.head)?;
            }
            Ok(replaced)
        })
    }

    /// Removes a letter, unless it has been replaced since, and gives it back: durable after the next
    /// [`Self::flush`].
    pub(super) fn stage_removal(
        &self,
        head: &DeadLetterHead,
    ) -> Result<Option<FoundLetter>, GenerationError> {
        catching(|| {
            let key = head.key();
            let Some(now) = self.unchanged(&key, head)? else { return Ok(None) };
            self.heads.remove(&key)?;
            self.remove_body(&now.head)?;
            Ok(Some(now))
        })
    }

    /// Puts a letter with another key in the place of one, unless that has been replaced since, and gives the old one
    /// back: durable after the next [`Self::flush`], and never both or none.
    pub(super) fn stage_exchange(
        &self,
        old: &DeadLetterHead,
        new: Encoded,
    ) -> Result<Option<FoundLetter>, GenerationError> {
        catching(|| {
            let key = old.key();
            assert_ne!(key, new.head.key, "a letter takes the place of another one");
            let Some(now) = self.unchanged(&key, old)? else { return Ok(None) };
            for part in new.body {
                self.bodies.insert(part.key, part.value)?;
            }
            let mut heads = sled::Batch::default();
            heads.insert(new.head.key, new.head.value);
            heads.remove(key);
            self.heads.apply_batch(heads)?;
            self.remove_body(&now.head)?;
            Ok(Some(now))
        })
    }

    /// The letter of a head, where it is still that one.
    fn unchanged(&self, key: &[u8], head: &DeadLetterHead) -> sled::Result<Option<FoundLetter>> {
        let now = self.heads.get(key)?.and_then(|value| found(key, &value));
        Ok(now.filter(|now| now.head.letter == head.letter))
    }

    fn remove_body(&self, head: &DeadLetterHead) -> sled::Result<()> {
        for part in 0..head.parts() {
            self.bodies.remove(letter::body_key(head.letter, part))?;
        }
        Ok(())
    }

    /// Makes everything staged durable.
    pub(super) fn flush(&self) -> Result<(), GenerationError> {
        catching(|| self.db.flush())?;
        if sync::is_override_missing() {
            sync::sync_file(&self.dir.join(DB_FILE)).map_err(GenerationError::Io)?;
        }
        Ok(())
    }

    /// The letter of a head, and that head; `None` when it is not there or damaged.
    pub(super) fn letter(
        &self,
        key: &[u8],
    ) -> Result<Option<(FoundLetter, DeadLetter)>, GenerationError> {
        catching(|| {
            let found = self.heads.get(key)?.and_then(|value| found(key, &value));
            let Some(found) = found else { return Ok(None) };
            let head = &found.head;
            let mut body = Vec::new();
            for part in 0..head.parts() {
                let key = letter::body_key(head.letter, part);
                let Some(value) = self.bodies.get(&key)? else { return Ok(None) };
                match letter::parse(&value) {
                    Ok(parsed) if parsed.kind == Kind::Body && parsed.key == key => {
                        body.extend_from_slice(parsed.content);
                    }
                    _ => return Ok(None),
                }
            }
            let letter = letter::decode(head.clone(), &body).ok();
            Ok(letter.map(|letter| (found, letter)))
        })
    }

    /// The intact heads after the key `after` that begin with `prefix`, in order, as long as `each` wants more.
    pub(super) fn heads_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        mut each: impl FnMut(FoundLetter) -> bool,
    ) -> Result<(), GenerationError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.max(prefix).to_vec();
        catching(|| {
            for entry in self.heads.range((Excluded(from), Unbounded)) {
                let (key, value) = entry?;
                if !key.starts_with(prefix) {
                    break;
                }
                if let Some(found) = found(&key, &value)
                    && !each(found)
                {
                    break;
                }
            }
            Ok(())
        })
    }

    /// How many heads there are that cannot be read.
    pub(super) fn damaged_heads(&self) -> Result<u64, GenerationError> {
        catching(|| {
            let mut damaged = 0;
            for entry in &self.heads {
                let (key, value) = entry?;
                damaged += u64::from(found(&key, &value).is_none());
            }
            Ok(damaged)
        })
    }

    /// Copies what is left into the next database and removes this one.
    pub(super) fn rewrite(
        self,
        home: &Home,
        metrics: &StoreMetrics,
    ) -> Result<Self, GenerationError> {
        let making = home.dir.join(REWRITING);
        remove(&making).map_err(GenerationError::Io)?;
        let next = self.number + 1;
        let copy = Self::open(home, REWRITING, next)?;
        let mut bytes = 0;
        let mut copied = Ok(());
        self.heads_after(&[], &[], |found| {
            bytes += found.bytes;
            copied = self.copy_letter(&found, &copy);
            if copied.is_ok() && bytes >= COPY_BYTES_PER_FLUSH {
                bytes = 0;
                copied = copy.flush();
            }
            copied.is_ok()
        })?;
        copied?;
        copy.flush()?;
        drop(copy);
        generation::await_closed(&making.join(DB_FILE)).map_err(GenerationError::Io)?;
        let rename = fs::rename(&making, home.dir.join(folder(next)))
            .and_then(|()| sync::sync_dir(&home.dir));
        rename.map_err(GenerationError::Io)?;
        let old = self.dir.clone();
        drop(self);
        remove(&old).map_err(GenerationError::Io)?;
        open_repaired(home, next, metrics)
    }

    fn copy_letter(&self, found: &FoundLetter, copy: &Self) -> Result<(), GenerationError> {
        catching(|| {
            for part in 0..found.head.parts() {
                let key = letter::body_key(found.head.letter, part);
                if let Some(value) = self.bodies.get(&key)? {
                    copy.bodies.insert(key, value)?;
                }
            }
            let key = found.head.key();
            if let Some(value) = self.heads.get(&key)? {
                copy.heads.insert(key, value)?;
            }
            Ok(())
        })
    }

    /// Closes the database and removes its folder: there are no letters.
    pub(super) fn remove(self) -> io::Result<()> {
        let dir = self.dir.clone();
        drop(self);
        remove(&dir)
    }
}

fn found(key: &[u8], value: &[u8]) -> Option<FoundLetter> {
    let parsed = letter::parse(value).ok()?;
    let head = DeadLetterHead::decode(parsed.content).ok()?;
    if parsed.kind != Kind::Head || parsed.key != key {
        return None;
    }
    let bytes = head.stored_bytes(key.len() + value.len());
    Some(FoundLetter { head, bytes })
}

fn open_trees(dir: &Path, cache_bytes: u64) -> sled::Result<Trees> {
    let db = sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .open()?;
    let heads = db.open_tree(HEADS)?;
    let bodies = db.open_tree(BODIES)?;
    Ok((db, heads, bodies))
}

fn open_repaired(
    home: &Home,
    number: u64,
    metrics: &StoreMetrics,
) -> Result<Database, GenerationError> {
    let name = folder(number);
    let dir = home.dir.join(&name);
    let open = || {
        let database = Database::open(home, &name, number)?;
        // A damaged database may open and fail when it is read.
        let damaged = database.damaged_heads()?;
        metrics.repairs("damaged_letter").inc_by(damaged);
        Ok(database)
    };
    repair::remove_unfinished_snapshots(&dir, metrics);
    let why = match open() {
        Err(GenerationError::Damaged(why)) => why,
        other => return other,
    };
    warn!(why, "dead letters do not open: trying without their snapshot");
    repair::remove_what_is_made_anew(&dir, metrics);
    match open() {
        Err(GenerationError::Damaged(why)) => salvage(home, number, &why, metrics),
        other => other,
    }
}

/// Sets the database aside and makes a fresh one of what can be carved from its file. A letter that was removed may
/// come back: its record id is the same.
fn salvage(
    home: &Home,
    number: u64,
    why: &str,
    metrics: &StoreMetrics,
) -> Result<Database, GenerationError> {
    let aside = repair::set_aside(&home.dir, &folder(number)).map_err(GenerationError::Io)?;
    metrics.repairs("set_aside").inc();
    let bytes = match fs::read(aside.join(DB_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(GenerationError::Io(error));
        }
        read => read.unwrap_or_default(),
    };
    let (heads, bodies) = carve(&bytes);
    error!(aside = %aside.display(), why, letters = heads.len(), "dead letters set aside: the intact ones are carried over");
    let fresh = Database::open(home, &folder(number), number)?;
    let mut staged_bytes = 0;
    for (key, (head, value)) in &heads {
        let keys: Vec<_> =
            (0..head.parts()).map(|part| letter::body_key(head.letter, part)).collect();
        let parts: Vec<_> =
            keys.iter().filter_map(|key| bodies.get_key_value(key.as_slice())).collect();
        if parts.len() < keys.len() {
            metrics.repairs("damaged_letter").inc();
            continue;
        }
        catching(|| {
            for (key, value) in parts {
                fresh.bodies.insert(key, *value)?;
            }
            fresh.heads.insert(key, *value)
        })?;
        staged_bytes += head.stored_bytes(value.len());
        if staged_bytes >= COPY_BYTES_PER_FLUSH {
            staged_bytes = 0;
            fresh.flush()?;
        }
    }
    fresh.flush()?;
    Ok(fresh)
}

type Heads<'a> = BTreeMap<&'a [u8], (DeadLetterHead, &'a [u8])>;
type Bodies<'a> = BTreeMap<&'a [u8], &'a [u8]>;

/// Picks the intact values out of a raw file; of a head that was replaced the latest.
fn carve(bytes: &[u8]) -> (Heads<'_>, Bodies<'_>) {
    let (mut heads, mut bodies) = (Heads::new(), Bodies::new());
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|four| four == letter::MAGIC) {
        let (_, candidate) = rest.split_at(at);
        let mut used = 1;
        if let Ok(parsed) = letter::parse(candidate) {
            used = parsed.bytes;
            let (value, _) = candidate.split_at(used);
            match parsed.kind {
                Kind::Body => drop(bodies.insert(parsed.key, value)),
                Kind::Head => {
                    if let Ok(head) = DeadLetterHead::decode(parsed.content)
                        && heads.get(parsed.key).is_none_or(|(known, _)| known.letter < head.letter)
                    {
                        heads.insert(parsed.key, (head, value));
                    }
                }
            }
        }
        rest = candidate.get(used..).unwrap_or_default();
    }
    (heads, bodies)
}

fn folder(number: u64) -> String {
    format!("g{number:08}")
}

/// The databases in the folder of the letters, oldest first.
fn numbers(letters_dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(letters_dir)? {
        let name = entry?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix('g')?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a folder that may not be there.
fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => dir.parent().map_or(Ok(()), sync::sync_dir),
    }
}
