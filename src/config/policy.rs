//! `on_status`, `canary`, `reject_storm`: what an answer means for records, and when a record is given up.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Table, Value};
use super::schema::Form;

const HOUR: Duration = Duration::from_hours(1);

/// What an answer means for the records of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The service has them.
    Delivered,
    /// It may pass: sent again, with growing delays.
    Retry,
    /// Too much at once: sent again in halves. A record that is alone is rejected.
    Split,
    /// The service will not have one of them: that one becomes a dead letter, the others are sent again.
    Reject,
    /// The service will have no record as things are: everything is kept and tried again slowly.
    Suspend,
}

/// What each status means for a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusPolicy {
    statuses: BTreeMap<u16, Meaning>,
    /// By hundreds.
    classes: BTreeMap<u16, Meaning>,
}

impl StatusPolicy {
    /// What `status` means: as the config says of it, otherwise of its class, otherwise the default.
    #[must_use]
    pub fn meaning(&self, status: u16) -> Meaning {
        let overridden = self.statuses.get(&status).or_else(|| self.classes.get(&(status / 100)));
        overridden.copied().unwrap_or_else(|| default_meaning(status))
    }

    /// With one more status that has a meaning of its own.
    #[must_use]
    pub fn with_status(mut self, status: u16, meaning: Meaning) -> Self {
        self.statuses.insert(status, meaning);
        self
    }

    /// With one more class (4 for 400 to 499) that has a meaning of its own.
    #[must_use]
    pub fn with_class(mut self, hundreds: u16, meaning: Meaning) -> Self {
        self.classes.insert(hundreds, meaning);
        self
    }
}

/// What is no final status of HTTP suspends: whoever answers so is not the service.
const fn default_meaning(status: u16) -> Meaning {
    match status {
        200..=299 => Meaning::Delivered,
        408 | 425 | 429 | 500..=599 => Meaning::Retry,
        413 => Meaning::Split,
        401 | 403..=407 | 410 | 415 | 421 | 426 => Meaning::Suspend,
        400..=499 => Meaning::Reject,
        _ => Meaning::Suspend,
    }
}

/// When it is the record that is at fault and not the service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// Failures of the same kind in a row.
    pub failures: NonZeroU32,
    /// Over at least this time.
    pub period: Duration,
}

const MEANINGS: [(&str, Meaning); 5] = [
    ("delivered", Meaning::Delivered),
    ("retry", Meaning::Retry),
    ("split", Meaning::Split),
    ("reject", Meaning::Reject),
    ("suspend", Meaning::Suspend),
];

/// `on_status = { 409 = "delivered", 4xx = "retry" }`
pub(super) fn on_status(value: Option<Value<'_>>) -> StatusPolicy {
    let mut policy = StatusPolicy::default();
    let Some(table) = value.and_then(|value| value.table()) else { return policy };
    for (key, value) in table.entries() {
        let meaning = value.word(&MEANINGS);
        let Some(statuses) = statuses(key) else {
            value.wrong_key(
                "must be a status from 200 to 599 such as 409, or a class such as 4xx (2xx to 5xx)",
            );
            continue;
        };
        let Some(meaning) = meaning else { continue };
        if let Some(risk) = statuses.risk(meaning) {
            value.warn_of_key(risk);
        }
        policy = match statuses.status {
            Some(status) => policy.with_status(status, meaning),
            None => policy.with_class(statuses.hundreds, meaning),
        };
    }
    policy
}

struct Statuses {
    hundreds: u16,
    /// `None` for the whole class.
    status: Option<u16>,
}

impl Statuses {
    /// What can be lost when they mean this.
    fn risk(&self, meaning: Meaning) -> Option<&'static str> {
        let credentials = matches!(self.status, Some(401 | 403 | 407));
        let passing = self.hundreds == 5 || matches!(self.status, Some(408 | 425 | 429));
        let whole_class = self.hundreds == 4 && self.status.is_none();
        match meaning {
            Meaning::Delivered if self.hundreds == 3 => Some(
                "a redirect is no delivery: a captive portal that answers so would empty the queue",
            ),
            Meaning::Delivered if credentials || passing || whole_class => Some(
                "this is no delivery: a service that refuses everything for a while would empty the queue",
            ),
            Meaning::Reject if credentials || whole_class => Some(
                "an expired token would make dead letters of good records, up to `reject_storm` of them",
            ),
            Meaning::Reject if passing => Some(
                "a service in trouble would make dead letters of good records, up to `reject_storm` of them",
            ),
            _ => None,
        }
    }
}

fn statuses(key: &str) -> Option<Statuses> {
    let number: u16 = key.replace("xx", "00").parse().ok()?;
    let status = (!key.ends_with("xx")).then_some(number);
    let is_final = (200..600).contains(&number) && key.len() == 3;
    is_final.then_some(Statuses { hundreds: number / 100, status })
}

/// `canary = { .. }`
pub(super) fn canary(mut table: Table<'_>) -> Canary {
    let five = NonZeroU32::new(5).expect("not zero");
    let canary = Canary {
        failures: table.or("failures", five, |value| count(value, 1000)),
        period: table.or("period", Duration::from_mins(1), |value| {
            value.period(Duration::from_millis(100)..=24 * HOUR)
        }),
    };
    table.finish();
    canary
}

/// `reject_storm = 50`
pub(super) fn reject_storm(table: &mut Table<'_>) -> NonZeroU32 {
    let fifty = NonZeroU32::new(50).expect("not zero");
    table.or("reject_storm", fifty, |value| count(value, 1_000_000))
}

/// `max_attempts` of `retry`.
pub(super) fn attempts_max(retry: &mut Table<'_>) -> Option<NonZeroU32> {
    const MOST: u32 = 1_000_000;
    let value = retry.get("max_attempts")?;
    value.may_be(Form::Integer(1..=MOST.into()));
    if is_none(&value) { None } else { count(&value, MOST) }
}

/// `max_age` of `retry`.
pub(super) fn age_max(retry: &mut Table<'_>) -> Option<Duration> {
    let value = retry.get("max_age")?;
    value.may_be(Form::Period);
    if is_none(&value) { None } else { value.period(Duration::from_secs(1)..=24 * 3650 * HOUR) }
}

fn is_none(value: &Value<'_>) -> bool {
    value.may_be(Form::words(["none"].into_iter()));
    matches!(value.content, DeValue::String(text) if text == "none")
}

fn count(value: &Value<'_>, max: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(value.count(max)?.get()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_meaning_of_itself_then_of_its_class_then_the_default() {
        let policy = StatusPolicy::default()
            .with_class(4, Meaning::Retry)
            .with_status(409, Meaning::Delivered)
            .with_status(302, Meaning::Reject);
        for status in 100..=999 {
            let expected = match status {
                409 => Meaning::Delivered,
                400..=499 => Meaning::Retry,
                302 => Meaning::Reject,
                _ => StatusPolicy::default().meaning(status),
            };
            assert_eq!(policy.meaning(status), expected, "{status}");
        }
    }

    #[test]
    fn a_key_is_a_final_status_or_a_class_of_them() {
        let read = |key| statuses(key).map(|it| (it.hundreds, it.status));
        assert_eq!(read("409"), Some((4, Some(409))));
        assert_eq!(read("4xx"), Some((4, None)));
        for wrong in ["", "4", "40", "4x", "x4x", "4xxx", "199", "600", "6xx", "1xx", "xx4", "+40"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
