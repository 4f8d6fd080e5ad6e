//! Changing what is at a path of a value, as jq does it: what is not there yet comes into being.

use std::mem;

use jaq_json::{Error, Map, Num, Rc, Val, ValX};

use crate::rule::run::TEXT_BYTES_MAX;

/// Puts what `update` makes of the value at a path there.
pub(super) fn update_at<'a>(
    value: &mut Val,
    path: &[Val],
    update: &mut dyn FnMut(Val) -> ValX<'a>,
) -> Result<(), jaq_core::Exn<'a, Val>> {
    let [key, rest @ ..] = path else {
        *value = update(mem::take(value))?;
        return Ok(());
    };
    match (&*value, key) {
        (Val::Null, Val::TStr(_)) => *value = Val::obj(Map::default()),
        (Val::Null, Val::Num(_) | Val::Obj(_)) => *value = Val::Arr(Rc::default()),
        _ => {}
    }
    match (value, key) {
        (Val::Obj(entries), Val::TStr(_)) => {
            let entry = Rc::make_mut(entries).entry(key.clone()).or_insert(Val::Null);
            update_at(entry, rest, update)
        }
        (Val::Arr(elements), Val::Num(index)) => {
            let elements = Rc::make_mut(elements);
            let place = place(index, elements.len())
                .ok_or_else(|| Error::str(format_args!("index {index} is out of bounds")))?;
            if place >= elements.len() {
                elements.resize(place + 1, Val::Null);
            }
            let element = elements.get_mut(place).expect("it is long enough now");
            update_at(element, rest, update)
        }
        (Val::Arr(elements), Val::Obj(range)) => {
            let elements = Rc::make_mut(elements);
            let (from, to) = bounds(range, elements.len());
            let mut part = elements.iter().skip(from).take(to - from).cloned().collect();
            update_at(&mut part, rest, update)?;
            let Val::Arr(part) = part else {
                return Err(Error::str("a slice of an array can only be another array").into());
            };
            elements.splice(from..to, part.iter().cloned());
            Ok(())
        }
        (value, key) => Err(Error::index(value.clone(), key.clone()).into()),
    }
}

/// Takes away what is at the paths, all at once: none moves what another means.
pub(super) fn delete_all(value: &mut Val, mut paths: Vec<Vec<Val>>) -> Result<(), Error> {
    paths.sort();
    paths.dedup();
    paths.iter().rev().try_for_each(|path| delete(value, path))
}

fn delete(value: &mut Val, path: &[Val]) -> Result<(), Error> {
    let [key, rest @ ..] = path else {
        *value = Val::Null;
        return Ok(());
    };
    match (value, key) {
        (Val::Null, _) => Ok(()),
        (Val::Obj(entries), Val::TStr(_)) => {
            let entries = Rc::make_mut(entries);
            if rest.is_empty() {
                entries.shift_remove(key);
                return Ok(());
            }
            entries.get_mut(key).map_or(Ok(()), |entry| delete(entry, rest))
        }
        (Val::Arr(elements), Val::Num(index)) => {
            let elements = Rc::make_mut(elements);
            let Some(place) = place(index, elements.len()).filter(|at| *at < elements.len()) else {
                return Ok(());
            };
            if rest.is_empty() {
                elements.remove(place);
                return Ok(());
            }
            elements.get_mut(place).map_or(Ok(()), |element| delete(element, rest))
        }
        (Val::Arr(elements), Val::Obj(range)) => {
            let elements = Rc::make_mut(elements);
            let (from, to) = bounds(range, elements.len());
            let mut part = elements.iter().skip(from).take(to - from).cloned().collect();
            delete(&mut part, rest)?;
            let left = if let Val::Arr(left) = part { left } else { Rc::default() };
            elements.splice(from..to, left.iter().cloned());
            Ok(())
        }
        (value, key) => Err(Error::index(value.clone(), key.clone())),
    }
}

/// The place of an index, which may be behind the end, but not before the start.
fn place(index: &Num, length: usize) -> Option<usize> {
    let index = whole(index, f64::floor)?;
    let place =
        if index < 0 { length.checked_sub(index.unsigned_abs())? } else { index.unsigned_abs() };
    // No result could be as long.
    (place < TEXT_BYTES_MAX).then_some(place)
}

/// Where a slice starts and ends.
fn bounds(range: &Map, length: usize) -> (usize, usize) {
    let bound = |name: &str, round: fn(f64) -> f64, default: usize| {
        let Some(Val::Num(index)) = range.get(&Val::utf8_str(name.to_owned())) else {
            return default;
        };
        let index = whole(index, round).unwrap_or_default();
        if index < 0 {
            length.saturating_sub(index.unsigned_abs())
        } else {
            length.min(index.unsigned_abs())
        }
    };
    let from = bound("start", f64::floor, 0);
    (from, bound("end", f64::ceil, length).max(from))
}

/// The integer of a number. None if it is not one of the machine.
pub(super) fn whole(number: &Num, round: fn(f64) -> f64) -> Option<isize> {
    match number {
        Num::Int(_) | Num::BigInt(_) => number.as_isize(),
        Num::Float(float) => integer(round(*float)),
        Num::Dec(digits) => integer(round(digits.parse().ok()?)),
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "it is checked to be small"
)]
fn integer(float: f64) -> Option<isize> {
    (float.abs() < 9e15).then_some(float as isize)
}
