//! What the fuzz targets do with an input, shared with the test that replays what they found.
//!
//! An input is text; where a target needs two, a NUL byte stands between them. A panic is a finding; so are, to the
//! fuzzer, a second and a gigabyte.

use bytes::Bytes;
use waypost::clock::UnixMillis;
use waypost::config::PayloadEncoding;
use waypost::event::catalogue::{Holds, Profile, Shown};
use waypost::event::json::{BodyFormat, EventFormat, PayloadAs, UndefinedAs};
use waypost::event::{Event, Occurrence, Record};
use waypost::name::{RuleName, SourceName};
use waypost::rule::program::{Input, OUTPUT_BYTES_MAX, Outcome, Program};
use waypost::rule::sql;
use waypost::rule::value::{Map, Value};
use waypost::source::dialect::hook::Format;
use waypost::source::dialect::mosquitto::Learned;
use waypost::source::dialect::{Dialect, Said, topics};
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

/// Whatever a broker says is an event or is refused, and no event is of a client that was not named. First where it was
/// said: a topic, or `5`, `4`, `n`, `r` or nothing for a web hook of one dialect or any, with `2` or `6` behind it for payloads
/// in base 62 or 64.
pub fn dialects(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let place = parts.next().unwrap_or_default();
    let said = parts.next().unwrap_or_default();
    let Ok(place) = std::str::from_utf8(place) else { return };
    if place.starts_with("$SYS/broker/") {
        let mut learned = Learned::default();
        for line in said.split(|byte| *byte == 0) {
            if let Some(Ok(event)) = learned.read(place, line, "waypost") {
                let client = event.text("clientid").unwrap_or_default();
                assert!(String::from_utf8_lossy(line).contains(client), "{event:?}");
            }
        }
    } else if place.starts_with('$') {
        if let Some((_, Ok(event))) = topics::read(place, said) {
            assert!(names(said, &event), "{event:?}");
        }
    } else if let Ok(told) = format(place).read(said) {
        assert!(told.events.len() + told.ignored > 0);
        for event in &told.events {
            assert!(names(said, event), "{event:?}");
        }
    }
}

fn format(place: &str) -> Format {
    let dialect = match place.get(..1) {
        Some("5") => Some(Dialect::Emqx5),
        Some("4") => Some(Dialect::Emqx4),
        Some("n") => Some(Dialect::NanoMq),
        Some("r") => Some(Dialect::Rmqtt),
        _ => None,
    };
    let payload_encoding = match place.get(1..) {
        Some("2") => PayloadEncoding::Base62,
        Some("6") => PayloadEncoding::Base64,
        _ => PayloadEncoding::Plain,
    };
    Format { dialect, payload_encoding }
}

/// Whether one of the objects has the client, wherever a broker names one.
fn names(body: &[u8], said: &Said) -> bool {
    let objects = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>();
    let Ok(objects) = objects.collect::<Result<Vec<_>, _>>() else {
        // A payload that is not UTF-8.
        return true;
    };
    let mut objects = objects.iter().flat_map(|object| match object {
        serde_json::Value::Array(elements) => elements.iter().collect(),
        other => vec![other],
    });
    let keys = ["clientid", "from_client_id", "from_clientid", "client_id"];
    let clients: Vec<_> = ["clientid", "from_clientid"]
        .iter()
        .filter_map(|column| said.columns.get(*column))
        .collect();
    let has =
        |object: &serde_json::Value, client| keys.iter().any(|key| object.get(key) == Some(client));
    clients.is_empty() || objects.any(|object| clients.iter().all(|client| has(object, client)))
}

/// Every event that comes in goes out as JSON in every form, and what goes out in EMQX 5's form comes in as the same.
pub fn bodies(data: &[u8]) {
    let Ok(told) = Format::default().read(data) else { return };
    for said in told.events {
        let kind = said.kind;
        let mut occurrence = Occurrence::with_columns(kind, said.columns.clone());
        if let Some(payload) = said.payload.clone() {
            occurrence = occurrence.with_payload(payload);
        }
        let record = Record {
            rule: RuleName::new("r").expect("a name"),
            event: Event::of(SourceName::new("s").expect("a name"), UnixMillis(7), occurrence)
                .into(),
            output: None,
            replay: None,
        };
        let again = |body: &[u8]| Format::default().read(body).map(|told| told.events);
        for format in formats() {
            let mut body = Vec::new();
            format.write_object(&record, Some("id-1"), &mut body);
            let object = serde_json::from_slice::<serde_json::Map<_, _>>(&body);
            assert!(object.is_ok(), "{format:?}: {}", String::from_utf8_lossy(&body));
            drop(format.template_data(&record));
            if format.events != EventFormat::Emqx5 || format.payload_as != PayloadAs::Auto {
                continue;
            }
            let again =
                again(&body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&body)));
            let [again] = &again[..] else { panic!("{again:?}") };
            assert_eq!(again.kind, kind);
            let shown = kind.entry().columns.iter().filter(|it| it.shown != Shown::ByName);
            for column in shown {
                if column.holds == Holds::Payload {
                    assert!(said.payload.is_none() || again.payload == said.payload, "{said:?}");
                } else if let Some(value) = said.columns.get(column.name) {
                    assert_eq!(again.columns.get(column.name), Some(value), "{}", column.name);
                }
            }
        }
    }
}

fn formats() -> impl Iterator<Item = BodyFormat> {
    let events =
        [EventFormat::Emqx5, EventFormat::Emqx4(Profile::Code), EventFormat::Emqx4(Profile::Docs)];
    let payloads =
        [PayloadAs::Auto, PayloadAs::Text, PayloadAs::Json, PayloadAs::Base64, PayloadAs::Base62];
    let undefined = [UndefinedAs::Undefined, UndefinedAs::Null, UndefinedAs::Absent];
    let all = events.into_iter().flat_map(move |events| payloads.map(|payload| (events, payload)));
    let all = all.flat_map(move |(events, payload)| undefined.map(|it| (events, payload, it)));
    all.map(|(events, payload_as, undefined_as)| BodyFormat {
        events,
        payload_as,
        undefined_as,
        node: "plant-7".into(),
    })
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
