//! Words of these commands: what is typed, and how things are shown.

use std::num::NonZeroU64;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;

use crate::clock::UnixMillis;
use crate::store::DeadLetterReason;
use crate::units::parse_period;

/// A reason by its word.
pub(super) fn reason() -> impl TypedValueParser<Value = DeadLetterReason> {
    PossibleValuesParser::new(DeadLetterReason::ALL.map(DeadLetterReason::label)).map(|label| {
        DeadLetterReason::from_label(&label).expect("the parser takes the words of reasons only")
    })
}

/// A count of at least one.
pub(super) fn count(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "must be a whole number, at least 1".to_owned())
}

/// A time: a period before now, or a moment.
pub(super) fn moment(text: &str) -> Result<UnixMillis, String> {
    if let Ok(period) = parse_period(text) {
        return Ok(ago(period));
    }
    let moment: Result<Timestamp, _> = text.parse();
    let moment = moment.ok().and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    moment.map(UnixMillis).ok_or_else(|| {
        "must be a period such as `30m`, `2h` or `7d`, or a time such as `2026-01-31T08:00:00Z`"
            .to_owned()
    })
}

/// So long before now.
pub(super) fn ago(period: std::time::Duration) -> UnixMillis {
    let millis = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    UnixMillis(UnixMillis::now().0.saturating_sub(millis))
}

/// A time for people, in UTC.
pub(super) fn time(moment: UnixMillis) -> String {
    let millis = i64::try_from(moment.0).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// `1 dead letter`, `2 dead letters`.
pub(super) fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// A text from outside on one line of a terminal: what could steer it is written as an escape.
pub(super) fn plain(text: &str) -> String {
    escaped(text, |_| false)
}

/// The same on several lines.
pub(super) fn plain_lines(text: &str) -> String {
    escaped(text, |c| c == '\n' || c == '\t')
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !keeps(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_steered_by_what_a_service_or_a_device_said() {
        assert_eq!(plain("a\u{1b}[31m\nb\u{9b}"), "a\\u{1b}[31m\\nb\\u{9b}");
        assert_eq!(plain_lines("a\r\n\tb"), "a\\r\n\tb");
    }

    #[test]
    fn a_moment_is_a_period_before_now_or_a_time() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(UnixMillis(1000)));
        let hour_ago = UnixMillis::now().0 - 3_600_000;
        assert!(moment("1h").unwrap().0.abs_diff(hour_ago) < 60_000);
        assert!(moment("yesterday").is_err());
        assert_eq!(time(UnixMillis(1_800_000_000_000)), "2027-01-15T08:00:00Z");
    }
}
