//! The base 62 of `emqx_web_hook` 4, which is not arithmetic: groups of six bits as `A-Z a-z 0-8`, the last three of their
//! 64 values as `9A 9B 9C`, and what is left at the end in a group of its own, not shifted.

/// The bytes that `text` stands for; `None` when it is none of these texts.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let groups = groups(text)?;
    let mut bytes = Vec::with_capacity(groups.len() / 4 * 3 + 2);
    for chunk in groups.chunks(4) {
        match *chunk {
            [a, b, c, d] => {
                bytes.extend([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
            }
            [a, b, c @ 0..=15] => bytes.extend([a << 2 | b >> 4, b << 4 | c]),
            [a, b @ 0..=3] => bytes.push(a << 2 | b),
            _ => return None,
        }
    }
    Some(bytes)
}

/// Values of six bits.
fn groups(text: &[u8]) -> Option<Vec<u8>> {
    let mut groups = Vec::with_capacity(text.len());
    let mut letters = text.iter();
    while let Some(letter) = letters.next() {
        groups.push(match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'8' => letter - b'0' + 52,
            b'9' => match letters.next()? {
                last @ b'A'..=b'C' => last - b'A' + 61,
                _ => return None,
            },
            _ => return None,
        });
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::decode;

    #[test]
    fn what_emqx_encoded_is_decoded() {
        let vectors = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/payload-encoding.jsonl"
        ));
        for line in vectors.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let hex = case["hex"].as_str().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let expected: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let encoded = case["base62"].as_str().unwrap();
            assert_eq!(decode(encoded.as_bytes()), Some(expected), "{line}");
        }
        // What encodes nothing: one group, a last group with too many bits, half a pair, other letters.
        for wrong in ["A", "AE", "AAQ", "A9", "9D", "a+", "a="] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
            let decoded = decode(&bytes);
            prop_assert!(decoded.is_none_or(|decoded| decoded.len() <= bytes.len()));
        }
    }
}
