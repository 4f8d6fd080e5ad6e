//! Texts from outside the file: `${env:NAME}` in any text, and secrets as `{ file = ".." }` or `{ env = ".." }`.
//!
//! No message and no excerpt shows a secret: what is wrong with one is shown at its key.

use std::io::Read as _;
use std::path::Path;

use toml::de::DeValue;

use super::Secret;
use super::reader::Value;
use super::schema::Form;
use crate::template::literal;

/// Longest secret that is read from a file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

impl Value<'_> {
    /// `text` with each `${env:NAME}` replaced by the variable; what a variable holds is never looked at again, so
    /// in a template it comes out as it is.
    pub(super) fn with_environment(&self, text: &str, in_template: bool) -> Option<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${env:") {
            filled.push_str(before);
            let name_end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, tail) = name_end.map_or((after, ""), |end| after.split_at(end));
            let Some(tail) = tail.strip_prefix('}').filter(|_| !name.is_empty()) else {
                return self.wrong(
                    "`${env:` must be followed by the name of a variable and `}`, as in `${env:API_TOKEN}`",
                );
            };
            let value = self.variable(name)?;
            filled.push_str(&if in_template { literal(&value) } else { value });
            rest = tail;
        }
        filled.push_str(rest);
        Some(filled)
    }

    /// A secret: `{ file = ".." }`, `{ env = ".." }`, or a text, which may hold `${env:NAME}`.
    pub(super) fn secret(&self) -> Option<Secret> {
        self.may_be(Form::Secret);
        let secret = match self.content {
            DeValue::String(raw) => {
                if !raw.contains("${env:") {
                    self.warn_of_key(
                        "stands in the config itself; `{ file = \"..\" }` or `{ env = \"..\" }` keeps it out of \
                         backups and support tickets",
                    );
                }
                Secret::new(self.with_environment(raw, false)?)
            }
            DeValue::Table(_) => self.outside_secret()?,
            _ => {
                return self.wrong_secret(
                    "must be `{ file = \"..\" }`, `{ env = \"..\" }` or a text in quotes",
                );
            }
        };
        if secret.expose().is_empty() {
            self.wrong_secret("is an empty text")
        } else {
            Some(secret)
        }
    }

    fn outside_secret(&self) -> Option<Secret> {
        let mut table = self.table()?;
        let (file, variable) = (table.get("file"), table.get("env"));
        table.finish();
        match (file, variable) {
            (Some(file), None) => {
                Secret::read(&file.path()?).map_or_else(|why| file.wrong(why), Some)
            }
            (None, Some(variable)) => {
                let name = variable.nonempty_text()?;
                variable.variable(&name).map(Secret::new)
            }
            _ => self.wrong_secret("must have one of `file` and `env`"),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = (self.reader.surroundings.variable)(name);
        value.or_else(|| self.wrong(format!("the environment variable `{name}` is not set")))
    }
}

/// The text of a file without the line breaks at its end, which editors and `echo` put there.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > SECRET_BYTES_MAX) {
        return Err("is too long for a secret".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}
