//! `waypost reload`

use clap::Args;

use super::{Failure, SocketArguments, runtime, say, tell};
use crate::admin::client;
use crate::admin::reload::{Answer, Reloaded};

/// Whom to tell, and what may go.
#[derive(Debug, Args)]
pub(super) struct ReloadArguments {
    #[command(flatten)]
    socket: SocketArguments,
    /// Drop the records of sinks that are no longer in the config
    #[arg(long)]
    drop_removed: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn reload(arguments: &ReloadArguments) -> Result<(), Failure> {
    let socket = arguments.socket.socket()?;
    let answer = runtime()?.block_on(client::reload(&socket, arguments.drop_removed))?;
    let is_json = arguments.json;
    if is_json {
        say(&serde_json::to_string_pretty(&answer).map_err(|error| Failure::failed(&error))?);
    }
    match answer {
        Answer::Reloaded(reloaded) => {
            reloaded.warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
            if !is_json {
                say(&text(&reloaded));
            }
            Ok(())
        }
        Answer::Refused(refused) if refused.is_config_wrong => {
            Err(Failure::config(&refused.report))
        }
        Answer::Refused(refused) => Err(Failure { code: 1, message: refused.report }),
    }
}

/// What has changed, one line each.
fn text(reloaded: &Reloaded) -> String {
    let Reloaded { added, changed, removed, dropped, warnings: _ } = reloaded;
    if added.is_empty() && changed.is_empty() && removed.is_empty() {
        return "reloaded: nothing has changed\n".to_owned();
    }
    let mut text = "reloaded\n".to_owned();
    for (word, names) in [("added", added), ("changed", changed), ("removed", removed)] {
        for name in names {
            let sink = name.strip_prefix("sink ").filter(|_| word == "removed");
            let count = sink.and_then(|sink| dropped.get(sink));
            let count = count.map_or(String::new(), |count| format!(" ({count} records dropped)"));
            text.extend(["  ", word, &" ".repeat(9 - word.len()), name, &count, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;

    #[test]
    fn a_reload_says_what_has_changed() {
        expect!["reloaded: nothing has changed\n"].assert_eq(&text(&Reloaded::default()));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let reloaded = Reloaded {
            added: words(&["rule hot", "sink archive"]),
            changed: words(&["source local"]),
            removed: words(&["sink old", "sink older"]),
            dropped: BTreeMap::from([("old".to_owned(), 37)]),
            warnings: Vec::new(),
        };
        expect![[r"
            reloaded
              added    rule hot
              added    sink archive
              changed  source local
              removed  sink old (37 records dropped)
              removed  sink older
        "]]
        .assert_eq(&text(&reloaded));
    }
}
