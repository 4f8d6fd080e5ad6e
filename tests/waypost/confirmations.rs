//! What is lost for good is asked for first: at a terminal, and nowhere else.

use expect_test::{Expect, expect};

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
fn answered(gateway: &Waypost, command: &str, typed: &str, expected: &Expect) {
    let waypost = env!("CARGO_BIN_EXE_waypost");
    let line = format!("'{waypost}' {command} --config '{}'", gateway.config_path().display());
    let (mut seen, code) = at_a_terminal(&line, typed);
    if let Some((before, after)) = seen.split_once("the oldest ") {
        let after = after.split_once(" old").unwrap().1;
        seen = format!("{before}the oldest AGE old{after}");
    }
    expected.assert_eq(&format!("{seen}exit {code}"));
}

#[test]
fn only_yes_at_a_terminal_drops_records_of_a_queue() {
    let (down, picky) =
        (Server::scripted(|_| Reply::Status(503)), Server::scripted(|_| Reply::Status(422)));
    let mut gateway = gateway(&down, &picky);
    let queued =
        |gateway: &Waypost| gateway.metrics().get("waypost_queue_records", "sink=\"down\"");
    let drop = "queue drop down --older-than 0s";
    answered(
        &gateway,
        drop,
        "n\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] n
        nothing dropped
        exit 1"#]],
    );
    // Nothing typed, the end of the input, and what is no clear yes.
    answered(
        &gateway,
        drop,
        "\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] 
        nothing dropped
        exit 1"#]],
    );
    answered(
        &gateway,
        drop,
        "",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] 
        nothing dropped
        exit 1"#]],
    );
    answered(
        &gateway,
        drop,
        "yes please\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] yes please
        nothing dropped
        exit 1"#]],
    );
    answered(
        &gateway,
        "queue drop down --older-than 2d1h",
        "no\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop those that have waited 2d1h or longer? They are lost. [y/N] no
        nothing dropped
        exit 1"#]],
    );
    assert_eq!(queued(&gateway), Some(3.0));
    answered(
        &gateway,
        "queue drop down --older-than 2d1h",
        "y\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop those that have waited 2d1h or longer? They are lost. [y/N] y
        dropped 0 records of queue down
        exit 0"#]],
    );

    gateway.terminate();
    answered(
        &gateway,
        drop,
        "no\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] no
        nothing dropped
        exit 1"#]],
    );
    answered(
        &gateway,
        drop,
        "Y\n",
        &expect![[r#"
        queue down has 3 records, the oldest AGE old. Drop all of them? They are lost. [y/N] Y
        dropped 3 records of queue down
        exit 0"#]],
    );
    gateway.launch();
    assert_eq!(queued(&gateway), Some(0.0));
}

#[test]
fn only_yes_at_a_terminal_removes_dead_letters() {
    let (down, picky) =
        (Server::scripted(|_| Reply::Status(503)), Server::scripted(|_| Reply::Status(422)));
    let gateway = gateway(&down, &picky);
    let letters = |gateway: &Waypost| {
        gateway.metrics().get("waypost_dead_letters", "reason=\"rejected\",sink=\"picky\"")
    };
    answered(
        &gateway,
        "dead-letter purge",
        "n\n",
        &expect![[r#"
        Remove 3 dead letters for good? [y/N] n
        nothing removed
        exit 1"#]],
    );
    answered(
        &gateway,
        "dead-letter purge",
        "",
        &expect![[r#"
        Remove 3 dead letters for good? [y/N] 
        nothing removed
        exit 1"#]],
    );
    answered(
        &gateway,
        "dead-letter purge --sink down",
        "y\n",
        &expect![[r#"
        nothing to remove: no dead letter matches
        exit 0"#]],
    );
    assert_eq!(letters(&gateway), Some(3.0));
    answered(
        &gateway,
        "dead-letter purge",
        "yes\n",
        &expect![[r#"
        Remove 3 dead letters for good? [y/N] yes
        removed 3 dead letters
        exit 0"#]],
    );
    assert_eq!(letters(&gateway), Some(0.0));
}
