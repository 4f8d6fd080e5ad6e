//! Bytes as text: hexadecimal, and the base 62 of EMQX 4's webhook.

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

/// The base 62 of EMQX 4's webhook (`emqx_base62`), which is not arithmetic: groups of six bits as `A-Z a-z 0-8`, the last
/// three of 64 as `9A`, `9B` and `9C`, and what is left of one or two bytes as a number of its own.
pub(super) fn base62(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 2);
    for chunk in bytes.chunks(3) {
        let whole = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let groups = match chunk.len() {
            1 => [Some(whole >> 2), Some(whole & 0b11), None, None],
            2 => [Some(whole >> 10), Some(whole >> 4), Some(whole & 0b1111), None],
            _ => [Some(whole >> 18), Some(whole >> 12), Some(whole >> 6), Some(whole)],
        };
        for group in groups.into_iter().flatten() {
            push_group(group & 0b11_1111, &mut out);
        }
    }
    out
}

fn push_group(group: u32, out: &mut String) {
    const DIGITS: &[u8; 61] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678";
    if let Some(digit) = usize::try_from(group).ok().and_then(|group| DIGITS.get(group)) {
        out.push(char::from(*digit));
        return;
    }
    out.push('9');
    out.push(match group {
        61 => 'A',
        62 => 'B',
        _ => 'C',
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
