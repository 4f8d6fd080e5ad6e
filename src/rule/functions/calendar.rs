//! Dates as numbers and as text, in the formats of EMQX. Pure but for the rules of the system's time zone.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::argument::wrong;
use crate::rule::run::RunError;

const DAY_SECONDS: i64 = 86_400;
/// The epoch of Unix.
const EPOCH: Date = date(1970, 1, 1);
/// Seconds between year 0 and 1970, and between year 0 and 10000: EMQX lets dates pass between them.
const YEAR_0: i64 = -62_167_219_200;
const YEAR_10000: i64 = 253_402_300_800;

/// What a number of time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

impl Unit {
    /// Their names in the language.
    pub(super) const NAMES: [&'static str; 4] =
        ["second", "millisecond", "microsecond", "nanosecond"];

    pub(super) fn of(name: &str) -> Self {
        match name {
            "millisecond" => Self::Millisecond,
            "microsecond" => Self::Microsecond,
            "nanosecond" => Self::Nanosecond,
            _ => Self::Second,
        }
    }

    /// How many are a second.
    pub(super) const fn per_second(self) -> i128 {
        match self {
            Self::Second => 1,
            Self::Millisecond => 1000,
            Self::Microsecond => 1_000_000,
            Self::Nanosecond => 1_000_000_000,
        }
    }

    /// Digits behind the point of a second.
    const fn decimals(self) -> usize {
        match self {
            Self::Second => 0,
            Self::Millisecond => 3,
            Self::Microsecond => 6,
            Self::Nanosecond => 9,
        }
    }

    /// From nanoseconds, rounded down.
    pub(super) fn of_nanoseconds(self, nanoseconds: i128) -> i128 {
        nanoseconds.div_euclid(Self::Nanosecond.per_second() / self.per_second())
    }
}

/// `Z`, `z`, `local`, `+hh:mm`, `+hh:mm:ss` or `+hhmm` in seconds; `local` as it is at `now`, in seconds.
pub(super) fn offset(text: &str, now: i64) -> Result<i64, RunError> {
    match text {
        "Z" | "z" => return Ok(0),
        "local" => return Ok(local_offset(now)),
        _ => {}
    }
    let bad = || {
        wrong(format!(
            "`{text}` is not a time offset such as `Z`, `local`, `+08:00`, `+08:00:00` or `+0800`"
        ))
    };
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return Err(bad()),
    };
    let parts: Vec<&str> = digits.split(':').filter(|part| !part.is_empty()).collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        [four] if four.len() == 4 && four.is_ascii() => {
            let (hours, minutes) = four.split_at(2);
            (hours, minutes, "0")
        }
        _ => return Err(bad()),
    };
    let number = |text: &str, max: i64| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number <= max).ok_or_else(bad)
    };
    let (hours, minutes, seconds) =
        (number(hours, 23)?, number(minutes, 59)?, number(seconds, 59)?);
    Ok(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// How far the system's time zone is ahead of UTC at a time, in seconds.
pub(super) fn local_offset(at: i64) -> i64 {
    let at = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::system().to_offset(at).seconds().into()
}

/// The date and the seconds in the day, of seconds since 1970.
fn civil(seconds: i64) -> Result<(Date, i64), RunError> {
    let days = SignedDuration::from_hours(seconds.div_euclid(DAY_SECONDS).saturating_mul(24));
    let found = EPOCH.checked_add(days).ok().filter(|found| found.year() >= 0);
    let found =
        found.ok_or_else(|| wrong(format!("{seconds} s is not between the years 0 and 9999")))?;
    Ok((found, seconds.rem_euclid(DAY_SECONDS)))
}

/// Seconds since 1970. Months and days must exist; hours, minutes and seconds are only added, as in Erlang.
fn seconds_of(parts: [i64; 6]) -> Result<i64, RunError> {
    let [year, month, day, hour, minute, second] = parts;
    let found = i16::try_from(year)
        .ok()
        .filter(|year| *year >= 0)
        .and_then(|year| Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok());
    let found =
        found.ok_or_else(|| wrong(format!("there is no day {year:04}-{month:02}-{day:02}")))?;
    Ok(found.duration_since(EPOCH).as_secs() + hour * 3600 + minute * 60 + second)
}

/// RFC 3339 with as many decimals as the unit has. `offset` in seconds; `None` writes `Z`.
pub(super) fn rfc3339(time: i128, unit: Unit, offset: Option<i64>) -> Result<String, RunError> {
    let shift = offset.unwrap_or(0);
    let adjusted = time + i128::from(shift) * unit.per_second();
    let seconds = i64::try_from(adjusted / unit.per_second())
        .map_err(|_error| wrong(format!("{time} is too far from now")))?;
    let (date, day_seconds) = civil(seconds)?;
    let fraction = if unit == Unit::Second {
        String::new()
    } else {
        let fraction = (adjusted % unit.per_second()).unsigned_abs();
        format!(".{fraction:0width$}", width = unit.decimals())
    };
    let zone = match offset {
        None => "Z".to_owned(),
        Some(offset) => zone(offset, ":", false),
    };
    let (hour, minute, second) = (day_seconds / 3600, day_seconds / 60 % 60, day_seconds % 60);
    Ok(format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}",
        date.year(),
        date.month(),
        date.day()
    ))
}

