//! What an evaluation may ask for while it runs, how much it may use, and how it fails.

use super::value::Value;

/// Longest text that an expression or a function may make, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 << 20;
/// Most elements that an array made by a function or a range may have.
pub const ELEMENTS_MAX: usize = 100_000;

/// Why a rule failed for an event, the `reason` label of `waypost_rule_failed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A path goes into a payload that is not JSON.
    NotJson,
    /// A value of a type that an operator, a function or a condition cannot take.
    WrongType,
    /// A value of the right type that cannot be used: an index of 0, a division by 0, a text that is no date.
    WrongValue,
    /// More steps, bytes or time than a rule may use.
    Limit,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 4] = [Self::NotJson, Self::WrongType, Self::WrongValue, Self::Limit];

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::WrongType => "wrong_type",
            Self::WrongValue => "wrong_value",
            Self::Limit => "limit",
        }
    }
}

/// A rule failed for one event. Other rules and other events are not concerned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// What it is counted as.
    pub reason: Reason,
    /// What happened, with the values concerned, for a person.
    pub message: String,
}

impl RunError {
    /// An error with its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A text over [`TEXT_BYTES_MAX`].
    #[must_use]
    pub fn text_too_long() -> Self {
        Self::new(Reason::Limit, format!("a text of more than {TEXT_BYTES_MAX} bytes"))
    }

    /// An array over [`ELEMENTS_MAX`].
    #[must_use]
    pub fn array_too_long() -> Self {
        Self::new(Reason::Limit, format!("an array of more than {ELEMENTS_MAX} elements"))
    }

    /// An integer over the bound, or a float that would be infinite.
    #[must_use]
    pub fn number_too_large() -> Self {
        Self::new(Reason::WrongValue, "the result is too large for a number")
    }

    /// `/`, `div` or `mod` by zero.
    #[must_use]
    pub fn division_by_zero() -> Self {
        Self::new(Reason::WrongValue, "division by zero")
    }
}

/// What a function may ask of the evaluation that calls it.
pub trait Context {
    /// A column of the event or an alias, [`Value::Undefined`] where there is none: what `NAME` alone gives in an
    /// expression at the same place.
    fn column(&self, name: &str) -> Value;
}

/// The signature of every function of the language: the arguments in order, already counted and evaluated.
pub type Implementation = fn(&dyn Context, &[Value]) -> Result<Value, RunError>;
