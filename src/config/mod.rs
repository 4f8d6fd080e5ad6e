//! One TOML file, read whole and checked whole: all problems at once, each with its place and what would be right.

mod model;

pub use model::*;
