//! The rule language, from the command line.

use expect_test::{expect, expect_file};

use crate::support::waypost::command;

#[track_caller]
fn rule(arguments: &[&str]) -> (i32, String, String) {
    let output = command().arg("rule").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_reference_of_the_functions_is_what_the_program_prints() {
    let (code, page, error) = rule(&["functions", "--markdown"]);
    assert_eq!((code, error.as_str()), (0, ""));
    expect_file!["../../docs/rule-functions.md"].assert_eq(&page);
}

#[test]
fn one_function_is_told_about_and_a_wrong_name_is_answered() {
    let (code, text, _) = rule(&["functions", "substr"]);
    assert_eq!(code, 0);
    expect![[r#"
        substr(text: text, start: integer[, length: integer]) -> text

          The rest from a character on, counted from 0, or so many characters of it. A negative
          number is an error.

          substr('abcdef', 2) = 'cdef'
          substr('abcdef', 2, 3) = 'cde'
    "#]]
    .assert_eq(&text);
    let wrong = ["substring", "schema_decode", "spb_decode", "xyzzy"];
    let told: Vec<_> = wrong.map(|name| rule(&["functions", name])).into_iter().collect();
    assert!(told.iter().all(|(code, out, _)| *code == 1 && out.is_empty()), "{told:?}");
    let errors: String = told.into_iter().map(|(_, _, error)| error).collect();
    expect![[r#"
        error: there is no function `substring`; did you mean `substr`?
        error: `schema_decode` of EMQX is not available here: it needs the schema registry of EMQX Enterprise; send the payload on as it is, or as `base64_encode(payload)`, and decode it at the receiver
        error: `spb_decode` of EMQX is not available here: it needs the schema registry of EMQX Enterprise; send the payload on as it is, or as `base64_encode(payload)`, and decode it at the receiver
        error: there is no function `xyzzy`; `waypost rule functions` lists them
    "#]].assert_eq(&errors);
}

#[test]
fn the_functions_are_listed_by_family() {
    let (code, table, _) = rule(&["functions"]);
    assert_eq!(code, 0);
    assert!(table.lines().count() > 140, "{table}");
    let texts = table.lines().find(|line| line.contains("substr("));
    let expected =
        "Texts                 substr(text: text, start: integer[, length: integer]) -> text";
    assert_eq!(texts, Some(expected));
}
