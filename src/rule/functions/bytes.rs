//! Bytes as text: hexadecimal.

use super::argument::wrong;
use crate::rule::run::RunError;

/// Two digits a byte, `0-9 A-F`.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    digits_of(bytes, b"0123456789ABCDEF")
}

/// Two digits a byte, `0-9 a-f`.
pub(super) fn lower_hexadecimal(bytes: &[u8]) -> String {
    digits_of(bytes, b"0123456789abcdef")
}

fn digits_of(bytes: &[u8], digits: &[u8; 16]) -> String {
    let digit = |value: u8| digits.get(usize::from(value)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of hexadecimal digits; with an odd number of them as if a zero stood in front.
pub(super) fn from_hexadecimal(text: &[u8]) -> Result<Vec<u8>, RunError> {
    let value = |digit: u8| {
        let value = char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        value.ok_or_else(|| {
            wrong(format!("`{}` is no hexadecimal digit", char::from(digit).escape_default()))
        })
    };
    let mut bytes = Vec::with_capacity(text.len().div_ceil(2));
    let (first, pairs) = text.split_at(text.len() % 2);
    for digit in first {
        bytes.push(value(*digit)?);
    }
    for pair in pairs.chunks_exact(2) {
        if let [high, low] = pair {
            bytes.push(value(*high)? << 4 | value(*low)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::base62;

    #[test]
    fn payloads_are_encoded_as_emqx_4_does_it() {
        let vectors = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/payload-encoding.jsonl"
        ));
        let mut count = 0;
        for line in vectors.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let bytes = from_hexadecimal(case["hex"].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(base62(&bytes), case["base62"].as_str().unwrap(), "{line}");
            count += 1;
        }
        assert!(count > 5, "only {count} vectors");
    }
}
