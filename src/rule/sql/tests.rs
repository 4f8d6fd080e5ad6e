use proptest::prelude::*;

use super::parse;

#[track_caller]
fn printed(sql: &str) -> String {
    parse(sql).unwrap_or_else(|error| panic!("{error} at {:?} in {sql}", error.span)).to_string()
}

#[test]
fn what_is_printed_says_what_was_written() {
    for (sql, expected) in [
        ("select * from t", r#"SELECT * FROM "t""#),
        (
            " SELECT a.b[1].\"c d\" x, -1 as y[-0] FROM 't/#' ",
            r#"SELECT a.b[1]."c d" AS x, -1 AS y[-0] FROM "t/#""#,
        ),
        (
            "SELECT 1 + 2 * 3 - 4, (1 + 2) * 3 FROM t",
            r#"SELECT 1 + 2 * 3 - 4, (1 + 2) * 3 FROM "t""#,
        ),
        ("SELECT 1 - (2 - 3), - - 3 FROM t", r#"SELECT 1 - (2 - 3), -(-3) FROM "t""#),
        (
            "SELECT a FROM t WHERE not a = 1 and (b = 2 or c = 3)",
            r#"SELECT a FROM "t" WHERE NOT a = 1 AND (b = 2 OR c = 3)"#,
        ),
        ("SELECT a FROM t WHERE ((a + 1) > 2)", r#"SELECT a FROM "t" WHERE a + 1 > 2"#),
        ("SELECT a -- one\n, b FROM t", r#"SELECT a, b FROM "t""#),
        (
            "SELECT payload.1, a[i.j], a[1..-2], [1..3], [] FROM t",
            r#"SELECT payload."1", a[i.j], a[1..-2], [1..3], [] FROM "t""#,
        ),
        (
            "SELECT div(7, 2), mod(7, 2), 7 div 2, 1e FROM t",
            r#"SELECT div(7, 2), mod(7, 2), 7 div 2, 1 AS e FROM "t""#,
        ),
        (
            "SELECT f(case when a = 1 then 2 end + 1, a = 1) FROM t",
            r#"SELECT f(CASE WHEN a = 1 THEN 2 END + 1, a = 1) FROM "t""#,
        ),
        (
            "SELECT 1.0e20, 0.00000015, 'it''s', '''q''' FROM t",
            r#"SELECT 1.0e20, 1.5e-7, 'it''s', 'q' FROM "t""#,
        ),
        (
            "SELECT \"select\" FROM \"$events/client/+\", b",
            r#"SELECT "select" FROM "$events/client/+", "b""#,
        ),
        (
            "foreach payload.a as x, x.b do item, x.y z incase x not in (1,'a') from t where true",
            r#"FOREACH payload.a AS x, x.b DO item, x.y AS z INCASE x NOT IN (1, 'a') FROM "t" WHERE true"#,
        ),
    ] {
        assert_eq!(printed(sql), expected, "{sql}");
        assert_eq!(parse(expected), parse(sql));
    }
}

#[test]
fn a_wrong_rule_is_told_where_and_what_would_be_right() {
    for (sql, place, expected) in [
        ("SELCT * FROM t", "SELCT", "expected `SELECT` or `FOREACH`; did you mean `SELECT`?"),
        (
            "SELECT a, end FROM t",
            "end",
            "`end` is a reserved word; as a name it is written `\"end\"`; here a value is expected",
        ),
        ("SELECT a b c FROM t", "c", "expected `,`, `AS` or `FROM`, not `c`"),
        ("SELECT a FORM t", "FORM", "expected `,`, `AS` or `FROM`; did you mean `FROM`?"),
        (
            "SELECT a FROM t WHRE a = 1",
            "WHRE",
            "expected `,`, `WHERE` or the end; did you mean `WHERE`?",
        ),
        (
            "SELECT * FROM t/#",
            "#",
            "a topic filter stands between quotes, as in `FROM \"plant/#\"`",
        ),
        ("SELECT * FROM \"t\";", ";", "a rule is one statement and has no `;` at its end"),
        (
            "SELECT 1 < 2 < 3 FROM t",
            "<",
            "comparisons cannot follow each other; write `a < b AND b < c`",
        ),
        (
            "SELECT f(x)[1] FROM t",
            "[",
            "the result of a function cannot be indexed: give it an alias in a field of its own first",
        ),
        ("SELECT 1e3 FROM t", "1e3", "a float is digits, a point and digits, as in `1.0e3`"),
        (
            "SELECT payload.true FROM t",
            "true",
            "`true` is a value; as a name it is written `\"true\"`",
        ),
        (
            "SELECT topic AS false FROM t",
            "false",
            "`false` is a value; as a name it is written `\"false\"`",
        ),
        ("SELECT 'abc FROM t", "'abc FROM t", "there is no closing ' to this"),
        (
            "SELECT a FROM t -- tail",
            "-",
            "a `--` comment ends with a line break, and there is none behind this one",
        ),
        ("SELECT a", "", "the rule ends where `,`, `AS` or `FROM` is expected"),
        ("", "", "the rule ends where `SELECT` or `FOREACH` is expected"),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.message, expected, "{sql}");
        assert_eq!(&sql[error.span.start..error.span.end], place, "{sql}");
    }
}

#[test]
fn what_other_languages_write_is_told_in_words_of_this_one() {
    let rules = [
        "SELECT a, FROM t",
        "SELECT a FROM t WHERE a LIKE 'x%'",
        "SELECT a FROM t WHERE a between 1 and 2",
        "SELECT a FROM t WHERE a is not null",
        "SELECT a FROM t GROUP BY a",
        "SELECT count(*) as n FROM t",
        "SELECT if(a > 1, 1, 2) as x FROM t",
        "SELECT a == 1 as x FROM t",
        "SELECT payload->a as x FROM t",
        "SELECT payload['a'] as x FROM t",
        "SELECT a FROM t WHERE a = 1 && b = 2",
        "SELECT a FROM t WHERE a = 1 || b = 2",
        r"SELECT 'it\'s' as x FROM t",
        "FOREACH payload.l FROM t DO item.x",
        "FOREACH payload.l DO item.x WHERE item.x > 1 FROM t",
        "SELECT case when a = 1 then 2 elsif a = 2 then 3 end as x FROM t",
    ];
    let told = rules.map(|sql| {
        let error = parse(sql).expect_err(sql);
        format!("{sql}\n{}^ {error}\n", " ".repeat(error.span.start))
    });
    expect_test::expect![[r#"
        SELECT a, FROM t
                  ^ there is no field behind the last `,`
        SELECT a FROM t WHERE a LIKE 'x%'
                                ^ there is no `LIKE` in a rule: `regex_match(name, '^a')` looks into texts, `topic =~ 'a/#'` matches topics
        SELECT a FROM t WHERE a between 1 and 2
                                ^ there is no `BETWEEN` in a rule: write `x >= 1 AND x <= 2`
        SELECT a FROM t WHERE a is not null
                                ^ there is no `IS` in a rule: `is_null(x)` and `is_not_null(x)` ask for what is not there
        SELECT a FROM t GROUP BY a
                        ^ there is no `GROUP` in a rule: a rule sees one event at a time
        SELECT count(*) as n FROM t
                     ^ `*` is no argument, and a rule sees one event at a time: nothing can be counted
        SELECT if(a > 1, 1, 2) as x FROM t
               ^ there is no `if`; write `CASE WHEN a > 1 THEN b ELSE c END`
        SELECT a == 1 as x FROM t
                  ^ equal is written `=`
        SELECT payload->a as x FROM t
                       ^ a member stands behind a point: `payload.temp`, `payload."a b"`
        SELECT payload['a'] as x FROM t
                       ^ a member stands behind a point: `payload.temp`, `payload."a b"`
        SELECT a FROM t WHERE a = 1 && b = 2
                                    ^ both is written `AND`
        SELECT a FROM t WHERE a = 1 || b = 2
                                    ^ either is written `OR`
        SELECT 'it\'s' as x FROM t
                     ^ there is no closing ' to this, and a `\` escapes none
        FOREACH payload.l FROM t DO item.x
                                 ^ `DO` and `INCASE` belong to `FOREACH` and stand in front of `FROM`, `DO` first
        FOREACH payload.l DO item.x WHERE item.x > 1 FROM t
                                    ^ `WHERE` stands behind `FROM`; what `FOREACH` asks of an element is `INCASE`
        SELECT case when a = 1 then 2 elsif a = 2 then 3 end as x FROM t
                                      ^ there is no `ELSIF`; write a further `WHEN`
    "#]].assert_eq(&told.concat());
}

#[test]
fn what_the_grammar_of_emqx_refuses_is_refused() {
    for sql in [
        "SELECT (qos > 0 and qos < 2) as q FROM t",
        "SELECT (a = 1) as q FROM t",
        "SELECT not a FROM t",
        "SELECT a in (1) FROM t",
        "SELECT case when a = 1 then case when b = 1 then 2 end end FROM t",
        "SELECT 1 + case when a = 1 then 2 end FROM t",
        "SELECT case end FROM t",
        "SELECT a as if FROM t",
        "SELECT a as e[1..3] FROM t",
        "SELECT a.b[1..3].c FROM t",
        "SELECT 1.b FROM t",
        "SELECT [1].b FROM t",
        "SELECT a[1].[2] FROM t",
        "SELECT a.1.100 FROM t",
        "SELECT [1 .. 3] FROM t",
        "SELECT * FROM t WHERE a = not b",
        "SELECT * FROM t WHERE case when a then b end = 1",
        "SELECT * FROM",
        "SELECT FROM t",
        "FROM t",
        "SELECT .5 FROM t",
        "SELECT 1. FROM t",
        "SELECT 1f FROM t",
        "SELECT _a FROM t",
        "SELECT a FROM t WHERE",
        "SELECT a div FROM t",
    ] {
        assert!(parse(sql).is_err(), "{sql} became {}", parse(sql).unwrap());
    }
}

#[test]
fn deep_nesting_is_refused_and_long_rows_are_not() {
    let select = |expression: &str| parse(&format!("SELECT {expression} FROM t"));
    for deep in [
        "(".repeat(5000) + "1" + &")".repeat(5000),
        "-+".repeat(5000) + "1",
        "[".repeat(5000),
        "f(".repeat(5000),
        "1+".repeat(5000) + "1",
        "a[".repeat(5000),
        "case when ".repeat(5000),
    ] {
        assert!(select(&deep).unwrap_err().message.contains("nests deeper"), "{}", &deep[..20]);
    }
    let row = vec!["a = 1"; 5000].join(" OR ");
    parse(&format!("SELECT a FROM t WHERE {row}")).unwrap();
    parse(&format!("SELECT a FROM t WHERE {}a = 1", "NOT ".repeat(5000))).unwrap_err();
}

/// Fields, conditions and arguments as the grammar allows them, deeper than the rules of people.
fn any_sql() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[a-c]",
        Just("payload".to_owned()),
        Just("\"a b\"".to_owned()),
        Just("\"end\"".to_owned())
    ];
    let step = prop_oneof![
        "\\.[a-c]",
        "\\.[0-9]\\.[a-c]",
        "\\.'x\"y'",
        "\\.\"x''y\"",
        "\\[-?[0-3]\\]",
        "\\[[a-c]\\]"
    ];
    let path =
        (name, prop::collection::vec(step, 0..3)).prop_map(|(name, steps)| name + &steps.concat());
    let leaf = prop_oneof![
        path.clone(),
        path.clone().prop_map(|path| path + "[1..-2]"),
        "[0-9]{1,3}",
        "[0-9]{1,2}\\.[0-9]{1,2}(e-?[0-9])?",
        "'[a-c \"]{0,3}'",
        Just("true".to_owned()),
        Just("[1..3]".to_owned()),
    ];
    let value = leaf.prop_recursive(4, 24, 3, |inner| {
        let operator =
            prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("div"), Just("mod")];
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("- {a}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("f({a}, {b} = 1)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner)
                .prop_map(|(a, b)| format!("g(case {a} when {b} then 1 else 2 end)")),
        ]
    });
    let comparison =
        (value.clone(), prop_oneof![Just("="), Just("<>"), Just(">="), Just("=~")], value.clone())
            .prop_map(|(a, o, b)| format!("{a} {o} {b}"));
    let condition = prop_oneof![
        comparison,
        value.clone(),
        (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a} in ({b}, 1)")),
        (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a} not in ({b})")),
    ]
    .prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} and {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
            inner.clone().prop_map(|a| format!("not {a}")),
            inner.prop_map(|a| format!("({a})")),
        ]
    });
    (value.clone(), path, value, condition.clone(), condition).prop_map(|(a, alias, b, c, d)| {
        format!("FOREACH {a} AS {alias}, *, case when {c} then 1 end DO {b} x INCASE {c} FROM t, 'u/#' WHERE {d}")
    })
}

proptest! {
    #[test]
    fn a_printed_rule_parses_to_the_same_tree(sql in any_sql()) {
        let tree = parse(&sql).unwrap_or_else(|error| panic!("{error} at {:?} in {sql}", error.span));
        let printed = tree.to_string();
        prop_assert_eq!(parse(&printed), Ok(tree), "{}", printed);
    }

    #[test]
    fn no_text_makes_the_parser_panic(sql in r#"(SELECT |FOREACH |FROM |WHERE |case |when |end |[a-c1.,*+\-/()\[\]'"=<>~ \n]){0,24}"#) {
        if let Ok(tree) = parse(&sql) {
            let printed = tree.to_string();
            prop_assert_eq!(parse(&printed), Ok(tree), "{}", printed);
        }
    }
}
