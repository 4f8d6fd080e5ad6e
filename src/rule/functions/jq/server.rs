//! The helper: `waypost jq-helper`.

use std::io;
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::frame::{Request, write_answer};
use super::program::Programs;

/// What the helper ends with when a program is over its time.
pub(super) const EXIT_TIMED_OUT: i32 = 75;
/// Address space of the helper.
const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// Answers requests on standard input until it ends. Ends the process when a program is over its time.
pub fn serve() {
    limit(Resource::As, MEMORY_BYTES_MAX);
    limit(Resource::Core, 0);
    let (watch, watched) = mpsc::sync_channel(1);
    // It ends with the process: nobody could stop a program, or needs to stop this.
    thread::spawn(move || watchdog(&watched));
    let mut programs = Programs::default();
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Ok(request) = Request::read(&mut input) {
        let timeout = Duration::from_millis(request.timeout.into());
        let answer = if watch.send(Some(timeout)).is_ok() {
            programs.run(&request.program, &request.input)
        } else {
            return;
        };
        if watch.send(None).is_err() || write_answer(&answer, &mut output).is_err() {
            return;
        }
    }
}

/// Gets the time that a program has when it starts, and `None` when it has ended.
fn watchdog(watched: &Receiver<Option<Duration>>) {
    while let Ok(started) = watched.recv() {
        let Some(timeout) = started else { continue };
        if watched.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            process::exit(EXIT_TIMED_OUT);
        }
    }
}

fn limit(resource: Resource, bytes: u64) {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    if setrlimit(resource, limit).is_err() {
        // The system has set it lower, and nothing can be done that would be better than to go on.
    }
}
