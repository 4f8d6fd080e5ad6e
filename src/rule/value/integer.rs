//! Whole numbers without a size, up to a bound: small ones cost nothing, big ones are shared.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{FromPrimitive as _, ToPrimitive as _, Zero as _};

/// Largest integer that an expression may make, in bits: some 19,700 digits.
pub const INTEGER_BITS_MAX: u64 = 65_536;
/// Digits that are looked at; more cannot fit the bits.
const DIGITS_MAX: usize = 19_729;

/// A whole number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Integer(Repr);

/// `Big` never holds what `Small` can, so that equality is that of the parts.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Small(i64),
    Big(Arc<BigInt>),
}

impl Integer {
    /// The number as 64 bits, where it fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        if let Repr::Small(number) = self.0 { Some(number) } else { None }
    }

    /// How many digits it has, roughly, where it has more than 64 bits; 0 otherwise.
    #[must_use]
    pub fn digits_beyond_64_bits(&self) -> usize {
        match &self.0 {
            Repr::Small(_) => 0,
            Repr::Big(number) => usize::try_from(number.bits() / 3).unwrap_or(usize::MAX),
        }
    }

    /// The nearest float; `None` when it is too large for one.
    #[must_use]
    pub fn to_f64(&self) -> Option<f64> {
        let float = match &self.0 {
            Repr::Small(number) => number.to_f64(),
            Repr::Big(number) => number.to_f64(),
        };
        float.filter(|float| float.is_finite())
    }

    /// The number for arithmetic of any size.
    #[must_use]
    pub fn to_big(&self) -> BigInt {
        match &self.0 {
            Repr::Small(number) => BigInt::from(*number),
            Repr::Big(number) => (**number).clone(),
        }
    }

    /// `None` past [`INTEGER_BITS_MAX`].
    #[must_use]
    pub fn from_big(number: BigInt) -> Option<Self> {
        match number.to_i64() {
            Some(small) => Some(Self(Repr::Small(small))),
            None if number.bits() > INTEGER_BITS_MAX => None,
            None => Some(Self(Repr::Big(Arc::new(number)))),
        }
    }

    /// The whole part of a float.
    #[must_use]
    pub fn truncated(float: f64) -> Option<Self> {
        match float.to_i64() {
            // Beyond 2^53 every float is whole, but a conversion that saturates would not be exact.
            Some(small) if small.unsigned_abs() < (1 << 53) => Some(Self(Repr::Small(small))),
            _ => Self::from_big(BigInt::from_f64(float)?),
        }
    }

    /// Reads digits with an optional sign, as Erlang does: nothing else may stand around them.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = match text {
            [b'+' | b'-', digits @ ..] | digits => digits,
        };
        if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        match text.parse() {
            Ok(small) => Some(Self(Repr::Small(small))),
            Err(_) => Self::from_big(text.parse().ok()?),
        }
    }

    /// The sum; `None` past the bound.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        self.calculate(other, i64::checked_add, |left, right| left + right)
    }

    /// The difference; `None` past the bound.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Option<Self> {
        self.calculate(other, i64::checked_sub, |left, right| left - right)
    }

    /// The product; `None` past the bound.
    #[must_use]
    pub fn times(&self, other: &Self) -> Option<Self> {
        self.calculate(other, i64::checked_mul, |left, right| left * right)
    }

    /// The quotient towards zero; `None` when `other` is zero.
    #[must_use]
    pub fn divided(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        self.calculate(other, i64::checked_div, |left, right| left / right)
    }

    /// What is left of the quotient towards zero, with the sign of `self`; `None` when `other` is zero.
    #[must_use]
    pub fn remainder(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        self.calculate(other, i64::checked_rem, |left, right| left % right)
    }

    /// The number with the other sign.
    #[must_use]
    pub fn negated(&self) -> Option<Self> {
        Self::from(0).minus(self)
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match &self.0 {
            Repr::Small(number) => *number == 0,
            Repr::Big(number) => number.is_zero(),
        }
    }

    /// Compares with a float by value, exactly.
    #[must_use]
    pub fn compare_to_float(&self, float: f64) -> Ordering {
        let Some(whole) = Self::truncated(float) else {
            return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
        };
        let fraction = float.fract();
        self.cmp(&whole).then(if fraction > 0.0 {
            Ordering::Less
        } else if fraction < 0.0 {
            Ordering::Greater
        } else {
            Ordering::Equal
        })
    }

    fn calculate(
        &self,
        other: &Self,
        small: impl FnOnce(i64, i64) -> Option<i64>,
        big: impl FnOnce(BigInt, BigInt) -> BigInt,
    ) -> Option<Self> {
        if let (Repr::Small(left), Repr::Small(right)) = (&self.0, &other.0)
            && let Some(result) = small(*left, *right)
        {
            return Some(Self(Repr::Small(result)));
        }
        Self::from_big(big(self.to_big(), other.to_big()))
    }
}

impl Ord for Integer {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Small(left), Repr::Small(right)) => left.cmp(right),
            _ => self.to_big().cmp(&other.to_big()),
        }
    }
}

impl PartialOrd for Integer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Integer {
    fn from(number: i64) -> Self {
        Self(Repr::Small(number))
    }
}

impl From<i32> for Integer {
    fn from(number: i32) -> Self {
        Self(Repr::Small(number.into()))
    }
}

impl From<u64> for Integer {
    fn from(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(small) => Self(Repr::Small(small)),
            Err(_) => Self(Repr::Big(Arc::new(number.into()))),
        }
    }
}

impl From<usize> for Integer {
    fn from(number: usize) -> Self {
        Self::from(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<i128> for Integer {
    fn from(number: i128) -> Self {
        match i64::try_from(number) {
            Ok(small) => Self(Repr::Small(small)),
            Err(_) => Self(Repr::Big(Arc::new(number.into()))),
        }
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Small(number) => number.fmt(formatter),
            Repr::Big(number) => number.fmt(formatter),
        }
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
