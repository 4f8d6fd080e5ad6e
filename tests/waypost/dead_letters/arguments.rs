//! What cannot be done is said, with what would be right.

use expect_test::expect;

use super::plant::Plant;
use crate::support::waypost::{Waypost, command};

#[test]
fn letters_and_sinks_that_there_are_not_are_named() {
    let plant = Plant::start();
    plant.publish("d1", 3);
    plant.until_letters(1);
    let id = plant.id("cloud", 2);
    let unknown = plant.id("cloud", 77);
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: there is no dead letter `a1b2c3d4e5f6-cloud-77`
    "#]]
    .assert_eq(&plant.said(&["show", &unknown]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: there is no dead letter `a1b2c3d4e5f6-cloud-2` of sink `other`
    "#]]
    .assert_eq(&plant.said(&["show", &id, "--sink", "other"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: there is no dead letter `a1b2c3d4e5f6-cloud-77`
    "#]]
    .assert_eq(&plant.said(&["replay", "--id", &id, "--id", &unknown]));
    assert_eq!(plant.letters(), 1, "nothing is replayed when one is unknown");
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: --id a1b2c3d4e5f6-cloud-2 is given twice
    "#]]
    .assert_eq(&plant.said(&["replay", "--id", &id, "--id", &id]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: there is no sink `clout`; there are cloud, other
    "#]]
    .assert_eq(&plant.said(&["replay", "--to", "clout"]));
}

#[test]
fn what_is_typed_wrong_is_said_with_what_would_be_right() {
    let plant = Plant::start();
    let id = plant.id("cloud", 2);
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: invalid value '../etc/passwd' for '<ID>': must be an id such as `4q7wmb9iwj8i-cloud-42`: a-z, 0-9, `_` and `-`

        For more information, try '--help'.
    "#]].assert_eq(&plant.said(&["show", "../etc/passwd"]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: invalid value 'bad' for '--reason <REASON>'
          [possible values: rejected, poison, too_large, max_age, max_attempts, queue_full]

        For more information, try '--help'.
    "#]]
    .assert_eq(&plant.said(&["list", "--reason", "bad"]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: invalid value 'yesterday' for '--since <TIME>': must be a period such as `30m`, `2h` or `7d`, or a time such as `2026-01-31T08:00:00Z`

        For more information, try '--help'.
    "#]].assert_eq(&plant.said(&["list", "--since", "yesterday"]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: invalid value '7' for '--older-than <PERIOD>': needs a unit, as in "7s"

        For more information, try '--help'.
    "#]]
    .assert_eq(&plant.said(&["purge", "--older-than", "7"]));
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: invalid value '0' for '--rate <N>': must be a whole number, at least 1

        For more information, try '--help'.
    "#]]
    .assert_eq(&plant.said(&["replay", "--rate", "0"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: /nowhere: No such file or directory (os error 2)
    "#]]
    .assert_eq(&plant.said(&["edit", &id, "--file", "/nowhere"]));
}

#[test]
fn where_there_is_no_data_directory_or_somebody_else_has_it_that_is_said() {
    let config = "[sources.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\n\n\
                  [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"http://127.0.0.1:5000\"\n";
    let gateway = Waypost::prepare(config);
    let data = gateway.data_dir().display().to_string();
    let said = |arguments: &[&str]| {
        super::plant::said(&gateway.run(&[&["dead-letter"], arguments].concat()))
            .replace(&data, "DATA")
    };
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: cannot read DATA: No such file or directory (os error 2)
    "#]]
    .assert_eq(&said(&["list"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: cannot change dead letters in DATA: there is no such folder, and so there are none
    "#]]
    .assert_eq(&said(&["replay"]));
    assert!(!gateway.data_dir().exists(), "a command made the data directory");

    let plant = Plant::start();
    std::fs::remove_file(plant.gateway.data_dir().join("admin.sock")).unwrap();
    expect![[r#"
        exit 69
        --- stdout
        --- stderr
        error: waypost is not running: nobody answers on DIR/data/admin.sock, but the data directory DIR/data is in use by process PID (COMMAND)
    "#]].assert_eq(&plant.said(&["list"]));
    expect![[r#"
        exit 69
        --- stdout
        --- stderr
        error: waypost is not running: nobody answers on DIR/data/admin.sock, but the data directory DIR/data is in use by process PID (COMMAND)
    "#]].assert_eq(&plant.said(&["purge", "--yes"]));
}

/// The help of a command.
fn help(arguments: &[&str]) -> String {
    let output = command().args(["dead-letter"]).args(arguments).arg("--help").output();
    // An empty line of clap's has spaces in it.
    let said = super::plant::said(&output.unwrap());
    said.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn help_says_what_there_is_and_what_a_list_takes() {
    expect![[r#"
        exit 0
        --- stdout
        Look at dead letters, send them again, edit or remove them; also of a gateway that is stopped

        Usage: waypost dead-letter <COMMAND>

        Commands:
          list    List dead letters, or count them
          show    Show one with all that is known of it
          replay  Put dead letters into a queue again; receivers see the same record ids
          edit    Change the payload of one, or what its rule made; it gets an id of its own
          export  Print dead letters with all that is known of them, one JSON object a line
          purge   Remove dead letters for good
          help    Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version
        --- stderr
    "#]].assert_eq(&help(&[]));
    expect![[r#"
        exit 0
        --- stdout
        List dead letters, or count them

        Usage: waypost dead-letter list [OPTIONS]

        Options:
              --sink <SINK>
                  Only those of this sink

              --reason <REASON>
                  Only those that were given up for this reason

                  [possible values: rejected, poison, too_large, max_age, max_attempts, queue_full]

              --since <TIME>
                  Only those given up since then: a period before now such as `2h`, or a time such as `2026-01-31T08:00:00Z`

              --group-by <WHAT>
                  Count them instead

                  Possible values:
                  - sink:   The sink that could not deliver it
                  - reason: Why it was given up
                  - rule:   The rule that sent it there
                  - status: The status of the last answer

              --limit <N>
                  List at most so many

                  [default: 100]

          -c, --config <FILE>
                  The config file

                  [default: /etc/waypost/waypost.toml]

              --socket <PATH>
                  The admin socket, instead of the one the config names

              --json
                  Print a JSON array

          -h, --help
                  Print help (see a summary with '-h')

          -V, --version
                  Print version
        --- stderr
    "#]].assert_eq(&help(&["list"]));
}

#[test]
fn help_says_what_each_command_takes() {
    expect![[r#"
        exit 0
        --- stdout
        Put dead letters into a queue again; receivers see the same record ids

        Usage: waypost dead-letter replay [OPTIONS]

        Options:
              --id <ID>          Only the dead letter of this record; may be given several times
              --sink <SINK>      Only those of this sink
              --reason <REASON>  Only those that were given up for this reason [possible values: rejected, poison, too_large, max_age, max_attempts, queue_full]
              --limit <N>        At most so many
              --to <SINK>        Send them to this sink, whatever sink they are of
              --dry-run          Only say what would be replayed
              --rate <N>         At most so many a second
          -c, --config <FILE>    The config file [default: /etc/waypost/waypost.toml]
              --socket <PATH>    The admin socket, instead of the one the config names
          -h, --help             Print help
          -V, --version          Print version
        --- stderr
    "#]].assert_eq(&help(&["replay"]));
    expect![[r#"
        exit 0
        --- stdout
        Change the payload of one, or what its rule made; it gets an id of its own

        Usage: waypost dead-letter edit [OPTIONS] <ID>

        Arguments:
          <ID>  The id of its record

        Options:
              --sink <SINK>    That of this sink, where several have one
              --file <FILE>    Take the new content from a file, `-` for standard input, instead of asking an editor ($VISUAL, $EDITOR or vi)
          -c, --config <FILE>  The config file [default: /etc/waypost/waypost.toml]
              --socket <PATH>  The admin socket, instead of the one the config names
          -h, --help           Print help
          -V, --version        Print version
        --- stderr
    "#]].assert_eq(&help(&["edit"]));
    expect![[r#"
        exit 0
        --- stdout
        Remove dead letters for good

        Usage: waypost dead-letter purge [OPTIONS]

        Options:
              --id <ID>              Only the dead letter of this record; may be given several times
              --sink <SINK>          Only those of this sink
              --reason <REASON>      Only those that were given up for this reason [possible values: rejected, poison, too_large, max_age, max_attempts, queue_full]
              --older-than <PERIOD>  Only those given up longer ago than this, such as `7d`
              --yes                  Do not ask
          -c, --config <FILE>        The config file [default: /etc/waypost/waypost.toml]
              --socket <PATH>        The admin socket, instead of the one the config names
          -h, --help                 Print help
          -V, --version              Print version
        --- stderr
    "#]].assert_eq(&help(&["purge"]));
}
