use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{Columns, Input, Outcome, Program};
use crate::rule::run::Reason;
use crate::rule::value::{Map, Value};

fn value(json: &Json) -> Value {
    Value::parse_json(&Bytes::from(json.to_string())).unwrap()
}

fn columns(event: &Json) -> Map {
    let Value::Map(map) = value(event) else { panic!("{event} is no object") };
    let undefined = value(&json!({"$undefined": true}));
    let entries = map.iter().map(|(key, value)| {
        let value = if *value == undefined { Value::Undefined } else { value.clone() };
        (key.clone(), value)
    });
    Map::from_entries(entries.collect())
}

/// The outputs as JSON, `null` when not matched, the message of an error.
fn applied(sql: &str, event: &Json) -> Result<Json, String> {
    let program = Program::new(sql).map_err(|errors| format!("{errors:?}"))?;
    let columns = columns(event);
    match program.apply(&Input::new(&columns)).map_err(|error| error.message)? {
        Outcome::NotMatched => Ok(Json::Null),
        Outcome::Event => Ok(json!([event])),
        Outcome::Outputs(outputs) => {
            let outputs = outputs.into_iter().map(|output| Value::map(output).to_json());
            let outputs = outputs.map(|json| serde_json::from_slice(&json).unwrap());
            Ok(Json::Array(outputs.collect()))
        }
    }
}

#[track_caller]
fn selected(sql: &str, event: &Json) -> Json {
    let outputs = applied(sql, event).unwrap_or_else(|error| panic!("{error}: {sql}"));
    outputs[0].clone()
}

#[test]
fn a_payload_in_an_output_is_the_text_or_the_object_as_in_emqx() {
    let event = json!({"topic": "t", "payload": "{\"a\":1,\"b\":{\"c\":2}}"});
    for (fields, expected) in [
        // By name, then below it: the other members stay.
        ("payload, 9 as payload.x", json!({"payload": {"a": 1, "b": {"c": 2}, "x": 9}})),
        // By `*`, then below it by an alias: they are lost; by a path without an alias they stay.
        ("*, 9 as payload.x", json!({"topic": "t", "payload": {"x": 9}})),
        ("*, payload.a", json!({"topic": "t", "payload": {"a": 1, "b": {"c": 2}}})),
        ("payload, payload.a", json!({"payload": {"a": 1}})),
        ("payload.a, payload.b.c", json!({"payload": {"a": 1, "b": {"c": 2}}})),
        ("*, 9 as payload.b.x", json!({"topic": "t", "payload": {"b": {"c": 2, "x": 9}}})),
        // What was selected is seen first, the event behind it.
        ("9 as payload.a, payload.b.c as c", json!({"payload": {"a": 9}, "c": 2})),
    ] {
        assert_eq!(selected(&format!("SELECT {fields} FROM t"), &event), expected, "{fields}");
    }
}

#[test]
fn where_sees_what_was_selected_and_paths_into_the_payload_see_the_event() {
    let event = json!({"topic": "t", "payload": "{\"a\":1}", "qos": 1});
    for (sql, matched) in [
        ("SELECT 2 as qos FROM t WHERE qos = 2", true),
        ("SELECT nosuch as qos FROM t WHERE qos = 1", false),
        ("SELECT 'x' as payload FROM t WHERE payload = 'x'", true),
        ("SELECT 'x' as payload FROM t WHERE payload.a = 1", true),
        ("SELECT *, 9 as payload.x FROM t WHERE payload.a = 1", false),
        ("SELECT *, 9 as payload.x FROM t WHERE payload.x = 9", true),
    ] {
        assert_eq!(applied(sql, &event).unwrap() != Json::Null, matched, "{sql}");
    }
}

#[test]
fn a_name_of_foreach_stands_before_the_column_of_that_name() {
    let event = json!({"topic": "t", "payload": "no JSON", "x": {"a": 1}});
    for (fields, expected) in [
        // In EMQX what is given a name is a column for the fields behind it: the payload is not looked into.
        ("[1] as payload, payload.x", Ok(json!([]))),
        ("2 as x, x.a as y, [x] as z DO z", Ok(json!([{"z": 2}]))),
        ("payload.x as payload", Err("the payload is not JSON at byte 0: \"no JSON\"".to_owned())),
    ] {
        assert_eq!(applied(&format!("FOREACH {fields} FROM t"), &event), expected, "{fields}");
    }
}

