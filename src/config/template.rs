//! Templates and headers of sinks, checked when the config is read rather than when a record is delivered.

use http::header::HeaderName;
use toml::de::DeValue;

use super::reader::{Table, Value};
use super::schema::Form;
use super::words::{known_words, nearest};
use super::{Credential, CredentialForm};
use crate::template::{Template, lookalikes};

/// Headers that frame a message or belong to the connection: theirs to say is the HTTP client's.
const CONNECTION_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers by which receivers tell a repeated request from a new one.
const DELIVERY_HEADERS: [&str; 4] =
    ["webhook-id", "webhook-timestamp", "webhook-signature", "idempotency-key"];

/// Headers whose values may be shown: they say nothing that opens a door.
const SHOWN_HEADERS: [&str; 3] = ["accept", "content-type", "user-agent"];

/// Whether the value of a header may be shown. Its name is in lower case.
#[must_use]
pub fn shows_header(name: &str) -> bool {
    SHOWN_HEADERS.contains(&name)
}

/// The headers of a connector or a sink.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    pub(super) templates: Vec<(Template, Template)>,
    pub(super) credentials: Vec<Credential>,
}

impl Headers {
    /// Whether there is a header of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        let templates = self.templates.iter().map(|(name, _)| name.source());
        let credentials = self.credentials.iter().map(|credential| credential.header.as_str());
        templates.chain(credentials).any(|other| other.eq_ignore_ascii_case(name))
    }

    /// Adds `others`, which replace those of the same name.
    pub(super) fn extend(&mut self, others: Self) {
        self.templates.retain(|(name, _)| !others.has(name.source()));
        self.credentials.retain(|credential| !others.has(credential.header.as_str()));
        self.templates.extend(others.templates);
        self.credentials.extend(others.credentials);
    }
}

impl Value<'_> {
    /// A template. Which columns it may name is checked when the rules are known.
    pub(super) fn template(&self) -> Option<Template> {
        self.template_of(&self.with_environment(self.raw_text()?, true)?)
    }

    /// A template over `columns` instead of those of events; `of` says what has them.
    pub(super) fn template_with(&self, columns: &[&str], of: &str) -> Option<Template> {
        let template = self.parsed_template(&self.with_environment(self.raw_text()?, true)?)?;
        let there = || columns.iter().copied();
        let unknown = |column: &&str| !columns.contains(column);
        let named: Vec<_> =
            template.placeholders().filter_map(|place| place.column()).filter(unknown).collect();
        for column in &named {
            let advice = match nearest(column, there()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known are {}", known_words(there())),
            };
            self.wrong::<()>(format!("there is no column `{column}` in {of}; {advice}"));
        }
        if named.is_empty() { Some(template) } else { None }
    }

    /// `text`, a part of this value, as a template.
    pub(super) fn template_of(&self, text: &str) -> Option<Template> {
        let template = self.parsed_template(text)?;
        // Only a text that stands in the file as it is has its parts in it.
        let as_written = self.source().1.starts_with(['"', '\''])
            && matches!(&self.content, DeValue::String(raw) if raw.as_ref() == text);
        for place in template.placeholders() {
            let Some(column) = place.column() else { continue };
            let start = place.position();
            let length = text.get(start..).and_then(|rest| rest.find('}')).map_or(0, |end| end + 1);
            let span = as_written.then(|| self.place_of(start..start + length));
            self.uses_column(column, span);
        }
        Some(template)
    }

    fn parsed_template(&self, text: &str) -> Option<Template> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => return self.wrong(error.to_string()),
        };
        for literal in lookalikes(text) {
            self.reader.warn_of(
                &self.path,
                format!(
                    "`{literal}` is sent as it stands: a placeholder is `${{`, a path of letters, digits, `_` \
                     and `.`, and `}}`"
                ),
            );
        }
        Some(template)
    }

    /// The value of a header that is no secret as a whole.
    fn header_template(&self) -> Option<Template> {
        let template = self.template()?;
        if template.source().chars().any(|c| c.is_control() && c != '\t') {
            return self.wrong_secret("must not have line breaks or control characters");
        }
        Some(template)
    }
}

impl Table<'_> {
    /// `headers = { NAME = template, .. }`
    pub(super) fn headers(&mut self) -> Headers {
        let mut headers = Headers::default();
        let Some(table) = self.get("headers").and_then(|value| value.table()) else {
            return headers;
        };
        for (name, value) in table.entries() {
            value.may_be(Form::Secret);
            let lower = name.to_ascii_lowercase();
            let shown = shows_header(&lower);
            let value = if shown { value } else { value.hidden() };
            if name.contains("${") {
                let name = value.template_of(name);
                if let DeValue::Table(_) = value.content {
                    value.wrong::<()>("is a secret, which needs a name without placeholders");
                } else if let (Some(name), Some(template)) = (name, value.header_template()) {
                    headers.templates.push((name, template.masked()));
                }
                continue;
            }
            let Ok(header) = HeaderName::try_from(name) else {
                value.wrong::<()>("is no header name");
                continue;
            };
            if CONNECTION_HEADERS.contains(&&*lower) {
                value.wrong::<()>("belongs to the connection and cannot be set");
            } else if DELIVERY_HEADERS.contains(&&*lower) {
                value.wrong::<()>(
                    "is set by Waypost: the id of the record, its signature, or when it was sent",
                );
            } else if headers.has(name) {
                value.wrong::<()>(
                    "is there twice: header names are the same in upper and lower case",
                );
            } else if let DeValue::Table(_) = value.content {
                let credential = |secret| value.credential(header, CredentialForm::Plain, secret);
                headers.credentials.extend(value.secret().and_then(credential));
            } else if let Some(template) = value.header_template() {
                let template = if shown { template } else { template.masked() };
                headers.templates.push((Template::of_text(name), template));
            }
        }
        headers
    }

    /// `query = { NAME = template, .. }`
    pub(super) fn query(&mut self) -> Vec<(String, Template)> {
        let Some(table) = self.get("query").and_then(|value| value.table()) else {
            return Vec::new();
        };
        let parameters = table.entries();
        parameters.filter_map(|(name, value)| Some((name.to_owned(), value.template()?))).collect()
    }
}
