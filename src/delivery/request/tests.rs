use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::UnixMillis;
use crate::config::BatchFormat;
use crate::delivery::tests::{batch_config, event, record, renderer, sink_config};
use crate::event::{Record, Replay};
use crate::name::{RecordId, RuleName};
use crate::topic::Topic;

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn batched(records_max: usize, format: BatchFormat) -> config::Sink {
    let mut config = sink_config("https://api.example.com:8443/base");
    config.batch = config::Batch { format, ..batch_config(records_max, Duration::ZERO) };
    config
}

/// One request of as many of the records as it takes.
fn render(config: &config::Sink, records: &[Arc<StoredRecord>]) -> (Message, usize) {
    let mut renderer = renderer(config);
    render_with(&mut renderer, records)
}

fn render_with(renderer: &mut Renderer, records: &[Arc<StoredRecord>]) -> (Message, usize) {
    let taken: Vec<_> = records.iter().take_while(|record| renderer.add(record)).collect();
    let numbers: Vec<_> = taken.iter().map(|record| record.number).collect();
    (renderer.finish(&numbers), numbers.len())
}

fn records(keys: &[&str]) -> Vec<Arc<StoredRecord>> {
    (1..).zip(keys).map(|(number, key)| record(number, key)).collect()
}

fn with_payload(number: u64, client_id: &str, payload: &'static str) -> Arc<StoredRecord> {
    let mut event = event(number, client_id);
    Arc::get_mut(&mut event).unwrap().message_mut().payload = payload.into();
    let record = Record { rule: RuleName::new("rule").unwrap(), event, output: None, replay: None };
    let number = RecordNumber(number);
    Arc::new(StoredRecord { number, accepted_at: UnixMillis(7), age_ms: 0, record })
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

#[test]
fn one_record_goes_alone_under_its_own_id_with_the_default_body() {
    let config = sink_config("https://api.example.com:8443/base?token=x");
    let (message, _) = render(&config, &records(&["device"]));
    assert_eq!(message.id, "a1b2-cloud-1");
    assert_eq!(message.target.url.as_str(), "https://api.example.com:8443/base?token=x");
    assert_eq!(message.target.headers[CONTENT_TYPE], "application/json");
    let body: Value = serde_json::from_str(text(&message)).unwrap();
    assert_eq!((&body["payload"], &body["node"]), (&json!("1"), &json!("plant-7")));
    assert_eq!(body.get("record_id"), None, "the header says it");
}

#[test]
fn a_json_array_holds_each_record_with_its_own_id() {
    let config = batched(3, BatchFormat::JsonArray);
    let (message, _) = render(&config, &records(&["a", "b", "c"]));
    assert_eq!(message.target.headers[CONTENT_TYPE], "application/json");
    let body: Vec<Value> = serde_json::from_str(text(&message)).unwrap();
    let ids: Vec<_> = body.iter().map(|record| &record["record_id"]).collect();
    assert_eq!(ids, ["a1b2-cloud-1", "a1b2-cloud-2", "a1b2-cloud-3"]);
}

#[test]
fn ndjson_holds_one_record_a_line_whatever_the_template_says() {
    let mut config = batched(3, BatchFormat::Ndjson);
    let (message, _) = render(&config, &records(&["a", "b"]));
    assert_eq!(message.target.headers[CONTENT_TYPE], "application/x-ndjson");
    let lines = text(&message).lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(lines.count(), 2);
    assert!(text(&message).ends_with('\n'));

    config.request.body = Some(template("{\r\n \"who\": ${json:clientid}\n}"));
    let (message, _) = render(&config, &records(&["a", "b"]));
    assert_eq!(text(&message), "{   \"who\": \"a\" }\n{   \"who\": \"b\" }\n");
}

#[test]
fn a_body_template_is_the_body_or_the_element_of_an_array() {
    let mut config = sink_config("http://h/");
    config.request.body = Some(template("${payload}"));
    assert_eq!(text(&render(&config, &records(&["a"])).0), "1");
    let mut config = batched(2, BatchFormat::JsonArray);
    config.request.body = Some(template("{\"n\":${payload}}"));
    assert_eq!(text(&render(&config, &records(&["a", "b"])).0), "[{\"n\":1},{\"n\":2}]");
}

#[test]
fn a_batch_has_an_id_of_exactly_its_records() {
    let config = batched(9, BatchFormat::JsonArray);
    let renderer = renderer(&config);
    let id = |numbers: &[u64]| {
        let numbers: Vec<_> = numbers.iter().copied().map(RecordNumber).collect();
        renderer.batch_id(&numbers).to_str().unwrap().to_owned()
    };
    assert_eq!(id(&[4, 5, 7]), id(&[4, 5, 7]));
    assert_eq!(id(&[4, 5, 7]), "a1b2-cloud-4-3-00b42b0e0aac22f3", "the same in every version");
    let others: [&[u64]; 5] = [&[4, 5, 6], &[4, 6, 7], &[4, 5], &[5, 7], &[4, 5, 7, 8]];
    for other in others {
        assert_ne!(id(&[4, 5, 7]), id(other), "{other:?}");
    }
    assert!(!id(&[4, 5]).contains('.'), "a signature joins its parts with dots");
}

#[test]
fn a_replayed_record_goes_under_the_id_it_has_always_had() {
    let replayed = |number| {
        let mut replayed = Arc::unwrap_or_clone(record(number, "device"));
        let record_id = RecordId::new(&format!("old1-edge-{number}-e2")).unwrap();
        replayed.record.replay = Some(Arc::new(Replay { record_id, edited_from: None }));
        Arc::new(replayed)
    };
    let (message, _) = render(&sink_config("http://h/"), &[replayed(7)]);
    assert_eq!(message.id, "old1-edge-7-e2");
    let config = batched(3, BatchFormat::JsonArray);
    let (message, _) = render(&config, &[replayed(7)]);
    assert_eq!(message.id, "old1-edge-7-e2", "alone in a batch");
    let (message, _) = render(&config, &[record(1, "a"), replayed(7), record(9, "a")]);
    let body: Vec<Value> = serde_json::from_str(text(&message)).unwrap();
    let ids: Vec<_> = body.iter().map(|record| &record["record_id"]).collect();
    assert_eq!(ids, ["a1b2-cloud-1", "old1-edge-7-e2", "a1b2-cloud-9"]);
    assert!(message.id.to_str().unwrap().starts_with("a1b2-cloud-1-3-"), "{:?}", message.id);
}

#[test]
fn no_body_grows_past_its_limit_by_a_second_record() {
    let around = BatchFormat::Template {
        template: template(
            "{\"batch\": \"${batch_id}\", \"count\": ${count}, \"records\": [${records}]}",
        ),
        separator: ", ".to_owned(),
    };
    for format in [BatchFormat::JsonArray, BatchFormat::Ndjson, around] {
        let mut config = batched(100, format.clone());
        // What stands around the records may be counted with a longer id than it has in the end.
        let slack = if matches!(format, BatchFormat::Template { .. }) { 64 } else { 0 };
        let all = records(&["a"; 20]);
        let ten = render(&config, &all[..10]).0.body.len();
        for (bytes_max, expected) in
            [(1, 1), (ten - 1, 9), (ten + slack, 10), (ten + slack + 1, 10)]
        {
            config.batch.bytes_max = NonZeroUsize::new(bytes_max).unwrap();
            let (message, taken) = render(&config, &all);
            assert_eq!(taken, expected, "{format:?} with {bytes_max} bytes at most");
            assert!(taken == 1 || message.body.len() <= bytes_max);
            let rest = render(&config, &all[..taken]).0;
            assert_eq!(rest.body, message.body, "nothing is left of the record that did not fit");
        }
    }
}

#[test]
fn a_batch_template_stands_around_the_joined_bodies() {
    let mut config = batched(
        9,
        BatchFormat::Template {
            template: template("${count} of ${node} as ${batch_id}: <${records}>"),
            separator: " | ".to_owned(),
        },
    );
    config.request.body = Some(template("${clientid} ${record_id}"));
    let (message, _) = render(&config, &records(&["a", "${records}"]));
    let id = message.id.to_str().unwrap();
    let expected = format!("2 of plant-7 as {id}: <a a1b2-cloud-1 | ${{records}} a1b2-cloud-2>");
    assert_eq!(text(&message), expected, "what a record says is no template");
    let (message, _) = render(&config, &records(&["a"]));
    assert_eq!(text(&message), "1 of plant-7 as a1b2-cloud-1: <a a1b2-cloud-1>");
}

#[test]
fn templates_know_the_record_id_and_all_columns_have_it_where_the_default_body_does() {
    let mut config = batched(9, BatchFormat::JsonArray);
    config.request.body = Some(template("${.}"));
    let (message, _) = render(&config, &records(&["a"]));
    let body: Vec<Value> = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body[0]["record_id"], "a1b2-cloud-1");
    let mut config = sink_config("http://h/");
    config.request.body = Some(template("${.}"));
    assert!(!text(&render(&config, &records(&["a"])).0).contains("record_id"));
    config.request.path = Some(template("/${record_id}"));
    config.request.body = Some(template("${record_id}"));
    let (message, _) = render(&config, &records(&["a"]));
    assert_eq!((message.target.url.path(), text(&message)), ("/a1b2-cloud-1", "a1b2-cloud-1"));
}

