//! `+ - * / div mod` and the sign.

use bytes::BytesMut;

use super::{Integer, Value};
use crate::rule::run::{Reason, RunError, TEXT_BYTES_MAX};

impl Value {
    /// `+`: two numbers add; with a text on either side both are put together as texts.
    pub fn plus(&self, other: &Self) -> Result<Self, RunError> {
        match (self, other) {
            (Self::Text(_), _) | (_, Self::Text(_)) => {
                let (left, right) = (self.to_text(), other.to_text());
                if left.len() + right.len() > TEXT_BYTES_MAX {
                    return Err(RunError::text_too_long());
                }
                let mut text = BytesMut::with_capacity(left.len() + right.len());
                text.extend_from_slice(&left);
                text.extend_from_slice(&right);
                Ok(Self::Text(text.freeze()))
            }
            _ => self.numbers(other, "+", Integer::plus, |left, right| left + right),
        }
    }

    /// `-` between two numbers.
    pub fn minus(&self, other: &Self) -> Result<Self, RunError> {
        self.numbers(other, "-", Integer::minus, |left, right| left - right)
    }

    /// `*` between two numbers.
    pub fn times(&self, other: &Self) -> Result<Self, RunError> {
        self.numbers(other, "*", Integer::times, |left, right| left * right)
    }

    /// `/` between two numbers: a float always.
    pub fn over(&self, other: &Self) -> Result<Self, RunError> {
        match (self.as_float("/")?, other.as_float("/")?) {
            (_, 0.0) => Err(RunError::division_by_zero()),
            (left, right) => Self::float(left / right).ok_or_else(RunError::number_too_large),
        }
    }

    /// `div`: the quotient of two integers towards zero.
    pub fn div(&self, other: &Self) -> Result<Self, RunError> {
        let (left, right) = self.integers(other, "div")?;
        left.divided(right).map(Self::Int).ok_or_else(RunError::division_by_zero)
    }

    /// `mod`: what is left of [`Self::div`], with the sign of `self`.
    pub fn modulo(&self, other: &Self) -> Result<Self, RunError> {
        let (left, right) = self.integers(other, "mod")?;
        left.remainder(right).map(Self::Int).ok_or_else(RunError::division_by_zero)
    }

    /// The number with the other sign.
    pub fn negated(&self) -> Result<Self, RunError> {
        match self {
            Self::Int(number) => {
                number.negated().map(Self::Int).ok_or_else(RunError::number_too_large)
            }
            Self::Float(number) => Ok(Self::Float(-number)),
            _ => Err(wrong_operand("-", self)),
        }
    }

    fn numbers(
        &self,
        other: &Self,
        operator: &str,
        integers: impl FnOnce(&Integer, &Integer) -> Option<Integer>,
        floats: impl FnOnce(f64, f64) -> f64,
    ) -> Result<Self, RunError> {
        let result = if let (Self::Int(left), Self::Int(right)) = (self, other) {
            integers(left, right).map(Self::Int)
        } else {
            Self::float(floats(self.as_float(operator)?, other.as_float(operator)?))
        };
        result.ok_or_else(RunError::number_too_large)
    }

    fn as_float(&self, operator: &str) -> Result<f64, RunError> {
        match self {
            Self::Int(number) => number.to_f64().ok_or_else(RunError::number_too_large),
            Self::Float(number) => Ok(*number),
            _ => Err(wrong_operand(operator, self)),
        }
    }

    fn integers<'a>(
        &'a self,
        other: &'a Self,
        operator: &str,
    ) -> Result<(&'a Integer, &'a Integer), RunError> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Ok((left, right)),
            (Self::Int(_), wrong) | (wrong, _) => Err(RunError::new(
                Reason::WrongType,
                format!("`{operator}` needs integers, not {}, {}", wrong.kind(), wrong.shown()),
            )),
        }
    }
}

fn wrong_operand(operator: &str, value: &Value) -> RunError {
    let message = if value.is_undefined() {
        format!("`{operator}` needs numbers, and one side is undefined")
    } else {
        format!("`{operator}` needs numbers, not {}, {}", value.kind(), value.shown())
    };
    RunError::new(Reason::WrongType, message)
}
