//! What the services of EMQX 4 and 5 have in common: headers, periods, sizes, files of TLS, names.

use super::draft::{Block, key, name, text};
use super::notes::Notes;
use super::tree::Tree;
use crate::units::{parse_period, parse_size, period_text};

/// A name that the config takes, and a note where it is another one.
pub(super) fn renamed(
    known: &str,
    taken: &mut Vec<String>,
    place: &str,
    notes: &mut Notes,
) -> String {
    let own = name(known, taken);
    if own != known {
        notes.different(place, format!("is named {own} here, in metrics and bodies too"));
    }
    own
}

/// What EMQX shows for a secret wherever it shows its config, such as in answers of its API.
const MASK: &str = "******";

/// Whether a value was hidden by EMQX, or by whoever passed the file on.
fn is_masked(value: &str) -> bool {
    value.contains(MASK) || (value.len() > 2 && value.bytes().all(|byte| byte == b'*'))
}

/// A header or a parameter of a query; a comment where its value is masked.
pub(super) fn entry(
    block: &mut Block,
    table: &str,
    (name, value): (&str, &str),
    place: &str,
    notes: &mut Notes,
) {
    let key = key(table, name);
    if is_masked(value) {
        block.comment("FIXME: masked by EMQX: write the value, then take the `#` before it away");
        block.comment(&format!("{key} = {}", text(value)));
        let message = format!("masked by EMQX: write the value; `{key}` is there as a comment");
        notes.left_out(place, message);
    } else {
        block.text(&key, value);
    }
}

/// `url` or `path`; without it nothing can be sent to the right place.
pub(super) fn address(block: &mut Block, key: &str, value: &str) {
    block.text(key, value);
    if is_masked(value) {
        block.turn_off(format!("its {key} is masked by EMQX: write the value"));
    }
}

/// The URL of a connector, and its query as `query` of a sink has it: the path of a sink is joined to the end of the URL.
///
/// What no table can say stays in the URL: a parameter that is there twice, or has a placeholder in its name.
fn without_query(url: &str) -> (&str, Vec<(String, String)>) {
    let Some((base, query)) = url.split_once('?') else { return (url, Vec::new()) };
    let mut parameters: Vec<(String, String)> = Vec::new();
    for parameter in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let mut names = url::form_urlencoded::parse(name.as_bytes());
        let name = names.next().map(|(name, _)| name.into_owned()).unwrap_or_default();
        let known = parameters.iter().any(|(known, _)| *known == name);
        if known || name.is_empty() || name.contains("${") || value.contains('#') {
            return (url, Vec::new());
        }
        parameters.push((name, value.to_owned()));
    }
    (base, parameters)
}

/// `url` of a connector, and what its sinks have as `query`.
pub(super) fn connector_url(
    block: &mut Block,
    tree: &mut Tree,
    notes: &mut Notes,
) -> Vec<(String, String)> {
    let place = tree.place("url");
    let Some(url) = tree.text("url") else { return Vec::new() };
    let (base, query) = without_query(&url);
    address(block, "url", base);
    if !query.is_empty() {
        notes.different(&place, "its query is the `query` of each sink that names the connector");
    }
    query
}

/// `headers`, but for those of the connection.
pub(super) fn headers(block: &mut Block, tree: &mut Tree, notes: &mut Notes) {
    let mut table_of = tree.table("headers");
    for name in table_of.keys() {
        let place = table_of.place(&name);
        let Some(value) = table_of.text(&name) else { continue };
        let lower = name.to_ascii_lowercase();
        if matches!(
            lower.as_str(),
            "connection" | "keep-alive" | "content-length" | "transfer-encoding"
        ) {
            notes.left_out(&place, "the connection is Waypost's to manage");
            continue;
        }
        let is_secret = matches!(
            lower.as_str(),
            "authorization"
                | "proxy-authorization"
                | "api-key"
                | "x-api-key"
                | "x-auth-token"
                | "cookie"
        );
        if is_secret && !is_masked(&value) {
            notes.different(
                &place,
                "stands in the config as it is: better { file = \"..\" } or { env = \"..\" }",
            );
        }
        entry(block, "headers", (&name, &value), &place, notes);
    }
    table_of.finish(|_| None, notes);
}

/// `method`, and whether its requests have a body: EMQX takes one for GET and DELETE, and does not send it.
pub(super) fn method(block: &mut Block, method: Option<String>) -> bool {
    let method = method.map(|method| method.to_ascii_uppercase());
    if let Some(method) = &method {
        block.text("method", method);
    }
    !matches!(method.as_deref(), Some("GET" | "DELETE"))
}

/// `body`, where it is sent.
pub(super) fn body(
    block: &mut Block,
    is_sent: bool,
    body: Option<String>,
    place: &str,
    notes: &mut Notes,
) {
    let Some(body) = body.filter(|body| !body.is_empty()) else { return };
    if is_sent {
        block.text("body", &body);
    } else {
        notes.left_out(place, "GET and DELETE send no body, in EMQX neither");
    }
}

/// `tls`, as a comment: its files are not here yet.
pub(super) fn tls(block: &mut Block, tree: &mut Tree, notes: &mut Notes) {
    let files = [
        ("cacertfile", "ca_file"),
        ("certfile", "cert_file"),
        ("keyfile", "key_file"),
        ("server_name_indication", "server_name"),
    ];
    let mut entries = Vec::new();
    for (theirs, ours) in files {
        let place = tree.place(theirs);
        match tree.text(theirs).filter(|value| !value.is_empty()) {
            Some(value) if value == "disable" => {
                notes.left_out(&place, "the name in a certificate is always compared");
            }
            Some(value) => entries.push(format!("{ours} = {}", text(&value))),
            None => {}
        }
    }
    if !entries.is_empty() {
        block.comment(&format!("tls = {{ {} }}", entries.join(", ")));
        let reason = "copy the files to this machine, then take the `#` before `tls` away";
        notes.left_out(tree.path(), reason);
    }
}

/// A period as Waypost writes it.
pub(super) fn period(tree: &mut Tree, key: &str, notes: &mut Notes) -> Option<String> {
    let place = tree.place(key);
    let text = tree.text(key)?;
    if let Ok(milliseconds) = text.parse::<u64>() {
        return Some(format!("{milliseconds}ms"));
    }
    let period = parse_period(&text).ok().map(period_text);
    if period.is_none() {
        notes.left_out(&place, format!("`{text}` is not a period that Waypost has"));
    }
    period
}

/// EMQX's units are binary whatever they are called.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) =
        text.split_at(text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim().to_ascii_uppercase().as_str() {
        "" => "B",
        "KB" => "KiB",
        "MB" => "MiB",
        "GB" => "GiB",
        _ => return None,
    };
    parse_size(&format!("{number}{unit}")).ok()
}