#[test]
fn a_rendered_header_name_that_cannot_be_sent_is_left_out_and_counted() {
    let mut config = sink_config("http://h/");
    config.request.headers = vec![(template("${clientid}"), template("${topic}"))];
    let mut renderer = renderer(&config);
    for (client_id, sent, dropped) in [
        ("x-device", true, 0),
        ("two words", false, 1),
        ("Webhook-Id", false, 2),
        ("Host", false, 3),
        ("", false, 4),
    ] {
        let (message, _) = render_with(&mut renderer, &records(&[client_id]));
        let headers = &message.target.headers;
        assert_eq!(headers.len(), 1 + usize::from(sent), "{client_id:?}: {headers:?}");
        assert_eq!(renderer.dropped_headers.get(), dropped, "{client_id:?}");
    }
}

#[test]
fn records_that_go_elsewhere_start_the_next_batch() {
    let mut config = batched(9, BatchFormat::JsonArray);
    config.request.path = Some(template("/devices/${clientid}"));
    let mut renderer = renderer(&config);
    let all = records(&["a", "a", "b"]);
    let (message, taken) = render_with(&mut renderer, &all);
    assert_eq!((message.target.url.path(), taken), ("/base/devices/a", 2));
    let (message, taken) = render_with(&mut renderer, &all[2..]);
    assert_eq!((message.target.url.path(), taken), ("/base/devices/b", 1));
}

