//! A disk that can lose its power: which bytes and names it may show afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::recording::Call;

/// What may become of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// It is gone, names included.
    Fsync,
    /// Pages of 4 KiB within a size that the journal had at some time survive or not, each on its own; names are
    /// those of some time since the last sync of anything.
    Ext4,
    /// As above, by sectors of 512 bytes, also past the size.
    Torn,
}

impl Model {
    pub(super) const ALL: [Self; 3] = [Self::Fsync, Self::Ext4, Self::Torn];
}

#[derive(Debug, Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Sizes since the last sync.
    sizes: Vec<usize>,
    syncing: BTreeMap<u64, Vec<u8>>,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// The state of the file system while the recording plays.
#[derive(Debug, Default)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    names: Names,
    /// Names whose folder was synced: what strict POSIX promises.
    durable_names: Names,
    syncing_names: BTreeMap<u64, Names>,
    /// Names at each change since the last sync of anything.
    journal: Vec<Names>,
}

impl Disk {
    pub(super) fn apply(&mut self, call: &Call) {
        match call {
            Call::Create { path, truncate } => self.create(path, *truncate),
            Call::MakeDir { path } => {
                self.names.insert(path.clone(), Node::Dir);
                self.log_names();
            }
            Call::Write { path, offset, bytes } => {
                let inode = self.file(path);
                let start = match offset {
                    Some(offset) => usize::try_from(*offset).unwrap(),
                    // Only new files and logs are written without an offset.
                    None => inode.current.len(),
                };
                let end = start + bytes.len();
                if inode.current.len() < end {
                    inode.current.resize(end, 0);
                    inode.sizes.push(end);
                }
                inode.current[start..end].copy_from_slice(bytes);
            }
            Call::Truncate { path, size } => {
                let inode = self.file(path);
                inode.current.resize(usize::try_from(*size).unwrap(), 0);
                inode.sizes.push(inode.current.len());
            }
            Call::SyncBegin { path, id } => {
                if let Some(Node::File(_)) = self.names.get(path) {
                    let inode = self.file(path);
                    let current = inode.current.clone();
                    inode.syncing.insert(*id, current);
                } else {
                    self.syncing_names.insert(*id, self.names.clone());
                }
            }
            Call::SyncEnd { path, id } => self.sync(path, *id),
            Call::Rename { from, to } => {
                let moved: Vec<_> =
                    self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for old in moved {
                    let node = self.names.remove(&old).unwrap();
                    let rest = old.strip_prefix(from).unwrap();
                    let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    self.names.insert(new, node);
                }
                self.log_names();
            }
            Call::Remove { path } => {
                self.names.remove(path);
                self.log_names();
            }
        }
    }

    fn create(&mut self, path: &Path, truncate: bool) {
        if let Some(Node::File(_)) = self.names.get(path) {
            if truncate {
                let inode = self.file(path);
                inode.current.clear();
                inode.sizes.push(0);
            }
            return;
        }
        self.names.insert(path.to_owned(), Node::File(self.inodes.len()));
        self.inodes.push(Inode::default());
        self.log_names();
    }

    fn file(&mut self, path: &Path) -> &mut Inode {
        if !self.names.contains_key(path) {
            // The recording names a file that was renamed while it was open by its latest name, or it is deleted.
            self.create(path, false);
        }
        let Some(Node::File(index)) = self.names.get(path) else { panic!("{path:?} is no file") };
        &mut self.inodes[*index]
    }

    fn log_names(&mut self) {
        self.journal.push(self.names.clone());
    }

    fn sync(&mut self, path: &Path, id: u64) {
        if let Some(Node::File(_)) = self.names.get(path) {
            let inode = self.file(path);
            if let Some(synced) = inode.syncing.remove(&id) {
                inode.durable = synced;
                inode.sizes.clear();
            }
        } else if let Some(synced) = self.syncing_names.remove(&id) {
            let is_within = |name: &PathBuf| name.parent() == Some(path);
            self.durable_names.retain(|name, _| !is_within(name) || synced.contains_key(name));
            let within = synced.into_iter().filter(|(name, _)| is_within(name));
            self.durable_names.extend(within);
        }
        self.journal.clear();
        self.log_names();
    }

    /// What the disk may show after losing its power now.
    pub(super) fn cut(&self, model: Model, random: &mut fastrand::Rng) -> Remains {
        let names = match model {
            Model::Fsync => &self.durable_names,
            Model::Ext4 | Model::Torn if self.journal.is_empty() => &self.names,
            Model::Ext4 | Model::Torn => &self.journal[random.usize(..self.journal.len())],
        };
        let mut files = BTreeMap::new();
        let mut dirs = Vec::new();
        for (path, node) in names {
            match node {
                Node::Dir => dirs.push(path.clone()),
                Node::File(index) => {
                    let content = self.inodes[*index].after_cut(model, random);
                    files.insert(path.clone(), content);
                }
            }
        }
        Remains { dirs, files }
    }
}

impl Inode {
    fn after_cut(&self, model: Model, random: &mut fastrand::Rng) -> Vec<u8> {
        let unit = match model {
            Model::Fsync => return self.durable.clone(),
            Model::Ext4 => 4096,
            Model::Torn => 512,
        };
        let chosen = random.usize(0..=self.sizes.len());
        let size = match self.sizes.get(chosen) {
            Some(size) => *size,
            None if model == Model::Torn => self.current.len(),
            None => self.durable.len(),
        };
        let mut content = self.durable.clone();
        content.resize(size, 0);
        for (index, page) in content.chunks_mut(unit).enumerate() {
            let start = index * unit;
            let end = (start + page.len()).min(self.current.len());
            if start < end && random.bool() {
                page[..end - start].copy_from_slice(&self.current[start..end]);
            }
        }
        content
    }
}

/// Files and folders to be written somewhere.
#[derive(Debug)]
pub(super) struct Remains {
    dirs: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Remains {
    pub(super) fn write_to(&self, root: &Path) {
        fs::create_dir_all(root.join("data")).unwrap();
        for dir in &self.dirs {
            // A name without the folder it is in is lost with it.
            drop(fs::create_dir(root.join(dir)));
        }
        for (path, content) in &self.files {
            drop(fs::write(root.join(path), content));
        }
    }
}
