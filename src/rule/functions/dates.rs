//! Dates and times.

use super::argument::{Argument, Kind, any, characters, integer, made, option, wrong, wrong_type};
use super::calendar::{self, Unit};
use super::entry::Function;
use crate::clock;
use crate::rule::run::RunError;
use crate::rule::value::{Integer, Value};

const UNIT: Argument = Argument::needed("unit", Kind::Text);
const UNIT_OR_SECONDS: Argument = Argument::optional("unit", Kind::Text);
const TIME: Argument = Argument::needed("time", Kind::Int);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "now_timestamp",
        &[UNIT_OR_SECONDS],
        Kind::Int,
        |_, arguments| Ok(Value::int(now(unit(arguments, 0)?))),
        "The time since 1970 in a unit: 'second' (the default), 'millisecond', 'microsecond' or 'nanosecond'.",
        &[("is_int(now_timestamp('millisecond'))", "true")],
    )
    .changing(),
    Function::new(
        "now_rfc3339",
        &[UNIT_OR_SECONDS],
        Kind::Text,
        |_, arguments| {
            let unit = unit(arguments, 0)?;
            made(local_rfc3339(now(unit), unit)?)
        },
        "The time as RFC 3339 in the system's time zone, with the decimals of the unit.",
        &[("strlen(now_rfc3339())", "25")],
    )
    .changing(),
    Function::new(
        "unix_ts_to_rfc3339",
        &[TIME, UNIT_OR_SECONDS],
        Kind::Text,
        |_, arguments| made(local_rfc3339(time(arguments, 0)?, unit(arguments, 1)?)?),
        "A time as RFC 3339 in the system's time zone.",
        &[("rfc3339_to_unix_ts(unix_ts_to_rfc3339(1650874276))", "1650874276")],
    ),
    Function::new(
        "rfc3339_to_unix_ts",
        &[Argument::needed("text", Kind::Text), UNIT_OR_SECONDS],
        Kind::Int,
        |_, arguments| {
            let unit = unit(arguments, 1)?;
            calendar::from_rfc3339(&characters(arguments, 0)?, unit).map(Value::int)
        },
        "The time of RFC 3339; the decimals beyond the unit are rounded, and cut for seconds.",
        &[("rfc3339_to_unix_ts('2024-02-23T15:56:30.87Z', 'millisecond')", "1708703790870")],
    ),
    Function::new(
        "format_date",
        &[
            UNIT,
            Argument::needed("offset", Kind::Any),
            Argument::needed("format", Kind::Text),
            Argument::optional("time", Kind::Int),
        ],
        Kind::Text,
        |_, arguments| {
            let unit = unit(arguments, 0)?;
            let time = if arguments.len() > 3 { time(arguments, 3)? } else { now(unit) };
            let format = characters(arguments, 2)?;
            made(calendar::format(time, unit, offset(arguments, 1)?, &format)?)
        },
        "A time (now, where none is given) in a format of `%Y %m %d %H %M %S`, `%N` (nanoseconds), `%3N`, `%6N`, `%z` (+0800), \
         `%:z` (+08:00) and `%::z` (+08:00:00). `offset` is 'Z', 'local', '+08:00', '+0800', '+08:00:00' or seconds. Years go \
         to 9999.",
        &[(
            "format_date('second', '+0800', '%Y-%m-%d %H:%M:%S%:z', 1653561612)",
            "'2022-05-26 18:40:12+08:00'",
        )],
    )
    .changing(),
    Function::new(
        "date_to_unix_ts",
        &[
            UNIT,
            Argument::needed("offset or format", Kind::Any),
            Argument::needed("format or text", Kind::Text),
            Argument::optional("text", Kind::Text),
        ],
        Kind::Int,
        |_, arguments| date_to_unix_ts(arguments),
        "The time of a text in a format as for `format_date`; `offset` is subtracted where the text does not name its own. \
         Characters of the format that are no directive match any character.",
        &[(
            "date_to_unix_ts('second', '+08:00', '%Y-%m-%d %H:%M:%S', '2022-05-26 18:40:12')",
            "1653561612",
        )],
    )
    .changing(),
    Function::new(
        "timezone_to_offset_seconds",
        &[Argument::needed("offset", Kind::Any)],
        Kind::Int,
        |_, arguments| offset(arguments, 0).map(Value::int),
        "The seconds of an offset: 'Z', 'local', '+02:00', '+02:00:00', '+0200', or seconds as they are.",
        &[("timezone_to_offset_seconds('+08:00')", "28800")],
    )
    .changing(),
    Function::new(
        "timezone_to_second",
        &[Argument::needed("offset", Kind::Any)],
        Kind::Int,
        |_, arguments| offset(arguments, 0).map(Value::int),
        "As `timezone_to_offset_seconds`.",
        &[("timezone_to_second('-02:00:00')", "-7200")],
    )
    .changing(),
    Function::new(
        "mongo_date",
        &[Argument::optional("time", Kind::Int), Argument::optional("unit", Kind::Text)],
        Kind::Text,
        |_, arguments| mongo_date(arguments),
        "A time (now, or milliseconds, or in a unit) as MongoDB's `ISODate(...)`, in the text that EMQX's SQL tester shows.",
        &[("mongo_date(1708703461232)", "'ISODate(2024-02-23T15:51:01.232Z)'")],
    )
    .changing(),
];

