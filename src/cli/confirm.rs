//! Questions to the person at the terminal, before something is lost.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::Failure;

/// Asks; anything but yes is no, and so is the end of input. Where nobody can answer, `otherwise` says how to go without.
pub(super) fn is_wanted(question: &str, otherwise: &str) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure { code: 2, message: format!("error: {otherwise}") });
    }
    let mut out = io::stderr().lock();
    // Whoever does not see the question does not answer it with yes.
    drop(write!(out, "{question} [y/N] ").and_then(|()| out.flush()));
    let mut answer = String::new();
    let length = stdin.lock().read_line(&mut answer).map_err(|error| Failure::failed(&error))?;
    if length == 0 {
        // Ctrl-D leaves the cursor behind the question.
        drop(writeln!(out));
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
