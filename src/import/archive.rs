//! The archive of EMQX 5's data export: a gzipped tar with `cluster.hocon` in it.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

/// Most bytes that an archive may unpack to.
const UNPACKED_BYTES_MAX: u64 = 256 << 20;
const BLOCK: usize = 512;

/// Why nothing can be taken from an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCluster {
    /// Damaged, or something else behind the magic number of gzip.
    #[error("is not an archive of EMQX's data export: it cannot be unpacked")]
    Broken,
    /// An archive of something else.
    #[error("is an archive without a `cluster.hocon`")]
    Absent,
}

/// The `cluster.hocon` in a gzipped tar; `None` when the bytes are no gzip at all.
#[must_use]
pub fn cluster_in(bytes: &[u8]) -> Option<Result<Vec<u8>, NoCluster>> {
    bytes.starts_with(&[0x1f, 0x8b]).then(|| unpacked(bytes))
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, NoCluster> {
    let mut tar = Vec::new();
    let mut decoder = MultiGzDecoder::new(bytes).take(UNPACKED_BYTES_MAX);
    decoder.read_to_end(&mut tar).map_err(|_error| NoCluster::Broken)?;
    let mut rest = tar.as_slice();
    while let Some((header, behind)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = size(header).ok_or(NoCluster::Broken)?;
        let content = behind.get(..size).ok_or(NoCluster::Broken)?;
        let name = header.get(..100).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name == b"cluster.hocon" || name.ends_with(b"/cluster.hocon") {
            return Ok(content.to_vec());
        }
        rest = behind.get(size.next_multiple_of(BLOCK)..).unwrap_or_default();
    }
    Err(NoCluster::Absent)
}

/// Octal digits in bytes 124 to 135.
fn size(header: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(header.get(124..136)?).ok()?;
    usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).ok()
}
