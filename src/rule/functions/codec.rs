//! Encodings of bytes and values as text.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::argument::{Argument, Kind, any, made, text, wrong};
use super::entry::Function;
use super::external_term;
use crate::event::json::base62;
use crate::rule::value::Value;

const OPTION_1: Argument = Argument::optional("option", Kind::Any);
const OPTION_2: Argument = Argument::optional("option", Kind::Any);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "base64_encode",
        &[Argument::needed("bytes", Kind::Text), OPTION_1, OPTION_2],
        Kind::Text,
        |_, arguments| made(base64(arguments).encode(text(arguments, 0)?)),
        "Bytes in base 64. Options: 'no_padding' leaves `=` out, 'urlsafe' uses `-` and `_`; others do nothing.",
        &[
            ("base64_encode('hello')", "'aGVsbG8='"),
            ("base64_encode('hello', 'no_padding')", "'aGVsbG8'"),
        ],
    ),
    Function::new(
        "base64_decode",
        &[Argument::needed("text", Kind::Text), OPTION_1, OPTION_2],
        Kind::Text,
        |_, arguments| {
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            let digits: Vec<u8> =
                text(arguments, 0)?.iter().copied().filter(|byte| !blank(byte)).collect();
            made(base64(arguments).decode(digits).map_err(|error| {
                wrong(format!("the text is not base 64: {}", error.to_string().to_lowercase()))
            })?)
        },
        "The bytes of base 64; blanks in it are passed over. Options as for `base64_encode`: 'no_padding' takes texts \
         without `=`, 'urlsafe' those with `-` and `_`.",
        &[("base64_decode('aGVsbG8=')", "'hello'")],
    ),
    Function::new(
        "base62_encode",
        &[Argument::needed("bytes", Kind::Text)],
        Kind::Text,
        |_, arguments| made(base62(text(arguments, 0)?)),
        "Bytes as EMQX 4's webhook encodes payloads with `encode_payload = base62`, for receivers made for that; not a \
         function of EMQX.",
        &[("base62_encode('hello')", "'aGVsbGP'")],
    ),
    Function::new(
        "json_encode",
        &[Argument::needed("value", Kind::Any)],
        Kind::Text,
        |_, arguments| made(any(arguments, 0).to_json()),
        "The JSON of a value; `undefined` is the text `\"undefined\"`.",
        &[("json_encode([1, 'a'])", "'[1,\"a\"]'")],
    ),
    Function::new(
        "json_decode",
        &[Argument::needed("text", Kind::Text)],
        Kind::Any,
        |_, arguments| {
            Value::parse_json(text(arguments, 0)?).map_err(|error| wrong(error.to_string()))
        },
        "The value of JSON.",
        &[("map_get('a', json_decode('{\"a\":1}'))", "1")],
    ),
    Function::new(
        "term_encode",
        &[Argument::needed("value", Kind::Any)],
        Kind::Text,
        |_, arguments| made(external_term::encode(any(arguments, 0))),
        "The value in Erlang's external term format.",
        &[("bin2hexstr(term_encode('abc'))", "'836D00000003616263'")],
    ),
    Function::new(
        "term_decode",
        &[Argument::needed("bytes", Kind::Text)],
        Kind::Any,
        |_, arguments| external_term::decode(text(arguments, 0)?),
        "The value of Erlang's external term format; atoms other than `true`, `false`, `null` and `undefined` are read as \
         texts, and terms that are no values here (tuples, processes, bits) are errors.",
        &[("term_decode(term_encode([1, 'a']))", "[1, 'a']")],
    ),
];

fn base64(arguments: &[Value]) -> GeneralPurpose {
    let asked = |option: &[u8]| {
        arguments.iter().skip(1).any(|it| it.as_bytes().is_some_and(|it| it == option))
    };
    let alphabet = if asked(b"urlsafe") { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let padded = !asked(b"no_padding");
    let padding =
        if padded { DecodePaddingMode::RequireCanonical } else { DecodePaddingMode::Indifferent };
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(padded)
        .with_decode_padding_mode(padding)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}
