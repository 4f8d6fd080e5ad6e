//! Identifiers, the environment, and what does not belong anywhere else.

use super::argument::{Argument, Kind, any, characters, made, made_array, wrong};
use super::bytes::lower_hexadecimal;
use super::entry::Function;
use crate::rule::run::RunError;
use crate::rule::value::{Map, Value, fixed_compact};

/// Only variables with this beginning can be read, as in EMQX.
const ENVIRONMENT_PREFIX: &str = "EMQXVAR_";

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "uuid_v4",
        &[],
        Kind::Text,
        |_, _| {
            let digits = uuid()?;
            let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
            made([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
        },
        "A random UUID of version 4.",
        &[("strlen(uuid_v4())", "36")],
    )
    .changing(),
    Function::new(
        "uuid_v4_no_hyphen",
        &[],
        Kind::Text,
        |_, _| made(uuid()?),
        "A random UUID of version 4 without hyphens.",
        &[("strlen(uuid_v4_no_hyphen())", "32")],
    )
    .changing(),
    Function::new(
        "getenv",
        &[Argument::needed("name", Kind::Text)],
        Kind::Text,
        |_, arguments| {
            let name = format!("{ENVIRONMENT_PREFIX}{}", characters(arguments, 0)?);
            if name.contains(['=', '\0']) {
                return Err(wrong("a name of the environment has neither `=` nor NUL"));
            }
            made(
                std::env::var_os(name)
                    .map(std::ffi::OsString::into_encoded_bytes)
                    .unwrap_or_default(),
            )
        },
        "The variable `EMQXVAR_` and the name of the environment that Waypost was started in; '' where it is not set.",
        &[("getenv('NO_SUCH_VARIABLE')", "''")],
    ),
    Function::new(
        "map_to_redis_hset_args",
        &[Argument::needed("object", Kind::Any)],
        Kind::Array,
        |_, arguments| redis(any(arguments, 0)),
        "Keys and values in turn as texts, behind the name of this function, as EMQX's Redis action takes them; only texts, \
         numbers and booleans.",
        &[("map_to_redis_hset_args('{\"a\":1}')", "['map_to_redis_hset_args', 'a', '1']")],
    ),
];

fn uuid() -> Result<String, RunError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| wrong(format!("no random bytes: {error}")))?;
    // RFC 9562 section 5.4: the version and the variant.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(lower_hexadecimal(&bytes))
}

fn redis(object: &Value) -> Result<Value, RunError> {
    let map = match object {
        Value::Text(text) => Value::parse_json(text).unwrap_or(Value::Undefined),
        other => other.clone(),
    };
    let mut fields = vec![Value::from("map_to_redis_hset_args")];
    for (key, value) in map.as_map().into_iter().flat_map(Map::iter) {
        let text = match value {
            Value::Text(_) | Value::Int(_) | Value::Bool(_) => Some(value.to_text()),
            Value::Float(number) => Some(fixed_compact(*number, 6).into()),
            _ => None,
        };
        if let Some(text) = text {
            fields.extend([Value::Text(key.clone()), Value::Text(text)]);
        }
    }
    made_array(fields)
}
