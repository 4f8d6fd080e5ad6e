use std::cmp::Ordering;

use bytes::Bytes;
use proptest::prelude::*;

use super::scan::{digits_length, plain_length};
use super::{Index, Integer, Map, Members, Value, fixed_compact, number_in, shortest};

fn json(text: &str) -> Value {
    Value::parse_json(&Bytes::copy_from_slice(text.as_bytes()))
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn written(value: &Value) -> String {
    String::from_utf8(value.to_json()).unwrap()
}

#[test]
fn what_ends_the_plain_part_of_a_text_is_found_wherever_it_stands() {
    for special in 0..=u8::MAX {
        let ends = special < 0x20 || matches!(special, b'"' | b'\\');
        for length in 1..20 {
            for place in 0..length {
                for other in [b' ', b'!', b'#', b'[', 0x7f, 0x80, 0xff] {
                    let mut text = vec![other; length];
                    text[place] = special;
                    let expected = if ends { place } else { length };
                    assert_eq!(plain_length(&text), expected, "{special} at {place} of {length}");
                }
            }
        }
    }
}

/// From `float_to_binary(F, [{decimals, N}, compact])` of Erlang/OTP 25.
#[test]
fn floats_are_rounded_as_erlang_rounds_them() {
    for (number, decimals, expected) in [
        (0.000_488_281_25, 10, "0.0004882813"),
        (-115.264_160_156_25, 10, "-115.2641601563"),
        (207.125, 2, "207.13"),
        (0.125, 2, "0.13"),
        (2.5, 0, "3"),
        (0.5, 0, "1"),
        (-4.5, 0, "-5"),
        (0.185, 2, "0.19"),
        (0.8865, 3, "0.887"),
        (0.999_999_999_96, 10, "1.0"),
        (20.2, 17, "20.19999999999999928"),
        (0.3, 18, "0.3"),
        (-0.391, 17, "-0.391"),
        (0.3, 19, "0.2999999999999999889"),
        (-0.0, 2, "-0.0"),
        (-0.001, 2, "-0.0"),
        (1.0, 3, "1.0"),
        (9_007_199_254_740_992.0, 3, "9007199254740992.0"),
        (1.234_567_890_123_456_8e20, 3, "123456789012345683968.0"),
    ] {
        assert_eq!(fixed_compact(number, decimals), expected, "{number} {decimals}");
    }
}

#[test]
fn what_ends_digits_is_found_wherever_it_stands() {
    for end in 0..=u8::MAX {
        for length in 1..20 {
            for place in 0..length {
                for digit in b'0'..=b'9' {
                    let mut text = vec![digit; length];
                    text[place] = end;
                    let expected = if end.is_ascii_digit() { length } else { place };
                    assert_eq!(digits_length(&text), expected, "{end} at {place} of {length}");
                }
            }
        }
    }
}

#[test]
fn numbers_of_json_keep_their_type_and_every_digit() {
    for (text, expected) in [
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("999999999999999999", "999999999999999999"),
        ("1e3", "1.0e3"),
        ("1.0", "1.0"),
        ("-0", "0"),
        ("0.1", "0.1"),
        ("1499071561162264.25", "1499071561162264.2"),
    ] {
        assert_eq!(written(&json(text)), expected, "{text}");
    }
    for bad in [
        "01",
        "1.",
        ".5",
        "1e",
        "1e400",
        "-",
        "+1",
        "[1,]",
        "{\"a\":1,}",
        "\"a\nb\"",
        "",
        " ",
        "1 2",
        "\"\\ud800\"",
    ] {
        assert!(Value::parse_json(&Bytes::from_static(bad.as_bytes())).is_err(), "{bad:?}");
    }
}

#[test]
fn json_is_bounded_in_depth() {
    let nested = |depth: usize| Bytes::from("[".repeat(depth) + &"]".repeat(depth));
    assert!(Value::parse_json(&nested(super::JSON_DEPTH_MAX)).is_ok());
    assert!(Value::parse_json(&nested(super::JSON_DEPTH_MAX + 1)).is_err());
}

#[test]
fn the_last_of_a_key_that_is_there_twice_counts() {
    assert_eq!(written(&json(r#"{"b":1,"a":2,"b":3,"a":4,"b":5}"#)), r#"{"a":4,"b":5}"#);
}

#[test]
fn each_run_of_bytes_that_are_not_utf8_becomes_one_replacement_character() {
    let value = Value::text_of(b"\x01\x02AB\x81\x82\"\\\n");
    assert_eq!(written(&value), "\"\\u0001\\u0002AB\u{fffd}\\\"\\\\\\n\"");
}

#[test]
fn comparison_coerces_as_emqx_does() {
    use Ordering::{Equal, Greater, Less};
    let text = |text: &str| Value::text_of(text);
    let undefined = Value::Undefined;
    for (left, right, expected) in [
        (undefined.clone(), undefined.clone(), Some(Equal)),
        (undefined.clone(), Value::Null, None),
        (text("undefined"), undefined, None),
        (json("10"), text("10"), Some(Equal)),
        (text("1.0e1"), json("10"), Some(Equal)),
        (json("9"), text("10"), Some(Less)),
        (json("true"), text("true"), Some(Equal)),
        (Value::Null, text("null"), Some(Equal)),
        (json("1"), json("1.0"), Some(Equal)),
        (json("9007199254740993"), json("9007199254740992.0"), Some(Greater)),
        (json("99999999999999999999"), json("1e20"), Some(Less)),
        (json("1"), json("true"), Some(Less)),
        (json("true"), json("{}"), Some(Less)),
        (json("{}"), json("[]"), Some(Less)),
        (json("[]"), text(""), Some(Less)),
        (json("[1,2]"), json("[1,2,0]"), Some(Less)),
        (json(r#"{"b":1}"#), json(r#"{"a":1,"b":0}"#), Some(Less)),
        (text("a"), text("b"), Some(Less)),
    ] {
        assert_eq!(left.compare(&right), Ok(expected), "{left:?} {right:?}");
    }
    json("1").compare(&text("1e3")).unwrap_err();
    json("1").compare(&text("one")).unwrap_err();
}

#[test]
fn numbers_in_texts_are_read_as_erlang_reads_them() {
    for good in ["1", "+1", "-1", "0010", "1.5", "-1.5", "1.0e3", "1.0E-3"] {
        assert!(number_in(good.as_bytes()).is_some(), "{good}");
    }
    for bad in
        ["", "-", "1e3", ".5", "5.", " 1", "1 ", "1.5.", "0x1", "1.0e", "inf", "NaN", "1.0e999"]
    {
        assert_eq!(number_in(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn integers_have_no_size_but_a_bound() {
    let big = json("9223372036854775807").plus(&json("1")).unwrap();
    assert_eq!(written(&big), "9223372036854775808");
    assert_eq!(big.minus(&json("1")).unwrap(), json("9223372036854775807"));
    assert_eq!(json("-7").modulo(&json("3")).unwrap(), json("-1"));
    assert_eq!(json("-7").div(&json("2")).unwrap(), json("-3"));
    assert_eq!(json("7").over(&json("2")).unwrap(), json("3.5"));
    assert_eq!(json("-9223372036854775808").div(&json("-1")).unwrap(), json("9223372036854775808"));
    for divide in [Value::over, Value::div, Value::modulo] {
        divide(&json("1"), &json("0")).unwrap_err();
    }
    let mut square = json("10");
    for _ in 0..14 {
        square = square.times(&square).unwrap();
    }
    square.times(&square).unwrap_err();
}

#[test]
fn plus_puts_texts_together() {
    assert_eq!(json("\"1\"").plus(&json("1")).unwrap(), json("\"11\""));
    assert_eq!(Value::Undefined.plus(&json("\"a\"")).unwrap(), json("\"undefineda\""));
    assert_eq!(json("2.0").plus(&json("\"\"")).unwrap(), json("\"2.0\""));
    Value::Undefined.plus(&json("1")).unwrap_err();
    Value::Null.plus(&json("true")).unwrap_err();
}

#[test]
fn elements_are_counted_from_one_and_from_the_end() {
    let array = json("[10,20,30]");
    for (index, expected) in [(1, "10"), (3, "30"), (-1, "30"), (-3, "10")] {
        assert_eq!(array.element(Index::At(index)), json(expected), "{index}");
    }
    for index in [0, 4, -4, i64::MIN, i64::MAX] {
        assert_eq!(array.element(Index::At(index)), Value::Undefined, "{index}");
    }
    assert_eq!(json(r#""[5,6]""#).element(Index::At(2)), json("6"));
    let mut grown = array;
    grown.put_element(Index::Head, json("1"));
    grown.put_element(Index::Tail, json("9"));
    grown.put_element(Index::At(-1), json("8"));
    grown.put_element(Index::At(7), json("7"));
    assert_eq!(written(&grown), "[1,10,20,30,8]");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::int),
        any::<i128>().prop_map(Value::int),
        any::<f64>().prop_filter_map("finite", Value::float),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::array),
            prop::collection::vec((".{0,4}".prop_map(Bytes::from), inner), 0..5)
                .prop_map(|entries| Value::map(Map::from_entries(entries))),
        ]
    })
}

proptest! {
    #[test]
    fn json_that_was_written_reads_as_the_same_value(value in any_value()) {
        prop_assert_eq!(Value::parse_json(&value.to_json().into()), Ok(value));
    }

    #[test]
    fn reading_agrees_with_serde_json(text in r#"[\[\]{}:,"\\ntrueflas0-9.eE+ u-]{0,24}"#) {
        let ours = Value::parse_json(&Bytes::copy_from_slice(text.as_bytes())).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{:?}", text);
    }

    /// Looking for members finds what reading the whole finds, or says that it cannot.
    #[test]
    fn members_are_found_without_reading_the_rest(
        text in r#"\{("[ab\\]{0,2}" ?: ?(-?[0-9.eE]{1,4}|"[ab\\n]{0,3}"|null|\[1,?2?\]|\{"a":\{"b":[0-9]\},"a":2\}|\{"b":\[\]\}),?){0,4}\}?"#,
        path in prop::collection::vec("[ab]{1,2}", 1..4),
    ) {
        let text = Bytes::from(text);
        let whole = Value::parse_json(&text);
        let members = Members::read(&text);
        prop_assert!(members.is_none() || whole.is_ok(), "{:?}", text);
        if let (Some(members), Ok(whole)) = (members, whole) {
            let found = members.get(path.iter().map(String::as_bytes));
            let expected = path.iter().fold(whole, |value, key| value.key(key.as_bytes()));
            if let Some(found) = found {
                prop_assert_eq!(found, expected, "{:?} {:?}", text, path);
            }
        }
    }

    /// As many digits as the standard library takes, which rounds up between two that are as near; Ryu, which EMQX uses,
    /// takes the even one.
    #[test]
    fn floats_are_written_with_the_fewest_digits(number in 0.01..9e15_f64, decimals in 0..17_usize) {
        let rounded: f64 = format!("{number:.decimals$}").parse().unwrap();
        for number in [rounded, -rounded, rounded / 1e13, number] {
            let plain = format!("{number:?}");
            let ours = shortest(number);
            prop_assert!(ours.len() <= plain.len(), "{ours} {plain}");
            prop_assert_eq!(ours.parse(), Ok(number));
        }
    }

    #[test]
    fn the_order_of_values_is_total(a in any_value(), b in any_value(), c in any_value()) {
        prop_assert_eq!(a.order(&b), b.order(&a).reverse());
        if a.order(&b) != Ordering::Greater && b.order(&c) != Ordering::Greater {
            prop_assert_ne!(a.order(&c), Ordering::Greater);
        }
    }

    #[test]
    fn integers_calculate_as_wide_ones_do(a in any::<i64>(), b in any::<i64>()) {
        let (x, y) = (Integer::from(a), Integer::from(b));
        let (a, b) = (i128::from(a), i128::from(b));
        prop_assert_eq!(x.plus(&y), Some(Integer::from(a + b)));
        prop_assert_eq!(x.times(&y), Some(Integer::from(a * b)));
        prop_assert_eq!(x.divided(&y), a.checked_div(b).map(Integer::from));
        prop_assert_eq!(x.remainder(&y), a.checked_rem(b).map(Integer::from));
    }
}
