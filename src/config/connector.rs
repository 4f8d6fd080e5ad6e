//! `[connectors.NAME]`, and the same keys in a sink that has its service for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use toml::de::DeValue;
use url::Url;

use super::reader::{Table, Value};
use super::template::Headers;
use super::{Connection, Credential, CredentialForm, HttpVersion, Proxy, Secret, TlsClient};
use crate::name::ConnectorName;

const EXAMPLE: &str = "https://api.example.com/hook";
const HOUR: Duration = Duration::from_hours(1);

/// Keys that a sink with `connector = "NAME"` leaves to the connector.
const KEYS: [&str; 5] = ["url", "auth", "tls", "proxy", "http_version"];
/// The same, in `timeouts`.
const TIMEOUTS: [&str; 2] = ["connect", "idle"];

/// A service and how to reach it.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// The URL, or where its path has placeholders the URL without it.
    pub(super) url: Url,
    /// The path of the URL, where it has placeholders.
    pub(super) url_path: Option<String>,
    pub(super) headers: Headers,
    pub(super) connection: Connection,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

/// Every connector of the file; `None` where it is wrong, which was told.
#[derive(Debug, Default)]
pub(super) struct Connectors(BTreeMap<String, Option<Connector>>);

impl Connectors {
    /// `[connectors.NAME]`, all of them.
    pub(super) fn read(root: &mut Table<'_>) -> Self {
        let tables = root.table("connectors");
        let connector = |(name, value): (&str, Value<'_>)| {
            let connector = value.name(name, ConnectorName::new).and_then(|name| {
                let mut table = value.table()?;
                let mut timeouts = table.table("timeouts");
                let connector = read(&mut table, &mut timeouts, Some(name));
                timeouts.finish();
                table.finish();
                connector
            });
            (name.to_owned(), connector)
        };
        Self(tables.entries().map(connector).collect())
    }

