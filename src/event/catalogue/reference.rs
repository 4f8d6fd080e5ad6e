//! The catalogue as a page for people: `config/events.md`.

use std::fmt::Write as _;

use super::{CATALOGUE, COMMON, EVENT, Entry, From4, Profile, Shown};
use crate::clock::UnixMillis;
use crate::event::json::{BodyFormat, EventFormat, PayloadAs};
use crate::event::{Event, EventKind, Occurrence, Record};
use crate::name::{RuleName, SourceName};

/// All of it in Markdown, with the types of source that `sources_of` says a kind comes from.
#[must_use]
pub fn page(sources_of: impl Fn(EventKind) -> Vec<&'static str>) -> String {
    let mut page = String::from(
        "<!-- Printed by `waypost events list --markdown`; a test compares. -->\n\
         # Events\n\n\
         The events that Waypost knows, by the names that EMQX 5 has for them. A webhook chooses with `events`, where `\"all\"` is \
         every one of these, more than EMQX's \"all messages and events\"; a rule in SQL with the topics of its `FROM`: the first \
         spelling is the one in use, the others mean the same. `$events/client/+` and `$events/#` are several.\n\n\
         | event | topic in `FROM` | since | from | when |\n|---|---|---|---|---|\n",
    );
    for entry in &CATALOGUE {
        let topics: Vec<_> = entry.topics().map(|topic| format!("`{topic}`")).collect();
        let topics =
            if topics.is_empty() { "that of the message".to_owned() } else { topics.join(", ") };
        line(
            &mut page,
            &format!(
                "| [{}](#{}) | {topics} | {} | {} | {} |",
                entry.name,
                anchor(entry.name),
                entry.since,
                from(&sources_of(entry.kind)),
                entry.happens
            ),
        );
    }
    page.push_str(
        "\n*From* says which types of source can have an event: `broker`, the one inside Waypost; `http`, as far as the broker \
         that calls it sends it; `mqtt`, as far as the broker tells of it on topics of its own (`dialect`), and with \
         `event_topics` whatever a rule of EMQX republishes. What comes from `http` alone happens in EMQX only.\n",
    );
    page.push_str(
        "\nEvery event has these columns, and the ones below. What a source cannot know is undefined: the text `undefined` in \
         bodies and in what rules select, unless `undefined_as` says otherwise. A column marked *where known* has no key then, \
         and one marked *by name* is seen by rules that name it, and by bodies of EMQX 4.\n\n",
    );
    line(&mut page, HEADING);
    for column in [EVENT].iter().chain(&COMMON) {
        line(
            &mut page,
            &format!("| `{}` | {} | {} |", column.name, column.holds.name(), column.means),
        );
    }
    page.push_str(
        "| `metadata` | object | `rule_id`: the rule or webhook that wanted it |\n\n\
         A `payload` that is not UTF-8 stands as base64 with `payload_encoding` beside it (`payload_as`). Objects of properties \
         have MQTT 5's names (`Content-Type`), and always `User-Property`; duplicates are in `User-Property-Pairs`.\n\n\
         With `event_format = \"emqx4\"` the default body is that of EMQX 4's webhook plugin: `action`, `node` and the keys \
         below, as the code of 4.4 has them. With `emqx4_profile = \"docs\"` it follows the plugin's documentation: no `node`, no \
         key marked *code only*, moments in seconds, `undefined` for null. Events that the plugin does not have get a body in \
         its style, with `\"extension\": \"waypost\"`.\n",
    );
    for entry in &CATALOGUE {
        page.push_str(&section(entry));
    }
    page
}

fn from(types: &[&str]) -> String {
    let types: Vec<_> = types.iter().map(|name| format!("`{name}`")).collect();
    if types.is_empty() { "Waypost itself".to_owned() } else { types.join(", ") }
}

const HEADING: &str = "| column | holds | |\n|---|---|---|";

