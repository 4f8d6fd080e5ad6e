//! Rewrites a program so that jaq runs it as jq 1.6 would where the two differ: texts with numbers in them, places that are
//! not there yet, indices with a point.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::{Opt, Part, Path};

/// A variable that no program can name.
const OPERAND: &str = "$!";

/// The same program in jaq's dialect. It calls functions of [`super::native`] whose names no program can write.
pub(super) fn translated(term: Term<&str>) -> Term<&str> {
    match term {
        Term::Str(format, parts) => text(format, parts),
        Term::Arr(inner) => Term::Arr(inner.map(|inner| boxed(*inner))),
        Term::Obj(entries) => Term::Obj(entries.into_iter().map(entry).collect()),
        Term::Neg(inner) => Term::Neg(boxed(*inner)),
        Term::BinOp(left, operator, right) => operation(*left, operator, *right),
        Term::Label(name, inner) => Term::Label(name, boxed(*inner)),
        Term::Fold(name, over, pattern, arguments) => {
            Term::Fold(name, boxed(*over), in_pattern(pattern), all(arguments))
        }
        Term::TryCatch(tried, caught) => {
            Term::TryCatch(boxed(*tried), caught.map(|caught| boxed(*caught)))
        }
        Term::IfThenElse(cases, otherwise) => {
            let case = |(condition, then)| (translated(condition), translated(then));
            Term::IfThenElse(
                cases.into_iter().map(case).collect(),
                otherwise.map(|otherwise| boxed(*otherwise)),
            )
        }
        Term::Def(definitions, inner) => {
            Term::Def(definitions.into_iter().map(definition).collect(), boxed(*inner))
        }
        Term::Call(name, arguments) => Term::Call(name, all(arguments)),
        Term::Var("$ENV") => Term::Call("env", Vec::new()),
        Term::Path(from, Path(parts)) => path(translated(*from), parts),
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => term,
    }
}

/// The same for a definition.
pub(super) fn definition(definition: Def<&str>) -> Def<&str> {
    Def { body: translated(definition.body), ..definition }
}

fn boxed(term: Term<&str>) -> Box<Term<&str>> {
    Box::new(translated(term))
}

fn all(terms: Vec<Term<&str>>) -> Vec<Term<&str>> {
    terms.into_iter().map(translated).collect()
}

type Entry<'p> = (Term<&'p str>, Option<Term<&'p str>>);

fn entry((key, value): Entry<'_>) -> Entry<'_> {
    match (key, value) {
        // `{$x}`: a name as much as a value.
        (key @ Term::Var(_), None) => (key, None),
        (key, value) => (translated(key), value.map(translated)),
    }
}

fn in_pattern(pattern: Pattern<&str>) -> Pattern<&str> {
    match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(elements) => Pattern::Arr(elements.into_iter().map(in_pattern).collect()),
        Pattern::Obj(entries) => {
            let entry = |(key, pattern)| (translated(key), in_pattern(pattern));
            Pattern::Obj(entries.into_iter().map(entry).collect())
        }
    }
}

/// jaq's own conversion to text writes numbers otherwise, and cannot be defined anew.
fn text<'p>(format: Option<&'p str>, parts: Vec<StrPart<&'p str, Term<&'p str>>>) -> Term<&'p str> {
    let computed = parts.iter().any(|part| matches!(part, StrPart::Term(_)));
    let part = |part| match part {
        StrPart::Term(term) => StrPart::Term(translated(term)),
        other => other,
    };
    Term::Str(format.or(computed.then_some("@text")), parts.into_iter().map(part).collect())
}

