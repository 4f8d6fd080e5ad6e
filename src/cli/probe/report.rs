//! What was found out, as text and as JSON.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde_json::{Value, json};

use crate::steps::{Ending, Step};

/// Where the text of a step begins.
pub(super) const TEXT_COLUMN: usize = 34;

/// One source or sink.
pub(super) struct Probed {
    /// `source` or `sink`
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) address: String,
    /// None where there is nothing to dial.
    pub(super) steps: Vec<Step>,
}

/// All of them.
pub(super) struct Report(pub(super) Vec<Probed>);

impl Probed {
    fn ending(&self) -> Ending {
        let has = |ending| self.steps.iter().any(|step| step.ending == ending);
        if has(Ending::Failed) {
            Ending::Failed
        } else if has(Ending::Unsure) {
            Ending::Unsure
        } else {
            Ending::Done
        }
    }

    fn to_value(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            json!({
                "step": step.stage.word(),
                "result": word(step.ending),
                "took_ms": milliseconds(step.took),
                "text": step.text,
            })
        });
        json!({
            "kind": self.kind,
            "name": self.name,
            "address": self.address,
            "result": word(self.ending()),
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

impl Report {
    /// How many do not work.
    pub(super) fn failures(&self) -> usize {
        self.0.iter().filter(|probed| probed.ending() == Ending::Failed).count()
    }

    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        let probed = self.0.iter().map(Probed::to_value);
        let whole = json!({ "ok": self.failures() == 0, "probed": probed.collect::<Vec<_>>() });
        serde_json::to_string_pretty(&whole)
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (place, probed) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{} {}: {}", probed.kind, probed.name, probed.address)?;
            if probed.steps.is_empty() {
                writeln!(out, "  nothing to dial: devices connect to it")?;
            }
            for Step { stage, ending, text, took } in &probed.steps {
                let (result, stage) = (word(*ending), stage.word());
                writeln!(
                    out,
                    "  {result:<6}  {stage:<9}  {:>8.1} ms  {text}",
                    milliseconds(*took)
                )?;
            }
        }
        Ok(())
    }
}

const fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "ok",
        Ending::Unsure => "unsure",
        Ending::Failed => "failed",
    }
}

/// To a tenth.
fn milliseconds(period: Duration) -> f64 {
    (period.as_secs_f64() * 10_000.0).round() / 10.0
}
