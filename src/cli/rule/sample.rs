//! `waypost rule sample`

use clap::Args;

use crate::cli::{Failure, say};
use crate::rule::events::{EVENT_TOPICS, sample, samples};

/// Which event.
#[derive(Debug, Args)]
pub(in crate::cli) struct SampleArguments {
    /// The event, such as `client.connected`; all of them are listed when left out
    event: Option<String>,
}

pub(super) fn show(arguments: &SampleArguments) -> Result<(), Failure> {
    let Some(event) = &arguments.event else {
        for (event, _) in samples() {
            let known = EVENT_TOPICS.iter().find(|known| known.event == event);
            let topic = known.map_or("the topic of the message", |known| known.topic);
            say(&format!("{event:<30}  {topic}"));
        }
        return Ok(());
    };
    let Some(text) = sample(event) else {
        let distance = |known: &str| strsim::damerau_levenshtein(event, known);
        let nearest = samples().map(|(known, _)| known).min_by_key(|known| distance(known));
        let advice = match nearest.filter(|known| distance(known) * 3 <= known.len()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`waypost rule sample` lists them".to_owned(),
        };
        let message = format!("error: there is no event `{event}`; {advice}");
        return Err(Failure { code: 1, message });
    };
    say(&text);
    Ok(())
}
