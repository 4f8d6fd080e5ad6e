//! Hashes, as hexadecimal digits in lower case.

use blake2::{Blake2b512, Blake2s256};
use md4::Md4;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use super::argument::{Argument, Kind, characters, made, text, word, wrong};
use super::bytes::lower_hexadecimal;
use super::entry::Function;
use crate::rule::run::RunError;
use crate::rule::value::Value;

const TEXT: &[Argument] = &[Argument::needed("text", Kind::Text)];
/// The names of EMQX; `ripemd160` is left to the past.
const ALGORITHMS: &str = "md4, md5, sha, sha1, sha224, sha256, sha384, sha512, sha512_224, sha512_256, sha3_224, sha3_256, \
                          sha3_384, sha3_512, blake2b, blake2s";

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "md5",
        TEXT,
        Kind::Text,
        |_, arguments| made(digest::<Md5>(text(arguments, 0)?)),
        "The MD5 hash.",
        &[("md5('hello')", "'5d41402abc4b2a76b9719d911017c592'")],
    ),
    Function::new(
        "sha",
        TEXT,
        Kind::Text,
        |_, arguments| made(digest::<Sha1>(text(arguments, 0)?)),
        "The SHA-1 hash.",
        &[("sha('hello')", "'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d'")],
    ),
    Function::new(
        "sha256",
        TEXT,
        Kind::Text,
        |_, arguments| made(digest::<Sha256>(text(arguments, 0)?)),
        "The SHA-256 hash.",
        &[("strlen(sha256('hello'))", "64")],
    ),
    Function::new(
        "hash",
        &[Argument::needed("algorithm", Kind::Text), Argument::needed("text", Kind::Word)],
        Kind::Text,
        |_, arguments| hash(arguments),
        "The hash by an algorithm: md4, md5, sha, sha1, sha224, sha256, sha384, sha512, sha512_224, sha512_256, sha3_224, \
         sha3_256, sha3_384, sha3_512, blake2b or blake2s.",
        &[
            ("hash('sha1', 'hello')", "sha('hello')"),
            ("hash('md4', 'aaa')", "'918d7099b77c7a06634c62ccaf5ebac7'"),
        ],
    ),
];

fn hash(arguments: &[Value]) -> Result<Value, RunError> {
    let name = characters(arguments, 0)?;
    let hash = match name.as_ref() {
        "md4" => digest::<Md4>,
        "md5" => digest::<Md5>,
        "sha" | "sha1" => digest::<Sha1>,
        "sha224" => digest::<Sha224>,
        "sha256" => digest::<Sha256>,
        "sha384" => digest::<Sha384>,
        "sha512" => digest::<Sha512>,
        "sha512_224" => digest::<Sha512_224>,
        "sha512_256" => digest::<Sha512_256>,
        "sha3_224" => digest::<Sha3_224>,
        "sha3_256" => digest::<Sha3_256>,
        "sha3_384" => digest::<Sha3_384>,
        "sha3_512" => digest::<Sha3_512>,
        "blake2b" => digest::<Blake2b512>,
        "blake2s" => digest::<Blake2s256>,
        other => return Err(wrong(format!("`{other}` is not one of {ALGORITHMS}"))),
    };
    made(hash(&word(arguments, 1)?))
}

fn digest<Algorithm: Digest>(text: &[u8]) -> String {
    lower_hexadecimal(&Algorithm::digest(text))
}
