//! Objects.

use std::sync::Arc;

use ::bytes::Bytes;

use super::argument::{Argument, Kind, any, made_array, text, wrong};
use super::entry::Function;
use crate::rule::run::RunError;
use crate::rule::value::{JSON_DEPTH_MAX, Map, Value};

const OBJECT: Argument = Argument::needed("object", Kind::Object);
const PATH: Argument = Argument::needed("path", Kind::Text);
const KEY: Argument = Argument::needed("key", Kind::Any);
const VALUE: Argument = Argument::needed("value", Kind::Any);
const DEFAULT: Argument = Argument::optional("default", Kind::Any);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "map_new",
        &[],
        Kind::Object,
        |_, _| Ok(Value::map(Map::new())),
        "An object without keys.",
        &[("map_size(map_new())", "0")],
    ),
    Function::new(
        "map_get",
        &[PATH, Argument::needed("object", Kind::Any), DEFAULT],
        Kind::Any,
        |_, arguments| {
            let path = text(arguments, 0)?;
            Ok(match nested(any(arguments, 1), path) {
                Value::Undefined => any(arguments, 2).clone(),
                found => found,
            })
        },
        "The value at a path of keys with `.` between them; where there is none the default, or `undefined`. Texts on the \
         way that are the JSON of an object are gone into.",
        &[("map_get('a.b', '{\"a\":{\"b\":1}}')", "1"), ("map_get('x', map_new(), 2)", "2")],
    ),
    Function::new(
        "map_put",
        &[PATH, VALUE, Argument::needed("object", Kind::Any)],
        Kind::Object,
        |_, arguments| map_put(arguments),
        "The object with a value at a path of keys with `.` between them. What is no object on the way becomes one; a text \
         that is JSON is replaced, as in EMQX (write `map_put(path, value, json_decode(text))`).",
        &[("map_put('a.b', 1, map_new())", "json_decode('{\"a\":{\"b\":1}}')")],
    ),
    Function::new(
        "mget",
        &[KEY, OBJECT, DEFAULT],
        Kind::Any,
        |_, arguments| {
            let found = object(arguments, 1)?.get(&key(arguments)).cloned();
            Ok(found.unwrap_or_else(|| any(arguments, 2).clone()))
        },
        "The value of a key, taken as it is: a `.` in it is part of it, and an array is no path but one key, its JSON.",
        &[
            ("mget('a.b', '{\"a.b\":1}')", "1"),
            ("mget(['a', 'b'], mput(['a', 'b'], 2, map_new()))", "2"),
        ],
    ),
    Function::new(
        "mput",
        &[KEY, VALUE, OBJECT],
        Kind::Object,
        |_, arguments| {
            let mut map = object(arguments, 2)?;
            Arc::make_mut(&mut map).insert(key(arguments), any(arguments, 1).clone());
            Ok(Value::Map(map))
        },
        "The object with a value under a key, taken as it is.",
        &[("mput('a', 2, '{\"a\":1}')", "json_decode('{\"a\":2}')")],
    ),
    Function::new(
        "map_keys",
        &[OBJECT],
        Kind::Array,
        |_, arguments| {
            let map = object(arguments, 0)?;
            made_array(map.iter().map(|(key, _)| Value::Text(key.clone())).collect())
        },
        "The keys, in the order of their bytes.",
        &[("map_keys('{\"b\":2,\"a\":1}')", "['a', 'b']")],
    ),
    Function::new(
        "map_values",
        &[OBJECT],
        Kind::Array,
        |_, arguments| {
            let map = object(arguments, 0)?;
            made_array(map.iter().map(|(_, value)| value.clone()).collect())
        },
        "The values, in the order of the keys.",
        &[("map_values('{\"b\":2,\"a\":1}')", "[1, 2]")],
    ),
    Function::new(
        "map_to_entries",
        &[OBJECT],
        Kind::Array,
        |_, arguments| {
            let map = object(arguments, 0)?;
            made_array(map.iter().map(|(key, value)| entry(key, value)).collect())
        },
        "An array of `{\"key\": ..., \"value\": ...}`, in the order of the keys.",
        &[("map_to_entries('{\"a\":1}')", "json_decode('[{\"key\":\"a\",\"value\":1}]')")],
    ),
    Function::new(
        "map_size",
        &[OBJECT],
        Kind::Int,
        |_, arguments| Ok(Value::int(object(arguments, 0)?.len())),
        "How many keys it has.",
        &[("map_size('{\"a\":1}')", "1")],
    ),
];

/// The object at a place: itself, the JSON of one, or Erlang's empty list of pairs.
pub(super) fn object(arguments: &[Value], place: usize) -> Result<Arc<Map>, RunError> {
    match any(arguments, place) {
        Value::Map(map) => Ok(map.clone()),
        Value::Array(elements) if elements.is_empty() => Ok(Arc::default()),
        Value::Text(text) => match Value::parse_json(text) {
            Ok(Value::Map(map)) => Ok(map),
            _ => Err(wrong(format!(
                "{} is not the JSON of an object",
                any(arguments, place).shown()
            ))),
        },
        other => Err(wrong(format!("{} is not an object", other.kind()))),
    }
}

/// The key of `mget` and `mput`; keys of EMQX's maps are any terms, ours are texts.
fn key(arguments: &[Value]) -> Bytes {
    match any(arguments, 0) {
        array @ Value::Array(_) => array.to_json().into(),
        other => other.to_text(),
    }
}

/// The value at a path of keys with `.` between them.
pub(super) fn nested(value: &Value, path: &[u8]) -> Value {
    let keys = path.split(|byte| *byte == b'.');
    let mut found = value.clone();
    for key in keys {
        found = found.key(key);
        if found.is_undefined() {
            break;
        }
    }
    found
}

fn map_put(arguments: &[Value]) -> Result<Value, RunError> {
    let path = text(arguments, 0)?;
    let keys: Vec<Bytes> =
        path.split(|byte| *byte == b'.').map(|key| path.slice_ref(key)).collect();
    if keys.len() > JSON_DEPTH_MAX {
        return Err(wrong(format!("a path of more than {JSON_DEPTH_MAX} keys")));
    }
    let mut object = match any(arguments, 2) {
        Value::Map(map) => Value::Map(map.clone()),
        _ => Value::map(Map::new()),
    };
    put(&mut object, &keys, any(arguments, 1));
    Ok(object)
}

/// What is below a text that is JSON stays, as it does in EMQX, while the text itself gives way.
fn put(container: &mut Value, keys: &[Bytes], value: &Value) {
    let Some((key, below)) = keys.split_first() else {
        *container = value.clone();
        return;
    };
    let mut inner = if below.is_empty() { Value::Undefined } else { container.key(key) };
    put(&mut inner, below, value);
    container.put_key(key.clone(), inner);
}

fn entry(key: &Bytes, value: &Value) -> Value {
    let entries = vec![
        (Bytes::from_static(b"key"), Value::Text(key.clone())),
        (Bytes::from_static(b"value"), value.clone()),
    ];
    Value::map(Map::from_entries(entries))
}
