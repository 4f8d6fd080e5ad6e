//! What is wrong, in words, with what to do about it; and what may be of interest when nothing arrives. Pure: from the
//! numbers of a status.

use std::collections::BTreeMap;

use super::{CertificateStatus, Note, NoteLevel, RuleStatus, SinkStatus, SourceStatus, Status};
use crate::store::is_disk_full;
use crate::topic::TopicFilter;
use crate::units::{period_words, size_words};

/// From here on it is no start that is under way any more.
const SETTLED_SECONDS: u64 = 10;
/// Silence from here on is worth a sentence; it may be as it should.
const QUIET_SECONDS: u64 = 600;
/// Part of a quota beyond which data is in danger, in percent.
const NEARLY_FULL_PERCENT: u64 = 80;
/// A certificate that expires within this time wants to be renewed.
const RENEW_SECONDS: i64 = 14 * 86_400;

/// Notes on a status whose own notes are still empty; what is wrong comes first.
#[must_use]
pub fn notes(status: &Status) -> Vec<Note> {
    let mut notes = Vec::new();
    for (name, source) in &status.sources {
        of_source(&mut About::new("source", name, &mut notes), source, status.uptime_seconds);
    }
    for (name, rule) in &status.rules {
        of_rule(&mut About::new("rule", name, &mut notes), rule, status);
    }
    for (name, sink) in &status.sinks {
        of_sink(&mut About::new("sink", name, &mut notes), sink, &status.data_dir);
    }
    for (name, records) in &status.left_over {
        let what = format!("{} and no such sink in the config", counted(*records, "record"));
        let advice =
            format!("give it a sink again, or: `waypost queue drop {name} --older-than 0s`");
        About::new("queue", name, &mut notes).wrong(what, Some(advice));
    }
    for certificate in &status.certificates {
        of_certificate(&mut notes, certificate);
    }
    notes.extend(of_config(&status.reload_refused));
    notes.sort_by_key(|note| note.level);
    notes
}

fn of_config(reload_refused: &[String]) -> Option<Note> {
    let (first, others) = reload_refused.split_first()?;
    let others = match others.len() {
        0 => String::new(),
        1 => ", and 1 problem more".to_owned(),
        more => format!(", and {more} problems more"),
    };
    Some(Note {
        level: NoteLevel::Wrong,
        about: "config".to_owned(),
        what: format!("its last reload was refused, what ran before goes on: {first}{others}"),
        advice: Some(
            "`waypost check` says all that is wrong; once it is mended: `waypost reload`"
                .to_owned(),
        ),
    })
}

/// Notes about one thing.
struct About<'a> {
    kind: &'static str,
    name: &'a str,
    notes: &'a mut Vec<Note>,
}

impl<'a> About<'a> {
    fn new(kind: &'static str, name: &'a str, notes: &'a mut Vec<Note>) -> Self {
        Self { kind, name, notes }
    }

    fn wrong(&mut self, what: impl Into<String>, advice: Option<String>) {
        self.note(NoteLevel::Wrong, what.into(), advice);
    }

    fn hint(&mut self, what: impl Into<String>, advice: Option<String>) {
        self.note(NoteLevel::Hint, what.into(), advice);
    }

    fn note(&mut self, level: NoteLevel, what: String, advice: Option<String>) {
        let about = format!("{} {}", self.kind, self.name);
        self.notes.push(Note { level, about, what, advice });
    }
}

fn of_source(about: &mut About<'_>, source: &SourceStatus, uptime_seconds: u64) {
    let since = period_words(source.since_seconds);
    match (source.state.as_str(), &source.detail) {
        ("connected" | "stopped", _) => {}
        ("connecting", _) if source.since_seconds < SETTLED_SECONDS => {}
        (state, why) => {
            let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            // Who listens is not dialled.
            let advice =
                (source.kind == "mqtt" && state != "degraded").then(|| step_by_step(about.name));
            about.wrong(format!("{state} for {since}{why}"), advice);
        }
    }
    if source.dropped > 0 {
        let what = format!(
            "{} of QoS 0 dropped: more came than could be stored",
            counted(source.dropped, "message")
        );
        about.hint(what, Some("have what matters published with QoS 1".to_owned()));
    }
    if source.events.is_empty() {
        about.hint("no rule wants anything from it", None);
    } else if source.state == "connected" && !source.topics.is_empty() {
        of_silence(about, source, uptime_seconds);
    }
}

