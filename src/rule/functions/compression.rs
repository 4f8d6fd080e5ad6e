//! Deflate in its three wrappings.

use std::io::Read;

use flate2::read::{
    DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder,
};
use flate2::{Compression, GzBuilder};

use super::argument::{Argument, Kind, made, text, wrong};
use super::entry::Function;
use crate::rule::run::{RunError, TEXT_BYTES_MAX};
use crate::rule::value::Value;

const BYTES: &[Argument] = &[Argument::needed("bytes", Kind::Text)];
/// What Erlang writes as the system that a gzip file comes from.
const UNIX: u8 = 3;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "gzip",
        BYTES,
        Kind::Text,
        |_, arguments| read(gzip(text(arguments, 0)?)),
        "Compressed as gzip.",
        &[("gunzip(gzip('hello'))", "'hello'")],
    ),
    Function::new(
        "gunzip",
        BYTES,
        Kind::Text,
        |_, arguments| read(MultiGzDecoder::new(text(arguments, 0)?.as_ref())),
        "The bytes of gzip; more than 4 MiB of them are an error, as everywhere.",
        &[("gunzip(gzip('hello'))", "'hello'")],
    ),
    Function::new(
        "zip",
        BYTES,
        Kind::Text,
        |_, arguments| {
            read(DeflateEncoder::new(text(arguments, 0)?.as_ref(), Compression::default()))
        },
        "Compressed as bare deflate, without header and checksum.",
        &[("bin2hexstr(zip('hello'))", "'CB48CDC9C90700'")],
    ),
    Function::new(
        "unzip",
        BYTES,
        Kind::Text,
        |_, arguments| read(DeflateDecoder::new(text(arguments, 0)?.as_ref())),
        "The bytes of bare deflate.",
        &[("unzip(hexstr2bin('CB48CDC9C90700'))", "'hello'")],
    ),
    Function::new(
        "zip_compress",
        BYTES,
        Kind::Text,
        |_, arguments| read(ZlibEncoder::new(text(arguments, 0)?.as_ref(), Compression::default())),
        "Compressed as zlib.",
        &[("zip_uncompress(zip_compress('hello'))", "'hello'")],
    ),
    Function::new(
        "zip_uncompress",
        BYTES,
        Kind::Text,
        |_, arguments| read(ZlibDecoder::new(text(arguments, 0)?.as_ref())),
        "The bytes of zlib.",
        &[("zip_uncompress(zip_compress('hello'))", "'hello'")],
    ),
];

fn gzip(bytes: &[u8]) -> GzEncoder<&[u8]> {
    GzBuilder::new().operating_system(UNIX).read(bytes, Compression::default())
}

/// Reads to the end, or to the bound: a few bytes can stand for gigabytes.
fn read(from: impl Read) -> Result<Value, RunError> {
    let mut out = Vec::new();
    let bound = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    from.take(bound)
        .read_to_end(&mut out)
        .map_err(|error| wrong(format!("the bytes cannot be decompressed: {error}")))?;
    made(out)
}
