//! `${...}` templates, as EMQX renders them.

use serde_json::Value;

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidTemplate {
    /// Where in the text, in bytes.
    pub position: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Where a template stands: how rendered values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Values as they are: bodies and header values.
    None,
    /// Percent-encoded as one path segment or query value.
    Url,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
}

impl Template {
    /// Parses `source`. What is not a placeholder is literal text, as in EMQX.
    pub fn parse(source: &str) -> Result<Self, InvalidTemplate> {
        Ok(Self { source: source.to_owned() })
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders with the columns in `data`; a missing path gives `undefined`.
    #[must_use]
    pub fn render(&self, _data: &Value, _escape: Escape) -> String {
        todo!()
    }
}

/// Joins a connector's path and a request's path as EMQX does.
#[must_use]
pub fn join_path(_base: &str, _path: &str) -> String {
    todo!()
}
