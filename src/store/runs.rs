//! The chunks of a generation, in many small trees instead of a large one.
//!
//! A leaf of sled is written again as a whole with every tenth change and when it splits, which wrote each chunk about
//! three times. So a tree takes a run of chunks, too few for either, and the next run gets the next tree. The trees
//! are called `chunks` followed by the key of their first chunk, so their names are the index.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::chunk::EncodedChunk;

const PREFIX: &[u8] = b"chunks";
/// sled rewrites a leaf with the tenth change.
const RUN_CHUNKS: usize = 9;
/// Small chunks may be rewritten: a tree for every nine of them would cost more, in the list of trees.
const RUN_BYTES: usize = 24 * 1024;

/// The runs of a generation.
#[derive(Debug)]
pub(super) struct Runs {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the key of the first chunk.
    trees: BTreeMap<Vec<u8>, sled::Tree>,
    /// The run that takes appends; none right after the open.
    latest: Option<Latest>,
}

#[derive(Debug)]
struct Latest {
    tree: sled::Tree,
    chunks: usize,
    bytes: usize,
}

/// A key and its chunk.
pub(super) type Entry = (sled::IVec, sled::IVec);

impl Runs {
    /// Finds the runs that are in a database.
    pub(super) fn open(db: &sled::Db) -> sled::Result<Self> {
        let mut trees = BTreeMap::new();
        for name in db.tree_names() {
            if let Some(first) = name.strip_prefix(PREFIX) {
                trees.insert(first.to_vec(), db.open_tree(&name)?);
            }
        }
        Ok(Self { inner: Mutex::new(Inner { trees, latest: None }) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a chunk; keys only ever grow.
    pub(super) fn insert(&self, db: &sled::Db, chunk: EncodedChunk) -> sled::Result<()> {
        let mut inner = self.lock();
        let bytes = chunk.value.len();
        let is_full = |latest: &Latest| latest.chunks >= RUN_CHUNKS && latest.bytes >= RUN_BYTES;
        let latest = match inner.latest.take() {
            Some(latest) if !is_full(&latest) => latest,
            _ => {
                let tree = db.open_tree([PREFIX, &chunk.key].concat())?;
                inner.trees.insert(chunk.key.clone(), tree.clone());
                Latest { tree, chunks: 0, bytes: 0 }
            }
        };
        latest.tree.insert(chunk.key, chunk.value)?;
        inner.latest =
            Some(Latest { chunks: latest.chunks + 1, bytes: latest.bytes + bytes, ..latest });
        Ok(())
    }

    /// The chunk with this key.
    pub(super) fn get(&self, key: &[u8]) -> sled::Result<Option<sled::IVec>> {
        let tree =
            self.lock().trees.range(..=key.to_vec()).next_back().map(|(_, tree)| tree.clone());
        tree.map_or(Ok(None), |tree| tree.get(key))
    }

    /// The last chunk up to this key.
    pub(super) fn last_up_to(&self, key: &[u8]) -> sled::Result<Option<Entry>> {
        let mut bound = Bound::Included(key.to_vec());
        loop {
            let run = {
                let inner = self.lock();
                let run = inner.trees.range((Bound::Unbounded, bound)).next_back();
                run.map(|(first, tree)| (first.clone(), tree.clone()))
            };
            let Some((first, tree)) = run else { return Ok(None) };
            if let Some(entry) = tree.range(..=key).next_back().transpose()? {
                return Ok(Some(entry));
            }
            bound = Bound::Excluded(first);
        }
    }

    /// The first chunk after this key.
    pub(super) fn first_after(&self, key: &[u8]) -> sled::Result<Option<Entry>> {
        let after = (Bound::Excluded(key.to_vec()), Bound::Unbounded);
        let (holding, later) = {
            let inner = self.lock();
            let holding = inner.trees.range(..=key.to_vec()).next_back();
            let later = inner.trees.range(after.clone()).map(|(_, tree)| tree.clone());
            (holding.map(|(_, tree)| tree.clone()), later.collect::<Vec<_>>())
        };
        for tree in holding.into_iter().chain(later) {
            if let Some(entry) = tree.range(after.clone()).next().transpose()? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// All chunks in the order of their keys.
    pub(super) fn for_each(&self, mut each: impl FnMut(Entry)) -> sled::Result<()> {
        let trees: Vec<_> = self.lock().trees.values().cloned().collect();
        for tree in trees {
            for entry in &tree {
                each(entry?);
            }
        }
        Ok(())
    }
}
