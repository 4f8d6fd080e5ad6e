//! What EMQX's own code answers, asked of the real program. The vectors were made by running that code; `tests/vectors`
//! says how to read them.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::waypost::command;

/// Vectors that we answer otherwise on purpose, with the reason that a user of EMQX would accept. At most 2 % of all.
const DEVIATIONS: [(&str, &str); 0] = [];

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the program answers to each case, through standard input and output.
fn answers(arguments: &[&str], cases: &[Value]) -> Vec<Value> {
    let mut child =
        command().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text: String = cases.iter().flat_map(|case| [case.to_string(), "\n".to_owned()]).collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len());
    answers
}

/// The result as the vectors write it.
fn result_of(answer: &Value, foreach: bool) -> Value {
    match answer["outcome"].as_str().unwrap() {
        "matched" if foreach => answer["outputs"].clone(),
        "matched" => {
            assert_eq!(answer["outputs"].as_array().unwrap().len(), 1, "{answer}");
            answer["outputs"][0].clone()
        }
        "not_matched" => Value::Null,
        "error" => json!({ "error": true }),
        other => panic!("unknown outcome {other}"),
    }
}

/// Integers are integers and floats floats; floats may differ in their last digits.
fn same(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(left), Value::Number(right)) if left.is_f64() && right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, l)| right.get(key).is_some_and(|r| same(l, r)))
        }
        _ => expected == actual,
    }
}

