//! The picture in characters, and as Mermaid.

use super::{Edge, Graph, Kind, Live, Node};
use crate::cli::table::per_second;

/// Columns of the terminal that lines are made for.
const COLUMNS: usize = 80;

/// Each rule with what flows into it and out of it; then what no rule touches.
pub(super) fn text(graph: &Graph) -> String {
    let mut text = graph.gateway.clone();
    text += if graph.live { "\n" } else { " (not running: without numbers)\n" };
    for rule in graph.nodes.iter().filter(|node| node.kind == Kind::Rule) {
        text.push('\n');
        let named = |(_, name): &&(Kind, String)| name == &rule.name;
        let into = graph.edges.iter().filter(|edge| edge.to.0 == Kind::Rule);
        for Edge { from: (kind, name), .. } in into.filter(|edge| named(&&edge.to)) {
            text += &line("", graph.node(*kind, name));
        }
        text += &line("   -> ", Some(rule));
        let out = graph.edges.iter().filter(|edge| edge.from.0 == Kind::Rule);
        for Edge { to: (kind, name), .. } in out.filter(|edge| named(&&edge.from)) {
            text += &line("         -> ", graph.node(*kind, name));
        }
    }
    let touched = |node: &&Node| {
        graph.edges.iter().any(|edge| {
            [&edge.from, &edge.to]
                .iter()
                .any(|(kind, name)| (*kind, name) == (node.kind, &node.name))
        })
    };
    let alone: Vec<_> = graph.nodes.iter().filter(|node| !touched(node)).collect();
    if !alone.is_empty() {
        text += "\nwithout a rule:\n";
        text.extend(alone.into_iter().map(|node| line("", Some(node))));
    }
    text
}

fn line(indent: &str, node: Option<&Node>) -> String {
    let Some(node) = node else { return String::new() };
    let numbers =
        node.live.as_ref().map_or_else(String::new, |live| format!("  [{}]", words(node, live)));
    let head = format!("{indent}{}{numbers}", title(node));
    let room = COLUMNS.saturating_sub(head.chars().count() + 2);
    let what = shortened(&node.what, room);
    format!("{head}  {what}").trim_end().to_owned() + "\n"
}

fn title(node: &Node) -> String {
    let kind = match node.kind {
        Kind::Source => "source",
        Kind::Rule => "rule",
        Kind::Sink => "sink",
    };
    format!("{kind} {}", node.name)
}

fn words(node: &Node, live: &Live) -> String {
    let rate = per_second(live.taken_per_second);
    match node.kind {
        Kind::Source => format!("{}, {} in, {rate}/s", live.state, live.taken),
        Kind::Rule => format!("{}, {} in, {} out, {rate}/s", live.state, live.taken, live.given),
        Kind::Sink => {
            let (queued, rate) = (live.queued.unwrap_or(0), per_second(live.given_per_second));
            format!("{}, {queued} queued, {} delivered, {rate}/s", live.state, live.given)
        }
    }
}

/// On one line, and not longer than `room`.
fn shortened(text: &str, room: usize) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= room {
        return flat;
    }
    if room < 8 {
        return String::new();
    }
    flat.chars().take(room - 1).chain(['…']).collect()
}

/// `flowchart LR`. Names cannot be ids: they have `-`, and may be words of Mermaid's.
pub(super) fn mermaid(graph: &Graph) -> String {
    let id = |kind: Kind, name: &str| {
        let index = graph.nodes.iter().position(|node| node.kind == kind && node.name == name);
        format!("n{}", index.unwrap_or(0))
    };
    let mut text = "flowchart LR\n".to_owned();
    for node in &graph.nodes {
        let mut label = escaped(&title(node));
        label += "<br/>";
        label += &escaped(&shortened(&node.what, 60));
        if let Some(live) = &node.live {
            label += "<br/>";
            label += &escaped(&words(node, live));
        }
        let (left, right) = match node.kind {
            Kind::Source => ("([\"", "\"])"),
            Kind::Rule => ("[\"", "\"]"),
            Kind::Sink => ("[(\"", "\")]"),
        };
        text += &["    ", &id(node.kind, &node.name), left, &label, right, "\n"].concat();
    }
    for Edge { from, to } in &graph.edges {
        let (from, to) = (id(from.0, &from.1), id(to.0, &to.1));
        text += &["    ", &from, " --> ", &to, "\n"].concat();
    }
    text
}

fn escaped(text: &str) -> String {
    let escape = |character: char| match character {
        '"' | '#' | '<' | '>' | '&' | '`' => format!("#{};", u32::from(character)),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}
