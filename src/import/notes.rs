//! The report of an import.

use std::fmt;

/// What became of the things of the source, each with its place there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    carried: Vec<Note>,
    different: Vec<Note>,
    left_out: Vec<Note>,
}

#[derive(Debug, PartialEq, Eq)]
struct Note {
    place: String,
    message: String,
}

impl Notes {
    /// Means the same here.
    pub(super) fn carried(&mut self, place: &str, message: impl Into<String>) {
        self.carried.push(Note { place: place.to_owned(), message: message.into() });
    }

    /// Is there, and means something else.
    pub(super) fn different(&mut self, place: &str, message: impl Into<String>) {
        self.different.push(Note { place: place.to_owned(), message: message.into() });
    }

    /// Is not there.
    pub(super) fn left_out(&mut self, place: &str, message: impl Into<String>) {
        self.left_out.push(Note { place: place.to_owned(), message: message.into() });
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections = [
            ("Carried over", &self.carried),
            ("Means something else here", &self.different),
            ("Left out", &self.left_out),
        ];
        for (title, notes) in sections {
            writeln!(formatter, "{title}:{}", if notes.is_empty() { " nothing" } else { "" })?;
            for Note { place, message } in notes {
                writeln!(formatter, "  {place}: {message}")?;
            }
        }
        Ok(())
    }
}
