//! What a person types and reads.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};

use crate::support::http::Server;
use crate::support::terminal::at_a_terminal;
use crate::support::waypost::{Waypost, command, hash_password};
use crate::support::{eventually, free_port};

fn text(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n--- stdout\n{out}--- stderr\n{error}")
}

#[track_caller]
fn check(config: &str, expected: &Expect) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("waypost.toml"), config).unwrap();
    let output = command()
        .args(["check", "--config", "waypost.toml"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    expected.assert_eq(&text(&output));
}

#[test]
fn help_names_every_command_and_nothing_that_does_not_work() {
    let output = command().arg("--help").output().unwrap();
    expect![[r#"
        exit 0
        --- stdout
        Takes custody of MQTT messages and delivers them to HTTP services over an uplink that comes and goes

        Usage: waypost <COMMAND>

        Commands:
          run            Run the gateway until SIGTERM or SIGINT
          init           Write a config to begin with
          check          Say everything that is wrong with a config file, and what would be right
          probe          Try the connections to brokers and services, without sending anything
          status         Show what a running Waypost is doing, and what is wrong
          tail           Show events and what becomes of them, as it happens
          graph          Draw sources, rules and sinks, with what flows between them while a Waypost runs
          sink           Pause a sink, let it go on, or end its wait
          dead-letter    Look at dead letters, send them again, edit or remove them; also of a gateway that is stopped [alias: dlq]
          reload         Have a running Waypost read its config file again, and say what has changed
          queue          Look at what waits in the queues, and drop it
          demo           Show the whole path at work in a temporary directory, with the uplink cut in between
          receive        Receive HTTP requests, print them, and misbehave on request: for first steps and tests
          rule           Try rules without a broker or a service, and look at their language
          events         Look at the events there are
          template       Try templates
          import         Make a config from the files of another broker, and say what is not the same
          hash-password  Read a password from standard input and print the hash that a broker user needs
          schema         Print the JSON Schema of the config file, for editors
          completions    Print what a shell needs to complete command lines
          help           Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version
        --- stderr
    "#]].assert_eq(&text(&output));
}

#[test]
fn check_reports_every_problem_with_its_place_and_what_would_be_right() {
    check(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\nkeepalive = 5\n\n\
         [webhooks.cloud]\ntopics = [\"t/#/x\"]\nurl = \"http://127.0.0.1:5000\"\nqueue = { max_bytes = \"12\" }\n",
        &expect![[r#"
            exit 78
            --- stdout
            --- stderr
            error: sources.local.keepalive: unknown key; did you mean `keep_alive`?
             --> waypost.toml:4:1
              |
            4 | keepalive = 5
              | ^^^^^^^^^

            error: webhooks.cloud.topics[0]: `#` must be the last level and stand alone, as in `a/#`, is "t/#/x"
             --> waypost.toml:7:11
              |
            7 | topics = ["t/#/x"]
              |           ^^^^^^^

            error: webhooks.cloud.queue.max_bytes: needs a unit, as in "12MiB", is "12"
             --> waypost.toml:9:23
              |
            9 | queue = { max_bytes = "12" }
              |                       ^^^^

            3 problems in waypost.toml
        "#]],
    );
}

#[test]
fn check_says_ok_and_what_the_config_has() {
    check(
        "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n\n[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:5000\"\n",
        &expect![[r#"
            exit 0
            --- stdout
            waypost.toml: ok (1 source, 1 rule, 1 sink)
            --- stderr
        "#]],
    );
}

#[test]
fn a_missing_config_file_is_named_with_what_to_do() {
    let output = command().args(["run", "--config", "/nowhere/waypost.toml"]).output().unwrap();
    expect![[r#"
        exit 78
        --- stdout
        --- stderr
        error: there is no file /nowhere/waypost.toml: `--config FILE` names another, `waypost init` writes one to begin with

        1 problem in /nowhere/waypost.toml
    "#]]
    .assert_eq(&text(&output));
}

#[test]
fn status_says_when_nothing_runs() {
    let gateway = Waypost::prepare(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:5000\"\n",
    );
    let output = gateway.run(&["status"]);
    let data = gateway.data_dir().display().to_string();
    expect![[r#"
        exit 69
        --- stdout
        --- stderr
        error: waypost is not running: nobody answers on DATA/admin.sock
    "#]]
    .assert_eq(&text(&output).replace(&data, "DATA"));
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused_and_told_who_holds_it() {
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        free_port(),
        service.url()
    ));
    let output = gateway.run(&["run"]);
    let data = gateway.data_dir().display().to_string();
    let config = gateway.config_path().display().to_string();
    let said = text(&output)
        .replace(&data, "DATA")
        .replace(&config, "CONFIG")
        .replace(env!("CARGO_BIN_EXE_waypost"), "waypost")
        .replace(&format!("process {}", gateway.pid()), "process PID");
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: cannot open the store: the data directory DATA is in use by process PID (waypost run --config CONFIG)
    "#]].assert_eq(&said);
}

#[test]
fn on_a_terminal_no_word_is_cut_in_two_and_what_is_quoted_stays_whole() {
    let gateway = Waypost::prepare(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\npassword = \"wrong\"\nusername = \"a\"\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:1\"\n",
    );
    for command in ["check", "probe"] {
        let waypost = env!("CARGO_BIN_EXE_waypost");
        let config = gateway.config_path().display().to_string();
        let line = format!("stty cols 80; '{waypost}' {command} --config {config}");
        let (seen, _) = at_a_terminal(&line, "");
        let whole = gateway.run(&[command]);
        let whole = String::from_utf8_lossy(&whole.stderr) + String::from_utf8_lossy(&whole.stdout);
        assert!(whole.lines().any(|line| line.chars().count() > 80), "{whole}");
        assert!(seen.lines().all(|line| line.chars().count() <= 80), "{seen}");
        let words = |text: &str| text.split_whitespace().count();
        assert_eq!(words(&seen), words(&whole), "{seen}");
    }
}

#[test]
fn the_demo_ends_by_itself_and_its_sums_hold() {
    let started = Instant::now();
    let output = command().arg("demo").stdin(Stdio::null()).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(started.elapsed() < Duration::from_mins(1), "took {:?}", started.elapsed());
    assert!(text.contains(": nothing lost (acknowledged"), "{text}");
    assert!(!text.contains(" + dead letters 0: "), "{text}");
    assert!(text.contains("dead-letter list`"), "{text}");
    let listed = text.matches("  rejected  422     ").count();
    assert_eq!(listed, 3, "the first of the dead letters: {text}");
    assert!(text.contains("CUT"), "the uplink was never cut: {text}");
}

#[test]
fn receive_prints_requests_and_misbehaves_on_request() {
    let port = free_port();
    let mut child = command()
        .args(["receive", "--listen", &format!("127.0.0.1:{port}"), "--status", "500"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answer =
        eventually("it answers", || crate::support::http::get(port, "/x?y=1"), Option::is_some);
    assert_eq!(answer.unwrap().0, 500);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("GET /x?y=1\n"), "{said}");
}

#[test]
fn hash_password_prints_a_hash_that_lets_the_user_in() {
    let hash = hash_password("secret\n");
    assert!(hash.starts_with("$argon2id$"), "{hash}");

    let (port, service) = (free_port(), Server::start());
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\
         users = [{{ username = \"meter\", password_hash = '{}' }}]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        hash,
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    let publish = |password: &str| {
        let arguments = ["-q", "1", "-t", "t/1", "-m", "x", "-u", "meter", "-P", password];
        crate::support::mosquitto::mosquitto_pub(port, &arguments)
    };
    assert!(publish("secret"));
    assert!(!publish("wrong"));
    eventually("delivered", || service.records().len(), |count| *count == 1);
}

#[test]
fn json_logs_are_one_object_a_line_and_tell_each_change_once() {
    let (port, service) = (free_port(), Server::start());
    let mut gateway = Waypost::start(&format!(
        "[log]\nformat = \"json\"\n\n[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    for _ in 0..20 {
        assert!(crate::support::mosquitto::mosquitto_pub(
            port,
            &["-q", "1", "-t", "t/1", "-m", "secret"]
        ));
    }
    gateway.drained("cloud");
    gateway.terminate();
    let log = gateway.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let mut messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    // Whether it has started or is connected first is chance.
    messages[1..3].sort_unstable();
    assert_eq!(
        messages,
        ["store id minted", "source connected", "started", "stopping", "source stopped", "stopped"]
    );
    assert!(!log.contains("secret"), "a payload in the log");
}
