//! Small file systems that tests fill up. They need root; without it a test says that it was skipped.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kinds of file system a gateway may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In memory; files can be made on it when it is full.
    Tmpfs,
    /// In an image file, with blocks for directories like on a real disk.
    Ext4,
}

/// A file system of its own, gone with the value.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mebibytes` at a folder, which is made. `None` where mounting is not allowed.
    pub fn mount(at: &Path, kind: Kind, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        match kind {
            Kind::Tmpfs => {
                mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]);
            }
            Kind::Ext4 => {
                let image = at.with_extension("image");
                File::create(&image).unwrap().set_len(u64::from(mebibytes) << 20).unwrap();
                let mut make = Command::new("/usr/sbin/mkfs.ext4");
                make.args(["-q", "-m", "0", "-F"]).arg(&image);
                assert!(make.status().unwrap().success(), "mkfs.ext4");
                mount.args(["-o", "loop"]).arg(image);
            }
        }
        let mounted = mount.arg(at).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { at: at.to_owned() });
        }
        eprintln!("skipped: mounting {kind:?} needs root");
        None
    }

    /// Somebody else's data takes every last byte.
    pub fn fill(&self) {
        let other = self.somebody_else();
        // Most of it at once.
        drop(
            Command::new("fallocate")
                .args(["-l", "64m"])
                .arg(&other)
                .stderr(Stdio::null())
                .status(),
        );
        let mut file = File::options().append(true).create(true).open(&other).unwrap();
        for block in [64 << 10, 512, 1] {
            let block = vec![7; block];
            while file.write_all(&block).is_ok() {}
        }
    }

    /// Somebody else's data goes away.
    pub fn clear(&self) {
        fs::remove_file(self.somebody_else()).unwrap();
    }

    fn somebody_else(&self) -> PathBuf {
        self.at.join("somebody-else")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.at).status());
    }
}