fn zone(offset: i64, colon: &str, with_seconds: bool) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let offset = offset.unsigned_abs();
    let (hours, minutes, seconds) = (offset / 3600, offset / 60 % 60, offset % 60);
    let seconds = if with_seconds { format!("{colon}{seconds:02}") } else { String::new() };
    format!("{sign}{hours:02}{colon}{minutes:02}{seconds}")
}

/// The time of RFC 3339 in a unit; digits beyond the unit are rounded, and cut for seconds. Without an offset at its end it
/// is local time.
pub(super) fn from_rfc3339(text: &str, unit: Unit) -> Result<i128, RunError> {
    let bad = || wrong(format!("`{text}` is not a time such as 2024-02-23T15:56:30+08:00"));
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let there = |(place, byte): &(usize, u8)| text.as_bytes().get(*place) == Some(byte);
    if !text.is_ascii() || !separators.iter().all(there) {
        return Err(bad());
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<i64>().ok()).ok_or_else(bad)
    };
    let parts = [
        number(0, 4)?,
        number(5, 7)?,
        number(8, 10)?,
        number(11, 13)?,
        number(14, 16)?,
        number(17, 19)?,
    ];
    let seconds = seconds_of(parts)?;
    let rest = text.get(19..).unwrap_or_default();
    let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(end);
    let offset = match zone.as_bytes() {
        [] => return Err(wrong(format!("`{text}` has no time zone: `Z` or `+08:00` at its end"))),
        [b'Z' | b'z'] => 0,
        [b'+' | b'-', _, _, b':', _, _] => offset(zone, seconds)?,
        _ => return Err(bad()),
    };
    let seconds = seconds - offset;
    if !(YEAR_0..YEAR_10000).contains(&seconds) {
        return Err(bad());
    }
    let whole = i128::from(seconds) * unit.per_second();
    let fraction = match (unit, fraction) {
        (Unit::Second, _) | (_, "") => 0,
        _ => rounded_fraction(fraction, unit).ok_or_else(bad)?,
    };
    Ok(if whole < 0 { whole - fraction } else { whole + fraction })
}

/// `.123` in units, rounded to the nearest.
fn rounded_fraction(fraction: &str, unit: Unit) -> Option<i128> {
    let digits = fraction.strip_prefix('.')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (kept, next) = match digits.split_at_checked(unit.decimals()) {
        Some((kept, rest)) => (kept.to_owned(), rest.bytes().next()),
        None => (format!("{digits:0<width$}", width = unit.decimals()), None),
    };
    let up = next.is_some_and(|digit| digit >= b'5');
    Some(kept.parse::<i128>().ok()? + i128::from(up))
}

/// A piece of a format.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'format> {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction(Unit),
    Zone { colons: bool, seconds: bool },
    Literal(&'format str),
}

impl Piece<'_> {
    /// How many bytes of a date it reads.
    fn size(&self) -> usize {
        match self {
            Self::Year => 4,
            Self::Month | Self::Day | Self::Hour | Self::Minute | Self::Second => 2,
            Self::Fraction(unit) => unit.decimals(),
            Self::Zone { seconds: true, .. } => 9,
            Self::Zone { colons: true, .. } => 6,
            Self::Zone { .. } => 5,
            Self::Literal(text) => text.len(),
        }
    }
}

