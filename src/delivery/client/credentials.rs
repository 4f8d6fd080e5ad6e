//! Headers with secrets, which are read again when a service refuses them: a rotated key needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::header::{HeaderName, HeaderValue};
use tracing::{info, warn};

use crate::config::{Credential, Secret};

type Headers = Arc<[(HeaderName, HeaderValue)]>;

/// The credentials of one sink or proxy. The values in use never show in `Debug`.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Whose they are, for the log.
    owner: String,
    sources: Vec<Credential>,
    current: RwLock<Headers>,
    /// What was wrong with the files the last time they were read again.
    told: Mutex<Option<String>>,
}

impl Credentials {
    pub(super) fn new(owner: &str, sources: Vec<Credential>) -> Self {
        let value = |credential: &Credential| {
            // The config has no other.
            Some((credential.header.clone(), credential.value(&credential.secret)?))
        };
        let current: Headers = sources.iter().filter_map(value).collect();
        let (current, told) = (RwLock::new(current), Mutex::new(None));
        Self { owner: owner.to_owned(), sources, current, told }
    }

    /// The headers as they are now.
    pub(super) fn current(&self) -> Headers {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. Gives the headers where they differ from `used`.
    ///
    /// A file that cannot be read leaves the secret as it is and is told of once. Cancel safe: nothing changes
    /// before all is read.
    pub(super) async fn newer_than(&self, used: &Headers) -> Option<Headers> {
        let files = self.files();
        if files.is_empty() {
            return None;
        }
        let secrets = tokio::task::spawn_blocking(move || read_all(&files)).await.ok()?;
        let before = self.current();
        let after = self.with_secrets(&before, secrets);
        if after != before {
            info!(owner = self.owner, "secret read again from its file");
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&after);
        }
        (after != *used).then_some(after)
    }

    fn files(&self) -> Vec<PathBuf> {
        let file = |source: &Credential| source.secret.file().map(Path::to_owned);
        self.sources.iter().filter_map(file).collect()
    }

    fn with_secrets(&self, before: &Headers, secrets: Vec<Result<Secret, String>>) -> Headers {
        let mut secrets = secrets.into_iter();
        let mut wrong = None;
        let mut renew = |(source, old): (&Credential, &(HeaderName, HeaderValue))| {
            let kept = old.clone();
            if source.secret.file().is_none() {
                return kept;
            }
            let value = secrets.next().map_or(Err(String::new()), |secret| {
                let value = secret.map(|secret| source.value(&secret))?;
                value.ok_or_else(|| "the secret has a line break or control character".to_owned())
            });
            match value {
                Ok(value) => (kept.0, value),
                Err(why) => {
                    wrong = Some(why);
                    kept
                }
            }
        };
        let renewed = self.sources.iter().zip(before.iter()).map(&mut renew).collect();
        self.tell(wrong);
        renewed
    }

    fn tell(&self, wrong: Option<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = wrong.as_ref().filter(|why| told.as_ref() != Some(why)) {
            warn!(owner = self.owner, why, "secret cannot be read again");
        }
        *told = wrong;
    }
}

fn read_all(files: &[PathBuf]) -> Vec<Result<Secret, String>> {
    files.iter().map(|file| Secret::read(file)).collect()
}
