//! An event that never happened, as a rule of the config would make a record of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::config::Config;
use crate::event::{Event, Message, MessageIds, Qos, Record};
use crate::name::{RuleName, SinkName, SourceName};
use crate::rule::program::Input;
use crate::rule::{Router, Rule, Selection};
use crate::steps::{Ending, Stage, Step};
use crate::topic::Topic;

const PAYLOAD: &[u8] = b"{\"sample\":true}";
/// The publisher that it says it has.
const CLIENT_ID: &str = "waypost-probe";

/// A record for the sink, made by the first of its rules that makes one; otherwise the step that was not taken, and why.
pub(super) fn for_sink(sink: &SinkName, config: &Config, router: &Router) -> Result<Record, Step> {
    let rules = config.rules.iter().filter(|(_, rule)| rule.sinks.contains(sink));
    let mut why = "no rule sends anything to this sink".to_owned();
    for (name, rule) in rules {
        match of_rule(name, rule, config, router) {
            Ok(record) => return Ok(record),
            Err(reason) => why = format!("the rule `{name}` {reason}"),
        }
    }
    let text = format!("not sent: {why}; `waypost rule test` tries a rule with events of yours");
    Err(Step { stage: Stage::Sample, ending: Ending::Unsure, text, took: Duration::ZERO })
}

fn of_rule(
    name: &RuleName,
    rule: &Rule,
    config: &Config,
    router: &Router,
) -> Result<Record, String> {
    let source = rule.sources.first().or_else(|| config.sources.keys().next());
    let source = source.ok_or("listens to no source")?;
    let topic = rule.topics.iter().find_map(|filter| topic_of(filter.plain()));
    let topic = topic.ok_or("wants no messages")?;
    let event = event(source.clone(), topic);
    let output = output_of(name, &event, router)?;
    let event = if output.is_some() { event.without_content() } else { event };
    Ok(Record { rule: name.clone(), event: Arc::new(event), output, replay: None })
}

/// What the rule makes of the event; `None` for the event as it is.
fn output_of(name: &RuleName, event: &Event, router: &Router) -> Result<Option<Bytes>, String> {
    let columns = router.columns(event);
    let input = Input::new(&columns);
    let wanted = router.route(event).find(|wanted| wanted.rule == name);
    match wanted.ok_or("does not want the sample")?.select(&input) {
        Ok(Selection::Event) => Ok(None),
        Ok(Selection::Outputs(outputs)) => Ok(outputs.into_iter().next()),
        Ok(Selection::Nothing) => Err("makes nothing of the sample".to_owned()),
        Err(error) => Err(format!("fails for the sample ({error})")),
    }
}

/// A topic that a filter matches.
fn topic_of(filter: &str) -> Option<Topic> {
    let level = |level| if matches!(level, "+" | "#") { "sample" } else { level };
    let levels: Vec<_> = filter.split('/').map(level).collect();
    Topic::new(&levels.join("/")).ok()
}

fn event(source: SourceName, topic: Topic) -> Event {
    let message = Message {
        id: MessageIds::new().mint(),
        topic,
        payload: Bytes::from_static(PAYLOAD),
        qos: Qos::AtLeastOnce,
        retain: false,
        dup: false,
        client_id: Some(CLIENT_ID.into()),
        username: None,
        peer: None,
        properties: None,
    };
    Event::published(source, UnixMillis::now(), message)
}