fn section(entry: &Entry) -> String {
    let mut text = format!("\n## {}\n{}.\n\n", entry.name, sentence(entry.happens));
    line(&mut text, HEADING);
    for column in entry.columns {
        let shown = match column.shown {
            Shown::Always => "",
            Shown::WhereKnown => " *(where known)*",
            Shown::ByName => " *(by name)*",
        };
        line(
            &mut text,
            &format!("| `{}` | {} | {}{shown} |", column.name, column.holds.name(), column.means),
        );
    }
    line(&mut text, &format!("\n```json\n{}\n```", example(entry, EventFormat::Emqx5)));
    line(&mut text, &format!("EMQX 4: {}\n", keys4(entry)));
    line(
        &mut text,
        &format!("```json\n{}\n```", example(entry, EventFormat::Emqx4(Profile::Code))),
    );
    text
}

/// The keys of the body in EMQX 4's form, in a sentence.
fn keys4(entry: &Entry) -> String {
    let keys = entry.version4.fields.iter().map(|field| {
        let code_only = if field.documented { "" } else { " *(code only)*" };
        let column = match field.from {
            From4::Column(name) | From4::Moment(name) if name != field.key => {
                format!(" = `{name}`")
            }
            From4::Address => " = `peerhost`".to_owned(),
            From4::Retain => " = `flags.retain`".to_owned(),
            _ => String::new(),
        };
        format!("`{}`{column}{code_only}", field.key)
    });
    let mut text = keys.collect::<Vec<_>>().join(", ");
    if entry.version4.ours {
        text.push_str(". Waypost's own: the plugin has no such event");
    }
    if entry.version4.action != entry.version4.action_docs {
        write!(text, ". The documentation has the action `{}`", entry.version4.action_docs)
            .expect("a String takes all that is written to it");
    }
    text.push('.');
    text
}

/// The body of the sample.
#[must_use]
pub fn example(entry: &Entry, events: EventFormat) -> String {
    let columns = serde_json::from_str(&entry.sample()).expect("a test reads every sample");
    let source = SourceName::new("local").expect("a name");
    let occurrence = Occurrence::with_columns(entry.kind, columns);
    let record = Record {
        rule: RuleName::new("cloud").expect("a name"),
        event: Event::of(source, UnixMillis(0), occurrence).into(),
        output: None,
        replay: None,
    };
    let format = BodyFormat {
        events,
        payload_as: PayloadAs::Auto,
        undefined_as: events.undefined_as(),
        node: "plant-7".into(),
    };
    let mut body = Vec::new();
    format.write_object(&record, None, &mut body);
    String::from_utf8_lossy(&body).into_owned()
}

/// What there is to say of a kind, as lines of text.
#[must_use]
pub fn described(kind: EventKind) -> String {
    let entry = kind.entry();
    let mut text = format!("{}: {}\n", entry.name, entry.happens);
    line(&mut text, &format!("since    {}", entry.since));
    let topics: Vec<_> = entry.topics().collect();
    let topics =
        if topics.is_empty() { "that of the message".to_owned() } else { topics.join(", ") };
    line(&mut text, &format!("topic    {topics}\n"));
    for column in entry.all_columns() {
        let shown = match column.shown {
            Shown::Always => "",
            Shown::WhereKnown => " (where known)",
            Shown::ByName => " (by name)",
        };
        let (name, holds) = (column.name, column.holds.name());
        line(&mut text, &format!("  {name:<20} {holds:<12} {}{shown}", column.means));
    }
    line(&mut text, &format!("\nEMQX 5   {}", example(entry, EventFormat::Emqx5)));
    let ours = if entry.version4.ours { " (Waypost's own)" } else { "" };
    line(
        &mut text,
        &format!("EMQX 4{ours}   {}", example(entry, EventFormat::Emqx4(Profile::Code))),
    );
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

fn anchor(name: &str) -> String {
    name.replace('.', "")
}