#[test]
fn only_what_tells_of_the_event_alone_is_shared_by_rules() {
    for (expression, alike) in [
        ("topic", true),
        ("unix_ts_to_rfc3339(1)", true),
        ("now_timestamp()", false),
        ("format_date('second', 'local', '%Y', 1)", false),
        ("date_to_unix_ts('second', 'local', '%Y', topic)", false),
        ("timezone_to_offset_seconds('local')", false),
        ("case when timezone_to_second('local') > 0 then 1 end", false),
        ("metadata.rule_id", false),
    ] {
        let program = Program::new(&format!("SELECT {expression} as x FROM t")).unwrap();
        assert_eq!(program.answers_alike(), alike, "{expression}");
    }
}

#[test]
fn slices_and_indices_are_those_of_emqx() {
    let event = json!({"topic": "t", "a": [1, 2, 3], "i": 2, "s": "[7,8]"});
    for (expression, expected) in [
        ("a[1..2]", Some(json!([1, 2]))),
        ("a[-2..-1]", Some(json!([2, 3]))),
        ("a[2..9]", Some(json!([2, 3]))),
        ("a[5..9]", Some(json!([]))),
        ("a[2..1]", Some(json!([]))),
        ("a[3..1]", None),
        ("a[0..1]", None),
        ("a[-5..2]", None),
        ("a[i]", Some(json!(2))),
        ("a[nosuch]", Some(json!("undefined"))),
        ("s[2]", Some(json!(8))),
        ("s[1..1]", None),
        ("[3..1]", None),
        ("[2..1]", Some(json!([]))),
        ("[-1..1]", Some(json!([-1, 0, 1]))),
    ] {
        let outputs = applied(&format!("SELECT {expression} as x FROM t"), &event);
        assert_eq!(outputs.ok().map(|outputs| outputs[0]["x"].clone()), expected, "{expression}");
    }
}

#[test]
fn what_a_condition_may_be() {
    let event = json!({"topic": "t", "ok": true, "n": 1});
    for (condition, expected) in [
        ("true", Some(true)),
        ("not ok", Some(false)),
        ("not n", Some(false)),
        ("not 'x'", Some(false)),
        ("ok", None),
        ("n", None),
        ("n + 1", None),
        ("not not true", None),
        ("not (n in (1))", None),
        ("n not in (2)", None),
        ("n in ('1')", Some(false)),
        ("n in (1.0)", Some(false)),
        ("n in (0, 1)", Some(true)),
        ("ok =~ ok", None),
        ("nosuch =~ nosuch", None),
        ("topic =~ nosuch", Some(false)),
        ("ok =~ 'true'", Some(true)),
        ("n = '1'", Some(true)),
        ("is_null(nosuch)", Some(true)),
        ("upper('a')", None),
        ("upper('a') and true", None),
        ("nosuch != 1", Some(false)),
        ("nosuch = other", Some(true)),
        ("nosuch >= other", Some(true)),
        ("topic =~ '+'", Some(true)),
        ("n =~ '+'", None),
        ("n = 1 or nosuch.x[0] = 'a' + 1", Some(true)),
        ("case when ok then true else false end = true", None),
    ] {
        let matched = applied(&format!("SELECT topic FROM t WHERE {condition}"), &event);
        assert_eq!(matched.ok().map(|outputs| outputs != Json::Null), expected, "{condition}");
    }
}

#[test]
fn an_evaluation_is_bounded() {
    let doubled = (1..40).fold("payload as a0".to_owned(), |sql, n| {
        format!("{sql}, [a{m}, a{m}] as a{n}", m = n - 1)
    });
    let nested =
        (1..40).fold("payload as a".to_owned(), |sql, _| format!("{sql}, a as a.x, a as a.y"));
    let texts = (1..40).fold("payload as a".to_owned(), |sql, _| format!("{sql}, a + a as a"));
    let walked = "FOREACH [1..100000] as i DO i, *, * FROM t".to_owned();
    let event = json!({"topic": "t", "payload": "0123456789".repeat(100)});
    for sql in [
        format!("SELECT {doubled} FROM t"),
        format!("SELECT {nested} FROM t"),
        format!("SELECT {texts} FROM t"),
        walked,
    ] {
        let program = Program::new(&sql).unwrap();
        let error = program.apply(&Input::new(&columns(&event))).unwrap_err();
        assert_eq!(error.reason, Reason::Limit, "{error}");
    }
}

