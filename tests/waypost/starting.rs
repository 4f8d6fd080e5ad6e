//! A config to begin with, and what a shell knows of the commands.

use std::process::{Command, Output, Stdio};

use expect_test::expect;

use crate::support::http::Server;
use crate::support::mosquitto::Mosquitto;
use crate::support::waypost::{Waypost, command};

fn text(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n--- stdout\n{out}--- stderr\n{error}")
}

#[test]
fn init_writes_a_config_that_check_accepts_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        text(&command().args(arguments).current_dir(folder.path()).output().unwrap())
    };
    expect![[r#"
        exit 0
        --- stdout
        waypost.toml is written. Next:

        1. Write into it which broker and which service: `sources.local.url`, `webhooks.cloud.topics` and `url`.
        2. waypost check --config waypost.toml
        3. waypost probe --config waypost.toml
        4. waypost run --config waypost.toml
        --- stderr
    "#]].assert_eq(&run(&["init"]));
    expect![[r#"
        exit 0
        --- stdout
        waypost.toml: ok (1 source, 1 rule, 1 sink)
        --- stderr
    "#]]
    .assert_eq(&run(&["check", "--config", "waypost.toml"]));
    std::fs::write(folder.path().join("waypost.toml"), "mine").unwrap();
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: waypost.toml is there already and stays as it is; name another file with --output
    "#]]
    .assert_eq(&run(&["init"]));
    let kept = std::fs::read_to_string(folder.path().join("waypost.toml")).unwrap();
    assert_eq!(kept, "mine");
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: nowhere/gateway.toml cannot be written: No such file or directory (os error 2)
    "#]]
    .assert_eq(&run(&["init", "--output", "nowhere/gateway.toml"]));
}

#[test]
fn what_init_writes_delivers_from_a_broker_to_a_service() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("starter.toml");
    let written = command().args(["init", "--output"]).arg(&file).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let (broker, service) = (Mosquitto::start(""), Server::start());
    let starter = std::fs::read_to_string(&file).unwrap();
    let (gateway, rest) = starter.split_once("[sources.local]").unwrap();
    assert!(gateway.contains("[gateway]"), "{gateway}");
    let rest = rest
        .replace("mqtt://127.0.0.1:1883", &broker.url())
        .replace("http://127.0.0.1:5000", &service.url());
    let gateway = Waypost::start(&format!("[sources.local]{rest}"));
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);
    assert!(broker.publish(&["-q", "1", "-t", "waypost/1", "-m", "hello"]));
    gateway.until("waypost_records_delivered_total", "sink=\"cloud\"", |records| records == 1.0);
    assert_eq!(service.records()[0]["payload"], "hello");
}

#[test]
fn bash_completes_commands_and_options_with_what_completions_prints() {
    let script = command().args(["completions", "bash"]).output().unwrap();
    assert!(script.status.success(), "{script:?}");
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ask = format!(
            "{}\nCOMP_WORDS=({line})\nCOMP_CWORD={}\n_waypost waypost '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            String::from_utf8_lossy(&script.stdout),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let output =
            Command::new("bash").args(["-c", &ask]).stderr(Stdio::inherit()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("waypost prob"), "probe\n");
    assert_eq!(complete("waypost probe --send"), "--send-sample\n");
}

#[test]
fn each_shell_gets_a_script_that_knows_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = command().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(script.stdout).unwrap();
        for known in ["check", "probe", "status", "hash-password", "completions"] {
            assert!(script.contains(known), "{shell} does not know {known}");
        }
    }
}
