//! What the fuzz targets do with an input, shared with the test that replays what they found.
//!
//! An input is text; where a target needs two, a NUL byte stands between them. A panic is a finding; so are, to the
//! fuzzer, a second and a gigabyte.

use bytes::Bytes;
use waypost::rule::program::{Input, OUTPUT_BYTES_MAX, Outcome, Program};
use waypost::rule::sql;
use waypost::rule::value::{Map, Value};
use waypost::template::{Escape, Template, lookalikes};

/// Any text is a rule or has its mistake inside it, and a rule prints as one that means the same.
pub fn parser(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match sql::parse(text) {
        Ok(tree) => {
            let printed = tree.to_string();
            // Printing may add parentheses and blanks, so that only what is far from the bounds can be read again.
            if text.len() < sql::SQL_BYTES_MAX / 4 {
                match sql::parse(&printed) {
                    Ok(again) => assert_eq!(again.to_string(), printed, "{text:?}"),
                    Err(error) => assert!(
                        error.message.contains("nests deeper"),
                        "{text:?}: {printed:?}: {error}"
                    ),
                }
            }
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{text:?}")
        }
    }
    if let Err(errors) = Program::new(text) {
        assert!(!errors.is_empty(), "{text:?}");
    }
}

/// Any rule over any event ends, within its bounds.
pub fn evaluator(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let event = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else { return };
    // A program of `jq` runs in this binary again, which is another one here.
    if text.contains("jq") {
        return;
    }
    let Ok(program) = Program::new(text) else { return };
    let columns = match Value::parse_json(&event) {
        Ok(Value::Map(columns)) if columns.get(b"payload").is_some() => Map::clone(&columns),
        _ => columns_around(event),
    };
    let input = Input::new(&columns);
    let applied = program.apply(&input);
    if let Ok(Outcome::Outputs(outputs)) = &applied {
        let bytes: usize =
            outputs.iter().map(|output| Value::map(output.clone()).to_json().len()).sum();
        // Escapes of JSON take up to six bytes for one.
        assert!(bytes <= OUTPUT_BYTES_MAX * 6 + 1024, "{bytes} bytes of output of {text:?}");
    }
    if let Ok(Outcome::NotMatched) = applied {
        assert!(!program.why_not(&input).is_empty());
    }
    assert!(!program.in_words().to_string().is_empty());
    drop((program.output_names(), program.unknown_names()));
}

/// Any text renders over any data, and what is asked for as JSON is JSON.
pub fn templates(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(text) else { return };
    let value = serde_json::from_slice(parts.next().unwrap_or_default());
    let value: serde_json::Value =
        value.unwrap_or_else(|_| serde_json::json!({ "payload": "{\"a\":{\"b\":[1]}}" }));
    drop(lookalikes(text));
    let Ok(template) = Template::parse(text) else { return };
    let rendered = template.render(&value, Escape::None);
    drop((template.render(&value, Escape::Url), template.missing(&value)));
    if let (Some(place), 1) = (template.placeholders().next(), template.placeholders().count())
        && place.as_json() == text
    {
        assert!(
            serde_json::from_str::<serde_json::Value>(&rendered).is_ok(),
            "{text:?}: {rendered:?}"
        );
    }
    let literal = Template::parse(&waypost::template::literal(text));
    assert_eq!(literal.map(|it| it.render(&value, Escape::None)).as_deref(), Ok(text));
}

fn columns_around(payload: Bytes) -> Map {
    let text = |name: &'static str, value: &str| {
        (Bytes::from_static(name.as_bytes()), Value::text_of(value))
    };
    Map::from_entries(vec![
        text("topic", "plant/7/temp"),
        text("clientid", "pump-7"),
        (Bytes::from_static(b"qos"), Value::int(1)),
        (Bytes::from_static(b"username"), Value::Undefined),
        (Bytes::from_static(b"payload"), Value::Text(payload)),
    ])
}
