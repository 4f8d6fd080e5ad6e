//! Data directories that versions of the format wrote, in `tests/golden`: every later version must open them.
//!
//! `v1` has messages, `v2` outputs of rules too, `v3` replayed records too and two dead letters, `v4` events of
//! every kind. Each was made by `WAYPOST_MAKE_GOLDEN=tests/golden/v4 cargo test --lib make_the_golden_files` of its time, and is never made anew: a new format gets a folder of its own, and these stay.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::*;
use crate::event::{EventKind, Occurrence, PublishProperties, Replay};
use crate::name::RecordId;

const RECORDS: u64 = 90;

/// Every field in every shape, and one record larger than a chunk.
fn golden_record(version: u32, number: u64) -> Record {
    let bytes = if number == 41 { 70_000 } else { 200 };
    let Record { rule, event, .. } = incompressible(number, bytes);
    let mut event = Arc::unwrap_or_clone(event);
    let message = event.message_mut();
    let peers = ["192.0.2.7:1883", "[2001:db8::1]:40000"];
    match number % 4 {
        0 => message.payload = Bytes::from(format!(r#"{{"number":{number},"text":"höhe"}}"#)),
        1 => {
            message.qos = Qos::ExactlyOnce;
            message.retain = true;
            message.client_id = Some("device-1".into());
            message.peer = Some(peers[0].parse::<SocketAddr>().unwrap());
        }
        2 => {
            message.qos = Qos::AtMostOnce;
            message.dup = true;
            message.username = Some("u".into());
            message.peer = Some(peers[1].parse::<SocketAddr>().unwrap());
        }
        _ => {
            message.properties = Some(Box::new(PublishProperties {
                payload_format_indicator: Some(1),
                message_expiry_interval: Some(60),
                content_type: Some("text/plain".to_owned()),
                response_topic: Some("r/1".to_owned()),
                correlation_data: Some(Bytes::from_static(b"\x00\xff")),
                user_properties: vec![
                    ("a".to_owned(), "1".to_owned()),
                    ("a".to_owned(), String::new()),
                ],
            }));
        }
    }
    let replay = (version >= 3 && number % 5 == 4).then(|| {
        let id = |text: String| RecordId::new(&text).unwrap();
        let edited_from = number.is_multiple_of(2).then(|| id(format!("old1-edge-{number}")));
        Arc::new(Replay { record_id: id(format!("old1-edge-{number}-e2x")), edited_from })
    });
    if version >= 4 && number.is_multiple_of(4) {
        return Record { replay, ..occurrence(rule, number) };
    }
    if version >= 2 && number.is_multiple_of(3) {
        let output = format!(r#"{{"number":{number},"list":[1,2.5,"höhe",null]}}"#);
        let event = Arc::new(event.without_content());
        return Record { rule, event, output: Some(output.into()), replay };
    }
    Record { rule, event: Arc::new(event), output: None, replay }
}

/// Every kind, now and then with bytes that are no text, and with what a rule made of it.
fn occurrence(rule: RuleName, number: u64) -> Record {
    let kinds = EventKind::ALL;
    let kind = kinds[usize::try_from(number / 4).unwrap() % kinds.len()];
    let mut occurrence = Occurrence::new(kind)
        .with("clientid", format!("c{number}"))
        .with("topic", "höhe/\"1\"")
        .with("conn_props", serde_json::json!({ "User-Property": { "a": [1, 2.5, null, true] } }));
    if number.is_multiple_of(8) {
        occurrence = occurrence.with_payload(Bytes::from_static(b"\x00\xff"));
    }
    let source = SourceName::new("local").unwrap();
    let event = Event::of(source, UnixMillis(number), occurrence);
    let output =
        number.is_multiple_of(12).then(|| Bytes::from(format!(r#"{{"number":{number}}}"#)));
    Record { rule, event: Arc::new(event), output, replay: None }
}

fn golden_letter(version: u32, number: u64) -> DeadLetter {
    let record = Record { replay: None, ..golden_record(version, number) };
    DeadLetter { record, ..letters::dead(number, 0) }
}

/// A message, one larger than a chunk, and from `v4` on another event.
fn letters(version: u32) -> Vec<DeadLetter> {
    let numbers: &[u64] = if version >= 4 { &[6, 8, 41] } else { &[6, 41] };
    numbers.iter().map(|number| golden_letter(version, *number)).collect()
}

fn open_golden(dir: &Path) -> (Store, Queue) {
    let config = StoreConfig {
        data_dir: dir.to_owned(),
        commit_window_max: Duration::ZERO,
        dead_letters_bytes_max: DEAD_LETTER_BYTES,
    };
    let no_machine = dir.join("no-machine-id");
    let mut store = Store::open_on_machine(config, Metrics::new().store, &no_machine).unwrap();
    store.generation_bytes_max = 48 * 1024;
    let sink = SinkName::new("cloud").unwrap();
    let queue = store.open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap();
    (store, queue)
}

/// Makes them when asked to; does nothing in an ordinary run.
#[tokio::test]
async fn make_the_golden_files() {
    let Some(dir) = env::var_os("WAYPOST_MAKE_GOLDEN") else { return };
    let dir = Path::new(&dir);
    let (store, queue) = open_golden(dir);
    for first in (1..=RECORDS).step_by(10) {
        append(&queue, (first..first + 10).map(|number| golden_record(4, number)).collect()).await;
    }
    let settled = [1, 2, 3, 5, 8].map(RecordNumber);
    queue.settle_delivered(&settled);
    store.dead_letters().append(letters(4)).await.unwrap();
    queue.close().await;
    store.dead_letters().close().await;
    fs::remove_file(dir.join("ballast")).unwrap();
    fs::remove_file(dir.join("lock")).unwrap();
}

#[tokio::test]
async fn every_version_of_the_format_still_opens() {
    for version in [1, 2, 3, 4] {
        still_opens(version).await;
    }
}

async fn still_opens(version: u32) {
    let golden = PathBuf::from(format!("tests/golden/v{version}"));
    let dir = TempDir::new().unwrap();
    damage::copy_tree(&golden, dir.path());
    let (store, queue) = open_golden(dir.path());
    let identity = fs::read_to_string(golden.join("identity")).unwrap();
    assert_eq!(Some(store.id()), identity.lines().next());
    let found = waiting(&queue).await;
    let numbers: Vec<u64> = found.iter().map(|record| record.number.0).collect();
    let expected: Vec<u64> = (1..=RECORDS).filter(|n| ![1, 2, 3, 5, 8].contains(n)).collect();
    assert_eq!(numbers, expected);
    for record in found {
        assert_eq!(record.record, golden_record(version, record.number.0), "{:?}", record.number);
    }
    assert_eq!(queue.appended().borrow().0, RECORDS + 1);
    if version >= 3 {
        for letter in letters(version) {
            let found = store.dead_letters().find(letter.record_id.clone()).await.unwrap();
            assert_eq!(found[0].1, letter);
        }
    }
}
