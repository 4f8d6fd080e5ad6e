//! Looking into a JSON object without making values of what nobody asks for.

use std::ops::Range;

use bytes::Bytes;

use super::json::{Reader, plain_length};
use super::{JSON_DEPTH_MAX, Value};

/// The members of a JSON object: where their keys and values stand. All of the text is JSON.
#[derive(Debug)]
pub struct Members {
    text: Bytes,
    entries: Vec<(Range<usize>, usize)>,
}

impl Members {
    /// Looks through a text once. `None` when it is not the JSON of an object, or has keys with escapes at its top: what
    /// [`Value::parse_json`] is for.
    #[must_use]
    pub fn read(text: &Bytes) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        let mut reader = Reader { text, position: 0 };
        reader.skip_blanks();
        let mut entries = Vec::with_capacity(16);
        let plain = reader.members(0, |key, value| entries.push((key, value)))?;
        reader.skip_blanks();
        let whole = plain && reader.position == text.len();
        whole.then(|| Self { text: text.clone(), entries })
    }

    /// The value at a path of keys, `Undefined` where there is none; `None` when it takes more than looking: a text on the
    /// way, which may be JSON, or a key with escapes.
    pub fn get<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> Option<Value> {
        let first = keys.next()?;
        let named = |(key, _): &&(Range<usize>, usize)| self.text.get(key.clone()) == Some(first);
        // Of a key that is there twice the last counts.
        let Some((_, start)) = self.entries.iter().rev().find(named) else {
            return Some(Value::Undefined);
        };
        let mut reader = Reader { text: &self.text, position: *start };
        for (depth, key) in (1..).zip(keys) {
            match reader.peek()? {
                b'{' => {}
                b'"' => return None,
                _ => return Some(Value::Undefined),
            }
            let mut found = None;
            let plain = reader.members(depth, |known, value| {
                if self.text.get(known) == Some(key) {
                    found = Some(value);
                }
            })?;
            match found {
                _ if !plain => return None,
                Some(start) => reader.position = start,
                None => return Some(Value::Undefined),
            }
        }
        reader.value(1)
    }
}

impl Reader<'_> {
    /// Walks over an object and tells each key and where its value starts; false when a key has escapes.
    fn members(&mut self, depth: usize, mut tell: impl FnMut(Range<usize>, usize)) -> Option<bool> {
        self.take(b'{')?;
        let mut plain = true;
        self.skip_blanks();
        if self.take(b'}').is_some() {
            return Some(plain);
        }
        loop {
            self.skip_blanks();
            let start = self.position + 1;
            let escaped = self.skip_text()?;
            let key = start..self.position - 1;
            plain &= !escaped;
            self.skip_blanks();
            self.take(b':')?;
            self.skip_blanks();
            tell(key, self.position);
            self.skip(depth + 1)?;
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(plain);
            }
        }
    }

    /// Walks over a value, and is as strict as reading it.
    fn skip(&mut self, depth: usize) -> Option<()> {
        self.skip_blanks();
        match self.peek()? {
            b'{' if depth < JSON_DEPTH_MAX => self.members(depth, |_, _| ()).map(|_| ()),
            b'[' if depth < JSON_DEPTH_MAX => self.skip_array(depth),
            b'"' => self.skip_text().map(|_| ()),
            b'-' | b'0'..=b'9' => self.skip_number(),
            b't' | b'f' | b'n' => self.value(depth).map(|_| ()),
            _ => None,
        }
    }

    fn skip_array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.skip_blanks();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.skip(depth + 1)?;
            self.skip_blanks();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    /// True when it has escapes.
    fn skip_text(&mut self) -> Option<bool> {
        let start = self.position;
        self.take(b'"')?;
        let rest = self.text.get(self.position..)?;
        self.position += plain_length(rest);
        if self.take(b'"').is_some() {
            return Some(false);
        }
        self.position = start;
        self.text().map(|_| true)
    }

    fn skip_number(&mut self) -> Option<()> {
        // Surely an integer or a float that is finite; all else is read.
        const DIGITS: usize = 18;
        let start = self.position;
        let negative = usize::from(self.take(b'-').is_some());
        let leading_zero = self.peek()? == b'0';
        let whole = self.digits();
        let fraction = if self.take(b'.').is_some() { self.digits() } else { 1 };
        let simple = (1..=DIGITS).contains(&whole)
            && (whole == 1 || !leading_zero)
            && fraction > 0
            && !matches!(self.peek(), Some(b'e' | b'E'));
        debug_assert!(self.position >= start + negative, "digits are walked over");
        if simple {
            return Some(());
        }
        self.position = start;
        self.number().map(|_| ())
    }
}
