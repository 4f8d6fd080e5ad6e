//! From the files of other brokers to a config of Waypost, with a report of everything that is not the same.
//!
//! Promises: the config that comes out passes `waypost check` (what would not is in it as comments, with the reason), and
//! every key of the source is either carried over or named in the report. Never opens a file or a socket of its own.

mod draft;
mod emqx4;
mod emqx5;
mod hocon;
mod notes;
mod tree;

#[cfg(test)]
mod tests;

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

/// The webhook plugin of EMQX 4: its file or its environment variables.
pub fn emqx4(
    text: &str,
    broker: &str,
    surroundings: &Surroundings,
) -> Result<Imported, NotWebHook> {
    let mut notes = Notes::default();
    let draft = emqx4::draft(text, broker, &mut notes)?;
    Ok(Imported { config: draft.settled(surroundings, &mut notes), notes })
}
