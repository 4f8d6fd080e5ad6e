//! The secrets of a sink or proxy, which are read again when a service refuses them: a rotated key needs no restart.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::header::{HeaderName, HeaderValue};
use tracing::{info, warn};

use crate::config::{Credential, Secret};
use crate::signature::SigningKey;

/// Secrets with what they are made into.
#[derive(Debug, Clone, Default)]
pub(super) struct InUse {
    headers: Vec<(Credential, HeaderValue)>,
    keys: Vec<(Secret, SigningKey)>,
}

/// What is secret about the requests of one sink or proxy.
#[derive(Debug)]
pub(super) struct Secrets {
    /// Whose they are, for the log.
    owner: String,
    in_use: RwLock<Arc<InUse>>,
    /// What was wrong with the files the last time they were read again.
    told: Mutex<Option<String>>,
}

impl InUse {
    /// The headers that carry them.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().map(|(credential, value)| (&credential.header, value))
    }

    /// What requests are signed with; nothing signs nothing.
    pub(super) fn signing_keys(&self) -> Vec<SigningKey> {
        self.keys.iter().map(|(_, key)| key.clone()).collect()
    }

    /// The same with the files read again, `None` when nothing differs; and what is wrong with a file, whose secret
    /// stays as it is.
    fn read_again(&self) -> (Option<Self>, Option<String>) {
        let (mut after, mut differs, mut wrong) = (self.clone(), false, None);
        for (credential, value) in &mut after.headers {
            let Some(secret) = changed(&credential.secret, &mut wrong) else { continue };
            if let Some(new) = credential.value(&secret) {
                (credential.secret, *value, differs) = (secret, new, true);
            } else {
                wrong = Some("a secret has a line break or control character".to_owned());
            }
        }
        for (secret, key) in &mut after.keys {
            let Some(new) = changed(secret, &mut wrong) else { continue };
            match SigningKey::new(new.expose()) {
                Ok(new_key) => (*secret, *key, differs) = (new, new_key, true),
                Err(error) => wrong = Some(format!("a signing key {error}")),
            }
        }
        (differs.then_some(after), wrong)
    }
}

/// The secret that its file holds by now, where that is another one.
fn changed(secret: &Secret, wrong: &mut Option<String>) -> Option<Secret> {
    match Secret::read(secret.file()?) {
        Ok(read) => (read != *secret).then_some(read),
        Err(why) => {
            *wrong = Some(why);
            None
        }
    }
}

impl Secrets {
    /// As the config has them, which checked them.
    pub(super) fn new(owner: String, headers: Vec<Credential>, keys: Vec<Secret>) -> Self {
        let with_value = |credential: Credential| {
            let value = credential.value(&credential.secret)?;
            Some((credential, value))
        };
        let with_key = |secret: Secret| {
            let key = SigningKey::new(secret.expose()).ok()?;
            Some((secret, key))
        };
        let in_use = InUse {
            headers: headers.into_iter().filter_map(with_value).collect(),
            keys: keys.into_iter().filter_map(with_key).collect(),
        };
        Self { owner, in_use: RwLock::new(Arc::new(in_use)), told: Mutex::new(None) }
    }

    /// The secrets as they are now.
    pub(super) fn in_use(&self) -> Arc<InUse> {
        Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again, and gives the secrets where they are newer than `used`. Cancel safe.
    pub(super) async fn newer_than(&self, used: &Arc<InUse>) -> Option<Arc<InUse>> {
        let before = self.in_use();
        let read = tokio::task::spawn_blocking(move || before.read_again());
        let (after, wrong) = read.await.ok()?;
        self.tell(wrong);
        if let Some(after) = after {
            info!(owner = self.owner, "secret read again from its file");
            *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        }
        let now = self.in_use();
        (!Arc::ptr_eq(&now, used)).then_some(now)
    }

    fn tell(&self, wrong: Option<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = wrong.as_ref().filter(|why| told.as_ref() != Some(why)) {
            warn!(owner = self.owner, why, "secret cannot be read again");
        }
        *told = wrong;
    }
}
