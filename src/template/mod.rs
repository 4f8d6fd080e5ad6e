//! `${...}` templates, as EMQX renders them, and one form more that is safe inside JSON.
//!
//! A placeholder is `${`, an optional `.`, a path of `A-Z a-z 0-9 . _`, and `}`. Everything else is literal text.
//! `${}` and `${.}` are the whole data as JSON, `${$}` is a literal `$`. Path keys are split at `.` and name keys of
//! objects; where a value on the way is a JSON *text*, it is decoded, once on a path, so that `${payload.temp}` works
//! on a payload as it came. A path that leads nowhere renders `undefined`, never an error.
//!
//! `${json:PATH}` renders the same value as JSON: a text quoted and escaped, a number as it is, a path that leads
//! nowhere as `null`. `{"temp": ${json:payload.temp}, "text": ${json:payload}}` is JSON whatever the payload holds; a
//! payload that is itself JSON stays a quoted text in `${json:payload}`.
//!
//! Parsed once; rendering never fails and never panics, and decodes each text on its way at most once.

mod path;
mod render;

#[cfg(test)]
mod tests;

pub use path::{join_path, request_path};

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidTemplate {
    /// Where in the text, in bytes.
    pub position: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Where a template stands: how rendered values are escaped. Literal text never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Values as they are: bodies and header values.
    None,
    /// Percent-encoded as one path segment or query value: only `A-Z a-z 0-9 - . _ ~` stay.
    Url,
}

/// A parsed template. `Debug` shows its source, or `***` where that holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
    masked: bool,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = if self.masked { "***" } else { &*self.source };
        write!(formatter, "Template({shown:?})")
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Placeholder(Placeholder),
}

/// A place where a value is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    form: Form,
    /// Keys from the outermost object inwards; empty for the whole data.
    keys: Box<[Box<str>]>,
    position: usize,
}

/// How a placeholder writes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As EMQX does: texts raw.
    Text,
    /// As JSON.
    Json,
}

impl std::fmt::Display for Placeholder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let form = if self.form == Form::Json { "json:" } else { "" };
        write!(formatter, "${{{form}{}}}", self.keys.join("."))
    }
}

impl Placeholder {
    /// The first key of the path: the column. `None` for the whole data.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.keys.first().map(|key| &**key)
    }

    /// The placeholder that puts the same value as JSON.
    #[must_use]
    pub fn as_json(&self) -> String {
        format!("${{json:{}}}", self.keys.join("."))
    }

    /// Where it starts in the template, in bytes.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl Template {
    /// Parses `source`. What is not a placeholder is literal text, as in EMQX; only a broken `${json:...}` is an
    /// error, since nobody means that as text.
    pub fn parse(source: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut position = 0;
        while let Some(rest) = source.get(position..).filter(|rest| !rest.is_empty()) {
            let start = rest.find("${").unwrap_or(rest.len());
            let (text, tail) = rest.split_at(start);
            literal.push_str(text);
            position += start;
            match scan(tail) {
                Scanned::End => break,
                Scanned::Dollar => {
                    literal.push('$');
                    position += "${$}".len();
                }
                Scanned::Text => {
                    literal.push('$');
                    position += "$".len();
                }
                Scanned::BrokenJson => return Err(broken_json(position)),
                Scanned::Placeholder { form, path, length } => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(Part::Placeholder(Placeholder {
                        form,
                        keys: split_keys(path),
                        position,
                    }));
                    position += length;
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self { source: source.into(), parts: parts.into(), masked: false })
    }

    /// The template that renders `text` as it is.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let parts = [Part::Literal(text.into())].into();
        Self { source: literal(text).into(), parts, masked: false }
    }

    /// The same template, which `Debug` does not show.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { masked: true, ..self }
    }

    /// The text with something in each place where a value is put.
    pub fn filled<'value>(&self, value: impl Fn(&Placeholder) -> &'value str) -> String {
        let text = |part: &Part| match part {
            Part::Literal(literal) => literal.to_string(),
            Part::Placeholder(place) => value(place).to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The places where values are put, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Placeholder(placeholder) => Some(placeholder),
        })
    }
}

/// The template text that renders as `text`: every `$` before a brace is written as `${$}`.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace("${", "${$}{")
}

/// What looks like a placeholder in `source` and is literal text, such as `${ a }`, `${a-b}` or `${l[1]}`.
#[must_use]
pub fn lookalikes(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("${") {
        let tail = rest.get(start..).unwrap_or_default();
        let length = match scan(tail) {
            Scanned::Placeholder { length, .. } => length,
            Scanned::Dollar => "${$}".len(),
            Scanned::End | Scanned::Text | Scanned::BrokenJson => "$".len(),
        };
        let whole = tail.find('}').and_then(|end| tail.get(..=end));
        if let (Scanned::Text, Some(whole)) = (scan(tail), whole)
            && whole.rfind("${") == Some(0)
        {
            found.push(whole);
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    found
}

/// What stands at a `${`.
enum Scanned<'source> {
    /// Nothing: the text is over.
    End,
    /// `${$}`.
    Dollar,
    /// No placeholder: the `$` is text.
    Text,
    /// `${json:` and no path behind it.
    BrokenJson,
    Placeholder {
        form: Form,
        path: &'source str,
        /// Of the whole placeholder, in bytes.
        length: usize,
    },
}

fn scan(tail: &str) -> Scanned<'_> {
    let Some(inner) = tail.strip_prefix("${") else { return Scanned::End };
    if inner.starts_with("$}") {
        return Scanned::Dollar;
    }
    let (form, inner) =
        inner.strip_prefix("json:").map_or((Form::Text, inner), |inner| (Form::Json, inner));
    let end = inner.find(|c: char| !matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_'));
    match end.map(|end| inner.split_at(end)) {
        Some((path, rest)) if rest.starts_with('}') => {
            let length = tail.len() - rest.len() + "}".len();
            Scanned::Placeholder { form, path: path.strip_prefix('.').unwrap_or(path), length }
        }
        _ if form == Form::Json => Scanned::BrokenJson,
        _ => Scanned::Text,
    }
}

/// As EMQX splits: nothing between the braces is the whole data, `a..b` has an empty key in the middle.
fn split_keys(path: &str) -> Box<[Box<str>]> {
    if path.is_empty() { Box::default() } else { path.split('.').map(Box::from).collect() }
}

fn broken_json(position: usize) -> InvalidTemplate {
    let message = "`${json:` must be followed by a path of letters, digits, `_` and `.`, and `}`, \
                   as in `${json:payload.temp}`";
    InvalidTemplate { position, message: message.to_owned() }
}
