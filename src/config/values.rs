//! Single values: texts, numbers, sizes, periods and words, each in its range.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::Value;
use super::schema::Form;
use super::words::{known_words, nearest};
use crate::units::{parse_period, parse_size, period_text, size_text};

impl Value<'_> {
    /// The text as it stands in the file.
    pub(super) fn raw_text(&self) -> Option<&str> {
        self.may_be(Form::Text);
        match self.content {
            DeValue::String(text) => Some(text),
            _ => self.wrong(format!("must be a text in quotes, is {}", self.described())),
        }
    }

    /// The text with its `${env:NAME}` filled in.
    pub(super) fn text(&self) -> Option<String> {
        self.with_environment(self.raw_text()?, false)
    }

    /// A text that is not empty.
    pub(super) fn nonempty_text(&self) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() { self.wrong("must not be empty") } else { Some(text) }
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T, E: Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text()?;
        parse(&text).or_else(|error| self.wrong(format!("{error}, is {text:?}")).ok_or(())).ok()
    }

    /// One of some words, each with what it stands for.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        self.may_be(Form::words(words.iter().map(|(word, _)| *word)));
        let text = self.text()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known = known_words(words.iter().map(|(word, _)| *word));
        let meant = nearest(&text, words.iter().map(|(word, _)| *word));
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        let choice = if words.len() == 1 { "must be" } else { "must be one of" };
        self.wrong(format!("{choice} {known}, is {text:?}{meant}"))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        self.may_be(Form::Boolean);
        match self.content {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong(format!("must be true or false, is {}", self.described())),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.may_be(Form::Integer(range.clone()));
        let DeValue::Integer(number) = self.content else {
            return self.wrong(format!("must be a whole number, is {}", self.described()));
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let negative = number.as_str().starts_with('-');
        match parsed {
            Some(number) if range.contains(&number) => Some(number),
            _ => self.outside(negative.then_some(0).or(parsed), &range, u64::to_string),
        }
    }

    /// A whole number above 0.
    pub(super) fn count(&self, max: u32) -> Option<NonZeroUsize> {
        let number = self.integer(1..=max.into())?;
        NonZeroUsize::new(usize::try_from(number).ok()?)
    }

    /// A number with or without decimals.
    pub(super) fn decimal(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.may_be(Form::Decimal(range.clone()));
        let number: Option<f64> = match self.content {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let (start, end) = range.into_inner();
                self.wrong(format!("must be from {start:?} to {end:?}, is {}", self.described()))
            }
        }
    }

    /// A size in bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.may_be(Form::Size);
        self.need_unit("MiB", "a size such as \"64MiB\"")?;
        let bytes = self.parsed(parse_size)?;
        if range.contains(&bytes) {
            return Some(bytes);
        }
        self.outside(Some(bytes), &range, |bytes| size_text(*bytes))
    }

    /// A period.
    pub(super) fn period(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.may_be(Form::Period);
        self.need_unit("s", "a period such as \"30s\"")?;
        let period = self.parsed(parse_period)?;
        if range.contains(&period) {
            return Some(period);
        }
        self.outside(Some(period), &range, |period| period_text(*period))
    }

    /// A period of whole seconds.
    pub(super) fn seconds(&self, min: Duration, max: Duration) -> Option<Duration> {
        let period = self.period(min..=max)?;
        if period.subsec_nanos() == 0 {
            return Some(period);
        }
        self.wrong(format!("must be whole seconds, is {}", self.described()))
    }

    /// A path, from the folder of the config file when it is relative.
    pub(super) fn path(&self) -> Option<PathBuf> {
        Some(self.reader.surroundings.folder.join(self.nonempty_text()?))
    }

    /// A list of at least one element, each as `read` takes it. `advice` says what to do instead of an empty list.
    pub(super) fn some<T>(
        &self,
        advice: &str,
        read: impl Fn(&Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let elements = self.list()?;
        if elements.is_empty() {
            return self.wrong(format!("must not be empty; {advice}"));
        }
        // All elements are read before one that is wrong spoils the list.
        let read: Vec<Option<T>> = elements.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// A number where a text with a unit belongs.
    fn need_unit(&self, unit: &str, kind: &str) -> Option<()> {
        match self.content {
            DeValue::String(_) => Some(()),
            DeValue::Integer(number) => self
                .wrong(format!("needs a unit, as in \"{number}{unit}\", is {}", self.described())),
            _ => self.wrong(format!("must be {kind}, is {}", self.described())),
        }
    }

    fn outside<T: PartialOrd, R>(
        &self,
        value: Option<T>,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<R> {
        // A number that fits no 64 bits is past the end of every range.
        let bound = if value.is_some_and(|value| value < *range.start()) {
            format!("at least {}", show(range.start()))
        } else {
            format!("at most {}", show(range.end()))
        };
        self.wrong(format!("must be {bound}, is {}", self.described()))
    }
}
