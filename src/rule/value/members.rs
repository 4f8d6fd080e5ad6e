//! Looking into a JSON object without making values of what nobody asks for.

use std::cell::OnceCell;
use std::ops::Range;

use bytes::Bytes;

use super::json::Reader;
use super::scan::{digits_length, plain_length};
use super::{JSON_DEPTH_MAX, Value};

/// The members of a JSON object: where their keys and values stand, and what was read of them. All of the text is JSON.
#[derive(Debug)]
pub struct Members {
    text: Bytes,
    entries: Vec<Member>,
}

/// Positions take half the space that `usize` does: most members are passed over only.
#[derive(Debug)]
struct Member {
    key: Range<u32>,
    start: u32,
    read: OnceCell<Box<Read>>,
}

/// A value that somebody asked for.
#[derive(Debug, Default)]
struct Read {
    value: OnceCell<Value>,
    /// Of a path that goes on; `None` where it cannot be looked into.
    members: OnceCell<Option<Members>>,
}

impl Members {
    /// Looks through a text once. `None` when it is not the JSON of an object, or has keys with escapes at its top, or
    /// more than 4 GiB: what [`Value::parse_json`] is for.
    #[must_use]
    pub fn read(text: &Bytes) -> Option<Self> {
        u32::try_from(text.len()).ok()?;
        std::str::from_utf8(text).ok()?;
        let walker = Walker::new(text);
        let start = walker.behind_blanks(0);
        let (members, end) = Self::at(text, start, 0)?;
        (walker.behind_blanks(end) == text.len()).then_some(members)
    }

    /// As [`Self::read`], of the object that starts there; where it ends.
    fn at(text: &Bytes, start: usize, depth: usize) -> Option<(Self, usize)> {
        let walker = Walker::new(text);
        if walker.byte(start)? != b'{' {
            return None;
        }
        let mut entries = Vec::with_capacity(16);
        let (end, plain) = walker.object(start, depth, |key, start| {
            entries.push(Member { key, start, read: OnceCell::new() });
        })?;
        plain.then(|| (Self { text: text.clone(), entries }, end))
    }

    /// The value at a path of keys, `Undefined` where there is none; `None` when it takes more than looking: a text on the
    /// way, which may be JSON, or a key with escapes. Each value is read once, however often it is asked for.
    pub fn get<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> Option<Value> {
        let mut key = keys.next()?;
        let mut members = self;
        for depth in 1.. {
            let Some(member) = members.member(key) else { break };
            let start = index(member.start);
            let read = member.read.get_or_init(Box::default);
            let Some(next) = keys.next() else {
                let value = || Reader::new(&members.text, start).value(depth);
                let value = read.value.get_or_init(|| value().unwrap_or(Value::Undefined));
                return Some(value.clone());
            };
            match members.text.get(start)? {
                b'{' => {}
                b'"' => return None,
                _ => break,
            }
            let look = || Self::at(&members.text, start, depth).map(|(members, _)| members);
            members = read.members.get_or_init(look).as_ref()?;
            key = next;
        }
        Some(Value::Undefined)
    }

    fn member(&self, key: &[u8]) -> Option<&Member> {
        // Of a key that is there twice the last counts.
        self.entries.iter().rev().find(|member| {
            let Range { start, end } = member.key;
            let known = self.text.get(index(start)..index(end)).unwrap_or_default();
            // Most keys of that length differ at once, which is cheaper than a call.
            known.len() == key.len() && known.first() == key.first() && known == key
        })
    }
}

/// Walks over JSON from one position to another, and is as strict as [`Reader`], which makes values. It does that a second
/// time and on positions that stay in registers, since here the time of a rule goes that looks into a payload: a tenth of
/// the payload is wanted, and the rest is only passed over.
#[derive(Clone, Copy)]
struct Walker<'text> {
    text: &'text Bytes,
    bytes: &'text [u8],
}

impl<'text> Walker<'text> {
    fn new(text: &'text Bytes) -> Self {
        Self { text, bytes: text }
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn rest(self, at: usize) -> &'text [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    fn behind_blanks(self, mut at: usize) -> usize {
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    /// Behind an object; tells each key and where its value starts. The second is whether no key has escapes.
    fn object(
        self,
        at: usize,
        depth: usize,
        mut tell: impl FnMut(Range<u32>, u32),
    ) -> Option<(usize, bool)> {
        let mut plain = true;
        let mut at = self.behind_blanks(at + 1);
        if self.byte(at)? == b'}' {
            return Some((at + 1, plain));
        }
        loop {
            let (end, unescaped) = self.text(at)?;
            plain &= unescaped;
            let key = place(at + 1)..place(end - 1);
            at = self.behind_blanks(end);
            if self.byte(at)? != b':' {
                return None;
            }
            at = self.behind_blanks(at + 1);
            tell(key, place(at));
            at = self.behind_blanks(self.value(at, depth + 1)?);
            match self.byte(at)? {
                b',' => at = self.behind_blanks(at + 1),
                b'}' => return Some((at + 1, plain)),
                _ => return None,
            }
        }
    }

    fn array(self, at: usize, depth: usize) -> Option<usize> {
        let mut at = self.behind_blanks(at + 1);
        if self.byte(at)? == b']' {
            return Some(at + 1);
        }
        loop {
            at = self.behind_blanks(self.value(at, depth + 1)?);
            match self.byte(at)? {
                b',' => at = self.behind_blanks(at + 1),
                b']' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Behind the value that starts here.
    fn value(self, at: usize, depth: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.text(at).map(|(end, _)| end),
            b'-' | b'0'..=b'9' => self.number(at),
            b'{' if depth < JSON_DEPTH_MAX => self.object(at, depth, |_, _| ()).map(|(end, _)| end),
            b'[' if depth < JSON_DEPTH_MAX => self.array(at, depth),
            b't' | b'f' | b'n' => self.read(at, |reader| reader.value(depth)),
            _ => None,
        }
    }

    /// Behind a text; the second is whether it has no escapes.
    fn text(self, at: usize) -> Option<(usize, bool)> {
        if self.byte(at)? != b'"' {
            return None;
        }
        let end = at + 1 + plain_length(self.rest(at + 1));
        if self.byte(end)? == b'"' {
            return Some((end + 1, true));
        }
        self.read(at, Reader::text).map(|end| (end, false))
    }

    fn number(self, at: usize) -> Option<usize> {
        // Surely an integer or a float that is finite; all else is read.
        const DIGITS: usize = 18;
        let start = at + usize::from(self.byte(at)? == b'-');
        let digits = |at| digits_length(self.rest(at));
        let whole = digits(start);
        let mut end = start + whole;
        let mut simple = whole == 1 || ((2..=DIGITS).contains(&whole) && self.byte(start)? != b'0');
        if self.byte(end) == Some(b'.') {
            let fraction = digits(end + 1);
            simple &= fraction > 0;
            end += 1 + fraction;
        }
        if simple && !matches!(self.byte(end), Some(b'e' | b'E')) {
            return Some(end);
        }
        self.read(at, Reader::number)
    }

    /// Behind what has to be read to know.
    fn read<T>(
        self,
        at: usize,
        read: impl FnOnce(&mut Reader<'text>) -> Option<T>,
    ) -> Option<usize> {
        let mut reader = Reader::new(self.text, at);
        read(&mut reader).map(|_| reader.position)
    }
}

fn place(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
