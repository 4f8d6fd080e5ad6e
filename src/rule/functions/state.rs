//! What rules keep between events: one store for all rules, and one for each client. In memory, and bounded.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use ::bytes::Bytes;

use super::argument::{Argument, Kind, any};
use super::entry::Function;
use super::external_term::encode;
use crate::rule::run::{Context, Reason, RunError};
use crate::rule::value::Value;

/// Most keys that are kept, of both stores together.
const KEYS_MAX: usize = 100_000;
/// Most bytes that keys and values may take together.
const BYTES_MAX: usize = 16 << 20;

const KEY: Argument = Argument::needed("key", Kind::Any);
const VALUE: Argument = Argument::needed("value", Kind::Any);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "kv_store_put",
        &[KEY, VALUE],
        Kind::Bool,
        |_, arguments| {
            put(&shared(arguments), any(arguments, 1))?;
            Ok(Value::Bool(true))
        },
        "Keeps a value under a key, for all rules and all events, until Waypost ends: in memory, at most 100,000 keys and \
         16 MiB. Gives `true`.",
        &[("kv_store_put('docs', 1)", "true")],
    )
    .changing(),
    Function::new(
        "kv_store_get",
        &[KEY, Argument::optional("default", Kind::Any)],
        Kind::Any,
        |_, arguments| Ok(get(&shared(arguments)).unwrap_or_else(|| any(arguments, 1).clone())),
        "What is kept under a key; where nothing is, the default, or `undefined`.",
        &[("kv_store_get('no such key', 0)", "0")],
    )
    .changing(),
    Function::new(
        "kv_store_del",
        &[KEY],
        Kind::Bool,
        |_, arguments| {
            delete(&shared(arguments));
            Ok(Value::Bool(true))
        },
        "Forgets what is kept under a key. Gives `true`.",
        &[("kv_store_del('no such key')", "true")],
    )
    .changing(),
    Function::new(
        "proc_dict_put",
        &[KEY, VALUE],
        Kind::Any,
        |context, arguments| {
            put(&of_client(context, arguments), any(arguments, 1))
                .map(|before| before.unwrap_or(Value::Undefined))
        },
        "Keeps a value under a key for the client of the event (its `clientid`; events without one share), within the bounds \
         of `kv_store_put`. Gives what was kept before. (In EMQX it ends with the client's connection.)",
        &[("is_null(proc_dict_put('docs', null()))", "true")],
    )
    .changing(),
    Function::new(
        "proc_dict_get",
        &[KEY],
        Kind::Any,
        |context, arguments| Ok(get(&of_client(context, arguments)).unwrap_or(Value::Undefined)),
        "What `proc_dict_put` keeps under a key for the client of the event, or `undefined`.",
        &[("is_null(proc_dict_get('no such key'))", "true")],
    )
    .changing(),
    Function::new(
        "proc_dict_del",
        &[KEY],
        Kind::Any,
        |context, arguments| Ok(delete(&of_client(context, arguments)).unwrap_or(Value::Undefined)),
        "Forgets what `proc_dict_put` keeps under a key for the client of the event. Gives what it was.",
        &[("is_null(proc_dict_del('no such key'))", "true")],
    )
    .changing(),
];

#[derive(Default)]
struct Kept {
    values: HashMap<Bytes, Value>,
    bytes: usize,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// A key of the store that all share.
fn shared(arguments: &[Value]) -> Bytes {
    let mut key = vec![0];
    key.append(&mut encode(any(arguments, 0)));
    key.into()
}

/// A key of the store of the client that the event is of.
fn of_client(context: &dyn Context, arguments: &[Value]) -> Bytes {
    let mut key = vec![1];
    key.append(&mut encode(&context.column("clientid")));
    key.append(&mut encode(any(arguments, 0)));
    key.into()
}

fn with<T>(apply: impl FnOnce(&mut Kept) -> T) -> T {
    // Nothing panics while it is held; if something did, the map is whole all the same.
    apply(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}

fn weight(key: &Bytes, value: &Value) -> usize {
    key.len() + value.weight()
}

fn put(key: &Bytes, value: &Value) -> Result<Option<Value>, RunError> {
    with(|kept| {
        let before = kept.values.get(key).map_or(0, |value| weight(key, value));
        let bytes = kept.bytes - before + weight(key, value);
        if bytes > BYTES_MAX || (before == 0 && kept.values.len() >= KEYS_MAX) {
            let message =
                format!("no room for another key: {KEYS_MAX} keys or {BYTES_MAX} bytes are kept");
            return Err(RunError::new(Reason::Limit, message));
        }
        kept.bytes = bytes;
        Ok(kept.values.insert(key.clone(), value.detached()))
    })
}

fn get(key: &Bytes) -> Option<Value> {
    with(|kept| kept.values.get(key).cloned())
}

fn delete(key: &Bytes) -> Option<Value> {
    with(|kept| {
        let value = kept.values.remove(key)?;
        kept.bytes -= weight(key, &value);
        Some(value)
    })
}
