mod calls;

use std::collections::BTreeSet;

use ::bytes::Bytes;
use proptest::prelude::*;

use self::calls::{Columns, evaluate};
use super::{Function, all, did_you_mean, lookup, unavailable, why_unavailable};
use crate::rule::program::Program;
use crate::rule::run::{ELEMENTS_MAX, TEXT_BYTES_MAX};
use crate::rule::value::{Map, Value};

fn json(text: &str) -> Value {
    Value::parse_json(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

/// The columns of a test event in which `{"$undefined": true}` stands for what is not there.
fn columns(event: Option<&Value>) -> Columns {
    let mut columns = Columns::default();
    for (name, value) in event.and_then(Value::as_map).into_iter().flat_map(Map::iter) {
        columns.set(std::str::from_utf8(name).unwrap(), as_result(value));
    }
    columns
}

fn as_result(value: &Value) -> Value {
    if value.key(b"$undefined").is_undefined() { value.clone() } else { Value::Undefined }
}

fn same(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (Value::Float(got), Value::Float(expected)) => {
            (got - expected).abs() <= 1e-9 * expected.abs()
        }
        _ => got == expected,
    }
}

#[test]
fn calls_give_what_emqx_gives() {
    let vectors =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/funcs.dev.jsonl"));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in vectors.lines() {
        let case = json(line);
        let text = case.key(b"expr");
        let columns = columns(Some(&case.key(b"event")));
        let text = text.as_str().unwrap();
        let Some(got) = evaluate(text, &columns).filter(|_| !text.starts_with("jq(")) else {
            continue;
        };
        count += 1;
        let expected = case.key(b"result");
        let fails = !expected.key(b"error").is_undefined();
        let good = match &got {
            Err(_) => fails,
            Ok(got) => !fails && same(got, &as_result(&expected)),
        };
        if !good {
            wrong.push(format!("{text}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 240, "only {count} vectors are calls");
}

/// All that need no other process: `jq` is tested through the binary.
fn in_process() -> impl Iterator<Item = &'static Function> {
    all().filter(|function| function.name != "jq")
}

#[test]
fn every_example_of_the_table_is_true() {
    for function in in_process() {
        assert!(!function.examples.is_empty(), "{} has no example", function.name);
        for (call, result) in function.examples {
            let event = json(r#"{"topic":"t/1"}"#);
            let run =
                |text| evaluate(text, &columns(Some(&event))).unwrap_or_else(|| panic!("{text}"));
            let (got, expected) = (run(call).unwrap(), run(result).unwrap());
            assert!(same(&got, &expected), "{call} is {got:?}, not {result}");
        }
    }
}

#[test]
fn functions_that_look_at_the_clock_or_at_what_is_kept_are_known() {
    let changing: Vec<_> = all().filter(|function| function.changes).map(|it| it.name).collect();
    expect_test::expect![[r"
        random jq now_timestamp now_rfc3339 format_date date_to_unix_ts timezone_to_offset_seconds timezone_to_second mongo_date kv_store_put kv_store_get kv_store_del proc_dict_put proc_dict_get proc_dict_del uuid_v4 uuid_v4_no_hyphen"]]
    .assert_eq(&changing.join(" "));
}

/// What the vectors do not show, asked of Erlang/OTP 25 with EMQX's definitions.
#[test]
fn corners_of_erlang_are_kept() {
    for (call, expected) in [
        (r#"regex_match('{"a":15}', '{"a":(\d+)}')"#, "true"),
        ("regex_extract('x{1', '(x){')", r#"["x"]"#),
        ("regex_replace('aaa', '.*', 'X')", r#""XX""#),
        ("regex_replace('abc', 'a*', '-')", r#""--b-c-""#),
        (r"regex_replace('abc', 'b', '<\0>')", r#""a<0>c""#),
        (r"regex_match(unescape('ab\n'), 'b$')", "true"),
        (r"regex_match(unescape('ab\n\n'), 'b$')", "false"),
        ("regex_match('[x', '[[]x')", "true"),
        (r"regex_match('é', '^\w')", "true"),
        (r"unescape('a\')", r#""a\\""#),
        ("lower('ΑΣ')", r#""ασ""#),
        (r#"str_utf8(json_decode('[{"a":1},{"你好👋":1}]'))"#, r#""[{\"a\":1},{\"你好👋\":1}]""#),
        ("str_utf8([72, 105])", r#""Hi""#),
        ("sprintf('~p|~10p|~p', '', 'ab', 'é')", r#""<<>>|<<\"ab\">>|<<\"é\">>""#),
        ("sprintf('~10.3s|~-4s|~.3s|', 'ab', 'x', 'y')", r#""       ab |x   |y  |""#),
        ("sprintf('~s', [97, 'b'])", r#""ab""#),
        ("substr('abc', -1, 0)", r#""""#),
        ("sublist(4, -1, ['x', 'y'])", "[]"),
        ("mget(['a', 'b'], mput(['a', 'b'], 2, json_decode('{\"c\":1}')))", "2"),
        ("mget(['a', 'b'], json_decode('{\"a\":{\"b\":1}}'), 9)", "9"),
        (
            "json_encode([1000.0, 100.0, 0.001, 0.00012, 123456.0])",
            r#""[1.0e3,100.0,0.001,1.2e-4,123456.0]""#,
        ),
        (
            r#"map_put('a.b.c', 7, json_decode('{"a":"{\"b\":{\"d\":1}}"}'))"#,
            r#"{"a":{"b":{"c":7,"d":1}}}"#,
        ),
    ] {
        let got = evaluate(call, &Columns::default()).unwrap_or_else(|| panic!("{call}"));
        assert_eq!(got.as_ref(), Ok(&json(expected)), "{call}");
    }
}

#[test]
fn what_erlang_refuses_is_refused() {
    for (call, expected) in [
        ("sublist(3, -1, ['x', 'y'])", "`sublist`: no elements from 3 on, -1 of them"),
        (
            "rfc3339_to_unix_ts('2024-02-23T15:56:30')",
            "`rfc3339_to_unix_ts`: `2024-02-23T15:56:30` has no time zone: `Z` or `+08:00` at its end",
        ),
    ] {
        let got = evaluate(call, &Columns::default()).unwrap_or_else(|| panic!("{call}"));
        assert_eq!(got, Err(expected.to_owned()), "{call}");
    }
}

/// A text read from a payload is a part of it, and holds on to all of it.
#[test]
fn what_is_kept_is_not_a_part_of_a_payload() {
    let payload = json(r#"{"s":["a text of some length"]}"#);
    let part = payload.key(b"s");
    let columns = Columns::default();
    let call = |name: &str, arguments: &[Value]| lookup(name).unwrap().call(&columns, arguments);
    call("kv_store_put", &[Value::from("part"), part.clone()]).unwrap();
    let kept = call("kv_store_get", &[Value::from("part")]).unwrap();
    assert_eq!(kept, part);
    let address = |list: &Value| list.as_array().unwrap()[0].as_bytes().unwrap().as_ptr();
    assert_ne!(address(&kept), address(&part));
}

#[test]
fn every_function_has_one_name_and_a_signature_that_can_be_met() {
    let mut names = BTreeSet::new();
    for function in all() {
        let Function { name, arguments, docs, .. } = function;
        assert!(names.insert(name), "{name} is there twice");
        assert!(docs.ends_with(['.', ')']), "{name}: {docs}");
        let first_optional = function.arguments_min();
        assert!(arguments.iter().skip(first_optional).all(|argument| argument.optional), "{name}");
        assert!(why_unavailable(name).is_none(), "{name} is available");
        assert!(lookup(name).is_some());
    }
    assert!(names.len() > 140, "{}", names.len());
}

#[test]
fn functions_that_a_gateway_cannot_have_are_refused_when_a_rule_is_loaded() {
    for (name, reason) in unavailable::all() {
        let name = name.replace('*', "decode");
        let errors = Program::new(&format!("SELECT {name}(payload, 'x') AS x FROM t")).unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(
            matches!(&told[..], [only] if only.contains(&name) && only.contains(reason)),
            "{told:?}"
        );
    }
}

#[test]
fn a_mistyped_name_finds_the_function_that_was_meant() {
    for (typed, meant) in [
        ("UPPER", Some("upper")),
        ("subst", Some("substr")),
        ("regexp_match", Some("regex_match")),
        ("now", Some("now_timestamp")),
        ("ToString", None),
        ("to_string", Some("str")),
        ("xyzzy", None),
    ] {
        assert_eq!(did_you_mean(typed), meant, "{typed}");
    }
}

#[test]
fn arguments_of_a_wrong_kind_are_named() {
    for (call, expected) in [
        (
            "substr('abc', '1')",
            "`substr` needs an integer as argument 2 (start), not a text, \"1\"",
        ),
        ("upper(nosuch)", "`upper` needs a text as argument 1 (text), which is undefined"),
        ("nth(5, [1])", "`nth`: there is no element 5 in an array of 1"),
    ] {
        let error = evaluate(call, &Columns::default()).unwrap().unwrap_err();
        assert_eq!(error, expected, "{call}");
    }
}

#[test]
fn what_grows_without_bound_is_refused() {
    let long = Value::text(vec![b'a'; TEXT_BYTES_MAX / 2 + 1]);
    let bomb = {
        let gzip = lookup("gzip").unwrap();
        let columns = Columns::default();
        let once = gzip.call(&columns, std::slice::from_ref(&long)).unwrap();
        // Members of a gzip file follow each other.
        Value::text([once.as_bytes().unwrap().as_ref(); 2].concat())
    };
    let mut columns = Columns::default();
    columns.set("long", long);
    columns.set("bomb", bomb);
    for call in [
        "gunzip(bomb)",
        "concat(long, long)",
        "concat([long, long])",
        "join_to_string('', [long, long])",
        "bin2hexstr(long)",
        "pad('a', 5000000)",
        "pad('a', 9000000000000000000, 'both', 'ab')",
        "replace(long, 'a', 'abc')",
        "regex_replace(long, 'a', '&&&')",
        "sprintf('~s~s', long, long)",
        "sprintf('~9000000w', 1)",
        "bitsl(1, 9000000000000000000)",
        "base64_encode(concat(long, 'a'), long)",
        "kv_store_put(1, [long, long, long, long, long, long, long, long, long])",
    ] {
        let result = evaluate(call, &columns).unwrap();
        let small = |value: &Value| value.weight() < TEXT_BYTES_MAX;
        assert!(result.as_ref().map_or(true, small), "{call} is too large");
        assert!(result.is_err() || call.starts_with("base64"), "{call} is not refused");
    }
}

#[test]
fn arrays_are_texts_where_erlang_sees_texts_in_them() {
    for (call, expected) in [
        ("str([])", "''"),
        ("concat('a', [])", "'a'"),
        ("str([1, 2])", "'[1,2]'"),
        ("str([97, 233])", "'aé'"),
        ("str([97, 300])", "'[97,300]'"),
        ("join_to_string(', ', [[97, 98], [1]])", "'ab, [1]'"),
        ("bin2hexstr(join_to_sql_values_string([[97, 98]]))", "'275B39372C39385D27'"),
    ] {
        let run = |text: &str| evaluate(text, &Columns::default()).unwrap();
        assert_eq!(run(call), run(expected), "{call}");
    }
}

#[test]
fn patterns_find_bytes_that_are_not_ascii() {
    for (call, expected) in [
        ("regex_match('Wärme', 'ä')", "true"),
        ("regex_match('温度', '^温')", "true"),
        ("regex_replace('温度: 1', '[^0-9]+', '')", "'1'"),
        ("regex_extract('a', '(a)|(b)|c')", "['a']"),
        ("regex_extract('b', '(a)|(b)|c')", "['', 'b']"),
        ("regex_replace('ab', '(a)(b)', '\\2\\g{1}\\&')", "'ba&'"),
    ] {
        let call = call.replace("\\\\", "\\");
        let run = |text: &str| evaluate(text, &Columns::default()).unwrap();
        assert_eq!(run(&call), run(expected), "{call}");
    }
    let error = evaluate("regex_match('a', '(?=a)')", &Columns::default()).unwrap();
    let expected = "`regex_match`: `(?=a)` is not a pattern: look-around, including look-ahead and look-behind, is not \
                    supported";
    assert_eq!(error.unwrap_err(), expected);
}

#[test]
fn a_client_keeps_what_is_its_own() {
    let of = |client: &str, call: &str| {
        let event =
            Value::map(Map::from_entries(vec![("clientid".into(), Value::text_of(client))]));
        evaluate(call, &columns(Some(&event))).unwrap().unwrap()
    };
    assert_eq!(of("a", "proc_dict_put('k', 1)"), Value::Undefined);
    assert_eq!(of("a", "proc_dict_put('k', 2)"), Value::int(1));
    assert_eq!(of("b", "proc_dict_get('k')"), Value::Undefined);
    assert_eq!(of("b", "kv_store_get('k', 'none')"), Value::from("none"));
    assert_eq!(of("a", "proc_dict_del('k')"), Value::int(2));
    assert_eq!(of("a", "proc_dict_get('k')"), Value::Undefined);
    of("a", "kv_store_put('k', [1])");
    assert_eq!(of("b", "kv_store_get('k')"), json("[1]"));
    of("b", "kv_store_del('k')");
    assert_eq!(of("a", "kv_store_get('k')"), Value::Undefined);
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = [
        "",
        " ",
        "a",
        "signed",
        "little",
        "float",
        "bits",
        "leading",
        "both",
        "notrim",
        "all",
        "%Y-%m-%d",
        "second",
        "nanosecond",
        "+08:00",
        "local",
        "2024-02-23T15:56:30.87Z",
        "(a|b)*",
        "\\",
        "~*.*.0b",
        "~p",
        "{\"a\":{\"b\":[1]}}",
        "sha3_256",
        "a.b",
        "9F4E58",
    ];
    let leaf = prop_oneof![
        Just(Value::Undefined),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-4_i64..70).prop_map(Value::int),
        any::<i64>().prop_map(Value::int),
        any::<i128>().prop_map(Value::int),
        any::<f64>().prop_filter_map("finite", Value::float),
        (-4_i8..70).prop_map(|number| Value::Float(number.into())),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::text),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::array),
            prop::collection::vec((".{0,4}".prop_map(Bytes::from), inner), 0..4)
                .prop_map(|entries| Value::map(Map::from_entries(entries))),
        ]
    })
}

fn is_bounded(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Array(elements) => elements.len() <= ELEMENTS_MAX && elements.iter().all(is_bounded),
        Value::Float(number) => number.is_finite(),
        Value::Map(map) => map.iter().all(|(_, value)| is_bounded(value)),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Each case calls all functions with the first of the values, as many as each takes.
    #[test]
    fn no_function_panics_or_gives_too_much(values in prop::collection::vec(any_value(), 7)) {
        for function in in_process() {
            let max = function.arguments_max().unwrap_or(5);
            for count in function.arguments_min()..=max {
                let result = function.call(&Columns::default(), &values[..count]);
                if let Ok(value) = result {
                    prop_assert!(is_bounded(&value), "{}{:?}", function.name, &values[..count]);
                }
            }
        }
    }

    #[test]
    fn what_was_encoded_decodes(value in any_value(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let call = |name: &str, value: &Value| {
            lookup(name).unwrap().call(&Columns::default(), std::slice::from_ref(value)).unwrap()
        };
        prop_assert_eq!(call("term_decode", &call("term_encode", &value)), value);
        let bytes = Value::text(bytes);
        for (encode, decode) in [
            ("gzip", "gunzip"),
            ("zip", "unzip"),
            ("zip_compress", "zip_uncompress"),
            ("bin2hexstr", "hexstr2bin"),
            ("base64_encode", "base64_decode"),
        ] {
            prop_assert_eq!(call(decode, &call(encode, &bytes)), bytes.clone(), "{}", encode);
        }
    }
}