fn operation<'p>(
    left: Term<&'p str>,
    operator: BinaryOp<&'p str>,
    right: Term<&'p str>,
) -> Term<&'p str> {
    let (left, right) = (translated(left), translated(right));
    match operator {
        BinaryOp::Math(operator) => math(left, operator, right),
        BinaryOp::Assign => Term::Call("!assign", vec![left, right]),
        BinaryOp::Update => Term::Call("!modify", vec![left, right]),
        BinaryOp::UpdateMath(operator) => {
            modify_by(left, math(Term::Id, operator, Term::Var(OPERAND)), right)
        }
        BinaryOp::UpdateAlt => {
            let update = binary(Term::Id, BinaryOp::Alt, Term::Var(OPERAND));
            modify_by(left, update, right)
        }
        BinaryOp::Pipe(pattern) => binary(left, BinaryOp::Pipe(pattern.map(in_pattern)), right),
        other => binary(left, other, right),
    }
}

fn binary<'p>(
    left: Term<&'p str>,
    operator: BinaryOp<&'p str>,
    right: Term<&'p str>,
) -> Term<&'p str> {
    Term::BinOp(Box::new(left), operator, Box::new(right))
}

/// In jq `%` is for integers, and nothing is divided by zero.
fn math<'p>(left: Term<&'p str>, operator: Math, right: Term<&'p str>) -> Term<&'p str> {
    match operator {
        Math::Div => Term::Call("!quotient", vec![left, right]),
        Math::Rem => Term::Call("!remainder", vec![left, right]),
        other => binary(left, BinaryOp::Math(other), right),
    }
}

/// `operand as $operand | modify(places; update)`.
fn modify_by<'p>(
    places: Term<&'p str>,
    update: Term<&'p str>,
    operand: Term<&'p str>,
) -> Term<&'p str> {
    let bind = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
    binary(operand, bind, Term::Call("!modify", vec![places, update]))
}

type Parts<'p> = Vec<(Part<Term<&'p str>>, Opt)>;

fn path<'p>(from: Term<&'p str>, parts: Parts<'p>) -> Term<&'p str> {
    let (mut head, mut rest) = (from, Vec::new());
    for (part, optional) in parts {
        let part = match part {
            Part::Index(index) => Part::Index(converted(index, "!index")),
            Part::Range(None, None) => part,
            Part::Range(from, to) => {
                let from = from.map(|from| converted(from, "!floor"));
                let to = to.map(|to| converted(to, "!ceiling"));
                if from.iter().chain(&to).all(is_constant) {
                    let before = Term::Path(Box::new(head), Path(std::mem::take(&mut rest)));
                    let slice = (Part::Range(from, to), optional);
                    head = binary(before, BinaryOp::Pipe(None), unless_null(slice));
                    continue;
                }
                Part::Range(from, to)
            }
        };
        rest.push((part, optional));
    }
    if rest.is_empty() { head } else { Term::Path(Box::new(head), Path(rest)) }
}

/// A slice of null is null.
fn unless_null(slice: (Part<Term<&str>>, Opt)) -> Term<&str> {
    let is_null = binary(Term::Id, BinaryOp::Cmp(Cmp::Eq), Term::Call("null", Vec::new()));
    let sliced = Term::Path(Box::new(Term::Id), Path(vec![slice]));
    Term::IfThenElse(vec![(is_null, Term::Id)], Some(Box::new(sliced)))
}

fn converted<'p>(index: Term<&'p str>, conversion: &'static str) -> Term<&'p str> {
    let index = translated(index);
    if is_fine(&index) {
        return index;
    }
    binary(index, BinaryOp::Pipe(None), Term::Call(conversion, Vec::new()))
}

/// A name or an integer as it stands there.
fn is_fine(index: &Term<&str>) -> bool {
    match index {
        Term::Num(number) => number.parse::<isize>().is_ok(),
        Term::Neg(inner) => is_fine(inner),
        Term::Str(None, _) => true,
        _ => false,
    }
}

/// Whether it is the same whatever the input.
fn is_constant(bound: &Term<&str>) -> bool {
    match bound {
        Term::Num(_) | Term::Var(_) | Term::Call("!floor" | "!ceiling", _) => true,
        Term::Neg(inner) => is_constant(inner),
        Term::BinOp(left, BinaryOp::Pipe(None), right) => is_constant(left) && is_constant(right),
        _ => false,
    }
}
