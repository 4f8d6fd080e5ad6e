//! What is lost for good is asked for first: at a terminal, and nowhere else.

use expect_test::expect;

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::terminal::at_a_terminal;
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// A gateway with three records for a service that is down, and three dead letters of another one.
fn gateway(down: &Server, picky: &Server) -> Waypost {
    let port = free_port();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.down]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"10m\", max = \"10m\" }}\n\n\
         [webhooks.picky]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        down.url(),
        picky.url()
    ));
    let device = Device::start(port, "d1", "t/1", 3, std::time::Duration::ZERO);
    eventually("acknowledged", || device.acknowledged().len(), |count| *count == 3);
    device.stop();
    let state = || gateway.status()["sinks"]["down"]["state"].clone();
    eventually("it fails", state, |state| state == "retrying");
    gateway.until("waypost_dead_letters", "reason=\"rejected\",sink=\"picky\"", |it| it == 3.0);
    gateway
}

/// What a command shows at a terminal, with `typed` as the answer; the age of the records is another each time.
#[track_caller]
fn shown(gateway: &Waypost, command: &str, typed: &str) -> String {
    let waypost = env!("CARGO_BIN_EXE_waypost");
    let line = format!("'{waypost}' {command} --config '{}'", gateway.config_path().display());
    let (mut seen, code) = at_a_terminal(&line, typed);
    if let Some((before, after)) = seen.split_once("the oldest ") {
        let after = after.split_once(" old").unwrap().1;
        seen = format!("{before}the oldest AGE old{after}");
    }
    format!("{seen}exit {code}\n")
}

/// Typed, and what is to be seen of it: what is no clear yes, nothing at all, and the end of the input.
const NO: [(&str, &str); 5] =
    [("n\n", "n"), ("no\n", "no"), ("\n", ""), ("", ""), ("yes please\n", "yes please")];

#[test]
fn only_yes_at_a_terminal_drops_records_of_a_queue() {
    let (down, picky) =
        (Server::scripted(|_| Reply::Status(503)), Server::scripted(|_| Reply::Status(422)));
    let mut gateway = gateway(&down, &picky);
    let (drop, drop_old) = ("queue drop down --older-than 0s", "queue drop down --older-than 2d1h");
    let question = "queue down has 3 records, the oldest AGE old. Drop all of them? They are lost.";
    for (typed, seen) in NO {
        let expected = format!("{question} [y/N] {seen}\nnothing dropped\nexit 1\n");
        assert_eq!(shown(&gateway, drop, typed), expected);
    }
    assert_eq!(gateway.metrics().get("waypost_queue_records", "sink=\"down\""), Some(3.0));
    expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop those that have waited 2d1h or longer? They are lost. [y/N] y
        dropped 0 records of queue down
        exit 0
    "#]].assert_eq(&shown(&gateway, drop_old, "y\n"));

    gateway.terminate();
    let expected = format!("{question} [y/N] n\nnothing dropped\nexit 1\n");
    assert_eq!(shown(&gateway, drop, "n\n"), expected);
    expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] Y
        dropped 3 records of queue down
        exit 0
    "#]]
    .assert_eq(&shown(&gateway, drop, "Y\n"));
    gateway.launch();
    let recovered = gateway.metrics().get("waypost_queue_recovered_total", "sink=\"down\"");
    assert_eq!(recovered, Some(0.0));
}

#[test]
fn only_yes_at_a_terminal_removes_dead_letters() {
    let (down, picky) =
        (Server::scripted(|_| Reply::Status(503)), Server::scripted(|_| Reply::Status(422)));
    let gateway = gateway(&down, &picky);
    let letters = "reason=\"rejected\",sink=\"picky\"";
    let letters = || gateway.metrics().get("waypost_dead_letters", letters);
    for (typed, seen) in NO {
        let expected =
            format!("Remove 3 dead letters for good? [y/N] {seen}\nnothing removed\nexit 1\n");
        assert_eq!(shown(&gateway, "dead-letter purge", typed), expected);
    }
    expect![[r#"
        nothing to remove: no dead letter matches
        exit 0
    "#]]
    .assert_eq(&shown(&gateway, "dead-letter purge --sink down", "y\n"));
    assert_eq!(letters(), Some(3.0));
    expect![[r#"
        Remove 3 dead letters for good? [y/N] yes
        removed 3 dead letters
        exit 0
    "#]]
    .assert_eq(&shown(&gateway, "dead-letter purge", "yes\n"));
    assert_eq!(letters(), Some(0.0));
}
