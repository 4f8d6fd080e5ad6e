//! What the data directory takes on the disk.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Folders within folders that are looked into: queues, sinks, generations, and what sled makes of those.
const DEPTH_MAX: usize = 6;

/// Bytes of the blocks of everything under `folder`. What cannot be looked at, or goes meanwhile, counts as nothing. Blocks.
pub(super) fn disk_bytes(folder: &Path) -> u64 {
    of_folder(folder, DEPTH_MAX)
}

fn of_folder(folder: &Path, depth_left: usize) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| {
        // Of a link itself, not of what it leads to.
        let Ok(metadata) = entry.metadata() else { return 0 };
        let below = if metadata.is_dir() && depth_left > 0 {
            of_folder(&entry.path(), depth_left - 1)
        } else {
            0
        };
        below + metadata.blocks() * 512
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_under_a_folder_counts() {
        let dir = tempfile::tempdir().unwrap();
        let before = disk_bytes(dir.path());
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("c"), vec![1; 100_000]).unwrap();
        assert!(disk_bytes(dir.path()) >= before + 100_000);
        assert_eq!(disk_bytes(&dir.path().join("nothing")), 0);
    }
}
