//! Commands as a person at a terminal gives them.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// What every question ends with.
const QUESTION: &str = "[y/N] ";

/// Runs a command line on a terminal of its own; when it asks, types `typed` and then ends the input. Gives what is to be
/// seen on the screen, and the exit code.
#[track_caller]
pub fn at_a_terminal(line: &str, typed: &str) -> (String, i32) {
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("script is installed (tests/run installs it)");
    let mut keyboard = child.stdin.take();
    let mut screen = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let length = screen.read(&mut bytes).unwrap();
        if length == 0 {
            break;
        }
        seen.extend_from_slice(&bytes[..length]);
        if seen.ends_with(QUESTION.as_bytes())
            && let Some(mut keyboard) = keyboard.take()
        {
            keyboard.write_all(typed.as_bytes()).unwrap();
        }
    }
    let seen = String::from_utf8(seen).unwrap();
    (seen.replace("\r\n", "\n"), child.wait().unwrap().code().unwrap())
}