    /// The connector of a sink: the one that it names, or its own keys.
    pub(super) fn of_sink(
        &self,
        table: &mut Table<'_>,
        timeouts: &mut Table<'_>,
    ) -> Option<Connector> {
        let Some(named) = table.get("connector") else { return read(table, timeouts, None) };
        for key in KEYS {
            refuse(table, key);
        }
        for key in TIMEOUTS {
            refuse(timeouts, key);
        }
        let name = named.declared("connector", self.0.keys().map(String::as_str))?;
        let mut connector = self.0.get(&name)?.clone()?;
        connector.headers.extend(table.headers());
        Some(connector)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn refuse(table: &mut Table<'_>, key: &'static str) {
    if let Some(value) = table.get(key) {
        value
            .wrong_key("belongs to the connector that `connector` names; leave one of the two out");
    }
}

fn read(
    table: &mut Table<'_>,
    timeouts: &mut Table<'_>,
    name: Option<ConnectorName>,
) -> Option<Connector> {
    let there = table.require("url", &format!("{EXAMPLE:?}"));
    let url = there.as_ref().and_then(address);
    let mut headers = table.headers();
    authorize(table, &mut headers);
    let tls = table.tls_client();
    let versions =
        [("auto", HttpVersion::Auto), ("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)];
    let version = table.get("http_version");
    let http_version = version.as_ref().and_then(|value| value.word(&versions)).unwrap_or_default();
    let proxy_there = table.get("proxy");
    let proxy = proxy_there.as_ref().and_then(proxy);
    let seconds = Duration::from_secs;
    let period = |value: &Value<'_>, min| value.period(min..=HOUR);
    let connect_timeout =
        timeouts.or("connect", seconds(10), |value| period(value, Duration::from_millis(100)));
    let idle_timeout = timeouts.or("idle", seconds(20), |value| period(value, Duration::ZERO));
    let (url, url_path) = url?;
    let encrypted = url.scheme() == "https";
    if let (Some((there, _)), false) = (&tls, encrypted) {
        there.wrong::<()>("has no effect on this URL; `https://` is the encrypted one");
    }
    if let (Some(version), HttpVersion::Http2, Some(_), false) =
        (version, http_version, &proxy_there, encrypted)
    {
        version.wrong::<()>(
            "cannot be \"2\" with a `proxy` on a URL without TLS: proxies speak HTTP/1.1",
        );
    }
    let tls = tls.map_or_else(TlsClient::default, |(_, tls)| tls);
    let connection = Connection { connector: name, tls, http_version, proxy };
    Some(Connector { url, url_path, headers, connection, connect_timeout, idle_timeout })
}

/// The URL of a service; where its path has placeholders, the URL without it, and the path as template text.
fn address(value: &Value<'_>) -> Option<(Url, Option<String>)> {
    const SCHEMES: [&str; 2] = ["http", "https"];
    let text = value.with_environment(value.raw_text()?, true)?;
    let authority = text.find("://").map_or(0, |colon| colon + "://".len());
    let path_start = text.get(authority..).and_then(|rest| rest.find(['/', '?', '#']));
    let (base, path) = text.split_at(path_start.map_or(text.len(), |start| authority + start));
    if base.contains("${") {
        return value.wrong(
            "placeholders may stand in the path and the query only: what a message says must not choose the host",
        );
    }
    let templated = path.contains("${");
    let whole = if templated { base } else { &text };
    let credentials = "`auth = { username = \"..\", password = { file = \"..\" } }`";
    let url = value.url_of(whole, EXAMPLE, &SCHEMES, credentials)?;
    if url.port() == Some(0) {
        return value.wrong("the port must not be 0");
    }
    if !templated {
        return Some((url, None));
    }
    if path.contains('#') {
        return value.wrong("must not have a fragment (`#...`): it would not be sent");
    }
    value.template_of(path)?;
    Some((url, Some(path.to_owned())))
}

/// `auth = { bearer = SECRET }` or `auth = { username = "..", password = SECRET }`, as an `authorization` header.
fn authorize(table: &mut Table<'_>, headers: &mut Headers) {
    let Some(value) = table.get("auth") else { return };
    let Some(mut auth) = value.table() else { return };
    let (bearer, username, password) =
        (auth.get("bearer"), auth.get("username"), auth.get("password"));
    auth.finish();
    let credential = match (bearer, username, password) {
        (Some(bearer), None, None) => {
            bearer.secret().map(|secret| (CredentialForm::Bearer, secret))
        }
        (None, Some(username), Some(password)) => basic(&username, &password),
        _ => value.wrong_secret("must have either `bearer`, or `username` and `password`"),
    };
    let Some((form, secret)) = credential else { return };
    if headers.has(AUTHORIZATION.as_str()) {
        value.wrong_secret::<()>(
            "sets the `authorization` header, which stands in `headers` as well",
        );
    } else if let Some(credential) = value.credential(AUTHORIZATION, form, secret) {
        headers.credentials.push(credential);
    }
}

fn basic(username: &Value<'_>, password: &Value<'_>) -> Option<(CredentialForm, Secret)> {
    let (user, secret) = (username.nonempty_text(), password.secret());
    let (user, secret) = (user?, secret?);
    if user.contains(':') {
        return username.wrong("must not have a `:` in it (RFC 7617)");
    }
    Some((CredentialForm::Basic { username: user }, secret))
}

/// `proxy = "http://HOST:PORT"`, or a table with `url`, `username` and `password`.
fn proxy(value: &Value<'_>) -> Option<Proxy> {
    const EXAMPLE: &str = "http://proxy.example.com:3128";
    if matches!(value.content, DeValue::String(_)) {
        return Some(Proxy { url: proxy_url(value, EXAMPLE)?, credential: None });
    }
    let mut table = value.table()?;
    let url = table.require("url", &format!("{EXAMPLE:?}"));
    let (username, password) = (table.get("username"), table.get("password"));
    table.finish();
    let url = url.and_then(|url| proxy_url(&url, EXAMPLE));
    let credential = match (username, password) {
        (None, None) => None,
        (Some(username), Some(password)) => {
            let (form, secret) = basic(&username, &password)?;
            Some(value.credential(PROXY_AUTHORIZATION, form, secret)?)
        }
        _ => return value.wrong_secret("must have both `username` and `password`, or neither"),
    };
    Some(Proxy { url: url?, credential })
}

fn proxy_url(value: &Value<'_>, example: &str) -> Option<Url> {
    let text = value.nonempty_text()?;
    let credentials = "`proxy = { url = \"..\", username = \"..\", password = { file = \"..\" } }`";
    let url = value.url_of(&text, example, &["http"], credentials)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return value.wrong(format!("must be host and port only, as in \"{example}\""));
    }
    Some(url)
}

impl Value<'_> {
    /// A header with a secret, where the secret can stand in one.
    pub(super) fn credential(
        &self,
        header: http::HeaderName,
        form: CredentialForm,
        secret: Secret,
    ) -> Option<Credential> {
        let credential = Credential { header, form, secret };
        if credential.value(&credential.secret).is_none() {
            return self.wrong_secret("must not have line breaks or control characters");
        }
        Some(credential)
    }
}

impl<'r> Table<'r> {
    /// `tls = { ca_file, cert_file, key_file, server_name }`, with where it stands.
    pub(super) fn tls_client(&mut self) -> Option<(Value<'r>, TlsClient)> {
        let there = self.get("tls")?;
        let mut tls = there.table()?;
        let client = TlsClient {
            ca_file: tls.get("ca_file").and_then(|value| value.certificates()),
            identity: tls.tls_identity(),
            server_name: tls.get("server_name").and_then(|value| value.nonempty_text()),
        };
        tls.finish();
        Some((there, client))
    }
}
