//! The functions of the rule language: one entry each, in one table, from which the compiler, `waypost rule functions`
//! and the reference are made.
//!
//! They follow EMQX 5 and 6, and say in their docs where they do not. An entry promises: arguments of the kinds it
//! names (anything else is refused before it runs), no panic, no wait but `jq`'s own bounded one, and no result over the
//! bounds of [`super::run`]. `undefined` and `null` are refused wherever an entry does not say that it takes anything.

mod argument;
mod arrays;
mod bits;
mod bytes;
mod calendar;
mod codec;
mod columns;
mod compression;
mod convert;
mod dates;
mod entry;
mod external_term;
mod hashes;
pub mod jq;
mod kinds;
mod maps;
mod math;
mod patterns;
mod pcre;
mod reference;
mod sprintf;
mod state;
mod strings;
mod system;
mod unavailable;
mod words;

#[cfg(test)]
mod tests;

pub use argument::{Argument, Kind};
pub use entry::Function;
pub use reference::page;
pub use unavailable::why_unavailable;

/// The functions that belong together, under one heading.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The heading.
    pub title: &'static str,
    /// In the order in which they are read best.
    pub functions: &'static [Function],
}

/// Every function there is.
pub static FAMILIES: &[Family] = &[
    Family { title: "Columns of the event", functions: columns::FUNCTIONS },
    Family { title: "Numbers", functions: math::FUNCTIONS },
    Family { title: "Bits and bytes", functions: bits::FUNCTIONS },
    Family { title: "Conversion", functions: convert::FUNCTIONS },
    Family { title: "What a value is", functions: kinds::FUNCTIONS },
    Family { title: "Texts", functions: strings::FUNCTIONS },
    Family { title: "Words and joining", functions: words::FUNCTIONS },
    Family { title: "Regular expressions", functions: patterns::FUNCTIONS },
    Family { title: "Objects", functions: maps::FUNCTIONS },
    Family { title: "Arrays", functions: arrays::FUNCTIONS },
    Family { title: "Hashes", functions: hashes::FUNCTIONS },
    Family { title: "Encodings", functions: codec::FUNCTIONS },
    Family { title: "Compression", functions: compression::FUNCTIONS },
    Family { title: "jq", functions: jq::FUNCTIONS },
    Family { title: "Dates and times", functions: dates::FUNCTIONS },
    Family { title: "Kept between events", functions: state::FUNCTIONS },
    Family { title: "Others", functions: system::FUNCTIONS },
];

/// The function of a name. Names are compared exactly: they are lower-case.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// Every function, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().flat_map(|family| family.functions)
}

/// What functions are called in other languages.
const ELSEWHERE: [(&str, &str); 14] = [
    ("cast", "int"),
    ("char_length", "strlen"),
    ("ifnull", "coalesce"),
    ("json_extract", "map_get"),
    ("json_parse", "json_decode"),
    ("json_stringify", "json_encode"),
    ("len", "strlen"),
    ("now", "now_timestamp"),
    ("nvl", "coalesce"),
    ("substring", "substr"),
    ("to_json", "json_encode"),
    ("to_number", "float"),
    ("to_string", "str"),
    ("uuid", "uuid_v4"),
];

/// The name of a function that somebody may have meant by one that does not exist.
#[must_use]
pub fn did_you_mean(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, here)) = ELSEWHERE.iter().find(|(there, _)| *there == lower) {
        return Some(here);
    }
    let distance = |function: &Function| strsim::damerau_levenshtein(&lower, function.name);
    let nearest = all().min_by_key(|function| distance(function))?;
    let close_enough = 1 + lower.chars().count() / 4;
    (distance(nearest) <= close_enough).then_some(nearest.name)
}