/// Nothing comes, and nothing else says why.
fn of_silence(about: &mut About<'_>, source: &SourceStatus, uptime_seconds: u64) {
    let since = match source.quiet_seconds {
        None if uptime_seconds >= SETTLED_SECONDS => {
            format!("since the start {} ago", period_words(uptime_seconds))
        }
        Some(quiet) if quiet >= QUIET_SECONDS => format!("for {}", period_words(quiet)),
        _ => return,
    };
    let (what, advice) = if source.kind == "broker" {
        ("no device has published anything", format!("devices connect to {}", source.address))
    } else {
        ("nothing has come", format!("it subscribes to {}", listed(&source.topics)))
    };
    about.hint(format!("{what} {since}"), Some(advice));
}

fn of_rule(about: &mut About<'_>, rule: &RuleStatus, status: &Status) {
    let name = about.name;
    if rule.failed > 0 {
        let why = rule.last_error.as_deref().unwrap_or("unknown");
        let what = format!(
            "failed for {} of {} events, the last time with: {why}",
            rule.failed, rule.matched
        );
        let advice = Some(format!("`waypost rule show {name}`"));
        if rule.state == "failing" {
            about.wrong(what, advice);
        } else {
            about.hint(what, advice);
        }
    }
    let sources = rule.sources.iter().filter_map(|source| status.sources.get(source));
    let received: u64 = sources.clone().map(|source| source.received).sum();
    let is_of_messages = rule.events.iter().any(|kind| kind == "message.publish");
    if sources.flat_map(|it| &it.refused).any(|refused| overlaps_any(refused, &rule.topics)) {
        // Why it gets nothing is told with the source.
        return;
    }
    if rule.matched == 0 && received > 0 && is_of_messages {
        let what = format!(
            "it wants nothing of what came ({}); its topics: {}",
            counted(received, "event"),
            listed(&rule.topics)
        );
        about.hint(what, Some("the topics of what comes: `waypost tail`".to_owned()));
    } else if rule.matched > 0 && rule.passed == 0 && rule.failed == 0 {
        let what = format!(
            "its condition never held, with {} from its topics",
            counted(rule.matched, "event")
        );
        about.hint(what, Some(format!("`waypost tail --rule {name}`")));
    }
}

fn overlaps_any(filter: &str, topics: &[String]) -> bool {
    let Ok(filter) = TopicFilter::new(filter) else { return false };
    topics.iter().filter_map(|topic| TopicFilter::new(topic).ok()).any(|it| it.overlaps(&filter))
}

fn of_sink(about: &mut About<'_>, sink: &SinkStatus, data_dir: &str) {
    if let Some(why) = &sink.queue_unavailable {
        let what = format!("its queue takes no records: {why}");
        let advice = if is_disk_full(why) {
            format!("make room on the disk of {data_dir}; it goes on by itself")
        } else {
            format!("look at {data_dir}/queues/{}; it is tried again by itself", about.name)
        };
        about.wrong(what, Some(advice));
    }
    of_delivery(about, sink);
    if let Some(why) = &sink.dead_letters_error {
        about.wrong(format!("dead letters cannot be written, their records stay: {why}"), None);
    }
    if sink.suspects > 0 {
        let what = format!("{} set aside: failing while others are delivered", sink.suspects);
        about.wrong(what, Some("those that go on failing become dead letters".to_owned()));
    }
    let percent = sink.bytes.saturating_mul(100) / sink.bytes_max.max(1);
    if percent >= NEARLY_FULL_PERCENT {
        let then = match sink.when_full.as_str() {
            "drop_oldest" => "then the oldest records are dropped",
            "drop_newest" => "then new records are dropped",
            "dead_letter" => "then the oldest records become dead letters",
            _ => "then nothing is acknowledged any more, and brokers drop",
        };
        about.wrong(
            format!("its queue has {percent} % of its {}; {then}", size_words(sink.bytes_max)),
            None,
        );
    }
    for (reason, count) in sink.dropped.iter().filter(|(_, count)| **count > 0) {
        about.wrong(dropped(reason, *count, &sink.when_full), None);
    }
    let letters: u64 = sink.dead_letters.values().sum();
    if letters > 0 {
        let reasons = by_reason(&sink.dead_letters);
        let list = format!("`waypost dead-letter list --sink {}`", about.name);
        let advice = Some(format!("what the service answered: {list}"));
        about.wrong(format!("{} ({reasons})", counted(letters, "dead letter")), advice);
    }
}

