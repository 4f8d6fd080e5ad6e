//! Compiling and running a program. Only the helper does it.

use std::collections::VecDeque;

use jaq_core::data::JustLut;
use jaq_core::load::parse::Def;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::{Val, read};

use super::frame::Answer;
use super::print::print;
use super::{dialect, native};
use crate::rule::run::{ELEMENTS_MAX, TEXT_BYTES_MAX};

/// Compiled programs that are kept.
const KEPT: usize = 64;

type Program = Filter<JustLut<Val>>;

/// The programs that were run last.
#[derive(Default)]
pub(super) struct Programs(VecDeque<(String, Program)>);

impl Programs {
    /// Runs a program on JSON.
    pub(super) fn run(&mut self, program: &[u8], input: &[u8]) -> Answer {
        let program = std::str::from_utf8(program).map_err(|_error| "the program is not UTF-8")?;
        let input =
            read::parse_single(input).map_err(|error| format!("the input is not JSON: {error}"))?;
        let known = self.0.iter().position(|(known, _)| known == program);
        let entry = match known.and_then(|place| self.0.remove(place)) {
            Some(entry) => entry,
            None => (program.to_owned(), compile(program)?),
        };
        let results = results(&entry.1, input);
        self.0.truncate(KEPT - 1);
        self.0.push_front(entry);
        results
    }
}

fn results(program: &Program, input: Val) -> Answer {
    let context = Ctx::<JustLut<Val>>::new(&program.lut, Vars::new([]));
    let mut out = vec![b'['];
    let mut count = 0;
    for result in program.id.run((context, input)).map(unwrap_valr) {
        let result = result.map_err(|error| format!("the program fails: {error}"))?;
        if count > 0 {
            out.push(b',');
        }
        print(&result, &mut out);
        count += 1;
        if count > ELEMENTS_MAX || out.len() > TEXT_BYTES_MAX {
            return Err(format!(
                "the program gives more than {ELEMENTS_MAX} results or {TEXT_BYTES_MAX} bytes"
            ));
        }
    }
    out.push(b']');
    Ok(out)
}

/// What jq defines and jaq does not, or otherwise.
const PRELUDE: &str = include_str!("prelude.jq");
/// The name of the program as a definition, which may be one that was translated.
const PROGRAM: &str = "__program__";

fn compile(program: &str) -> Result<Program, String> {
    let jaq = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let jaq = jaq.filter(|definition| !native::REPLACED.contains(&definition.name));
    let prelude = load::parse(PRELUDE, |parser| parser.defs()).expect("the prelude is jq");
    let prelude = prelude.into_iter().map(dialect::definition);
    // What jaq cannot parse is loaded as it is, to hear why.
    let parsed = load::parse(program, |parser| parser.term());
    let code = if parsed.is_some() { PROGRAM } else { program };
    let translated =
        parsed.map(|term| Def { name: PROGRAM, args: Vec::new(), body: dialect::translated(term) });
    let arena = Arena::default();
    let modules = Loader::new(jaq.chain(prelude).map(of_any_time).chain(translated))
        .load(&arena, File { code, path: () })
        .map_err(|errors| {
            let first = errors.into_iter().map(|(_, error)| syntax(error)).next();
            format!("the program is not jq: {}", first.unwrap_or_default())
        })?;
    let functions = native::functions().chain(jaq_core::funs()).chain(jaq_std::funs());
    let functions = functions.chain(jaq_json::funs());
    Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let mut unknown = errors.into_iter().flat_map(|(_, unknown)| unknown);
        let first = unknown.next().map(|(name, what)| format!("no {} `{name}`", what.as_str()));
        format!("the program is not jq: {}", first.unwrap_or_default())
    })
}

/// What lives for ever may stand next to what lives as long as a program.
fn of_any_time<'p>(definition: Def<&'static str>) -> Def<&'p str> {
    definition
}

/// The first thing that is wrong.
fn syntax(error: load::Error<&str>) -> String {
    let shown = |text: &str| match text.chars().take(20).collect::<String>() {
        text if text.is_empty() => "at its end".to_owned(),
        text => format!("at `{text}`"),
    };
    let wrong = match error {
        load::Error::Io(errors) => errors.into_iter().map(|(_, error)| error).next(),
        load::Error::Lex(errors) => {
            let first = errors.into_iter().next();
            first.map(|(expected, rest)| format!("expected {} {}", expected.as_str(), shown(rest)))
        }
        load::Error::Parse(errors) => {
            let first = errors.into_iter().next();
            first.map(|(expected, rest)| format!("expected {} {}", expected.as_str(), shown(rest)))
        }
    };
    wrong.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn answers(program: &str, input: &str, expected: Result<&str, &str>) {
        let answer = Programs::default().run(program.as_bytes(), input.as_bytes());
        let answer = answer.map(|results| String::from_utf8(results).unwrap());
        assert_eq!(answer.as_deref().map_err(String::as_str), expected, "{program}");
    }

    #[test]
    fn programs_give_all_their_results() {
        answers(".", r#"{"b":2, "a":[1.50,null]}"#, Ok(r#"[{"b":2,"a":[1.5,null]}]"#));
        answers(".a|.[]", r#"{"a":[{"b":1},{"b":2}]}"#, Ok(r#"[{"b":1},{"b":2}]"#));
        answers("empty", "0", Ok("[]"));
        answers("12345678901234567890 + 1", "0", Ok("[12345678901234567891]"));
        answers(
            "todate, (.|strftime(\"%Y\"))",
            "1425599621",
            Ok(r#"["2015-03-05T23:53:41Z","2015"]"#),
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        answers(
            "bad syntax(",
            "{}",
            Err("the program is not jq: expected closing parenthesis at its end"),
        );
        answers("nosuch", "{}", Err("the program is not jq: no filter `nosuch`"));
        answers(".a + 1", "1", Err("the program fails: cannot index 1 with \"a\""));
        let expected = "the input is not JSON: byte offset 1: value or end of sequence expected";
        answers(".", "{", Err(expected));
        answers(
            "range(1000000)",
            "0",
            Err("the program gives more than 100000 results or 4194304 bytes"),
        );
    }

    #[test]
    fn a_program_is_compiled_once_for_a_while() {
        let mut programs = Programs::default();
        for number in 0..2 * KEPT {
            programs.run(format!(". + {number}").as_bytes(), b"1").unwrap();
            programs.run(b".", b"1").unwrap();
        }
        assert_eq!(programs.0.len(), KEPT);
        assert!(programs.0.iter().any(|(program, _)| program == "."));
    }
}
