//! Working with dead letters: every command, on a gateway that runs and on one that is stopped.

mod arguments;
mod many;
mod plant;
mod stopped;
mod trouble;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use expect_test::expect;
use plant::{Plant, said, text};

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::waypost::command;

#[test]
fn a_running_gateway_lists_and_counts_its_dead_letters() {
    let plant = Plant::start();
    plant.publish("d1", 6);
    plant.until_letters(2);
    expect![[r#"
        exit 0
        --- stdout
        ID                    SINK   REASON    STATUS  TRIES  GIVEN UP              TOPIC  WHY
        a1b2c3d4e5f6-cloud-2  cloud  rejected  422     1      2026-01-31T08:00:00Z  t/d1   ok
        a1b2c3d4e5f6-cloud-5  cloud  rejected  422     1      2026-01-31T08:00:00Z  t/d1   ok
        --- stderr
        note: one with its whole answer and its record: waypost dead-letter show a1b2c3d4e5f6-cloud-5 --config DIR/waypost.toml
    "#]]
    .assert_eq(&plant.said(&["list"]));
    expect![[r#"
        exit 0
        --- stdout
        STATUS  LETTERS  SIZE   FIRST GIVEN UP        LAST GIVEN UP
        422     2        886 B  2026-01-31T08:00:00Z  2026-01-31T08:00:00Z

        2 dead letters
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["list", "--group-by", "status"]));
    let by_alias = plant.gateway.run(&["dlq", "list", "--group-by", "sink", "--json"]);
    let groups: serde_json::Value = serde_json::from_slice(&by_alias.stdout).unwrap();
    assert_eq!((&groups[0]["sink"], &groups[0]["letters"]), (&"cloud".into(), &2.into()));
    // Told when they begin, and not with each.
    let log = plant.gateway.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("became dead letters")).collect();
    assert!(
        matches!(told[..], [one] if one.contains("sink=cloud records=1 reason=\"rejected\"")),
        "{log}"
    );
}

#[test]
fn a_letter_is_shown_and_exported_with_all_that_is_known_of_it() {
    let plant = Plant::start();
    plant.publish("d1", 6);
    plant.until_letters(2);
    expect![[r#"
        exit 0
        --- stdout
        id        a1b2c3d4e5f6-cloud-2
        sink      cloud
        rule      cloud
        topic     t/d1
        reason    rejected: status 422 (Unprocessable Entity)
        status    422
        attempts  1, from 2026-01-31T08:00:00Z to 2026-01-31T08:00:00Z
        accepted  2026-01-31T08:00:00Z
        given up  2026-01-31T08:00:00Z
        size      443 B

        answer
        ok

        record
        {
          "event": "message.publish",
          "id":"MESSAGE",
          "clientid": "d1",
          "payload": "{\"device\":\"d1\",\"n\":1}",
          "peerhost": "127.0.0.1",
          "peername": "PEER",
          "topic": "t/d1",
          "qos": 1,
          "flags": {
            "dup": false,
            "retain": false
          },
          "pub_props": {
            "User-Property": {}
          },
          "publish_received_at": 0,
          "timestamp": 0,
          "node": "plant-7",
          "metadata": {
            "rule_id": "cloud"
          }
        }
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["show", &plant.id("cloud", 2)]));
    expect![[r#"
        exit 0
        --- stdout
        {"id":"a1b2c3d4e5f6-cloud-2","sink":"cloud","rule":"cloud","reason":"rejected","why":"status 422 (Unprocessable Entity)","status":422,"attempts":1,"topic":"t/d1","accepted_at":0,"first_attempt_at":0,"last_attempt_at":0,"dead_at":0,"edited_from":null,"bytes":443,"answer":"ok","record":{"event":"message.publish","id":"MESSAGE","clientid":"d1","payload":"{\"device\":\"d1\",\"n\":1}","peerhost":"127.0.0.1","peername":"PEER","topic":"t/d1","qos":1,"flags":{"dup":false,"retain":false},"pub_props":{"User-Property":{}},"publish_received_at":0,"timestamp":0,"node":"plant-7","metadata":{"rule_id":"cloud"}}}
        {"id":"a1b2c3d4e5f6-cloud-5","sink":"cloud","rule":"cloud","reason":"rejected","why":"status 422 (Unprocessable Entity)","status":422,"attempts":1,"topic":"t/d1","accepted_at":0,"first_attempt_at":0,"last_attempt_at":0,"dead_at":0,"edited_from":null,"bytes":443,"answer":"ok","record":{"event":"message.publish","id":"MESSAGE","clientid":"d1","payload":"{\"device\":\"d1\",\"n\":4}","peerhost":"127.0.0.1","peername":"PEER","topic":"t/d1","qos":1,"flags":{"dup":false,"retain":false},"pub_props":{"User-Property":{}},"publish_received_at":0,"timestamp":0,"node":"plant-7","metadata":{"rule_id":"cloud"}}}
        --- stderr
    "#]].assert_eq(&plant.said(&["export", "--since", "1h"]));
    expect![[r#"
        exit 0
        --- stdout
        [{"id":"a1b2c3d4e5f6-cloud-2","sink":"cloud","rule":"cloud","reason":"rejected","why":"status 422 (Unprocessable Entity)","status":422,"attempts":1,"topic":"t/d1","accepted_at":0,"first_attempt_at":0,"last_attempt_at":0,"dead_at":0,"edited_from":null,"bytes":443}]
        --- stderr
        note: there may be more; `--limit N` lists more of them, `--group-by reason` counts them
    "#]].assert_eq(&plant.said(&["list", "--limit", "1", "--json"]));
    expect![[r#"
        exit 0
        --- stdout
        no dead letters
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["list", "--since", "2099-01-01T00:00:00Z"]));
}

#[test]
fn a_replayed_letter_reaches_the_service_under_the_id_it_had_before() {
    let plant = Plant::start();
    plant.publish("d1", 30);
    plant.until_letters(10);
    let refused: BTreeSet<_> = plant.ids_of(|request| !request.accepted);
    expect![[r#"
        exit 0
        --- stdout
        would replay 10 dead letters: 10 to cloud
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["replay", "--dry-run"]));
    assert_eq!(plant.letters(), 10, "a dry run does nothing");

    // Still refused: they are the same letters again.
    expect![[r#"
        exit 0
        --- stdout
        replayed 4 dead letters: 4 to cloud
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["replay", "--limit", "4"]));
    eventually("refused again", || plant.refusals(), |count| *count == 14);
    plant.until_letters(10);
    plant.gateway.metrics().assert_conservation();

    plant.service.answer(|_| Reply::Status(200));
    expect![[r#"
        exit 0
        --- stdout
        replayed 1 dead letter: 1 to cloud
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["replay", "--id", &plant.id("cloud", 2)]));
    let started = Instant::now();
    let paced = plant.run(&["replay", "--rate", "5"]);
    let took = started.elapsed();
    assert!(took > Duration::from_millis(1500), "took {took:?}: {}", said(&paced));
    assert_eq!(text(&paced.stdout), "replayed 9 dead letters: 9 to cloud\n");
    let progress = text(&paced.stderr);
    let is_progress = |line: &str| line.ends_with(" of 9") && line.len() == 6;
    assert!(!progress.is_empty() && progress.lines().all(is_progress), "{progress}");
    plant.until_letters(0);
    plant.gateway.drained("cloud");
    assert_eq!(plant.service.numbers("d1").len(), 30);
    assert_eq!(refused.len(), 10);
    let accepted = plant.ids_of(|request| request.accepted);
    assert!(refused.is_subset(&accepted), "{refused:?} came again as something else");
    assert_eq!(accepted.len(), 30);
    let metrics = plant.gateway.metrics();
    assert_eq!(metrics.get("waypost_records_replayed_total", "sink=\"cloud\""), Some(14.0));
    assert_eq!(metrics.get("waypost_queue_enqueued_total", "sink=\"cloud\""), Some(44.0));
    expect![[r#"
        exit 0
        --- stdout
        nothing to replay: no dead letter matches
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["replay"]));
    expect![[r#"
        exit 0
        --- stdout
        no dead letters
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["list"]));
}

#[test]
fn letters_of_a_sink_that_is_gone_are_there_and_go_to_another_one() {
    let mut plant = Plant::start();
    plant.publish("d1", 9);
    plant.until_letters(3);
    plant.restart_without_cloud();
    let listed = plant.run(&["list", "--sink", "cloud", "--json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(text(&plant.run(&["export"]).stdout).lines().count(), 3);
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        3 dead letters stay: the config has no sink `cloud` any more; `--to SINK` sends them to another one
        error: not all were replayed
    "#]].assert_eq(&plant.said(&["replay"]));
    expect![[r#"
        exit 0
        --- stdout
        removed 1 dead letter
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["purge", "--yes", "--id", &plant.id("cloud", 2)]));
    plant.service.answer(|_| Reply::Status(200));
    expect![[r#"
        exit 0
        --- stdout
        replayed 2 dead letters: 2 to other
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["replay", "--to", "other"]));
    plant.until_letters(0);
    plant.gateway.drained("other");
    let accepted = plant.ids_of(|request| request.accepted && request.target == "/other");
    assert_eq!(accepted, BTreeSet::from([plant.id("cloud", 5), plant.id("cloud", 8)]));
}

#[test]
fn an_edited_letter_has_an_id_of_its_own_that_names_the_old_one() {
    let plant = Plant::start();
    plant.publish("d1", 3);
    plant.until_letters(1);
    let old = plant.id("cloud", 2);
    let file = plant.gateway.directory().join("payload");
    std::fs::write(&file, "{\"device\":\"d1\",\"n\":900}").unwrap();
    let edited = plant.run(&["edit", &old, "--file", file.to_str().unwrap()]);
    let new = text(&edited.stdout).split(' ').nth(2).unwrap().to_owned();
    assert!(new.starts_with(&format!("{old}-e")), "{new}");
    expect![[r#"
        exit 0
        --- stdout
        a1b2c3d4e5f6-cloud-2 is NEW now; `waypost dead-letter replay --id NEW --config DIR/waypost.toml` sends it
        --- stderr
    "#]]
    .assert_eq(&plant.clean(&said(&edited)).replace(&plant.clean(&new), "NEW"));
    assert_eq!(plant.letters(), 1, "it takes the place of the old one");
    let shown = text(&plant.run(&["show", &new, "--json"]).stdout);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["edited_from"], old);
    assert_eq!(shown["record"]["payload"], "{\"device\":\"d1\",\"n\":900}");

    // Refused once more, it is still the same letter, and still knows what it was.
    plant.service.answer(|_| Reply::Status(422));
    plant.run(&["replay", "--id", &new]);
    eventually("refused again", || plant.refusals(), |count| *count == 2);
    plant.until_letters(1);
    let again = text(&plant.run(&["show", &new, "--json"]).stdout);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&again).unwrap()["edited_from"], old);

    plant.service.answer(|_| Reply::Status(200));
    plant.run(&["replay"]);
    plant.gateway.drained("cloud");
    plant.until_letters(0);
    let last = plant.service.requests().pop().unwrap();
    assert_eq!(last.headers["webhook-id"], new);
    assert_eq!(last.records()[0]["payload"], "{\"device\":\"d1\",\"n\":900}");
}

#[test]
fn an_editor_changes_what_a_rule_made_and_nothing_else_is_taken() {
    let plant = Plant::start();
    plant.publish_to("sql/d1", "d1", 3);
    plant.until_letters(1);
    let id = plant.id("other", 2);
    let edit = |editor: &str| {
        let mut command = command();
        command.args(["dead-letter", "edit", &id, "--config"]).arg(plant.gateway.config_path());
        command.env("VISUAL", "").env("EDITOR", editor).stdin(Stdio::null());
        let clean = plant.clean(&said(&command.output().unwrap()));
        regex::Regex::new("-e[a-z2-9]{8}").unwrap().replace_all(&clean, "-eNEW").into_owned()
    };
    expect![[r#"
        exit 0
        --- stdout
        nothing changed
        --- stderr
    "#]]
    .assert_eq(&edit("true"));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: nothing changed: the editor `false` ended with exit status: 1
    "#]]
    .assert_eq(&edit("false"));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: the record is what a rule made, and must stay a JSON object: expected ident at line 1 column 2
    "#]].assert_eq(&edit("echo not JSON >"));
    assert_eq!(plant.letters(), 1);
    // The editor sees a line for each value.
    expect![[r#"
        exit 0
        --- stdout
        a1b2c3d4e5f6-other-2 is a1b2c3d4e5f6-other-2-eNEW now; `waypost dead-letter replay --id a1b2c3d4e5f6-other-2-eNEW --config DIR/waypost.toml` sends it
        --- stderr
    "#]]
    .assert_eq(&edit("sed -i -e 's/^  \"n\": 1$/  \"n\": 12345678901234567890123/'"));
    plant.service.answer(|_| Reply::Status(200));
    plant.run(&["replay"]);
    plant.gateway.drained("other");
    let last = plant.service.requests().pop().unwrap();
    let body = text(&last.body);
    expect![[r#"{   "clientid": "d1",   "n": 12345678901234567890123 }"#]].assert_eq(&body);
    assert!(last.headers["webhook-id"].starts_with(&format!("{id}-e")));
}

#[test]
fn a_purge_removes_what_it_is_asked_to_and_counts_it() {
    let plant = Plant::start();
    plant.publish("d1", 9);
    plant.until_letters(3);
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: this would remove 3 dead letters for good: add --yes
    "#]]
    .assert_eq(&plant.said(&["purge"]));
    expect![[r#"
        exit 0
        --- stdout
        removed 0 dead letters
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["purge", "--older-than", "1h", "--yes"]));
    expect![[r#"
        exit 0
        --- stdout
        nothing to remove: no dead letter matches
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["purge", "--older-than", "1h"]));
    assert_eq!(plant.letters(), 3);
    let named = plant.id("cloud", 5);
    expect![[r#"
        exit 0
        --- stdout
        removed 1 dead letter
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["purge", "--id", &named, "--yes"]));
    expect![[r#"
        exit 0
        --- stdout
        removed 2 dead letters
        --- stderr
    "#]]
    .assert_eq(&plant.said(&["purge", "--sink", "cloud", "--reason", "rejected", "--yes"]));
    plant.until_letters(0);
    let purged = plant.gateway.metrics().get("waypost_dead_letters_purged_total", "sink=\"cloud\"");
    assert_eq!(purged, Some(3.0));
    plant.gateway.metrics().assert_conservation();
}
