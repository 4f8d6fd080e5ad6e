//! Functions of jq that jaq has not, or otherwise, and that its own language cannot define.

use jaq_core::box_iter::box_once;
use jaq_core::compile::TermId;
use jaq_core::data::JustLut;
use jaq_core::native::{Filter, Fun, bome, run, v};
use jaq_core::{Bind, Ctx, Exn, RunPtr};
use jaq_json::{Error, Num, Rc, Val, ValR, ValX, read};

use super::places::{delete_all, update_at, whole};
use super::print::print;

/// Definitions of jaq that these replace: a definition would win.
pub(super) const REPLACED: [&str; 3] = ["delpaths", "setpath", "tostring"];

type Data = JustLut<Val>;

/// The first function of a name wins.
pub(super) fn functions() -> impl Iterator<Item = Fun<Data>> {
    let filters = || [Bind::Fun(()), Bind::Fun(())].into();
    let functions: [Filter<RunPtr<Data>>; 13] = [
        ("tojson", v(0), |cv| bome(Ok(json(&cv.1)))),
        ("tostring", v(0), |cv| match cv.1 {
            text @ Val::TStr(_) => bome(Ok(text)),
            other => bome(Ok(json(&other))),
        }),
        ("fromjson", v(0), |cv| bome(parsed(&cv.1))),
        ("reverse", v(0), |cv| match cv.1 {
            Val::Null => bome(Ok(Val::Arr(Rc::default()))),
            other => bome(elements(&other).map(|elements| elements.into_iter().rev().collect())),
        }),
        ("setpath", v(2), |mut cv| {
            let (new, path) = (cv.0.pop_var(), cv.0.pop_var());
            box_once(set(cv.1, &path, &new))
        }),
        ("delpaths", v(1), |mut cv| {
            let paths = cv.0.pop_var();
            bome(deleted(cv.1, &paths))
        }),
        ("!assign", [Bind::Fun(()), Bind::Var(())].into(), |mut cv| {
            let new = cv.0.pop_var();
            let (places, context) = cv.0.pop_fun();
            let paths = paths(places, context, cv.1.clone());
            box_once(modified(cv.1, paths, |_| Some(Ok(new.clone()))))
        }),
        ("!modify", filters(), |mut cv| {
            let (update, update_context) = cv.0.pop_fun();
            let (places, context) = cv.0.pop_fun();
            let paths = paths(places, context, cv.1.clone());
            box_once(modified(cv.1, paths, |old| update.run((update_context.clone(), old)).next()))
        }),
        ("!quotient", v(2), |mut cv| {
            let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
            bome(quotient(left, right))
        }),
        ("!remainder", v(2), |mut cv| {
            let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
            bome(remainder(left, right))
        }),
        ("!index", v(0), |cv| bome(Ok(index(cv.1)))),
        ("!floor", v(0), |cv| bome(Ok(rounded(cv.1, f64::floor)))),
        ("!ceiling", v(0), |cv| bome(Ok(rounded(cv.1, f64::ceil)))),
    ];
    functions.into_iter().map(run::<Data>)
}

fn json(value: &Val) -> Val {
    let mut out = Vec::new();
    print(value, &mut out);
    Val::utf8_str(out)
}

/// One value: jaq's own takes several.
fn parsed(text: &Val) -> ValR {
    let bytes = text.try_as_utf8_bytes_owned()?;
    read::parse_single(&bytes)
        .map_err(|error| Error::str(format_args!("cannot parse {text} as JSON: {error}")))
}

fn elements(value: &Val) -> Result<Vec<Val>, Error> {
    match value {
        Val::Arr(elements) => Ok(elements.to_vec()),
        other => Err(Error::typ(other.clone(), "array")),
    }
}

fn set<'a>(mut value: Val, path: &Val, new: &Val) -> ValX<'a> {
    update_at(&mut value, &elements(path)?, &mut |_| Ok(new.clone()))?;
    Ok(value)
}

fn deleted(mut value: Val, paths: &Val) -> ValR {
    let paths = elements(paths)?.iter().map(elements).collect::<Result<_, _>>()?;
    delete_all(&mut value, paths)?;
    Ok(value)
}

/// The paths that a filter leads to.
#[expect(clippy::default_trait_access, reason = "the list of a path has no public name")]
fn paths(
    places: TermId,
    context: Ctx<'_, Data>,
    value: Val,
) -> impl Iterator<Item = Result<Vec<Val>, Exn<'_, Val>>> {
    places.paths((context, (value, Default::default()))).map(|place| {
        let (_value, last_first) = place?;
        let mut path: Vec<_> = last_first.iter().cloned().collect();
        path.reverse();
        Ok(path)
    })
}

/// What an update gives nothing for goes away.
fn modified<'a>(
    mut value: Val,
    paths: impl Iterator<Item = Result<Vec<Val>, Exn<'a, Val>>>,
    update: impl Fn(Val) -> Option<ValX<'a>>,
) -> ValX<'a> {
    let mut emptied = Vec::new();
    for path in paths {
        let path = path?;
        let mut gone = false;
        update_at(&mut value, &path, &mut |old| {
            update(old).unwrap_or_else(|| {
                gone = true;
                Ok(Val::Null)
            })
        })?;
        if gone {
            emptied.push(path);
        }
    }
    delete_all(&mut value, emptied)?;
    Ok(value)
}

fn quotient(left: Val, right: Val) -> ValR {
    if matches!((&left, &right), (Val::Num(_), Val::Num(zero)) if *zero == Num::Int(0)) {
        return Err(Error::str(format_args!("{left} cannot be divided by zero")));
    }
    left / right
}

/// The remainder of the integers of two numbers.
fn remainder(left: Val, right: Val) -> ValR {
    let truncated = |value| match value {
        Val::Num(number @ (Num::Float(_) | Num::Dec(_))) => {
            whole(&number, f64::trunc).map_or(Val::Num(number), Val::from)
        }
        other => other,
    };
    truncated(left) % truncated(right)
}

/// An index as an integer. What is between two elements is none.
fn index(value: Val) -> Val {
    match &value {
        Val::Num(number @ (Num::Float(_) | Num::Dec(_))) => {
            let below = whole(number, f64::floor);
            Val::from(below.filter(|_| below == whole(number, f64::ceil)).unwrap_or(isize::MAX))
        }
        _ => value,
    }
}

fn rounded(value: Val, round: fn(f64) -> f64) -> Val {
    match &value {
        Val::Num(number) => whole(number, round).map_or(value, Val::from),
        _ => value,
    }
}
