//! Commands that Waypost suggests work when they are pasted, whatever it was given to find its gateway.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::http::{Reply, Server};
use crate::support::mosquitto::mosquitto_pub;
use crate::support::waypost::{Waypost, command};
use crate::support::{eventually, free_port};

/// The commands in a text: between backticks, in quotes in the log, otherwise until the line ends.
fn suggested(text: &str) -> BTreeSet<String> {
    const WORDS: [&str; 9] =
        ["check", "dead-letter", "probe", "queue", "reload", "rule", "sink", "status", "tail"];
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
            // What is broken is tried, and is broken.
            let may_fail = line.starts_with("waypost probe") && output.status.code() == Some(1);
            assert!(output.status.success() || may_fail, "{line}: {}", said(&output));
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

/// A gateway, and the copy of its config that it is asked by: a shell would split its path.
struct Plant {
    gateway: Waypost,
    copy: PathBuf,
}

impl Plant {
    fn start(config: &str) -> Self {
        let gateway = Waypost::start(config);
        let copy = gateway.directory().join("my gateway.toml");
        let plant = Self { gateway, copy };
        plant.configure(config);
        plant
    }

    fn configure(&self, config: &str) {
        self.gateway.configure(config);
        std::fs::copy(self.gateway.config_path(), &self.copy).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> String {
        said(&command().args(arguments).arg("--config").arg(&self.copy).output().unwrap())
    }

    /// What every suggestion must end with.
    fn place(&self) -> String {
        format!(" --config '{}'", self.copy.display())
    }

    /// What it ends with in the log.
    fn place_in_log(&self) -> String {
        format!(" --config {}", self.gateway.config_path().display())
    }

    fn state(&self, sink: &str) -> String {
        self.gateway.status()["sinks"][sink]["state"].as_str().unwrap().to_owned()
    }
}

/// A broker for devices, and services that are down, pick, and refuse.
fn config(port: u16, service: &Server, sinks: &[&str]) -> String {
    service.answer(|request| match &*request.target {
        "/picky" => Reply::Status(422),
        "/refusing" => Reply::Status(401),
        _ => Reply::Status(503),
    });
    let sinks = sinks.iter().map(|sink| webhook(sink, service)).collect::<String>();
    format!("[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n{sinks}")
}

#[track_caller]
fn publish(port: u16, payload: &str) {
    assert!(mosquitto_pub(port, &["-q", "1", "-t", "t/1", "-m", payload]));
}

#[test]
fn what_status_suggests_works_when_it_is_pasted_whichever_way_it_was_asked() {
    let (service, port) = (Server::start(), free_port());
    let rule = |name: &str, sql: &str| {
        format!("[rules.{name}]\nsql = '''{sql}'''\nsinks = [\"later\"]\n\n")
    };
    let plant = Plant::start(
        &(config(port, &service, &["down", "later", "picky", "refusing"])
            + &rule("fails", "SELECT payload.a FROM \"t/#\" WHERE payload.a > 1")
            + &rule("never", "SELECT * FROM \"never/#\"")
            + &rule("unmet", "SELECT * FROM \"t/#\" WHERE clientid = 'nobody'")),
    );
    publish(port, "no JSON");
    let letters = "reason=\"rejected\",sink=\"picky\"";
    plant.gateway.until("waypost_dead_letters", letters, |count| count == 1.0);
    eventually("suspended", || plant.state("refusing"), |state| state == "suspended");
    eventually("fails", || plant.state("down"), |state| state == "retrying");
    let expected = [
        "waypost dead-letter list --sink picky",
        "waypost probe down",
        "waypost rule show fails",
        "waypost sink resume later",
        "waypost sink retry-now refusing",
        "waypost tail",
        "waypost tail --rule unmet",
    ];
    plant.run(&["sink", "pause", "later"]);
    let status = plant.run(&["status"]);
    assert_eq!(all_work(&status, &plant.place()), expected, "{status}");
    assert_ne!(plant.state("later"), "paused");

    plant.run(&["sink", "pause", "later"]);
    let socket = plant.gateway.data_dir().join("admin.sock").display().to_string();
    let status = said(&command().args(["status", "--socket", &socket]).output().unwrap());
    // What reads the config takes no socket.
    let status = status.lines().filter(|line| !line.contains("waypost probe"));
    let status = status.collect::<Vec<_>>().join("\n");
    let expected: Vec<_> = expected.into_iter().filter(|it| !it.contains(" probe ")).collect();
    assert_eq!(all_work(&status, &format!(" --socket {socket}")), expected, "{status}");
}

#[test]
fn what_is_suggested_for_dead_letters_and_sinks_works_when_it_is_pasted() {
    let (service, port) = (Server::start(), free_port());
    let plant = Plant::start(&config(port, &service, &["later", "picky"]));
    publish(port, "hello");
    let letters = "reason=\"rejected\",sink=\"picky\"";
    plant.gateway.until("waypost_dead_letters", letters, |count| count == 1.0);

    let listed = plant.run(&["dead-letter", "list"]);
    let shows = all_work(&listed, &plant.place());
    let letter = shows[0].strip_prefix("waypost dead-letter show ").unwrap();
    assert!(listed.contains(&format!("{letter}  picky")), "{listed}");
    let changed = plant.gateway.directory().join("changed");
    std::fs::write(&changed, "changed").unwrap();
    let changed = changed.display().to_string();
    let edited = plant.run(&["dead-letter", "edit", letter, "--file", &changed]);
    let replays = all_work(&edited, &plant.place());
    let replay = format!("waypost dead-letter replay --id {letter}-e");
    assert!(replays[0].starts_with(&replay), "{replays:?}");

    let pause = || plant.run(&["sink", "pause", "later"]);
    let refused = || {
        pause();
        plant.run(&["sink", "retry-now", "later"])
    };
    for suggests in [&pause as &dyn Fn() -> String, &refused] {
        assert_eq!(all_work(&suggests(), &plant.place()), ["waypost sink resume later"]);
        assert_ne!(plant.state("later"), "paused");
    }
}

#[test]
fn what_is_suggested_for_records_without_a_sink_works_when_it_is_pasted() {
    let (service, port) = (Server::start(), free_port());
    let with = |sinks: &[&str]| config(port, &service, sinks);
    let mut plant = Plant::start(&with(&["later", "gone", "old"]));
    publish(port, "hello");
    eventually("fails", || plant.state("gone"), |state| state == "retrying");

    // A reload that would lose records, in the answer and in the log.
    plant.configure(&with(&["later", "old"]));
    let refused = plant.run(&["reload"]);
    let expected = ["waypost queue drop gone --older-than 0s", "waypost reload --drop-removed"];
    let whole = |place: &str| expected.map(|command| format!("{command}{place}")).into();
    assert_eq!(suggested(&plant.gateway.log()), whole(&plant.place_in_log()));
    assert_eq!(all_work(&refused, &plant.place()), expected, "{refused}");

    // Of a gateway that is stopped and of one that runs, and in its log.
    plant.gateway.terminate();
    plant.configure(&with(&["later"]));
    let expected = "waypost queue drop old --older-than 0s";
    let stopped = plant.run(&["queue", "ls"]);
    plant.gateway.launch();
    let log = || plant.gateway.log();
    eventually("told", log, |log| log.contains("records of a sink that is not in the config"));
    let in_log = format!("{expected}{}", plant.place_in_log());
    assert!(suggested(&log()).contains(&in_log), "{}", log());
    let running = plant.run(&["queue", "ls"]);
    assert_eq!(suggested(&running), suggested(&stopped));
    plant.gateway.terminate();
    assert_eq!(all_work(&stopped, &plant.place()), [expected], "{stopped}");
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
