//! What the devices say.
//!
//! Every payload carries its number as `~` and eight digits, which no other byte of the body can be mistaken for,
//! so the receiver counts and checks without parsing JSON.

use std::fmt::Write as _;

use crate::receiver::Tally;

/// Starts the number of a message.
pub const MARK: u8 = b'~';
/// Digits of the number.
pub const DIGITS: usize = 8;

/// Kind of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// 256 bytes of JSON, a quarter of them random digits.
    Padded,
    /// About 200 bytes of JSON as a machine reports itself: random readings, 200 devices.
    Telemetry,
    /// 200 random bytes; the number is left out.
    Random,
}

/// Different payloads of one kind, so that a compressor does not see the same bytes again within a chunk.
const VARIANTS: usize = 4096;

impl Payload {
    /// Payloads to take turns with, and where in each the digits of the number stand.
    pub fn variants(self) -> Vec<(Vec<u8>, Option<usize>)> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..VARIANTS).map(|_| self.variant(&mut random)).collect()
    }

    /// What tells that all of this kind have arrived.
    pub fn count(self) -> fn(&Tally) -> usize {
        if self == Self::Random { Tally::records } else { Tally::distinct }
    }

    fn variant(self, random: &mut fastrand::Rng) -> (Vec<u8>, Option<usize>) {
        let bytes = match self {
            Self::Padded => {
                let mut text =
                    format!("{{\"n\":\"~00000000\",\"value\":{},\"note\":\"", random.f64());
                for _ in 0..4 {
                    write!(text, "{:010} is a reading ", random.u32(..)).unwrap();
                }
                while text.len() < 254 {
                    text.push('.');
                }
                (text + "\"}").into_bytes()
            }
            Self::Telemetry => telemetry(random).into_bytes(),
            Self::Random => return ((0..200).map(|_| random.u8(..)).collect(), None),
        };
        let mark = memchr::memchr(MARK, &bytes).unwrap();
        (bytes, Some(mark + 1))
    }
}

fn telemetry(random: &mut fastrand::Rng) -> String {
    let mut reading = |low: f64, high: f64| low + (high - low) * random.f64();
    let temperature = reading(15.0, 95.0);
    let pressure = reading(0.9, 7.5);
    let vibration = reading(0.0, 12.0);
    let current = reading(2.0, 40.0);
    format!(
        "{{\"device\":\"press-{:03}\",\"n\":\"~00000000\",\"ts\":17{:011},\"temperature\":{temperature:.2},\
         \"pressure\":{pressure:.3},\"vibration\":{vibration:.4},\"current\":{current:.2},\"rpm\":{},\
         \"state\":\"{}\",\"alarm\":{}}}",
        random.u32(0..200),
        random.u64(0..100_000_000_000),
        random.u32(600..3600),
        ["running", "idle", "setup"][random.usize(0..3)],
        random.bool(),
    )
}

/// Writes `number` as eight digits to the start of `place`.
pub fn put_number(place: &mut [u8], mut number: usize) {
    for digit in place[..DIGITS].iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Reads the eight digits at the start of `place`.
pub fn number_at(place: &[u8]) -> Option<usize> {
    let digits = place.get(..DIGITS)?;
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0'))
    })
}