const DIRECTIVES: [(&str, Piece<'static>); 12] = [
    ("%Y", Piece::Year),
    ("%m", Piece::Month),
    ("%d", Piece::Day),
    ("%H", Piece::Hour),
    ("%M", Piece::Minute),
    ("%S", Piece::Second),
    ("%N", Piece::Fraction(Unit::Nanosecond)),
    ("%3N", Piece::Fraction(Unit::Millisecond)),
    ("%6N", Piece::Fraction(Unit::Microsecond)),
    ("%z", Piece::Zone { colons: false, seconds: false }),
    ("%:z", Piece::Zone { colons: true, seconds: false }),
    ("%::z", Piece::Zone { colons: true, seconds: true }),
];

fn pieces(format: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while !rest.is_empty() {
        let mut directives = DIRECTIVES.into_iter();
        if let Some((name, piece)) = directives.find(|(name, _)| rest.starts_with(name)) {
            pieces.push(piece);
            rest = rest.strip_prefix(name).unwrap_or_default();
        } else {
            let next = rest.char_indices().skip(1).find(|(_, character)| *character == '%');
            let (literal, after) = rest.split_at(next.map_or(rest.len(), |(place, _)| place));
            pieces.push(Piece::Literal(literal));
            rest = after;
        }
    }
    pieces
}

/// A time in a format, at an offset of so many seconds.
pub(super) fn format(
    time: i128,
    unit: Unit,
    offset: i64,
    format: &str,
) -> Result<String, RunError> {
    let adjusted = time + i128::from(offset) * unit.per_second();
    let seconds = i64::try_from(adjusted / unit.per_second())
        .map_err(|_error| wrong(format!("{time} is too far from now")))?;
    let (date, day_seconds) = civil(seconds)?;
    let nanoseconds = time % unit.per_second() * (1_000_000_000 / unit.per_second());
    let clock = |part: i64| format!("{part:02}");
    let write = |piece| match piece {
        Piece::Year => format!("{:04}", date.year()),
        Piece::Month => clock(date.month().into()),
        Piece::Day => clock(date.day().into()),
        Piece::Hour => clock(day_seconds / 3600),
        Piece::Minute => clock(day_seconds / 60 % 60),
        Piece::Second => clock(day_seconds % 60),
        Piece::Fraction(part) => {
            let part_of = nanoseconds / (1_000_000_000 / part.per_second());
            // Erlang puts zeros in front of a sign too.
            format!("{:0>width$}", part_of.to_string(), width = part.decimals())
        }
        Piece::Zone { colons, seconds } => zone(offset, if colons { ":" } else { "" }, seconds),
        Piece::Literal(text) => text.to_owned(),
    };
    Ok(pieces(format).into_iter().map(write).collect())
}

/// What a date must have.
const PARTS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

/// The time of a date in a format; other characters of the format match any.
pub(super) fn parse(text: &str, unit: Unit, format: &str, now: i64) -> Result<i128, RunError> {
    let bad = || wrong(format!("`{text}` is not a date in the format `{format}`"));
    let mut parts: [Option<i64>; 6] = [None; 6];
    let (mut nanoseconds, mut shift) = (0_i128, 0);
    let mut rest = text.as_bytes();
    for piece in pieces(format) {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at_checked(piece.size()).ok_or_else(bad)?;
        rest = after;
        let number = || {
            std::str::from_utf8(part).ok().and_then(|part| part.parse::<i64>().ok()).ok_or_else(bad)
        };
        let [year, month, day, hour, minute, second] = &mut parts;
        match piece {
            Piece::Year => *year = Some(number()?),
            Piece::Month => *month = Some(number()?),
            Piece::Day => *day = Some(number()?),
            Piece::Hour => *hour = Some(number()?),
            Piece::Minute => *minute = Some(number()?),
            Piece::Second => *second = Some(number()?),
            Piece::Fraction(part) => {
                nanoseconds += i128::from(number()?) * (1_000_000_000 / part.per_second());
            }
            Piece::Zone { .. } => {
                shift = offset(std::str::from_utf8(part).map_err(|_error| bad())?, now)?;
            }
            Piece::Literal(_) => {}
        }
    }
    let mut found = [0; 6];
    for ((found, part), name) in found.iter_mut().zip(parts).zip(PARTS) {
        *found =
            part.ok_or_else(|| wrong(format!("`{text}` has no {name} in the format `{format}`")))?;
    }
    let seconds = seconds_of(found)? - shift;
    if !(YEAR_0..YEAR_10000).contains(&seconds) {
        return Err(bad());
    }
    Ok(unit.of_nanoseconds(i128::from(seconds) * 1_000_000_000 + nanoseconds))
}
