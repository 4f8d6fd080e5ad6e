//! Files that a command reads, `-` for standard input.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};

use super::Failure;

/// Longest file that is read whole.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Opens a file, or standard input.
pub(super) fn open(file: &str) -> Result<Box<dyn BufRead>, Failure> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| failure(file, &error))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Reads all of it.
pub(super) fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content);
    read.map_err(|error| failure(file, &error))?;
    if u64::try_from(content.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(failure(file, "is longer than 16 MiB"));
    }
    Ok(content)
}

/// What is wrong with it.
pub(super) fn failure(file: &str, error: impl Display) -> Failure {
    let name = if file == "-" { "standard input" } else { file };
    Failure { code: 1, message: format!("error: {name}: {error}") }
}