fn now(unit: Unit) -> i128 {
    unit.of_nanoseconds(clock::unix_nanoseconds())
}

fn unit(arguments: &[Value], place: usize) -> Result<Unit, RunError> {
    option(arguments, place, &Unit::NAMES, "second").map(Unit::of)
}

/// Small enough to calculate with: some 10^19 of any unit.
fn time(arguments: &[Value], place: usize) -> Result<i128, RunError> {
    let time = integer(arguments, place)?;
    time.to_i64().map(i128::from).ok_or_else(|| wrong(format!("{time} is too far from now")))
}

fn local_rfc3339(time: i128, unit: Unit) -> Result<String, RunError> {
    let seconds = i64::try_from(time.div_euclid(unit.per_second())).unwrap_or(i64::MAX);
    calendar::rfc3339(time, unit, Some(calendar::local_offset(seconds)))
}

fn offset(arguments: &[Value], place: usize) -> Result<i64, RunError> {
    match any(arguments, place) {
        Value::Undefined => Ok(0),
        Value::Int(seconds) => {
            let seconds = seconds.to_i64().filter(|seconds| seconds.abs() < 86_400);
            seconds.ok_or_else(|| wrong("an offset must be less than a day"))
        }
        Value::Text(_) => {
            let now = i64::try_from(now(Unit::Second)).unwrap_or(0);
            calendar::offset(&characters(arguments, place)?, now)
        }
        other => {
            Err(wrong_type(format!("an offset is a text or an integer, not {}", other.kind())))
        }
    }
}

fn date_to_unix_ts(arguments: &[Value]) -> Result<Value, RunError> {
    let unit = unit(arguments, 0)?;
    let (shift, format_place) = match arguments.len() {
        3 => (0, 1),
        _ => (offset(arguments, 1)?, 2),
    };
    let format = characters(arguments, format_place)?;
    let text = characters(arguments, format_place + 1)?;
    let now = i64::try_from(now(Unit::Second)).unwrap_or(0);
    let time = calendar::parse(&text, unit, &format, now)?;
    Ok(Value::Int(Integer::from(time - i128::from(shift) * unit.per_second())))
}

fn mongo_date(arguments: &[Value]) -> Result<Value, RunError> {
    let milliseconds = match arguments.len() {
        0 => now(Unit::Millisecond),
        1 => time(arguments, 0)?,
        _ => {
            let unit = unit(arguments, 1)?;
            (time(arguments, 0)? * 1000).div_euclid(unit.per_second())
        }
    };
    made(format!("ISODate({})", calendar::rfc3339(milliseconds, Unit::Millisecond, None)?))
}
