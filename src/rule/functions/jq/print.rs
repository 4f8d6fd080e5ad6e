//! Values as jq 1.6 prints them, which is what EMQX reads.

use std::io::Write as _;

use jaq_json::{Num, Val};

/// The JSON of a value, at the end of `out`. A key that is no text makes it no JSON: jaq has such keys, jq does not.
pub(super) fn print(value: &Val, out: &mut Vec<u8>) {
    match value {
        Val::Num(number) => print_number(number, out),
        Val::Arr(elements) => {
            out.push(b'[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                print(element, out);
            }
            out.push(b']');
        }
        Val::Obj(entries) => {
            out.push(b'{');
            for (place, (key, value)) in entries.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                print(key, out);
                out.push(b':');
                print(value, out);
            }
            out.push(b'}');
        }
        other => write!(out, "{other}").expect("memory takes all"),
    }
}

fn print_number(number: &Num, out: &mut Vec<u8>) {
    let written = match number {
        Num::Int(_) | Num::BigInt(_) => write!(out, "{number}"),
        Num::Float(float) => return print_float(*float, out),
        // Written so in the input or the program: digits that the parser has seen.
        Num::Dec(digits) => return print_float(digits.parse().unwrap_or(f64::NAN), out),
    };
    written.expect("memory takes all");
}

/// As `jvp_dtoa_fmt` of jq 1.6: the shortest digits that read as the same number, without a point where it is whole, and
/// with an exponent where there would be more than three zeros after the point, or more than 15 behind the digits.
fn print_float(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        return out.extend_from_slice(b"null");
    }
    let number = number.clamp(f64::MIN, f64::MAX);
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("Rust writes one exponent");
    let exponent: i32 = exponent.parse().expect("Rust writes the exponent as an integer");
    let zeros = i64::from(exponent) + 1 - count(digits);
    let written = if exponent < -4 || zeros > 15 {
        write!(out, "{digits}e{exponent:+03}")
    } else {
        write!(out, "{number}")
    };
    written.expect("memory takes all");
}

fn count(digits: &str) -> i64 {
    digits.bytes().map(|byte| i64::from(byte.is_ascii_digit())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was printed by jq 1.6.
    #[test]
    fn floats_are_printed_as_jq_prints_them() {
        for (number, expected) in [
            (50.0, "50"),
            (0.0, "0"),
            (-0.0, "-0"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1.25e17, "125000000000000000"),
            (1.25e18, "1.25e+18"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.000_123_456_789, "0.000123456789"),
            (0.000_01, "1e-05"),
            (0.000_012, "1.2e-05"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-1.7976931348623157e+308"),
            (f64::NAN, "null"),
        ] {
            let mut out = Vec::new();
            print(&Val::from(number), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{number:e}");
        }
    }
}
