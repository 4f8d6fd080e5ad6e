//! From the files of other brokers to a config of Waypost, with a report of everything that is not the same.
//!
//! Promises: the config that comes out passes `waypost check` (what would not is in it as comments, with the reason), and
//! every key of the source is either carried over or named in the report. Never opens a file or a socket of its own.

mod archive;
mod draft;
mod emqx4;
mod emqx4_rules;
mod emqx5;
mod emqx5_parts;
mod hocon;
mod notes;
mod service;
mod tree;

#[cfg(test)]
mod tests;

pub use archive::{NoCluster, cluster_in};
pub use emqx4::NotWebHook;
pub use hocon::NotHocon;
pub use notes::Notes;

use crate::config::Surroundings;

/// What an import gives.
#[derive(Debug)]
pub struct Imported {
    /// The text of a config file.
    pub config: String,
    /// What was carried over, what differs, and what was left out.
    pub notes: Notes,
}

/// Rules, actions, connectors and webhooks of EMQX 5: HOCON as EMQX keeps it (`cluster.hocon`), or JSON of its API.
///
/// `broker` is the URL of the broker whose messages the rules are for.
pub fn emqx5(text: &str, broker: &str, surroundings: &Surroundings) -> Result<Imported, NotHocon> {
    let mut notes = Notes::default();
    let draft = emqx5::draft(hocon::parse(text)?, broker, &mut notes);
    Ok(Imported { config: draft.settled(surroundings, &mut notes), notes })
}

/// Why a file is nothing of EMQX 4.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEmqx4 {
    /// Neither is it JSON.
    #[error(transparent)]
    WebHook(#[from] NotWebHook),
    /// It begins like JSON.
    #[error("not JSON, and so no export of rules: {0}")]
    Json(String),
}

/// What EMQX 4 has: the webhook plugin, by its file or its environment variables, or an export of rules, which is JSON.
pub fn emqx4(text: &str, broker: &str, surroundings: &Surroundings) -> Result<Imported, NotEmqx4> {
    let mut notes = Notes::default();
    let draft = if text.trim_start().starts_with(['{', '[']) {
        let root = serde_json::from_str(text).map_err(|error| NotEmqx4::Json(error.to_string()))?;
        emqx4_rules::draft(root, broker, &mut notes)
    } else {
        emqx4::draft(text, broker, &mut notes)?
    };
    Ok(Imported { config: draft.settled(surroundings, &mut notes), notes })
}
