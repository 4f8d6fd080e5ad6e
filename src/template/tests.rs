use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Escape, Template, join_path, literal, lookalikes, request_path};

/// Vectors made by running EMQX's own code.
const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/templates.dev.jsonl"));

#[track_caller]
fn render(source: &str, data: &Value) -> String {
    Template::parse(source).unwrap().render(data, Escape::None)
}

/// A column that is undefined has no key.
fn without_undefined(mut data: Value) -> Value {
    if let Some(object) = data.as_object_mut() {
        object.retain(|_, value| value.get("$undefined").is_none());
    }
    data
}

#[test]
fn every_template_vector_of_emqx_holds() {
    let mut count = 0;
    for line in VECTORS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap();
        let actual = match text("kind") {
            "render" => render(text("template"), &without_undefined(case["data"].clone())),
            "join_path" => join_path(text("base"), text("path")),
            kind => panic!("unknown kind {kind}"),
        };
        assert_eq!(actual, text("result"), "{line}");
        count += 1;
    }
    assert!(count > 30, "only {count} vectors were read");
}

#[test]
fn what_is_not_a_placeholder_is_literal_text() {
    let data = json!({ "a": "A", "": { "a": "under the empty key" }, "l": ["x"] });
    for (source, expected) in [
        ("${a-b}", "${a-b}"),
        ("${ a }", "${ a }"),
        ("${l[1]}", "${l[1]}"),
        ("${${a}}", "${A}"),
        ("$${a}", "$A"),
        ("${$}{a}", "${a}"),
        ("${$", "${$"),
        ("${", "${"),
        ("$", "$"),
        ("${ä}", "${ä}"),
        ("ä${a}ä", "äAä"),
        ("${.}", r#"{"":{"a":"under the empty key"},"a":"A","l":["x"]}"#),
        ("${..a}", "under the empty key"),
        ("${a.}", "undefined"),
        ("${JSON:a}", "${JSON:a}"),
    ] {
        assert_eq!(render(source, &data), expected, "{source}");
    }
}

#[test]
fn numbers_and_lists_are_written_as_erlang_writes_them() {
    for (value, expected) in [
        (json!(1e-11), "0.0"),
        (json!(-0.5), "-0.5"),
        (json!(0.1 + 0.2), "0.3"),
        (json!(1e22), "10000000000000000000000.0"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!([104, 105]), "hi"),
        (json!([104, 105.0]), "[104,105.0]"),
        (json!([104, -1]), "[104,-1]"),
        (json!([0xd800]), "[55296]"),
        (json!(["a"]), r#"["a"]"#),
        (json!(null), "null"),
    ] {
        assert_eq!(render("${v}", &json!({ "v": value })), expected, "{value}");
    }
}

#[test]
fn the_json_form_is_json_whatever_the_payload_holds() {
    let payload = r#"{"t":21.5,"name":"a \"b\"\n","list":[],"none":null,"deep":{"x":1}}"#;
    let data = json!({ "payload": payload, "qos": 1, "topic": "t/\"1\"" });
    for (source, expected) in [
        ("${json:payload}", Value::from(payload)),
        ("${json:payload.t}", json!(21.5)),
        ("${json:payload.name}", json!("a \"b\"\n")),
        ("${json:payload.list}", json!([])),
        ("${json:payload.none}", json!(null)),
        ("${json:payload.deep}", json!({ "x": 1 })),
        ("${json:.payload.deep.x}", json!(1)),
        ("${json:nowhere}", json!(null)),
        ("${json:qos}", json!(1)),
        ("${json:}", data.clone()),
        ("{\"t\":${json:topic}}", json!({ "t": "t/\"1\"" })),
    ] {
        let rendered = render(source, &data);
        let parsed: Value = serde_json::from_str(&rendered)
            .unwrap_or_else(|error| panic!("{source} gave {rendered}: {error}"));
        assert_eq!(parsed, expected, "{source}");
    }
}

#[test]
fn a_json_form_without_a_path_is_an_error_that_says_where() {
    for source in ["x${json:a-b}", "x${json:a", "x${json:$}"] {
        let error = Template::parse(source).unwrap_err();
        assert_eq!(error.position, 1, "{source}");
        assert!(error.message.contains("${json:payload.temp}"), "{error}");
    }
}

#[test]
fn values_in_a_url_are_percent_encoded_and_literal_text_is_not() {
    let template = Template::parse("/d/${id}?q=${q}&l=a b").unwrap();
    let data = json!({ "id": "../a/b?c#d%", "q": "ü&= ~" });
    let expected = "/d/..%2Fa%2Fb%3Fc%23d%25?q=%C3%BC%26%3D%20~&l=a b";
    assert_eq!(template.render(&data, Escape::Url), expected);
}

#[test]
fn the_placeholders_of_a_template_name_their_columns() {
    let template = Template::parse("a${.payload.x}${json:topic}${.}${$}${a b}").unwrap();
    let places: Vec<_> =
        template.placeholders().map(|place| (place.column(), place.position())).collect();
    assert_eq!(places, [(Some("payload"), 1), (Some("topic"), 14), (None, 27)]);
}

#[test]
fn a_text_made_literal_renders_as_itself_and_a_secret_is_not_shown() {
    let data = json!({ "a": "A" });
    for text in ["${a}", "$${a}", "${$}{a}", "${", "plain", "${json:a}"] {
        assert_eq!(render(&literal(text), &data), text);
        let secret = Template::of_text(text).masked();
        assert_eq!(secret.render(&data, Escape::None), text);
        assert_eq!(Template::parse(secret.source()).unwrap().render(&data, Escape::None), text);
        assert_eq!(format!("{secret:?}"), "Template(\"***\")");
    }
    let shown = Template::parse("x${a}").unwrap();
    assert_eq!(
        format!("{shown:?} {:?}", shown.clone().masked()),
        "Template(\"x${a}\") Template(\"***\")"
    );
}

#[test]
fn what_only_looks_like_a_placeholder_is_found() {
    let source = "${a} ${ a } ${$} ${a-b} ${l[1]} ${ open ${a} ${x y";
    assert_eq!(lookalikes(source), ["${ a }", "${a-b}", "${l[1]}"]);
}

#[test]
fn an_empty_path_of_a_sink_leaves_the_path_of_its_url() {
    for (url_path, rendered, expected) in [
        ("/api", "", "/api"),
        ("/api/", "", "/api/"),
        ("", "", "/"),
        ("", "?x=1", "/?x=1"),
        ("/", "v1", "/v1"),
        ("/api/", "/v1", "/api/v1"),
    ] {
        assert_eq!(request_path(url_path, rendered), expected, "{url_path:?} and {rendered:?}");
    }
}

/// JSON of every shape, with texts that are JSON themselves now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(Value::from(r#"{"a":{"b":[1]}}"#)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[ab]{0,1}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_parses_and_renders_without_a_panic(source in ".{0,64}", data in any_json()) {
        if let Ok(template) = Template::parse(&source) {
            let rendered = template.render(&data, Escape::Url);
            prop_assert!(rendered.len() < 10_000);
        }
    }

    #[test]
    fn any_mix_of_template_pieces_renders_and_the_json_form_is_json(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["${", "}", "$", "json:", "a", "b", ".", "_", " ", "ä", "{"]),
            0..16,
        ),
        data in any_json(),
    ) {
        let path: String = pieces.iter().copied().filter(|piece| matches!(*piece, "a" | "b" | ".")).collect();
        let json = render(&format!("${{json:{path}}}"), &data);
        prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
        if let Ok(template) = Template::parse(&pieces.concat()) {
            let rendered = template.render(&data, Escape::None);
            prop_assert!(rendered.len() < 10_000);
        }
    }

    #[test]
    fn a_text_without_placeholders_renders_as_itself(source in "[^$]{0,64}") {
        prop_assert_eq!(render(&source, &Value::Null), source);
    }
}
