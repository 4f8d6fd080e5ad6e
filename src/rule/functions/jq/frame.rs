//! What goes between Waypost and its jq helper: lengths in front, big endian.
//!
//! Request: milliseconds (4 bytes), length of the program (4), length of the input (4), program, input.
//! Answer: 0 for results or 1 for an error (1), length (4), a JSON array or a message.

use std::io::{self, Read, Write};

use ::bytes::Bytes;

/// Most bytes of one part; what is longer is not a frame.
const PART_BYTES_MAX: usize = 64 << 20;

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// In milliseconds.
    pub(super) timeout: u32,
    pub(super) program: Bytes,
    pub(super) input: Bytes,
}

/// The results as a JSON array, or why there are none.
pub(super) type Answer = Result<Vec<u8>, String>;

impl Request {
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&self.timeout.to_be_bytes())?;
        to.write_all(&length(&self.program)?)?;
        to.write_all(&length(&self.input)?)?;
        to.write_all(&self.program)?;
        to.write_all(&self.input)?;
        to.flush()
    }

    /// An error of kind `UnexpectedEof` when nobody asks any more.
    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let timeout = number(&mut from)?;
        let (program, input) = (number(&mut from)?, number(&mut from)?);
        let program = part(&mut from, program)?.into();
        Ok(Self { timeout, program, input: part(&mut from, input)?.into() })
    }
}

pub(super) fn write_answer(answer: &Answer, mut to: impl Write) -> io::Result<()> {
    let (kind, bytes) = match answer {
        Ok(results) => (0, results.as_slice()),
        Err(message) => (1, message.as_bytes()),
    };
    to.write_all(&[kind])?;
    to.write_all(&length(bytes)?)?;
    to.write_all(bytes)?;
    to.flush()
}

pub(super) fn read_answer(mut from: impl Read) -> io::Result<Answer> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    let size = number(&mut from)?;
    let bytes = part(&mut from, size)?;
    Ok(match kind {
        [0] => Ok(bytes),
        _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let fits = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= PART_BYTES_MAX);
    fits.map(u32::to_be_bytes).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn number(mut from: impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn part(from: impl Read, size: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let wanted = usize::try_from(size).ok().filter(|size| *size <= PART_BYTES_MAX);
    wanted.ok_or(io::ErrorKind::InvalidData)?;
    from.take(size.into()).read_to_end(&mut bytes)?;
    if Some(bytes.len()) == wanted { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_every_cut_is_noticed() {
        let request = Request {
            timeout: 5,
            program: Bytes::from_static(b".a"),
            input: Bytes::from_static(b"{}"),
        };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        assert_eq!(Request::read(bytes.as_slice()).unwrap(), request);
        for end in 0..bytes.len() {
            Request::read(&bytes[..end]).unwrap_err();
        }
        for answer in [Ok(b"[1]".to_vec()), Err("no".to_owned())] {
            let mut bytes = Vec::new();
            write_answer(&answer, &mut bytes).unwrap();
            assert_eq!(read_answer(bytes.as_slice()).unwrap(), answer);
            for end in 0..bytes.len() {
                read_answer(&bytes[..end]).unwrap_err();
            }
        }
    }
}
