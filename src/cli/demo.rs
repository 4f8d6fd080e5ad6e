//! `waypost demo`

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use super::{Failure, dead_letter, runtime, say};
use crate::demo::{self, Outcome, Progress, Script};

/// Nothing to choose: it shows what there is.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {}

pub(super) fn demo(_arguments: &DemoArguments) -> Result<(), Failure> {
    let script = Script::default();
    say(&introduction(&script));
    let mut table = LiveTable::new();
    let outcome = runtime()?.block_on(demo::run(script, |progress| table.show(progress)));
    table.end();
    let outcome = outcome.map_err(|error| Failure::failed(&error))?;
    let program = std::env::args().next().unwrap_or_else(|| "waypost".to_owned());
    say(&conclusion(&outcome, &program));
    if outcome.sums.holds() {
        return Ok(());
    }
    Err(Failure { code: 1, message: "error: the sums do not hold".to_owned() })
}

fn introduction(script: &Script) -> String {
    let (devices, rate) = (script.devices, script.messages_per_second);
    let (publish, cut_at, cut_for) =
        (script.publish.as_secs(), script.cut_at.as_secs(), script.cut_for.as_secs());
    format!(
        "{devices} simulated devices publish {rate} messages a second (MQTT, QoS 1) for {publish} s to the broker inside \
         Waypost.\nEach is on disk before it is acknowledged, and goes to an HTTP service in batches.\n\
         After {cut_at} s the uplink to that service is cut for {cut_for} s. A few messages lack what the service needs: it \
         answers 422,\nand they become dead letters.\n"
    )
}

/// What happened, and what to type next, where `program` is what was typed for this one.
fn conclusion(outcome: &Outcome, program: &str) -> String {
    let Outcome { sums, letters } = outcome;
    let verdict = if sums.holds() { "nothing lost" } else { "SOMETHING IS LOST" };
    let letters = dead_letter::table(letters);
    format!(
        "\npublished {} = delivered {} + dead letters {}: {verdict} (acknowledged {}, queued {}, sent again with the same id \
         {})\n\nThe dead letters begin like this in `{program} dead-letter list`, and `{program} dead-letter replay` \
         sends them again:\n\n{letters}\n\
         Try next, each in a terminal of its own:\n\n  \
         {program} receive\n      an HTTP service that prints what arrives, on 127.0.0.1:5000\n  \
         {program} run --config config/waypost.toml\n      the gateway: MQTT on 127.0.0.1:1883, t/# to that service\n  \
         mosquitto_pub -t t/1 -q 1 -m '{{\"hello\":1}}'\n      a device\n  \
         {program} status --config config/waypost.toml\n      what it is doing\n",
        sums.published,
        sums.delivered,
        sums.dead_letters,
        sums.acknowledged,
        sums.queued,
        sums.repeated
    )
}

/// One line that is written over on a terminal; one line a second elsewhere.
struct LiveTable {
    terminal: bool,
    last_second: Option<u64>,
}

const HEADING: &str =
    "   TIME  UPLINK   PUBLISHED  ACKNOWLEDGED    QUEUED  DELIVERED  DEAD  OLDEST";

impl LiveTable {
    fn new() -> Self {
        say(&HEADING);
        Self { terminal: io::stdout().is_terminal(), last_second: None }
    }

    fn show(&mut self, progress: &Progress) {
        let second = progress.elapsed.as_secs();
        let row = format!(
            "{second:>5} s  {:<6} {:>11} {:>13} {:>9} {:>10} {:>5} {:>5.1} s",
            if progress.uplink_up { "up" } else { "CUT" },
            progress.published,
            progress.acknowledged,
            progress.queued,
            progress.delivered,
            progress.dead_letters,
            progress.oldest_age_seconds,
        );
        if self.terminal {
            let mut out = io::stdout().lock();
            drop(write!(out, "\r{row}").and_then(|()| out.flush()));
        } else if self.last_second.replace(second) != Some(second) {
            say(&row);
        }
    }

    fn end(&self) {
        if self.terminal {
            say(&"");
        }
    }
}
