//! Passwords of the embedded broker's users, as PHC strings (`$argon2id$v=19$m=..,t=..,p=..$salt$hash`).
//!
//! New hashes cost 7 MiB and 5 passes on one thread, the smallest of the settings that OWASP's password storage
//! page calls equivalent: a small gateway can afford it hundreds of times in a row when its devices come back.
//! Hashes with other costs are understood up to a bound, so that a line of the config cannot take the gateway's memory.

use argon2::password_hash::{Output, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Memory of a new hash, in KiB.
const MEMORY_KIB: u32 = 7 * 1024;
/// Passes of a new hash.
const PASSES: u32 = 5;
/// Most memory a hash may ask for, in KiB.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Most work a hash may ask for: KiB of memory times passes.
const WORK_KIB_MAX: u64 = 256 * 1024;

/// A password hash that can be verified on a gateway. `Debug` masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Why a text is not a password hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordHash {
    /// Not a PHC string; perhaps the password itself.
    #[error(
        "must be a hash as `waypost hash-password` prints it (`$argon2id$...`), not the password itself"
    )]
    Form,
    /// Another algorithm.
    #[error("must be an argon2id hash, is `{0}`")]
    Algorithm(String),
    /// It would take too much of a gateway each time a device connects.
    #[error(
        "must not need more than {MEMORY_KIB_MAX} KiB of memory, and {WORK_KIB_MAX} KiB of memory times passes; \
         needs {memory_kib} KiB in {passes} passes"
    )]
    TooCostly {
        /// Memory, in KiB.
        memory_kib: u32,
        /// Passes over that memory.
        passes: u32,
    },
}

impl PasswordHash {
    /// Checks that `text` is an argon2id hash of bearable cost.
    pub fn new(text: &str) -> Result<Self, InvalidPasswordHash> {
        let parsed = argon2::PasswordHash::new(text).map_err(|_| InvalidPasswordHash::Form)?;
        if parsed.algorithm != argon2::ARGON2ID_IDENT {
            return Err(InvalidPasswordHash::Algorithm(parsed.algorithm.to_string()));
        }
        let params = Params::try_from(&parsed).map_err(|_| InvalidPasswordHash::Form)?;
        if parsed.salt.is_none() || parsed.hash.is_none() {
            return Err(InvalidPasswordHash::Form);
        }
        let (memory_kib, passes) = (params.m_cost(), params.t_cost());
        if memory_kib > MEMORY_KIB_MAX || u64::from(memory_kib) * u64::from(passes) > WORK_KIB_MAX {
            return Err(InvalidPasswordHash::TooCostly { memory_kib, passes });
        }
        Ok(Self(text.to_owned()))
    }

    /// The PHC string, for the config file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of `password`. Takes milliseconds, and `memory` grows to what the hash names: not
    /// for an async thread.
    #[must_use]
    pub fn verify(&self, password: &[u8], memory: &mut WorkMemory) -> bool {
        let parsed = argon2::PasswordHash::new(&self.0).expect("checked when it was built");
        let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else { return false };
        let mut decoded = [0; Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut decoded).expect("checked when it was built");
        let params = Params::try_from(&parsed).expect("checked when it was built");
        let version = parsed.version.and_then(|version| Version::try_from(version).ok());
        let blocks = params.block_count();
        if memory.0.len() < blocks {
            memory.0.resize(blocks, Block::default());
        }
        let argon2 = Argon2::new(Algorithm::Argon2id, version.unwrap_or_default(), params);
        let Some(blocks) = memory.0.get_mut(..blocks) else { return false };
        let computed = Output::init_with(expected.len(), |out| {
            Ok(argon2.hash_password_into_with_memory(password, salt, out, blocks)?)
        });
        // `Output` compares in constant time.
        computed.is_ok_and(|computed| computed == expected)
    }
}

/// Memory for [`PasswordHash::verify`], to be used again: asking for it anew each time made the process grow by
/// 60 MiB in ten verifications (aligned requests fragment the heap of glibc 2.36).
#[derive(Default)]
pub struct WorkMemory(Vec<Block>);

impl std::fmt::Debug for WorkMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "WorkMemory({} KiB)", self.0.len())
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// Hashes `password` with a fresh salt.
#[must_use]
pub fn hash_password(password: &str) -> PasswordHash {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).expect("the kernel gives random bytes");
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the costs are in range");
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes(), &salt)
        .expect("only a password of 4 GiB is too long");
    PasswordHash(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_verifies() {
        let hash = hash_password("correct horse");
        let mut memory = WorkMemory::default();
        assert!(hash.verify(b"correct horse", &mut memory));
        assert!(!hash.verify(b"correct horse ", &mut memory));
        assert!(!hash.verify(b"", &mut memory));
        assert!(hash.verify(b"correct horse", &mut memory), "used memory changes nothing");
        assert_ne!(hash, hash_password("correct horse"), "the salt is fresh");
        assert_eq!(PasswordHash::new(hash.as_str()), Ok(hash));
    }

    #[test]
    fn a_hash_made_by_another_program_verifies() {
        // printf password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash = PasswordHash::new(hash).unwrap();
        assert!(hash.verify(b"password", &mut WorkMemory::default()));
    }

    #[test]
    fn what_is_no_bearable_argon2id_hash_is_refused_with_its_reason() {
        let refused = |text: &str| PasswordHash::new(text).unwrap_err();
        assert_eq!(refused("secret"), InvalidPasswordHash::Form);
        assert_eq!(refused("$argon2id$v=19$m=4096,t=3,p=1"), InvalidPasswordHash::Form);
        let tail = "p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(
            refused(&format!("$argon2i$v=19$m=4096,t=3,{tail}")),
            InvalidPasswordHash::Algorithm("argon2i".into())
        );
        for (memory_kib, passes) in [(65537, 1), (1_000_000, 1), (65536, 5)] {
            let hash = format!("$argon2id$v=19$m={memory_kib},t={passes},{tail}");
            assert_eq!(refused(&hash), InvalidPasswordHash::TooCostly { memory_kib, passes });
        }
    }
}
