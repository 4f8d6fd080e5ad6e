//! Names of sources, rules, connectors and sinks, and ids of records.
//!
//! They become folder names, metric labels and parts of record ids, so the alphabet is small:
//! `[a-z0-9][a-z0-9_-]{0,62}`. A name is valid or was never built; copies share one allocation.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 characters of a-z, 0-9, `_` and `-`, starting with a letter or digit")]
pub struct InvalidName;

fn is_valid(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest_is_plain =
        text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    starts_well && rest_is_plain && text.len() <= 63
}

macro_rules! name {
    ($(#[$docs:meta])* $type:ident) => {
        $(#[$docs])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `text` against `[a-z0-9][a-z0-9_-]{0,62}`.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                if is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidName) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of a source: where events come from.
    SourceName
}
name! {
    /// Name of a rule: what selects events for sinks.
    RuleName
}
name! {
    /// Name of a sink: an HTTP service with a queue of its own.
    SinkName
}
name! {
    /// Name of a connector: an HTTP service whose connections several sinks share.
    ConnectorName
}

/// Longest id of a record: store id, sink, number and what an edit appends stay far below.
const RECORD_ID_BYTES_MAX: usize = 160;

/// Why a text is not the id of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an id such as `4q7wmb9iwj8i-cloud-42`: a-z, 0-9, `_` and `-`")]
pub struct InvalidRecordId;

/// The id of a record: `<store>-<sink>-<number>`, and `-e<random>` behind it where it was edited.
///
/// Header and file names can hold it as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId(Arc<str>);

impl RecordId {
    /// Checks the alphabet and the length.
    pub fn new(text: &str) -> Result<Self, InvalidRecordId> {
        let is_plain =
            text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        let fits = (1..=RECORD_ID_BYTES_MAX).contains(&text.len());
        if is_plain && fits { Ok(Self(text.into())) } else { Err(InvalidRecordId) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RecordId {
    type Error = InvalidRecordId;
    fn try_from(text: String) -> Result<Self, InvalidRecordId> {
        Self::new(&text)
    }
}

impl std::str::FromStr for RecordId {
    type Err = InvalidRecordId;
    fn from_str(text: &str) -> Result<Self, InvalidRecordId> {
        Self::new(text)
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_record_is_what_a_header_can_hold() {
        for good in ["4q7wmb9iwj8i-cloud-42", "a-my_sink-1-e2x3", &"x".repeat(160)] {
            assert!(RecordId::new(good).is_ok(), "{good:?} is an id");
        }
        for bad in ["", "A-b-1", "a b", "a/b", "a\nb", &"x".repeat(161)] {
            assert!(RecordId::new(bad).is_err(), "{bad:?} is no id");
        }
    }

    #[test]
    fn a_name_is_a_short_lower_case_word() {
        for good in ["a", "0", "cloud-1", "my_sink", &"x".repeat(63)] {
            assert!(SinkName::new(good).is_ok(), "{good:?} is a name");
        }
        for bad in ["", "-a", "_a", "A", "a.b", "a b", "ü", &"x".repeat(64)] {
            assert!(SinkName::new(bad).is_err(), "{bad:?} is no name");
        }
    }
}
