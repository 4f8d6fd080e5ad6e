//! Columns of the event by function, as EMQX 4 had them.

use super::argument::{Argument, Kind, characters, small, text, wrong};
use super::entry::Function;
use super::maps::nested;
use crate::rule::run::{Context, RunError};
use crate::rule::value::{Map, Value};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "msgid",
        &[],
        Kind::Any,
        |context, _| Ok(context.column("id")),
        "The column `id`.",
        &[("is_null(msgid())", "true")],
    ),
    Function::new(
        "qos",
        &[],
        Kind::Any,
        |context, _| Ok(context.column("qos")),
        "The column `qos`.",
        &[("is_null(qos())", "true")],
    ),
    Function::new(
        "topic",
        &[Argument::optional("level", Kind::Int)],
        Kind::Any,
        topic,
        "The column `topic`, or one of its levels, counted from 1; a level that the topic does not have is an error.",
        &[("topic()", "'t/1'"), ("topic(2)", "'1'")],
    ),
    Function::new(
        "clientid",
        &[],
        Kind::Any,
        |context, _| Ok(context.column("clientid")),
        "The column `clientid`.",
        &[("is_null(clientid())", "true")],
    ),
    Function::new(
        "username",
        &[],
        Kind::Any,
        |context, _| Ok(context.column("username")),
        "The column `username`.",
        &[("is_null(username())", "true")],
    ),
    Function::new(
        "peerhost",
        &[],
        Kind::Any,
        |context, _| Ok(context.column("peerhost")),
        "The column `peerhost`.",
        &[("is_null(peerhost())", "true")],
    ),
    Function::new(
        "clientip",
        &[],
        Kind::Any,
        |context, _| Ok(context.column("peerhost")),
        "The column `peerhost`.",
        &[("is_null(clientip())", "true")],
    ),
    Function::new(
        "payload",
        &[Argument::optional("path", Kind::Text)],
        Kind::Any,
        payload,
        "The column `payload`, or the value at a path in it where an alias has made an object of it; a payload as it came \
         is a text, in which a path finds nothing: write `payload.a.b` for that.",
        &[("is_null(payload('a'))", "true")],
    ),
    Function::new(
        "flags",
        &[],
        Kind::Any,
        |context, _| {
            Ok(match context.column("flags") {
                Value::Undefined => Value::map(Map::new()),
                flags => flags,
            })
        },
        "The column `flags`; an empty object where there is none.",
        &[("flags()", "map_new()")],
    ),
    Function::new(
        "flag",
        &[Argument::needed("name", Kind::Text)],
        Kind::Any,
        flag,
        "One of the flags of the message, `dup` or `retain`.",
        &[("is_null(flag('retain'))", "true")],
    ),
    Function::new(
        "null",
        &[],
        Kind::Undefined,
        |_, _| Ok(Value::Undefined),
        "`undefined`, the value of what is not there (JSON's `null` is another value).",
        &[("is_null(null())", "true")],
    ),
];

fn topic(context: &dyn Context, arguments: &[Value]) -> Result<Value, RunError> {
    let topic = context.column("topic");
    if arguments.is_empty() || topic.is_undefined() {
        return Ok(topic);
    }
    let level = small(arguments, 0)?;
    let texts = [topic];
    let topic = text(&texts, 0)?;
    let place = usize::try_from(level).ok().and_then(|level| level.checked_sub(1));
    let found = place.and_then(|place| topic.split(|byte| *byte == b'/').nth(place));
    found.map(|level| Value::Text(topic.slice_ref(level))).ok_or_else(|| {
        let shown = String::from_utf8_lossy(topic).into_owned();
        wrong(format!("the topic `{shown}` has no level {level}"))
    })
}

fn payload(context: &dyn Context, arguments: &[Value]) -> Result<Value, RunError> {
    let payload = context.column("payload");
    if arguments.is_empty() {
        return Ok(payload);
    }
    let path = text(arguments, 0)?;
    Ok(match payload {
        Value::Map(_) => nested(&payload, path),
        _ => Value::Undefined,
    })
}

fn flag(context: &dyn Context, arguments: &[Value]) -> Result<Value, RunError> {
    let name = characters(arguments, 0)?;
    let flags = context.column("flags");
    Ok(flags.key(name.as_bytes()))
}
