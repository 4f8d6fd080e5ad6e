//! Dead letters: unique, durable, bounded, and on the disk only as long as there are some.

use super::*;
use crate::name::RecordId;

pub(super) fn dead(number: u64, payload_bytes: usize) -> DeadLetter {
    let sink = SinkName::new("cloud").unwrap();
    DeadLetter {
        record_id: record_id("s1", &sink, RecordNumber(number)),
        sink,
        record: incompressible(number, payload_bytes),
        accepted_at: UnixMillis(1_800_000_000_000),
        reason: DeadLetterReason::Rejected,
        why: "status 400 (Bad Request)".to_owned(),
        status: Some(400),
        answer: Bytes::from_static(b"{\"error\":\"no such field\"}"),
        attempts: 3,
        first_attempt_at: Some(UnixMillis(1_800_000_000_001)),
        last_attempt_at: Some(UnixMillis(1_800_000_000_002)),
        edited_from: None,
    }
}

fn count(letters: &DeadLetters) -> u64 {
    let snapshot = letters.snapshot();
    snapshot.sinks.values().flat_map(|sink| sink.letters.values()).sum()
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| {
        let data = entry.metadata().unwrap();
        if data.is_dir() { folder_bytes(&entry.path()) } else { data.len() }
    });
    bytes.sum()
}

#[tokio::test]
async fn a_letter_is_kept_once_over_restarts_and_the_database_comes_with_the_first() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    assert!(!dir.path().join("dead-letters").exists(), "nothing was given up yet");
    let letters = store.dead_letters().clone();
    letters.append(vec![dead(1, 100), dead(2, 50_000)]).await.unwrap();
    letters.append(vec![dead(2, 50_000)]).await.unwrap();
    assert_eq!(count(&letters), 2);
    letters.close().await;
    assert!(matches!(letters.append(vec![dead(3, 1)]).await, Err(StoreError::Closed)));
    drop((letters, store));
    let store = open_store(dir.path());
    store.dead_letters().append(vec![dead(1, 100)]).await.unwrap();
    assert_eq!(count(store.dead_letters()), 2, "after a restart");
    for expected in [dead(1, 100), dead(2, 50_000)] {
        let found = store.dead_letters().find(expected.record_id.clone()).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, expected);
    }
}

#[tokio::test]
async fn the_quota_drops_the_oldest_of_the_largest_sink_and_holds_on_the_disk() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let letters = store.dead_letters();
    let other = SinkName::new("other").unwrap();
    letters.append(vec![DeadLetter { sink: other.clone(), ..dead(1, 100) }]).await.unwrap();
    for first in (1..=10_000).step_by(100) {
        letters
            .append((first..first + 100).map(|number| dead(number, 8_000)).collect())
            .await
            .unwrap();
        let disk = folder_bytes(&dir.path().join("dead-letters"));
        assert!(disk <= DEAD_LETTER_BYTES.get(), "{disk} bytes on disk after {first} letters");
    }
    let snapshot = letters.snapshot();
    let cloud = &snapshot.sinks[&SinkName::new("cloud").unwrap()];
    assert!(cloud.bytes <= snapshot.letter_bytes_max, "{cloud:?}");
    assert!(cloud.bytes > snapshot.letter_bytes_max * 9 / 10, "{cloud:?}");
    assert_eq!(cloud.letters["rejected"] + cloud.dropped, 10_000);
    assert_eq!(
        snapshot.sinks[&other].letters["rejected"], 1,
        "the flood of one pushed out another"
    );
}

#[tokio::test]
async fn letters_come_page_by_page_and_those_that_were_replaced_stay() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let letters = store.dead_letters();
    letters.append((1..=2500).map(|number| dead(number, 10)).collect()).await.unwrap();
    let other = SinkName::new("other").unwrap();
    letters.append(vec![DeadLetter { sink: other.clone(), ..dead(7, 10) }]).await.unwrap();
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = letters.page(None, after.take()).await.unwrap();
        assert_eq!(page.latest, 2501);
        pages += 1;
        after = page.letters.last().map(|found| found.head.letter_key());
        seen.extend(page.letters);
        if !page.has_more {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (2501, 3));
    assert!(seen[..2500].is_sorted_by_key(|found| found.head.letter), "in the order of records");
    let of_other = letters.page(Some(other), None).await.unwrap();
    assert_eq!(of_other.letters.len(), 1);
    assert_eq!(letters.find(dead(7, 10).record_id).await.unwrap().len(), 2, "one in each sink");

    letters.append(vec![dead(2, 10)]).await.unwrap();
    let heads = seen[..3].iter().map(|found| found.head.clone()).collect();
    assert_eq!(letters.take_out(heads, Removal::Purged).await.unwrap(), 2, "2 has come again");
    assert_eq!(count(letters), 2499);
    assert_eq!(letters.snapshot().sinks[&dead(1, 0).sink].purged, 2);
}

#[tokio::test]
async fn an_edited_letter_takes_the_place_of_the_other_one_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let letters = store.dead_letters();
    letters.append(vec![dead(1, 10_000), dead(2, 10)]).await.unwrap();
    let old = letters.find(dead(1, 0).record_id).await.unwrap()[0].0.head.clone();
    let record_id = RecordId::new("s1-cloud-1-e2x").unwrap();
    let edited_from = Some(old.record_id.clone());
    let new = DeadLetter { record_id, edited_from, ..dead(3, 20_000) };
    let exchange = || letters.exchange(old.clone(), new.clone());
    assert_eq!(exchange().await.unwrap(), Exchanged::Done);
    assert_eq!(exchange().await.unwrap(), Exchanged::Gone);
    let bytes = letters.snapshot().sinks[&new.sink].bytes;
    letters.close().await;
    drop(store);

    let store = open_store(dir.path());
    let letters = store.dead_letters();
    let page = letters.page(None, None).await.unwrap();
    let ids: Vec<_> = page.letters.iter().map(|found| found.head.record_id.as_str()).collect();
    assert_eq!(ids, ["s1-cloud-1-e2x", "s1-cloud-2"]);
    assert_eq!(letters.find(new.record_id.clone()).await.unwrap()[0].1, new);
    assert_eq!(letters.snapshot().sinks[&new.sink].bytes, bytes, "counted as it was");
}
