//! `waypost hash-password`

use std::io::Read as _;

use super::{Failure, say};
use crate::password::hash_password;

/// A password longer than this was not meant to be one.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

pub(super) fn run() -> Result<(), Failure> {
    let mut password = String::new();
    std::io::stdin()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut password)
        .map_err(|error| Failure::failed(&error))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        let message = "error: no password on standard input; give one as in `printf %s 'secret' | waypost hash-password`";
        return Err(Failure { code: 1, message: message.to_owned() });
    }
    say(&hash_password(password).as_str());
    Ok(())
}
