//! What a config means depends on where it is read: the folder, the environment, the host's name, the disk.

use std::path::{Path, PathBuf};

/// Looks up an environment variable.
type Variable = dyn Fn(&str) -> Option<String>;
/// Looks up how large a partition is, in bytes.
type PartitionBytes = dyn Fn(&Path) -> Option<u64>;

/// Everything outside the text of a config that decides what it means.
pub struct Surroundings {
    /// The file as messages name it.
    pub file: String,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// The host's name.
    pub host: String,
    /// The value of an environment variable; `None` when it is not set, or not UTF-8.
    pub variable: Box<Variable>,
    /// Bytes of the partition that a path is on or will be on; `None` when the system does not say.
    pub partition_bytes: Box<PartitionBytes>,
}

impl Surroundings {
    /// The surroundings of a config file on this machine, as this process sees them.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self {
            file: file.display().to_string(),
            folder: absolute.parent().map_or_else(PathBuf::new, Path::to_owned),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            variable: Box::new(|name| std::env::var(name).ok()),
            partition_bytes: Box::new(partition_bytes),
        }
    }
}

/// The size of the partition of `path`, or of the nearest folder above it that is there.
fn partition_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    there.f_blocks.checked_mul(there.f_frsize)
}
