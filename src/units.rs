//! Sizes (`"64MiB"`) and periods (`"1h30m"`) as they stand in the config.
//!
//! A number without a unit is refused: whether `30` means seconds or milliseconds is a guess that somebody pays for.
//! What these functions write, they read back to the same value.

use std::time::Duration;

/// Why a text is not a size or a period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// `12`
    #[error("needs a unit, as in \"{example}\"")]
    NoUnit {
        /// The same number with a likely unit.
        example: String,
    },
    /// `12parsecs`
    #[error("must have one of the units {known}, not `{}`", unit.trim())]
    UnknownUnit {
        /// What stands in the place of the unit.
        unit: String,
        /// All units, for a sentence.
        known: &'static str,
    },
    /// `many`, `1.5h`, `-3s`
    #[error("must be a whole number with a unit, as in \"{example}\"")]
    NoNumber {
        /// A good one.
        example: &'static str,
    },
    /// `30m1h`
    #[error("must have its units from large to small, each once, as in \"1h30m\"")]
    Disordered,
    /// More than 64 bits hold.
    #[error("is too large")]
    TooLarge,
}

const KIB: u64 = 1024;
/// From small to large; the first spelling of a factor is the one that is written.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("KB", 1000),
    ("kB", 1000),
    ("KiB", KIB),
    ("MB", 1_000_000),
    ("MiB", KIB * KIB),
    ("GB", 1_000_000_000),
    ("GiB", KIB * KIB * KIB),
    ("TB", 1_000_000_000_000),
    ("TiB", KIB * KIB * KIB * KIB),
];
const SIZE_UNITS_KNOWN: &str = "B, KB, KiB, MB, MiB, GB, GiB, TB and TiB";

/// Milliseconds each, from large to small.
const PERIOD_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const PERIOD_UNITS_KNOWN: &str = "ms, s, m, h and d";

/// Bytes of a size such as `64MiB`, `512KB` or `100 B`: `KB` is 1000 bytes, `KiB` is 1024.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    let (number, unit) = split_number(text, "64MiB")?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    if unit.is_empty() {
        return Err(InvalidQuantity::NoUnit { example: format!("{number}MiB") });
    }
    let (_, bytes) = SIZE_UNITS.into_iter().find(|(known, _)| *known == unit).ok_or_else(|| {
        InvalidQuantity::UnknownUnit { unit: unit.to_owned(), known: SIZE_UNITS_KNOWN }
    })?;
    number.checked_mul(bytes).ok_or(InvalidQuantity::TooLarge)
}

/// A period such as `30s`, `5ms`, `7d` or `1h30m`: units from large to small, each once.
pub fn parse_period(text: &str) -> Result<Duration, InvalidQuantity> {
    let mut milliseconds: u64 = 0;
    let mut units_left = PERIOD_UNITS.iter();
    let mut rest = text;
    loop {
        let (number, tail) = split_number(rest, "30s")?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if unit.is_empty() {
            return Err(InvalidQuantity::NoUnit { example: format!("{text}s") });
        }
        if PERIOD_UNITS.iter().all(|(known, _)| *known != unit) {
            return Err(InvalidQuantity::UnknownUnit {
                unit: unit.to_owned(),
                known: PERIOD_UNITS_KNOWN,
            });
        }
        let (_, factor) =
            units_left.find(|(known, _)| *known == unit).ok_or(InvalidQuantity::Disordered)?;
        milliseconds = number
            .checked_mul(*factor)
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or(InvalidQuantity::TooLarge)?;
        rest = tail;
        if rest.is_empty() {
            return Ok(Duration::from_millis(milliseconds));
        }
    }
}

fn split_number<'text>(
    text: &'text str,
    example: &'static str,
) -> Result<(u64, &'text str), InvalidQuantity> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || rest.starts_with(['.', ',', '_']) {
        return Err(InvalidQuantity::NoNumber { example });
    }
    let number = digits.parse().map_err(|_| InvalidQuantity::TooLarge)?;
    Ok((number, rest))
}

