//! A gateway that is stopped: its data directory is looked at without a trace, and worked with under its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect;

use super::plant::{Plant, text};
use crate::support::http::Reply;

/// Every file and folder, with its content and the time of its last change.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let changed = fs::metadata(&dir).unwrap().modified().unwrap();
        found.insert(dir.clone(), (Vec::new(), changed));
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::symlink_metadata(&path).unwrap();
            if data.is_dir() {
                dirs.push(path);
            } else if data.is_file() {
                found.insert(path.clone(), (fs::read(&path).unwrap(), data.modified().unwrap()));
            }
        }
    }
    found
}

#[test]
fn looking_at_a_stopped_gateway_writes_nothing_also_where_it_is_damaged() {
    let mut plant = Plant::start();
    plant.publish("d1", 60);
    plant.until_letters(20);
    plant.gateway.kill();
    let databases = plant.gateway.data_dir().join("dead-letters");
    let before = contents(&plant.gateway.data_dir());
    expect![[r#"
        exit 0
        --- stdout
        ID                    SINK   REASON    STATUS  TRIES  GIVEN UP              TOPIC  WHY
        a1b2c3d4e5f6-cloud-2  cloud  rejected  422     1      2026-01-31T08:00:00Z  t/d1   ok
        a1b2c3d4e5f6-cloud-5  cloud  rejected  422     1      2026-01-31T08:00:00Z  t/d1   ok
        --- stderr
        note: waypost is not running: this is DIR/data
        note: one with its whole answer and its record: waypost dead-letter show a1b2c3d4e5f6-cloud-5 --config DIR/waypost.toml
        note: there may be more; `--limit N` lists more of them, `--group-by reason` counts them
    "#]].assert_eq(&plant.said(&["list", "--limit", "2"]));
    expect![[r#"
        exit 0
        --- stdout
        REASON    LETTERS  SIZE     FIRST GIVEN UP        LAST GIVEN UP
        rejected  20       8.7 KiB  2026-01-31T08:00:00Z  2026-01-31T08:00:00Z

        20 dead letters
        --- stderr
        note: waypost is not running: this is DIR/data
    "#]]
    .assert_eq(&plant.said(&["list", "--group-by", "reason"]));
    expect![[r#"
        exit 0
        --- stdout
        would replay 20 dead letters: 20 to cloud
        --- stderr
        note: waypost is not running: this is DIR/data
    "#]]
    .assert_eq(&plant.said(&["replay", "--dry-run"]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        note: waypost is not running: this is DIR/data
        error: this would remove 20 dead letters for good: add --yes
    "#]]
    .assert_eq(&plant.said(&["purge"]));
    assert!(plant.said(&["show", &plant.id("cloud", 2)]).contains("rejected"));
    assert_eq!(text(&plant.run(&["export"]).stdout).lines().count(), 20);
    assert!(before == contents(&plant.gateway.data_dir()), "something was written");

    let database = fs::read_dir(databases).unwrap().next().unwrap().unwrap().path().join("db");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 4000].fill(0xa5);
    fs::write(&database, bytes).unwrap();
    let before = contents(&plant.gateway.data_dir());
    let listed = plant.run(&["list"]);
    assert!(listed.status.success(), "{listed:?}");
    assert!(text(&listed.stdout).lines().count() > 5, "{}", text(&listed.stdout));
    assert!(before == contents(&plant.gateway.data_dir()), "something was written");
}

#[test]
fn a_stopped_gateway_takes_replays_edits_and_purges_and_delivers_when_it_starts() {
    let mut plant = Plant::start();
    plant.publish("d1", 15);
    plant.until_letters(5);
    plant.gateway.terminate();
    plant.service.answer(|_| Reply::Status(200));
    expect![[r#"
        exit 0
        --- stdout
        removed 1 dead letter
        --- stderr
        note: waypost is not running: this is DIR/data
    "#]]
    .assert_eq(&plant.said(&["purge", "--id", &plant.id("cloud", 2), "--yes"]));
    let file = plant.gateway.directory().join("payload");
    fs::write(&file, "edited").unwrap();
    let edited = plant.run(&["edit", &plant.id("cloud", 5), "--file", file.to_str().unwrap()]);
    let new = text(&edited.stdout).split(' ').nth(2).unwrap().to_owned();
    expect![[r#"
        exit 0
        --- stdout
        replayed 2 dead letters: 2 to cloud
        --- stderr
        note: waypost is not running: this is DIR/data
        note: they are sent when waypost runs again
    "#]]
    .assert_eq(&plant.said(&["replay", "--limit", "2"]));
    expect![[r#"
        exit 0
        --- stdout
        replayed 1 dead letter: 1 to other
        --- stderr
        note: waypost is not running: this is DIR/data
        note: they are sent when waypost runs again
    "#]]
    .assert_eq(&plant.said(&["replay", "--to", "other", "--id", &plant.id("cloud", 11)]));
    assert_eq!(plant.ids_of(|request| request.accepted).len(), 10, "nothing is sent by a command");

    plant.gateway.launch();
    plant.gateway.drained("cloud");
    plant.gateway.drained("other");
    plant.until_letters(1);
    let cloud = plant.ids_of(|request| request.accepted && request.target == "/cloud");
    assert!(cloud.contains(&new) && cloud.contains(&plant.id("cloud", 8)), "{cloud:?}");
    let other = plant.ids_of(|request| request.target == "/other");
    assert_eq!(other, BTreeSet::from([plant.id("cloud", 11)]));
    let recovered = plant.gateway.metrics().sum("waypost_queue_recovered_total", "sink=");
    assert_eq!(recovered, 3.0);
}
