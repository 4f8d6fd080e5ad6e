//! Who may send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::config::Secret;

/// What senders must show; they may show it as a bearer token, or as the password of any user, for senders that can set no
/// header but have a URL.
#[derive(Debug, Clone)]
pub(super) struct Token(Secret);

impl Token {
    pub(super) const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Whether the value of an `authorization` header has it (RFC 6750, RFC 7617). Takes as long for a wrong one as for the
    /// right one.
    pub(super) fn is_in(&self, authorization: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(authorization) else { return false };
        let Some((scheme, credential)) = text.split_once(' ') else { return false };
        let credential = credential.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(credential.as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Ok(pair) = BASE64.decode(credential) else { return false };
        let colon = pair.iter().position(|byte| *byte == b':');
        colon.and_then(|colon| pair.get(colon + 1..)).is_some_and(|password| self.is(password))
    }

    /// Compares digests, so that neither what fits nor the length shows in the time.
    fn is(&self, shown: &[u8]) -> bool {
        let (shown, expected) = (Sha256::digest(shown), Sha256::digest(self.0.expose()));
        shown.iter().zip(&expected).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_known_as_bearer_and_as_a_password_and_nothing_else_is() {
        let token = Token::new(Secret::new("hunter2:x".to_owned()));
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        for right in [
            "Bearer hunter2:x",
            "bearer  hunter2:x",
            &*basic("emqx:hunter2:x"),
            &*basic(":hunter2:x"),
        ] {
            assert!(token.is_in(right.as_bytes()), "{right}");
        }
        for wrong in [
            "",
            "hunter2:x",
            "Bearer",
            "Bearer hunter2",
            "Bearer hunter2:xx",
            "Digest hunter2:x",
            "Basic hunter2:x",
            &*basic("hunter2:x"),
            &*basic("hunter2"),
        ] {
            assert!(!token.is_in(wrong.as_bytes()), "{wrong}");
        }
        assert!(!token.is_in(b"Bearer \xff"));
    }
}
