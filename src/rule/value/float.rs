//! Floats as Erlang prints them.

use std::io::Write as _;

const TWO_TO_53: f64 = 9_007_199_254_740_992.0;

/// The fewest digits that read as the same float, with an exponent only where that takes fewer characters, and always
/// from 2^53 on: `21.5`, `100.0`, `1.0e3`.
#[must_use]
pub fn shortest(number: f64) -> String {
    let mut text = Vec::with_capacity(24);
    write_shortest(number, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// As [`shortest`], at the end of `out`.
pub(super) fn write_shortest(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    // Neither zeros in front nor behind could make an exponent shorter; most numbers of devices are such.
    if (0.01..TWO_TO_53).contains(&size) && (size < 100.0 || size.fract() != 0.0) {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        return;
    }
    let scientific = format!("{size:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let plain = || match exponent {
        ..0 => format!("0.{}{digits}", zeros(-exponent - 1)),
        _ if exponent + 1 >= count => format!("{digits}{}.0", zeros(exponent + 1 - count)),
        _ => {
            let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
            format!("{whole}.{fraction}")
        }
    };
    let point = if count == 1 { ".0" } else { "" };
    let with_exponent = format!("{mantissa}{point}e{exponent}");
    let far = size >= TWO_TO_53;
    let body = if far {
        with_exponent
    } else {
        Some(plain()).filter(|plain| plain.len() <= with_exponent.len()).unwrap_or(with_exponent)
    };
    let sign = if number.is_sign_negative() { "-" } else { "" };
    write!(out, "{sign}{body}").expect("memory takes all");
}

/// In fixed notation with so many decimals, rounded as Erlang's `float_to_binary(F, [{decimals, N}])` does it: up to 18
/// decimals the fraction is multiplied as a float, and halves go away from zero. From there on it is exact.
#[must_use]
pub fn fixed(number: f64, decimals: usize) -> String {
    const DECIMALS_MULTIPLIED_MAX: usize = 18;
    let size = number.abs();
    if size > TWO_TO_53 || decimals > DECIMALS_MULTIPLIED_MAX {
        return format!("{number:.decimals$}");
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let Some(power) = i32::try_from(decimals).ok().filter(|power| *power > 0) else {
        return format!("{sign}{:.0}", size.round());
    };
    let scale = 10_f64.powi(power);
    let fraction = (size.fract() * scale).round();
    let (whole, fraction) =
        if fraction >= scale { (size.floor() + 1.0, 0.0) } else { (size.floor(), fraction) };
    format!("{sign}{whole:.0}.{fraction:0>decimals$.0}")
}

/// As [`fixed`], trailing zeros cut but one.
#[must_use]
pub fn fixed_compact(number: f64, decimals: usize) -> String {
    let mut text = fixed(number, decimals);
    if let Some(dot) = text.find('.') {
        let kept = text.trim_end_matches('0').len();
        text.truncate(kept.max(dot + 2));
    }
    text
}