#[test]
fn every_rule_of_emqx_does_here_what_it_does_there() {
    let vectors = vectors("rule-sql.dev.jsonl");
    let answers = answers(&["rule", "test", "--cases", "-"], &vectors);
    let mut wrong = Vec::new();
    for (vector, answer) in vectors.iter().zip(&answers) {
        let foreach = vector["result"].is_array();
        let id = vector["id"].as_str().unwrap();
        let holds = same(&vector["result"], &result_of(answer, foreach));
        let deviates = DEVIATIONS.iter().any(|(known, _)| *known == id);
        if holds == deviates {
            wrong.push(format!("{vector}\n  got {answer}"));
        }
    }
    assert!(vectors.len() > 100, "only {} vectors were read", vectors.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn an_event_that_is_not_matched_says_whether_from_or_where_refuses_it() {
    let vectors = vectors("rule-sql.dev.jsonl");
    let refused: Vec<_> =
        vectors.into_iter().filter(|vector| vector["nomatch"].is_string()).collect();
    let answers = answers(&["rule", "test", "--cases", "-"], &refused);
    for (vector, answer) in refused.iter().zip(&answers) {
        let because = answer["because"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(because.starts_with("FROM "), vector["nomatch"] == "from", "{vector} {answer}");
    }
}

/// What an expression gives, as the cases of functions are made.
fn expression(text: &str, event: &Value) -> Value {
    json!({ "sql": format!("SELECT {text} as r FROM \"t\""), "event": event, "event_topic": "t" })
}

#[test]
fn every_function_of_emqx_gives_here_what_it_gives_there() {
    let vectors = vectors("funcs.dev.jsonl");
    let no_event = json!({});
    let case = |vector: &Value| {
        let event = vector.get("event").unwrap_or(&no_event);
        expression(vector["expr"].as_str().unwrap(), event)
    };
    let cases: Vec<_> = vectors.iter().map(case).collect();
    let answers = answers(&["rule", "test", "--cases", "-"], &cases);
    let mut wrong = Vec::new();
    for (vector, answer) in vectors.iter().zip(&answers) {
        let got = &answer["outputs"][0]["r"];
        let holds = match vector["type"].as_str().unwrap() {
            "error" => answer["outcome"] == "error",
            "undefined" => got == "undefined",
            "int" => got.is_i64() && *got == vector["result"],
            _ => same(&vector["result"], got),
        };
        if !holds {
            wrong.push(format!("{vector}\n  got {answer}"));
        }
    }
    assert!(vectors.len() > 280, "only {} vectors were read", vectors.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn every_example_in_the_reference_of_the_functions_is_true() {
    let page = include_str!("../../config/rule-functions.md");
    let blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<_> =
        blocks.flat_map(str::lines).map(|line| line.split_once(" = ").unwrap()).collect();
    let event = json!({ "topic": "t/1" });
    let cases = |side: fn(&(&str, &str)) -> String| -> Vec<Value> {
        examples.iter().map(|example| expression(&side(example), &event)).collect()
    };
    let arguments = ["rule", "test", "--cases", "-"];
    let calls = answers(&arguments, &cases(|(call, _)| (*call).to_owned()));
    let results = answers(&arguments, &cases(|(_, result)| (*result).to_owned()));
    for (example, (call, result)) in examples.iter().zip(calls.iter().zip(&results)) {
        assert_eq!(call["outcome"], "matched", "{example:?} {call}");
        assert!(same(&result["outputs"], &call["outputs"]), "{example:?} {call} {result}");
    }
    assert!(examples.len() > 140, "only {} examples", examples.len());
}

/// <https://docs.emqx.com/en/emqx/latest/data-integration/rule-sql-jq.html>
#[test]
fn every_call_on_emqx_s_page_about_jq_gives_what_is_printed_there() {
    let temperature = r#"'{"temperature": 10}'"#;
    let to_fahrenheit = "{temperature_C:.temperature,
     temperature_F: (.temperature * 1.8 + 32)}";
    let calls = [
        (format!("jq('.', {temperature})"), json!([{ "temperature": 10 }])),
        (format!("jq('.', json_decode({temperature}))"), json!([{ "temperature": 10 }])),
        (format!("jq('.temperature', {temperature})"), json!([10])),
        (
            format!("jq('{to_fahrenheit}', {temperature})"),
            json!([{ "temperature_C": 10, "temperature_F": 50 }]),
        ),
        (format!("jq('.temperature,(.temperature * 1.8 + 32)', {temperature})"), json!([10, 50])),
    ];
    let cases: Vec<_> = calls.iter().map(|(call, _)| expression(call, &json!({}))).collect();
    let answers = answers(&["rule", "test", "--cases", "-"], &cases);
    for ((call, expected), answer) in calls.iter().zip(&answers) {
        assert_eq!(answer["outputs"], json!([{ "r": expected }]), "{call}");
    }
}

#[test]
fn every_rule_on_emqx_s_page_about_jq_makes_the_messages_that_are_printed_there() {
    let mut cases = Vec::new();
    let mut expected = Vec::new();
    let sensors = json!({
        "date": "2020-04-24",
        "sensors": [
            { "name": "a", "data": [3, 1, 2, 4, 5, 5] },
            { "name": "b", "data": [1, -100, 2, 3, 4, 5, 2000] },
            { "name": "c", "data": [3, 7, 9] },
        ],
    });
    let outliers = "FOREACH   jq('def rem_first:
                 if length > 2 then del(.[0]) else . end;
              def rem_last:
                 if length > 1 then del(.[-1]) else . end;
              .date as $date |
              .sensors[] |
                (.data | sort | rem_first | rem_last | add / length) as $average |
                {$average, $date}',
             payload)
FROM    \"jq_demo/complex_rule/jq/#\"";
    let event =
        |topic: &str, payload: &Value| json!({ "topic": topic, "payload": payload.to_string() });
    cases.push(json!({ "sql": outliers, "event": event("jq_demo/complex_rule/jq/1", &sensors) }));
    let average = |average: Value| json!({ "average": average, "date": "2020-04-24" });
    expected.push(json!([average(json!(3.5)), average(json!(3)), average(json!(7))]));

    // The page prints no result here: what jq 1.6 gives.
    let names = ["temperature", "humidity", "pressure", "light", "battery", "speed"];
    let car = json!({
        "client_id": "c1", "timestamp": 7, "temperature": 21.0, "humidity": 40, "pressure": 1013.25,
        "light": 1e3, "battery": 12.5, "speed": 0,
    });
    let printed = [json!(21), json!(40), json!(1013.25), json!(1000), json!(12.5), json!(0)];
    let split = "FOREACH
    jq('
       # Save the input
       . as $payload |

       # All sensor types
       [ \"temperature\", \"humidity\", \"pressure\", \"light\", \"battery\", \"speed\" ] as $sensor_types |

       # Output an object for each sensor type
       $sensor_types[] |
       {
         client_id: $payload.client_id,
         timestamp: $payload.timestamp,
         sensor_type: .,
         value: $payload[.]
       }
       ',
       payload) as sensor
FROM \"car/measurements\"";
    cases.push(json!({ "sql": split, "event": event("car/measurements", &car) }));
    let one = |(name, value)| json!({ "client_id": "c1", "timestamp": 7, "sensor_type": name, "value": value });
    expected.push(names.into_iter().zip(printed).map(one).collect());

    let answers = answers(&["rule", "test", "--cases", "-"], &cases);
    for (case, (answer, expected)) in cases.iter().zip(answers.iter().zip(&expected)) {
        let outputs = answer["outputs"].as_array().unwrap_or_else(|| panic!("{case}: {answer}"));
        // Without `DO` the element is a column, next to those of the message.
        let element = |output: &Value| {
            let column = if output["item"].is_null() { "sensor" } else { "item" };
            output[column].clone()
        };
        let got: Value = outputs.iter().map(element).collect();
        assert_eq!(got, *expected, "{case}");
    }
}

/// What jq 1.6 prints, read as EMQX reads it: `jq.jsonl` was made by running it.
#[test]
fn every_jq_program_gives_here_what_jq_gives() {
    let vectors = vectors("jq.jsonl");
    let case = |vector: &Value| {
        let event = json!({ "program": vector["program"], "input": vector["input"] });
        expression("jq(program, input)", &event)
    };
    let cases: Vec<_> = vectors.iter().map(case).collect();
    let answers = answers(&["rule", "test", "--cases", "-"], &cases);
    let mut wrong = Vec::new();
    for (vector, answer) in vectors.iter().zip(&answers) {
        let holds = match &vector["result"] {
            Value::Array(_) => same(&vector["result"], &answer["outputs"][0]["r"]),
            _ => answer["outcome"] == "error",
        };
        if !holds {
            wrong.push(format!("{vector}\n  got {answer}"));
        }
    }
    assert!(vectors.len() > 1000, "only {} vectors were read", vectors.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn a_jq_program_that_misbehaves_fails_alone_and_in_time() {
    let jq = |program: &str, input: &str| {
        expression(&format!("jq('{program}', {input}, 400)"), &json!({}))
    };
    let started = Instant::now();
    let got = answers(
        &["rule", "test", "--cases", "-"],
        &[
            jq(".", "1"),
            jq("def f: f; f", "1"),
            jq("last(range(1e18))", "1"),
            jq("def f: 1 + f; f", "1"),
            expression(
                "jq('reduce range(40) as $i (\"a\"; . + .) | length', 1, 10000)",
                &json!({}),
            ),
            jq("range(1000000)", "1"),
            jq("halt", "1"),
            jq(".a", "1"),
            jq("env | length", "1"),
            jq(". + 1", "'[1'"),
            jq(". + 1", "2"),
        ],
    );
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let told = got.iter().map(|answer| match answer["outcome"].as_str().unwrap() {
        "matched" => answer["outputs"][0]["r"].to_string(),
        _ => answer["error"].as_str().unwrap().to_owned(),
    });
    expect![[r#"
        [1]
        `jq`: the program ran longer than 400 ms
        `jq`: the program ran longer than 400 ms
        `jq`: the program needs too much memory or nests too deeply (signal: 6 (SIGABRT))
        `jq`: the program needs too much memory or nests too deeply (signal: 6 (SIGABRT))
        `jq`: the program gives more than 100000 results or 4194304 bytes
        `jq`: the program ended the process it ran in
        `jq`: the program fails: cannot index 1 with "a"
        [0]
        `jq`: the input is not JSON: byte offset 2: comma or end of sequence expected
        [3]"#]]
    .assert_eq(&told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_template_of_emqx_renders_here_what_it_renders_there() {
    let vectors = vectors("templates.dev.jsonl");
    let answers = answers(&["template", "test", "--cases", "-"], &vectors);
    for (vector, answer) in vectors.iter().zip(&answers) {
        assert_eq!(vector["result"], answer["result"], "{vector}");
        if vector["kind"] == "render" {
            assert_eq!(vector["missing"], answer["missing"], "{vector}");
        }
    }
    assert!(vectors.len() > 30, "only {} vectors were read", vectors.len());
}

#[test]
fn what_is_undefined_is_its_name_wherever_a_template_shows_it() {
    let data = json!({ "a": { "$undefined": true }, "b": { "c": { "$undefined": true } } });
    let rendered = ["${a}", "${a.x}", "${b.c}", "${b}", "${.}"].map(|template| {
        let case = json!({ "template": template, "data": data });
        let answer = answers(&["template", "test", "--cases", "-"], &[case]).remove(0);
        format!("{template} {} {}", answer["result"].as_str().unwrap(), answer["missing"])
    });
    expect![[r#"
        ${a} undefined ["a"]
        ${a.x} undefined ["a.x"]
        ${b.c} undefined ["b.c"]
        ${b} {"c":"undefined"} []
        ${.} {"a":"undefined","b":{"c":"undefined"}} []"#]]
    .assert_eq(&rendered.join("\n"));
}

#[test]
fn a_line_that_is_no_case_is_answered_and_the_next_one_too() {
    let output = answers(
        &["rule", "test", "--cases", "-"],
        &[json!(1), json!({ "sql": 2 }), json!({ "sql": "SELECT 1 as x FROM t" })],
    );
    let expected = [
        json!({ "outcome": "error", "error": "a case has `sql`, a text" }),
        json!({ "outcome": "error", "error": "a case has `sql`, a text" }),
        json!({ "outcome": "matched", "outputs": [{ "x": 1 }] }),
    ];
    assert_eq!(output, expected);
}
