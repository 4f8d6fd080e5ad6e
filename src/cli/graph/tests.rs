use expect_test::expect;

use super::draw::{mermaid, text};
use super::*;

fn node(kind: Kind, name: &str, what: &str, numbers: Option<(u64, u64, Option<u64>)>) -> Node {
    let live = numbers.map(|(taken, given, queued)| Live {
        state: "ok".to_owned(),
        taken,
        taken_per_second: 12.0,
        given,
        given_per_second: 0.0,
        queued,
    });
    Node { kind, name: name.to_owned(), what: what.to_owned(), live }
}

fn picture(live: bool) -> Graph {
    let numbers = |taken, given, queued| live.then_some((taken, given, queued));
    let edge = |from: (Kind, &str), to: (Kind, &str)| Edge {
        from: (from.0, from.1.to_owned()),
        to: (to.0, to.1.to_owned()),
    };
    let sql = "SELECT\n payload.temp AS temp FROM \"plant/#\" WHERE payload.temp > 30 AND payload.\"x y\" <> 1";
    Graph {
        gateway: "plant-7".to_owned(),
        live,
        nodes: vec![
            node(Kind::Source, "local", "mqtt broker:1883", numbers(10, 10, None)),
            node(Kind::Source, "my-devices", "broker 0.0.0.0:1883", numbers(5, 5, None)),
            node(Kind::Rule, "all", "plant/#, line/#", numbers(15, 15, None)),
            node(Kind::Rule, "hot_1", sql, numbers(10, 3, None)),
            node(Kind::Sink, "cloud", "POST https://api.example.com", numbers(18, 11, Some(7))),
            node(Kind::Sink, "spare", "POST https://spare.example.com", None),
        ],
        edges: vec![
            edge((Kind::Source, "local"), (Kind::Rule, "all")),
            edge((Kind::Source, "my-devices"), (Kind::Rule, "all")),
            edge((Kind::Rule, "all"), (Kind::Sink, "cloud")),
            edge((Kind::Source, "local"), (Kind::Rule, "hot_1")),
            edge((Kind::Rule, "hot_1"), (Kind::Sink, "cloud")),
        ],
    }
}

#[test]
fn the_picture_on_a_terminal_has_numbers_while_a_daemon_runs() {
    let live = text(&picture(true));
    expect![[r#"
        plant-7

        source local  [ok, 10 in, 12/s]  mqtt broker:1883
        source my-devices  [ok, 5 in, 12/s]  broker 0.0.0.0:1883
           -> rule all  [ok, 15 in, 15 out, 12/s]  plant/#, line/#
                 -> sink cloud  [ok, 7 queued, 11 delivered, 0/s]  POST https://api.exa…

        source local  [ok, 10 in, 12/s]  mqtt broker:1883
           -> rule hot_1  [ok, 10 in, 3 out, 12/s]  SELECT payload.temp AS temp FROM "p…
                 -> sink cloud  [ok, 7 queued, 11 delivered, 0/s]  POST https://api.exa…

        without a rule:
        sink spare  POST https://spare.example.com
    "#]]
    .assert_eq(&live);
    assert!(live.lines().all(|line| line.chars().count() <= 80), "{live}");
    expect![[r#"
        plant-7 (not running: without numbers)

        source local  mqtt broker:1883
        source my-devices  broker 0.0.0.0:1883
           -> rule all  plant/#, line/#
                 -> sink cloud  POST https://api.example.com

        source local  mqtt broker:1883
           -> rule hot_1  SELECT payload.temp AS temp FROM "plant/#" WHERE payload.temp…
                 -> sink cloud  POST https://api.example.com

        without a rule:
        sink spare  POST https://spare.example.com
    "#]]
    .assert_eq(&text(&picture(false)));
}

#[test]
fn mermaid_gets_ids_and_labels_that_it_understands() {
    expect![[r#"
        flowchart LR
            n0(["source local<br/>mqtt broker:1883<br/>ok, 10 in, 12/s"])
            n1(["source my-devices<br/>broker 0.0.0.0:1883<br/>ok, 5 in, 12/s"])
            n2["rule all<br/>plant/#35;, line/#35;<br/>ok, 15 in, 15 out, 12/s"]
            n3["rule hot_1<br/>SELECT payload.temp AS temp FROM #34;plant/#35;#34; WHERE payload.te…<br/>ok, 10 in, 3 out, 12/s"]
            n4[("sink cloud<br/>POST https://api.example.com<br/>ok, 7 queued, 11 delivered, 0/s")]
            n5[("sink spare<br/>POST https://spare.example.com")]
            n0 --> n2
            n1 --> n2
            n2 --> n4
            n0 --> n3
            n3 --> n4
    "#]].assert_eq(&mermaid(&picture(true)));
}