#[test]
fn values_are_percent_encoded_and_never_reach_scheme_host_or_port() {
    let mut config = sink_config("https://api.example.com:8443/base/");
    config.request.path = Some(template("/d/${clientid}/x?who=${clientid}"));
    config.request.query = vec![("the topic".into(), template("${topic}&"))];
    let url_of = |client_id: &str| render(&config, &records(&[client_id])).0.target.url.clone();
    assert_eq!(
        url_of("a/b?c#d &%é").as_str(),
        "https://api.example.com:8443/base/d/a%2Fb%3Fc%23d%20%26%25%C3%A9/x\
         ?who=a%2Fb%3Fc%23d%20%26%25%C3%A9&the+topic=t%2F1&"
    );
    for hostile in
        ["..", ".", "../..", "@evil.example", "//evil.example", "\\\\evil", ":80", "%2e%2e"]
    {
        let url = url_of(hostile);
        assert_eq!(url.host_str(), Some("api.example.com"), "{hostile}");
        assert_eq!((url.scheme(), url.port()), ("https", Some(8443)), "{hostile}");
        let segments: Vec<_> = url.path_segments().unwrap().collect();
        assert_eq!((segments.len(), segments[1], segments[3]), (4, "d", "x"), "{hostile}: {url}");
    }
    assert_eq!(url_of("..").path(), "/base/d/%252E%252E/x");
}

#[test]
fn configured_headers_replace_the_default_content_type_and_render_their_values() {
    let mut config = sink_config("http://h/");
    config.request.headers = vec![
        (template("Content-Type"), template("text/plain")),
        (template("X-Topic"), template("on ${topic}")),
        (template("x-topic"), template("${topic}")),
    ];
    let headers = render(&config, &records(&["a"])).0.target.headers.clone();
    assert_eq!(headers[CONTENT_TYPE], "text/plain");
    assert_eq!(headers.get_all("x-topic").iter().collect::<Vec<_>>(), ["t/1"], "the last wins");
}

#[test]
fn a_header_that_cannot_be_sent_is_left_out_and_counted() {
    let mut config = sink_config("http://h/");
    config.request.headers = vec![
        (template("x-payload"), template("${payload}")),
        (template("x-kept"), template("${payload.a}")),
        (template("Transfer-Encoding"), template("chunked")),
        (template("no name"), template("x")),
    ];
    let mut renderer = renderer(&config);
    assert_eq!(renderer.dropped_headers.get(), 2, "framing, and a name that is none");
    for (hostile, total) in [("a\r\nevil: 1", 3), ("a\nb", 4), ("\0", 5)] {
        let (message, _) = render_with(&mut renderer, &[with_payload(1, "a", hostile)]);
        let names: Vec<_> = message.target.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "x-kept"], "{hostile:?}");
        assert_eq!(renderer.dropped_headers.get(), total, "{hostile:?}");
    }
}

#[test]
fn a_topic_cannot_be_smuggled_into_the_path_by_its_slashes() {
    let mut config = sink_config("http://h/");
    config.request.path = Some(template("${topic}"));
    let mut event = event(1, "a");
    Arc::get_mut(&mut event).unwrap().message_mut().topic = Topic::new("../admin").unwrap();
    let record = Record { rule: RuleName::new("rule").unwrap(), event, output: None, replay: None };
    let record =
        StoredRecord { number: RecordNumber(1), accepted_at: UnixMillis(7), age_ms: 0, record };
    let (message, _) = render(&config, &[Arc::new(record)]);
    assert_eq!(message.target.url.path(), "/..%2Fadmin");
}