#[test]
fn mistakes_that_need_no_event_are_told_all_at_once() {
    let sql = "SELECT uper(a), upper(a, b), schema_decode('x', a), m.f(a) FROM \"a/#/b\"";
    let errors = Program::new(sql).unwrap_err();
    let told: Vec<_> = errors
        .iter()
        .map(|error| format!("{}: {error}", &sql[error.span.start..error.span.end]))
        .collect();
    assert_eq!(told.len(), 5, "{told:#?}");
    assert_eq!(told[0], "uper: there is no function `uper`; did you mean `upper`?");
    assert!(told[1].starts_with("upper: `upper` takes 1 argument, not 2"), "{}", told[1]);
    assert!(told[2].starts_with("schema_decode: `schema_decode` is not available"), "{}", told[2]);
    assert!(told[4].contains("is no topic filter: `#` must be the last level"), "{}", told[4]);
}

#[test]
fn it_is_said_why_an_event_does_not_match() {
    let event = json!({"topic": "t", "qos": 1, "payload": "{\"temp\":12}"});
    for (condition, expected) in [
        ("payload.temp > 30", "`payload.temp > 30` is false: it compares 12 > 30"),
        ("qos = 1 and payload.temp > 30", "`payload.temp > 30` is false: it compares 12 > 30"),
        (
            "payload.tmp > 30",
            "`payload.tmp > 30` is false: undefined > 30, and what is undefined compares with nothing",
        ),
        ("qos in (0, 2)", "`qos IN (0, 2)` is false: the value is 1"),
        (
            "qos = 2 or topic = 'x'",
            "`qos = 2` is false: it compares 1 = 2, and `topic = 'x'` is false: it compares \"t\" = \"x\"",
        ),
        ("not qos = 1", "`NOT qos = 1` is false: it compares 1 = 1"),
        ("is_null(qos)", "`is_null(qos)` is false"),
    ] {
        let program = Program::new(&format!("SELECT * FROM t WHERE {condition}")).unwrap();
        let columns = columns(&event);
        let input = Input::new(&columns);
        assert_eq!(program.apply(&input), Ok(Outcome::NotMatched), "{condition}");
        assert_eq!(program.why_not(&input), expected);
    }
}

/// Columns that tell which of them were read.
struct Watched(Map, std::cell::RefCell<Vec<String>>);

impl Columns for Watched {
    fn column(&self, name: &[u8]) -> Option<Value> {
        self.1.borrow_mut().push(String::from_utf8_lossy(name).into_owned());
        self.0.column(name)
    }

    fn all(&self) -> Map {
        self.0.all()
    }
}

#[test]
fn a_payload_is_read_once_for_all_rules_and_only_when_one_looks_into_it() {
    let event = json!({"topic": "t", "payload": "{\"list\":[[7]],\"deep\":{\"list\":[8]}}"});
    // By keys alone what they lead to is read, otherwise the whole payload.
    for path in ["payload.list", "payload.deep.list", "payload.list[1]"] {
        let watched = Watched(columns(&event), std::cell::RefCell::default());
        let input = Input::new(&watched);
        let apply = |sql: &str| {
            let outcome = Program::new(sql).unwrap().apply(&input).unwrap();
            let Outcome::Outputs(outputs) = outcome else { panic!("nothing is put out") };
            outputs[0].get(b"x").unwrap().clone()
        };
        apply("SELECT topic as x FROM t WHERE topic = 't'");
        assert!(!watched.1.borrow().iter().any(|name| name == "payload"), "nobody asked for it");
        // Of two that are read apart the elements are not the same ones in memory.
        let (one, other) = (
            apply(&format!("SELECT {path} as x FROM t WHERE {path} != 1")),
            apply(&format!("SELECT 1 as y, {path} as x FROM t")),
        );
        assert_eq!(one, other);
        assert_eq!(one.as_array().unwrap().as_ptr(), other.as_array().unwrap().as_ptr(), "{path}");
        assert_eq!(
            watched.1.borrow().iter().filter(|name| *name == "payload").count(),
            1,
            "{path}"
        );
    }
}

