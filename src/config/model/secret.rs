//! Secrets, which are never shown.

use std::fmt;
use std::path::Path;

use crate::config::secret::read_secret;

/// A text that must not be shown: `Debug` masks it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Box<str>,
    /// Where it was read and can be read again.
    file: Option<Box<Path>>,
}

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text: text.into(), file: None }
    }

    /// The secret in a file, without the line breaks at its end; otherwise in words what is wrong with the file.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = read_secret(file).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(Self { text: text.into(), file: Some(file.into()) })
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file it stands in, which may hold another one by now.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}
