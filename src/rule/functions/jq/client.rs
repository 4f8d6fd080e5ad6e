//! Asking the helper, and starting one.

use std::io::{self, BufReader, BufWriter};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::frame::{Answer, Request, read_answer};
use super::server::EXIT_TIMED_OUT;
use crate::rule::run::{Reason, RunError};

struct Helper {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The program that is started as a helper.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the program that, with the argument `jq-helper`, calls [`super::serve`]. Until then every `jq` fails: code that uses
/// this library without Waypost's command line has no helper. Only the first call counts.
pub fn set_helper(program: PathBuf) {
    PROGRAM.get_or_init(|| program);
}

/// The helper that runs now: one program at a time.
static HELPER: Mutex<Option<Helper>> = Mutex::new(None);

/// The results of a program as a JSON array.
pub(super) fn ask(request: &Request) -> Result<Vec<u8>, RunError> {
    let mut helper = HELPER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ended = None;
    // A helper that others ended (a terminal, a service manager that stops us) is no fault of the program.
    for _ in 0..2 {
        match attempt(&mut helper, request) {
            Ok(answer) => {
                return answer.map_err(|message| RunError::new(Reason::WrongValue, message));
            }
            Err(status) if status.is_some_and(ended_by_others) => ended = status,
            Err(status) => return Err(told(status, request)),
        }
    }
    Err(told(ended, request))
}

/// Asks once. `Err`: how the helper ended instead of answering, where that is known; there is none afterwards.
fn attempt(helper: &mut Option<Helper>, request: &Request) -> Result<Answer, Option<ExitStatus>> {
    let mut running = match helper.take() {
        Some(running) => running,
        None => Helper::start().map_err(|_error| None)?,
    };
    if let Ok(answer) = running.ask(request) {
        *helper = Some(running);
        return Ok(answer);
    }
    drop((running.input, running.output));
    Err(running.child.wait().ok())
}

impl Helper {
    fn start() -> io::Result<Self> {
        let program = PROGRAM.get().ok_or(io::ErrorKind::NotFound)?;
        let mut child = Command::new(program)
            .arg("jq-helper")
            .env_clear()
            .current_dir("/")
            // A terminal's interrupt is for Waypost, which still has events to finish.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let input = BufWriter::new(child.stdin.take().ok_or_else(closed)?);
        let output = BufReader::new(child.stdout.take().ok_or_else(closed)?);
        Ok(Self { child, input, output })
    }

    fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        request.write(&mut self.input)?;
        read_answer(&mut self.output)
    }
}

fn ended_by_others(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGKILL))
}

fn told(status: Option<ExitStatus>, request: &Request) -> RunError {
    let timed_out = status.is_some_and(|status| status.code() == Some(EXIT_TIMED_OUT));
    let message = match status {
        None => "the process for jq programs cannot be started".to_owned(),
        Some(_) if timed_out => format!("the program ran longer than {} ms", request.timeout),
        Some(status) if status.code().is_some() => {
            "the program ended the process it ran in".to_owned()
        }
        Some(status) => format!("the program needs too much memory or nests too deeply ({status})"),
    };
    RunError::new(Reason::Limit, message)
}