#[test]
fn a_payload_is_paid_for_once_however_often_a_rule_looks_into_it() {
    let readings: Vec<_> =
        (0..1000).map(|number| json!({"v": number, "unit": "x".repeat(50)})).collect();
    let payload = json!({"site": "north", "readings": readings}).to_string();
    let event = json!({"topic": "t", "payload": payload});
    let sql = "FOREACH payload.readings AS r DO payload.site AS site, r.v AS v FROM t";
    let outputs = applied(sql, &event).unwrap();
    assert_eq!(outputs.as_array().map(Vec::len), Some(1000));
    assert_eq!(outputs[999], json!({"site": "north", "v": 999}));
}

#[test]
fn what_an_expression_makes_is_bounded_in_depth() {
    let event = json!({"topic": "t"});
    let sql = "SELECT kv_store_put('deeper', [kv_store_get('deeper')]) AS x FROM t";
    let failed = (0..10_000).find_map(|_| applied(sql, &event).err());
    assert_eq!(failed.as_deref(), Some("a value is nested deeper than 120 levels"));
}

#[test]
fn long_integers_weigh_what_they_take_in_an_output() {
    let event = json!({"topic": "t", "payload": format!("{{\"n\":{}}}", "7".repeat(19_000))});
    // As text: `serde_json` would not keep the digits.
    let columns = columns(&event);
    let program = Program::new("FOREACH payload.n AS n, [1..3000] AS i DO n FROM t").unwrap();
    let failed = program.apply(&Input::new(&columns)).err().map(|error| error.message);
    assert_eq!(failed.as_deref(), Some("the output of the rule has more than 8388608 bytes"));
}

#[test]
fn work_on_long_values_is_bounded_by_steps() {
    let text = "x".repeat(256 * 1024);
    let list = format!("{{\"l\":[{}1]}}", "1,".repeat(100_000));
    for (sql, payload) in [
        ("FOREACH [1..20000] AS i DO i INCASE payload + 'x' = '' FROM t", &text),
        ("FOREACH [1..2000] AS i DO payload AS p, 1 AS p.a.b FROM t", &list),
        ("FOREACH [1..20000] AS i DO i INCASE upper(payload) = 'a' FROM t", &text),
        ("FOREACH [1..20000] AS i DO i INCASE length(payload.l) = 1 FROM t", &list),
    ] {
        let columns = columns(&json!({"topic": "t", "payload": payload}));
        let failed = Program::new(sql).unwrap().apply(&Input::new(&columns));
        assert_eq!(failed.err().map(|error| error.reason), Some(Reason::Limit), "{sql}");
    }
}

#[test]
fn every_field_of_foreach_is_one_that_can_be_walked() {
    let errors = Program::new("FOREACH *, payload.l AS x FROM t").unwrap_err();
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["`FOREACH` needs an array, not `*`"]);
}

#[test]
fn a_rule_that_gives_another_text_the_name_of_the_payload_does_not_take_its_place() {
    let event = json!({"topic": "t", "payload": "{\"list\":[7]}"});
    let columns = columns(&event);
    let input = Input::new(&columns);
    let apply = |sql: &str| {
        let Outcome::Outputs(outputs) = Program::new(sql).unwrap().apply(&input).unwrap() else {
            panic!("nothing is put out")
        };
        outputs[0].get(b"x").unwrap().clone()
    };
    apply("SELECT '{\"a\":1}' AS payload, payload.a AS x FROM t");
    let lists = [(); 2].map(|()| apply("SELECT payload.list AS x FROM t"));
    let addresses = lists.each_ref().map(|list| list.as_array().unwrap().as_ptr());
    assert_eq!(addresses[0], addresses[1], "the payload is still read once");
}