/// Records that no receiver will see, and why.
fn dropped(reason: &str, count: u64, when_full: &str) -> String {
    let records = counted(count, "record");
    let why = match reason {
        "operator" => return format!("{records} dropped by hand since the start"),
        "disk_full" => format!("the disk was full (when_full = \"{when_full}\")"),
        "queue_full" => format!("the queue was full (when_full = \"{when_full}\")"),
        _ => "damaged or missing on the disk".to_owned(),
    };
    format!("{records} lost since the start, although acknowledged: {why}")
}

/// Whether it sends, and if not, why.
fn of_delivery(about: &mut About<'_>, sink: &SinkStatus) {
    let name = about.name;
    let waits = match sink.queued {
        0 => "nothing waits".to_owned(),
        1 => "1 record waits".to_owned(),
        some => format!("{some} records wait"),
    };
    if let Some(seconds) = sink.paused_seconds {
        let since = period_words(seconds);
        let advice = Some(format!("`waypost sink resume {name}`"));
        about.wrong(format!("paused by hand for {since}; {waits}"), advice);
        return;
    }
    let why = sink.last_error.as_deref().unwrap_or("unknown");
    let next = sink.next_attempt_in_seconds.map_or_else(
        || "an attempt is under way".to_owned(),
        |wait| format!("next attempt in {wait:.1} s"),
    );
    let (attempts, since) = (sink.failed_attempts, period_words(sink.since_seconds));
    match sink.state.as_str() {
        "retrying" if sink.queued == 0 => about.hint(
            format!("{}: {why}, the last time; {waits}, the next record is tried at once", sink.url),
            None,
        ),
        "retrying" => about.wrong(
            format!("{}: {why}; {attempts} attempts in {since}, {next}; {waits}", sink.url),
            Some(step_by_step(name)),
        ),
        "suspended" => about.wrong(
            format!(
                "{}: {why}; suspended for {since}, everything is kept, {next}; {waits}",
                sink.url
            ),
            Some(format!(
                "it goes on by itself once that is mended; at once with: `waypost sink retry-now {name}`"
            )),
        ),
        _ => {}
    }
}

fn step_by_step(name: &str) -> String {
    format!("where exactly: `waypost probe {name}`")
}

fn of_certificate(notes: &mut Vec<Note>, certificate: &CertificateStatus) {
    let seconds = certificate.expires_in_seconds;
    if seconds > RENEW_SECONDS {
        return;
    }
    let period = period_words(seconds.unsigned_abs());
    let what = if seconds < 0 {
        format!("its certificate has expired {period} ago")
    } else {
        format!("its certificate expires in {period}")
    };
    let advice = Some("renew the file: it is read again by itself".to_owned());
    notes.push(Note { level: NoteLevel::Wrong, about: certificate.of.clone(), what, advice });
}

/// `1 record`, `2 records`
fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// A few of them.
fn listed(topics: &[String]) -> String {
    const SHOWN_MAX: usize = 3;
    let shown: Vec<&str> = topics.iter().take(SHOWN_MAX).map(String::as_str).collect();
    match topics.len().saturating_sub(SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn by_reason(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    counts.map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}
