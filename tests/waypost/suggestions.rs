//! Commands that Waypost suggests work when they are pasted, whatever it was given to find its gateway.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::device::Device;
use crate::support::http::{Reply, Server};
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

/// The commands in a text: between backticks, in quotes in the log, otherwise until the line ends.
fn suggested(text: &str) -> BTreeSet<String> {
    const WORDS: [&str; 8] =
        ["check", "dead-letter", "queue", "reload", "rule", "sink", "status", "tail"];
    let mut found = BTreeSet::new();
    for line in text.lines() {
        for (at, _) in line.match_indices("waypost ") {
            let word = line[at..].split(' ').nth(1).unwrap_or_default().trim_end_matches('`');
            if WORDS.contains(&word) {
                let end = match line[..at].chars().next_back() {
                    Some(quote @ ('`' | '"')) => line[at..].find(quote).unwrap() + at,
                    _ => line.len(),
                };
                found.insert(line[at..end].to_owned());
            }
        }
    }
    found
}

/// What comes of a pasted command. The directory is not the one that the config is in.
fn pasted(line: &str) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_waypost")).parent().unwrap().display();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("PATH='{bin}':$PATH; exec {line}")]).current_dir("/");
    shell
}

fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    out + &String::from_utf8_lossy(&output.stderr)
}

/// Runs what a text suggests, each of which must work; gives the commands without what says which gateway.
#[track_caller]
fn all_work(text: &str, place: &str) -> Vec<String> {
    let mut bare: Vec<String> = Vec::new();
    for line in suggested(text) {
        if line.starts_with("waypost tail") {
            looks_on(&line);
        } else {
            let mut output = pasted(&line).stdin(Stdio::null()).output().unwrap();
            if line.starts_with("waypost queue drop") {
                assert!(said(&output).ends_with("with --yes\n"), "{line}: {}", said(&output));
                output = pasted(&format!("{line} --yes")).output().unwrap();
            }
            assert!(output.status.success(), "{line}: {}", said(&output));
        }
        let start = line.strip_suffix(place);
        bare.push(start.unwrap_or_else(|| panic!("{line:?} does not end with {place:?}")).into());
    }
    bare.sort();
    bare
}

#[track_caller]
fn looks_on(line: &str) {
    let mut child = pasted(line)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut hello = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut hello).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(hello.starts_with("looking on"), "{line}: {hello}");
}

fn webhook(name: &str, service: &Server) -> String {
    format!(
        "[webhooks.{name}]\ntopics = [\"t/#\"]\nurl = \"{}/{name}\"\nretry = {{ initial = \"10m\", max = \"10m\" }}\n\n",
        service.url()
    )
}

