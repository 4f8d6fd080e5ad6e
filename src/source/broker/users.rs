//! Who may connect.
//!
//! Verifying a password costs milliseconds and megabytes on purpose, so it happens on the runtime's blocking threads, a
//! few at once, in the order of arrival. After a power cut all devices come back together: what was verified once is
//! remembered (one keyed digest per user, never the password), who waited too long is hung up on instead of
//! verified for nobody, and whoever has left is skipped. An unknown user costs the same time as a known one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::peers::Peer;
use crate::config;
use crate::password::{PasswordHash, WorkMemory};

/// Longest wait for a turn; devices give up on a connection that is silent for much longer.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// The users of the config.
#[derive(Debug)]
pub(super) struct Users {
    known: HashMap<String, Arc<User>>,
    /// Verified in the place of an unknown user.
    decoy: Option<Arc<User>>,
    allow_anonymous: bool,
    turns: Semaphore,
    /// One for each turn, made when it is first needed.
    memories: Arc<Mutex<Vec<WorkMemory>>>,
    digest_key: [u8; 32],
}

struct User {
    hash: PasswordHash,
    /// Keyed digest of the password that was found right.
    verified: OnceLock<[u8; 32]>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("User")
    }
}

/// Whether a client may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Granted,
    /// Unknown user or wrong password.
    BadCredentials,
    /// No user name where one is needed.
    Anonymous,
    /// It could not be found out in time.
    Overloaded,
}

impl Users {
    pub(super) fn new(config: &config::BrokerSource) -> Self {
        let user = |user: &config::BrokerUser| {
            let known = User { hash: user.password_hash.clone(), verified: OnceLock::new() };
            (user.username.clone(), Arc::new(known))
        };
        let known: HashMap<_, _> = config.users.iter().map(user).collect();
        let mut digest_key = [0; 32];
        getrandom::fill(&mut digest_key).expect("the kernel gives random bytes");
        Self {
            decoy: known.values().next().cloned(),
            known,
            allow_anonymous: config.allow_anonymous,
            turns: Semaphore::new(verifications_at_once()),
            memories: Arc::default(),
            digest_key,
        }
    }

    /// Decides on a CONNECT. Without any user in the config everybody may connect under any name: the config
    /// allows that on loopback, or where it says so.
    pub(super) async fn admit(
        &self,
        username: Option<&str>,
        password: &[u8],
        peer: &Peer,
    ) -> Admission {
        match username {
            _ if self.known.is_empty() => Admission::Granted,
            None if self.allow_anonymous => Admission::Granted,
            None => Admission::Anonymous,
            Some(name) => self.verify(name, password, peer).await,
        }
    }

    async fn verify(&self, name: &str, password: &[u8], peer: &Peer) -> Admission {
        let digest = self.digest(name, password);
        let known = self.known.get(name);
        if known.is_some_and(|user| user.verified.get() == Some(&digest)) {
            return Admission::Granted;
        }
        let Some(user) = known.or(self.decoy.as_ref()).cloned() else {
            return Admission::BadCredentials;
        };
        let turn = tokio::time::timeout(TURN_WAIT_MAX, self.turns.acquire()).await;
        if turn.is_err() || peer.has_left() {
            return Admission::Overloaded;
        }
        // Another device of this user may have been verified meanwhile.
        if known.is_some_and(|user| user.verified.get() == Some(&digest)) {
            return Admission::Granted;
        }
        let is_known = known.is_some();
        let password = password.to_vec();
        let memories = Arc::clone(&self.memories);
        let verified = tokio::task::spawn_blocking(move || {
            let pool = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = pool().pop().unwrap_or_default();
            let right = user.hash.verify(&password, &mut memory) && is_known;
            pool().push(memory);
            if right {
                // Somebody else may have set the same digest.
                user.verified.set(digest).ok();
            }
            right
        });
        match verified.await {
            Ok(true) => Admission::Granted,
            Ok(false) => Admission::BadCredentials,
            Err(_) => Admission::Overloaded,
        }
    }

    fn digest(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.digest_key);
        digest.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(name);
        digest.update(password);
        digest.finalize().into()
    }
}

/// Half of the processors, so that the store is not starved by devices that come back.
pub(super) fn verifications_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |count| (count.get() / 2).max(1))
}