/// A size in the largest unit that divides it, binary units first: `1 MiB`, `512 KB`, `1025 B`.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let dividing = |binary: bool| {
        SIZE_UNITS
            .into_iter()
            .rev()
            .find(|(unit, factor)| unit.contains('i') == binary && bytes.is_multiple_of(*factor))
            .filter(|(_, factor)| *factor <= bytes)
    };
    match dividing(true).or_else(|| dividing(false)) {
        Some(("kB", factor)) => format!("{} KB", bytes / factor),
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

/// A period in the units it takes: `30s`, `1h30m`; what is under a millisecond is left out.
#[must_use]
pub fn period_text(period: Duration) -> String {
    let mut left = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in PERIOD_UNITS {
        let count = left / factor;
        left %= factor;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A size for people: three digits and a binary unit.
#[must_use]
pub fn size_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let exponent = bytes.checked_ilog2().unwrap_or(0) / 10;
    let index = usize::try_from(exponent).unwrap_or(0).min(UNITS.len() - 1);
    let unit = UNITS.get(index).copied().unwrap_or("B");
    if index == 0 {
        return format!("{bytes} {unit}");
    }
    let tenths = u128::from(bytes) * 10 / (1_u128 << (10 * index));
    if tenths >= 1000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A period for people: its two largest units.
#[must_use]
pub fn period_words(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_a_unit() {
        for (text, bytes) in [
            ("0B", 0),
            ("100 B", 100),
            ("512KB", 512_000),
            ("512kB", 512_000),
            ("64MiB", 64 << 20),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, message) in [
            ("12", "needs a unit, as in \"12MiB\""),
            ("", "must be a whole number with a unit, as in \"64MiB\""),
            ("1.5GiB", "must be a whole number with a unit, as in \"64MiB\""),
            ("-1MiB", "must be a whole number with a unit, as in \"64MiB\""),
            (
                "1mb",
                "must have one of the units B, KB, KiB, MB, MiB, GB, GiB, TB and TiB, not `mb`",
            ),
            ("16777216TiB", "is too large"),
            ("99999999999999999999B", "is too large"),
        ] {
            assert_eq!(parse_size(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn a_period_is_whole_numbers_with_units_from_large_to_small() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("5ms", 5),
            ("30s", 30_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1m5ms", 60_005),
        ] {
            assert_eq!(parse_period(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for (text, message) in [
            ("30", "needs a unit, as in \"30s\""),
            ("", "must be a whole number with a unit, as in \"30s\""),
            ("1.5h", "must be a whole number with a unit, as in \"30s\""),
            ("1h 30m", "must have one of the units ms, s, m, h and d, not `h`"),
            ("5us", "must have one of the units ms, s, m, h and d, not `us`"),
            ("30m1h", "must have its units from large to small, each once, as in \"1h30m\""),
            ("1s1s", "must have its units from large to small, each once, as in \"1h30m\""),
            ("999999999999999999d", "is too large"),
        ] {
            assert_eq!(parse_period(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn quantities_are_shown_in_round_units() {
        for (bytes, text) in
            [(0, "0 B"), (1 << 20, "1 MiB"), (512_000, "500 KiB"), (1000, "1 KB"), (1025, "1025 B")]
        {
            assert_eq!(size_text(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (30, "30s"), (5400, "1h30m"), (604_800, "7d")] {
            assert_eq!(period_text(Duration::from_secs(seconds)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: u64, milliseconds: u64) {
            prop_assert_eq!(parse_size(&size_text(bytes)), Ok(bytes));
            let period = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_period(&period_text(period)), Ok(period));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9dhms.BKi ]{0,24}|.{0,24}") {
            if let Err(error) = parse_size(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
            if let Err(error) = parse_period(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn sizes_and_periods_are_short_enough_to_read() {
        let sizes: Vec<_> = [0, 999, 1024, 1536, 200 << 20, 3 << 40].map(size_words).into();
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KiB", "1.5 KiB", "200 MiB", "3.0 TiB"]);
        let periods: Vec<_> = [0, 59, 61, 3661, 90_000].map(period_words).into();
        assert_eq!(periods, ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
