//! Signatures of requests as Standard Webhooks has them: HMAC-SHA256 over `id.timestamp.body`, with one or several keys.
//!
//! The body is what is sent: where it is compressed, the compressed bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Bytes of a key, as the specification has them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 24 to 64 bytes in base64, with or without `whsec_` in front")]
pub struct InvalidKey;

/// A secret that sender and receiver share. `Debug` masks it.
#[derive(Clone)]
pub struct SigningKey(Box<[u8]>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SigningKey(***)")
    }
}

impl SigningKey {
    /// Reads `whsec_BASE64`, or the base64 alone.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        let key = BASE64.decode(text.strip_prefix("whsec_").unwrap_or(text));
        let key = key.ok().filter(|key| KEY_BYTES.contains(&key.len()));
        key.map(|key| Self(key.into())).ok_or(InvalidKey)
    }

    fn hmac(&self, id: &str, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        for part in [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body] {
            hmac.update(part);
        }
        hmac
    }

    fn fits(&self, signature: &str, id: &str, timestamp: u64, body: &[u8]) -> bool {
        let decoded = signature.strip_prefix("v1,").and_then(|text| BASE64.decode(text).ok());
        decoded.is_some_and(|bytes| self.hmac(id, timestamp, body).verify_slice(&bytes).is_ok())
    }
}

/// The value of `webhook-signature`: `v1,BASE64` for each key, with spaces between.
#[must_use]
pub fn sign(keys: &[SigningKey], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signature = |key: &SigningKey| {
        let hmac = key.hmac(id, timestamp, body).finalize().into_bytes();
        format!("v1,{}", BASE64.encode(hmac))
    };
    keys.iter().map(signature).collect::<Vec<_>>().join(" ")
}

/// Whether one of the signatures in the value of `webhook-signature` was made with one of the keys. Takes as long for a
/// wrong one as for a right one.
#[must_use]
pub fn verify(keys: &[SigningKey], header: &str, id: &str, timestamp: u64, body: &[u8]) -> bool {
    header.split(' ').any(|one| keys.iter().any(|key| key.fits(one, id, timestamp, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key(text: &str) -> SigningKey {
        SigningKey::new(text).unwrap()
    }

    /// The vector in the test suites of the reference libraries (standard-webhooks/standard-webhooks).
    #[test]
    fn the_official_vector_is_met() {
        for text in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(sign(&[key(text)], ID, TIMESTAMP, BODY), SIGNATURE);
            assert!(verify(&[key(text)], SIGNATURE, ID, TIMESTAMP, BODY));
        }
    }

    #[test]
    fn while_keys_rotate_every_key_signs_and_any_key_verifies() {
        let (old, new) = (key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), key(&BASE64.encode([7; 32])));
        let both = sign(&[new.clone(), old.clone()], ID, TIMESTAMP, BODY);
        assert!(both.ends_with(&format!(" {SIGNATURE}")), "{both}");
        for key in [&old, &new] {
            assert!(verify(std::slice::from_ref(key), &both, ID, TIMESTAMP, BODY));
        }
        let only_new = sign(&[new], ID, TIMESTAMP, BODY);
        assert!(!verify(&[old], &only_new, ID, TIMESTAMP, BODY));
    }

    #[test]
    fn nothing_verifies_once_any_part_differs() {
        let keys = [key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
        assert!(!verify(&keys, SIGNATURE, "msg_other", TIMESTAMP, BODY));
        assert!(!verify(&keys, SIGNATURE, ID, TIMESTAMP + 1, BODY));
        assert!(!verify(&keys, SIGNATURE, ID, TIMESTAMP, b"{}"));
        let old_version = SIGNATURE.replace("v1,", "v0,");
        for other in ["", "v1,", "v1", "v1,!!!", &SIGNATURE[..20], &*old_version] {
            assert!(!verify(&keys, other, ID, TIMESTAMP, BODY), "{other:?}");
        }
    }

    #[test]
    fn a_key_is_base64_of_24_to_64_bytes_and_never_shown() {
        for (length, good) in [(23, false), (24, true), (64, true), (65, false), (0, false)] {
            assert_eq!(SigningKey::new(&BASE64.encode(vec![1; length])).is_ok(), good, "{length}");
        }
        assert!(SigningKey::new("whsec_no base64").is_err());
        assert_eq!(format!("{:?}", key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")), "SigningKey(***)");
    }
}
