use super::*;

fn sink(name: &str) -> SinkName {
    SinkName::new(name).unwrap()
}

fn queued(audience: &Audience, name: &str, records: usize) {
    let sinks = [sink(name)];
    let about = About { sinks: &sinks, rules: &[] };
    audience.tell(about, || Happening::Queued { sink: name.to_owned(), records });
}

#[test]
fn there_is_an_audience_only_while_somebody_looks_on() {
    let tail = Tail::default();
    assert!(tail.audience().is_none());
    let listener = tail.listen(Wanted::default()).unwrap();
    assert!(tail.audience().is_some());
    drop(listener);
    assert!(tail.audience().is_none());
    let listeners: Vec<_> = (0..READERS_MAX).map(|_| tail.listen(Wanted::default())).collect();
    assert!(listeners.iter().all(Result::is_ok));
    assert_eq!(tail.listen(Wanted::default()).unwrap_err(), TooManyReaders);
}

#[tokio::test]
async fn a_reader_gets_what_it_wants_and_is_told_how_much_it_was_too_slow_for() {
    let tail = Tail::default();
    let wanted = Wanted { sink: Some(sink("cloud")), rule: None };
    let mut listener = tail.listen(wanted).unwrap();
    let audience = tail.audience().unwrap();
    for record in 0..LINES_MAX + 7 {
        queued(&audience, "cloud", record);
        queued(&audience, "other", record);
    }
    let first = listener.next().await.happening;
    assert_eq!(first, Happening::Lost { lines: 7 });
    for record in 0..LINES_MAX {
        let next = listener.next().await.happening;
        assert_eq!(next, Happening::Queued { sink: "cloud".to_owned(), records: record });
    }
    queued(&audience, "cloud", 1);
    let next = listener.next().await.happening;
    assert_eq!(next, Happening::Queued { sink: "cloud".to_owned(), records: 1 });
}

#[test]
fn a_line_that_nobody_has_room_for_is_not_even_made() {
    let tail = Tail::default();
    let _listener = tail.listen(Wanted::default()).unwrap();
    let audience = tail.audience().unwrap();
    for record in 0..LINES_MAX {
        queued(&audience, "cloud", record);
    }
    audience.tell(About { sinks: &[], rules: &[] }, || panic!("there is no room"));
}