#[test]
fn every_command_that_is_suggested_works_when_it_is_pasted() {
    let service = Server::scripted(|request| match &*request.target {
        "/picky" => Reply::Status(422),
        "/refusing" => Reply::Status(401),
        _ => Reply::Status(503),
    });
    let port = free_port();
    let source =
        format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n");
    let rule = |name: &str, sql: &str| {
        format!("[rules.{name}]\nsql = '''{sql}'''\nsinks = [\"later\"]\n\n")
    };
    let stays = source
        + &["later", "picky", "refusing"].map(|name| webhook(name, &service)).concat()
        + &rule("fails", "SELECT payload.a FROM \"t/#\" WHERE payload.a > 1")
        + &rule("never", "SELECT * FROM \"never/#\"")
        + &rule("unmet", "SELECT * FROM \"t/#\" WHERE clientid = 'nobody'");
    let mut gateway =
        Waypost::start(&(stays.clone() + &webhook("gone", &service) + &webhook("old", &service)));
    let device = Device::start(port, "d1", "t/1", 5, std::time::Duration::ZERO);
    eventually("acknowledged", || device.acknowledged().len(), |count| *count == 5);
    device.stop();
    assert!(mosquitto_pub(port, &["-q", "1", "-t", "t/1", "-m", "no JSON"]));
    let letters = "reason=\"rejected\",sink=\"picky\"";
    gateway.until("waypost_dead_letters", letters, |count| count == 6.0);

    // A shell would split the path of this config.
    let place = gateway.directory().join("my gateway.toml");
    std::fs::copy(gateway.config_path(), &place).unwrap();
    let run = |arguments: &[&str]| {
        let output = command().args(arguments).arg("--config").arg(&place).output().unwrap();
        said(&output)
    };
    let place = format!(" --config '{}'", place.display());
    let letter = {
        let listed = run(&["dead-letter", "list"]);
        let shown = all_work(&listed, &place);
        let letter = shown[0].strip_prefix("waypost dead-letter show ").unwrap().to_owned();
        assert!(listed.contains(&letter), "{listed}");
        letter
    };
    let changed = gateway.directory().join("changed");
    std::fs::write(&changed, "changed").unwrap();
    let edited = run(&["dead-letter", "edit", &letter, "--file", &changed.display().to_string()]);
    let replays = all_work(&edited, &place);
    assert!(
        replays[0].starts_with(&format!("waypost dead-letter replay --id {letter}-e")),
        "{replays:?}"
    );

    let state = |sink: &str| gateway.status()["sinks"][sink]["state"].clone();
    run(&["sink", "pause", "later"]);
    let conflict = run(&["sink", "retry-now", "later"]);
    assert_eq!(all_work(&conflict, &place), ["waypost sink resume later"], "{conflict}");
    assert_ne!(state("later"), "paused");
    let paused = run(&["sink", "pause", "later"]);
    assert_eq!(suggested(&paused).len(), 1, "{paused}");

    eventually("suspended", || state("refusing"), |state| state == "suspended");
    let status = run(&["status"]);
    let expected = [
        "waypost dead-letter list --sink picky",
        "waypost rule show fails",
        "waypost sink resume later",
        "waypost sink retry-now refusing",
        "waypost tail",
        "waypost tail --rule unmet",
    ];
    assert_eq!(all_work(&status, &place), expected, "{status}");
    // Asked another way, it suggests what asks that way.
    let socket = gateway.data_dir().join("admin.sock").display().to_string();
    run(&["sink", "pause", "later"]);
    let status = said(&command().args(["status", "--socket", &socket]).output().unwrap());
    assert_eq!(all_work(&status, &format!(" --socket {socket}")), expected, "{status}");

    // A reload that would lose records, in the answer and in the log.
    gateway.configure(&(stays.clone() + &webhook("old", &service)));
    let refused = run(&["reload"]);
    let expected = ["waypost queue drop gone --older-than 0s", "waypost reload --drop-removed"];
    let in_log = suggested(&gateway.log());
    assert_eq!(all_work(&refused, &place), expected, "{refused}");
    let of_process = format!(" --config {}", gateway.config_path().display());
    assert_eq!(in_log, expected.map(|command| format!("{command}{of_process}")).into());

    // Records without a sink, of a gateway that runs and of one that is stopped.
    gateway.terminate();
    gateway.configure(&stays);
    std::fs::copy(gateway.config_path(), gateway.directory().join("my gateway.toml")).unwrap();
    let expected = ["waypost queue drop old --older-than 0s"];
    let stopped = run(&["queue", "ls"]);
    assert_eq!(suggested(&stopped), expected.map(|command| format!("{command}{place}")).into());
    gateway.launch();
    eventually(
        "told",
        || gateway.log(),
        |log| log.contains("records of a sink that is not in the config"),
    );
    let log = suggested(&gateway.log());
    assert!(log.contains(&format!("{}{of_process}", expected[0])), "{log:?}");
    let running = run(&["queue", "ls"]);
    assert_eq!(suggested(&running), expected.map(|command| format!("{command}{place}")).into());
    gateway.terminate();
    assert_eq!(all_work(&stopped, &place), expected, "{stopped}");
}

#[test]
fn what_init_says_comes_next_can_be_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let init = ["init", "--output", "my gateway.toml"];
    let written = command().args(init).current_dir(folder.path()).output().unwrap();
    let text = said(&written);
    let check =
        suggested(&text).into_iter().find(|line| line.starts_with("waypost check")).unwrap();
    let output = pasted(&check).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{check}: {}", said(&output));
}
