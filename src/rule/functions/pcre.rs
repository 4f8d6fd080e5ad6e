//! From the patterns of PCRE, which EMQX uses, to those of the `regex` crate: what both can do and write otherwise.
//!
//! Pure. What PCRE does to bytes without its `unicode` option stays: a character outside of ASCII is its bytes, and the
//! bytes from 160 on are Latin-1, so that `\w` takes `é` one byte after the other.

/// Bytes from 128 on that are letters of Latin-1.
const LETTERS: &str = r"\xAA\xB5\xBA\xC0-\xD6\xD8-\xF6\xF8-\xFF";
const HORIZONTAL: &str = r"\t \xA0";
const VERTICAL: &str = r"\n-\r\x85";

/// What `$` means for a text: PCRE's may stand before a line break that ends the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The very end.
    Text,
    /// The end of every line, for a text whose only line break ends it.
    Line,
}

/// `pattern` as the `regex` crate reads it without Unicode; why not, for what would mean something else there.
pub(super) fn translated(pattern: &[u8], end: End) -> Result<String, String> {
    let mut translator = Translator { rest: pattern, end, out: String::new() };
    // With `(?m)` a `$` is that of the lines wherever it stands.
    let multiline = pattern.windows(2).enumerate().any(|(place, it)| {
        let flags = || pattern.iter().skip(place + 2).take_while(|it| it.is_ascii_alphabetic());
        it == b"(?" && flags().any(|flag| *flag == b'm')
    });
    while let Some(byte) = translator.next() {
        match byte {
            b'\\' => translator.escape(multiline)?,
            b'[' => translator.class()?,
            b'{' if !translator.counts() => translator.literal(b'{'),
            b'}' if !translator.out_counts() => translator.literal(b'}'),
            b'$' if !multiline => translator.text_end(),
            b'(' if translator.rest.starts_with(b"?#") => translator.comment(),
            b'(' if translator.rest.starts_with(b"?'") => translator.quoted_name(),
            byte => translator.raw(byte),
        }
    }
    Ok(translator.out)
}

struct Translator<'p> {
    rest: &'p [u8],
    end: End,
    out: String,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn emit(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// A byte that means the same in both, as ASCII does outside of classes.
    fn raw(&mut self, byte: u8) {
        if byte.is_ascii() { self.out.push(char::from(byte)) } else { self.byte(byte) }
    }

    /// A byte that stands for itself.
    fn literal(&mut self, byte: u8) {
        // Not all punctuation: `\<` means something else there.
        if br"\.+*?()|[]{}^$#&-~".contains(&byte) {
            self.out.push('\\');
        }
        self.raw(byte);
    }

    fn byte(&mut self, byte: u8) {
        self.emit(&format!("\\x{byte:02X}"));
    }

    fn text_end(&mut self) {
        self.out.push_str(if self.end == End::Line { "(?m:$)" } else { r"\z" });
    }

    /// Whether what follows a `{` is a count: `{2}`, `{2,}` or `{2,3}`.
    fn counts(&self) -> bool {
        let Some(close) = self.rest.iter().position(|byte| *byte == b'}') else { return false };
        let mut numbers =
            self.rest.get(..close).unwrap_or_default().splitn(2, |byte| *byte == b',');
        let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        numbers.next().is_some_and(|first| !first.is_empty() && digits(first))
            && numbers.all(digits)
    }

    /// Whether the `}` that follows closes a count.
    fn out_counts(&self) -> bool {
        let inside = self.out.trim_end_matches(|it: char| it.is_ascii_digit() || it == ',');
        inside.len() < self.out.len() && inside.ends_with('{') && !inside.ends_with(r"\{")
    }

    fn comment(&mut self) {
        while self.next().is_some_and(|byte| byte != b')') {}
    }

    /// `(?'name'...)`, which is `(?<name>...)`.
    fn quoted_name(&mut self) {
        self.out.push_str("(?<");
        self.rest = self.rest.get(2..).unwrap_or_default();
        while let Some(byte) = self.next().filter(|byte| *byte != b'\'') {
            self.raw(byte);
        }
        self.out.push('>');
    }

    fn escape(&mut self, multiline: bool) -> Result<(), String> {
        let escape = self.next().ok_or("it ends with a `\\` that escapes nothing")?;
        match escape {
            b'R' => self.emit(&format!(r"(?:\r\n|[{VERTICAL}])")),
            b'N' => self.out.push_str(r"[^\n]"),
            b'Z' if multiline => return Err("`\\Z` and `(?m)` do not go together".to_owned()),
            b'Z' => self.text_end(),
            b'b' | b'B' | b'A' | b'z' => self.pair(escape),
            b'1'..=b'9' => self.number(escape)?,
            _ => self.escape_of_both(escape)?,
        }
        Ok(())
    }

    fn pair(&mut self, escape: u8) {
        self.out.push('\\');
        self.out.push(char::from(escape));
    }

    /// `\1` is a group, which the other engine refuses; `\101` a byte in octal digits.
    fn number(&mut self, first: u8) -> Result<(), String> {
        let more = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if more == 0 || first > b'7' {
            return Err("it refers back to a group".to_owned());
        }
        self.octal(u32::from(first - b'0'), 2);
        Ok(())
    }

    fn octal(&mut self, mut value: u32, digits_max: usize) {
        for _ in 0..digits_max {
            let Some(digit @ b'0'..=b'7') = self.rest.first().copied() else { break };
            self.next();
            value = value * 8 + u32::from(digit - b'0');
        }
        self.byte(value.to_le_bytes()[0]);
    }

    /// Escapes that mean the same inside a class and outside.
    fn escape_of_both(&mut self, escape: u8) -> Result<(), String> {
        match escape {
            b'w' => self.emit(&format!("[0-9A-Za-z_{LETTERS}]")),
            b'W' => self.emit(&format!("[^0-9A-Za-z_{LETTERS}]")),
            b'h' => self.emit(&format!("[{HORIZONTAL}]")),
            b'H' => self.emit(&format!("[^{HORIZONTAL}]")),
            b'v' => self.emit(&format!("[{VERTICAL}]")),
            b'V' => self.emit(&format!("[^{VERTICAL}]")),
            b'd' | b'D' | b's' | b'S' | b'a' | b'f' | b'n' | b'r' | b't' => self.pair(escape),
            b'e' => self.byte(0x1b),
            b'0' => self.octal(0, 2),
            b'x' => self.hexadecimal()?,
            b'c' => {
                let byte = self.next().ok_or("nothing follows `\\c`")?;
                self.byte(byte.to_ascii_uppercase() ^ 64);
            }
            b'Q' => self.quoted(),
            b'E' => {}
            b'G' | b'K' | b'X' | b'C' | b'g' | b'k' | b'p' | b'P' | b'L' | b'U' | b'l' | b'u' => {
                return Err(format!("`\\{}` is not available", char::from(escape)));
            }
            byte => self.literal(byte),
        }
        Ok(())
    }

    /// Up to `\E`.
    fn quoted(&mut self) {
        while !self.rest.starts_with(br"\E") {
            let Some(byte) = self.next() else { return };
            self.literal(byte);
        }
        self.rest = self.rest.get(2..).unwrap_or_default();
    }

    fn hexadecimal(&mut self) -> Result<(), String> {
        let braces = self.rest.first() == Some(&b'{');
        let digits = self.rest.get(usize::from(braces)..).unwrap_or_default();
        let most = if braces { 8 } else { 2 };
        let count = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).take(most).count();
        let closed = !braces || digits.get(count) == Some(&b'}');
        let text = String::from_utf8_lossy(digits.get(..count).unwrap_or_default()).into_owned();
        let value = if text.is_empty() && !braces { Ok(0) } else { u8::from_str_radix(&text, 16) };
        match value {
            Ok(value) if closed => self.byte(value),
            _ => return Err("`\\x` names a byte, from `\\x00` to `\\xFF`".to_owned()),
        }
        self.rest = self.rest.get(count + 2 * usize::from(braces)..).unwrap_or_default();
        Ok(())
    }

    /// From behind the `[`. In PCRE a class has no classes in it, no `&&`, `--` or `~~`.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.first() == Some(&b'^') {
            self.next();
            self.out.push('^');
        }
        let mut first = true;
        // A `-` is a range only between two single bytes.
        let mut range_may_start = false;
        loop {
            let byte = self.next().ok_or("a `]` is missing")?;
            match byte {
                b']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                b'[' if self.posix() => range_may_start = false,
                b'\\' => {
                    let escape = self.next().ok_or("a `]` is missing")?;
                    range_may_start = !matches!(
                        escape,
                        b'w' | b'W' | b'd' | b'D' | b's' | b'S' | b'h' | b'H' | b'v' | b'V'
                    );
                    match escape {
                        b'b' => self.byte(0x08),
                        b'1'..=b'7' => self.octal(u32::from(escape - b'0'), 2),
                        _ => self.escape_of_both(escape)?,
                    }
                }
                b'-' if range_may_start && !matches!(self.rest.first(), Some(b']') | None) => {
                    self.out.push('-');
                    range_may_start = false;
                }
                byte => {
                    // Behind the `-` of a range comes its end, which starts none.
                    range_may_start = !self.out.ends_with('-') || self.out.ends_with(r"\-");
                    self.literal(byte);
                }
            }
            first = false;
        }
    }

    /// `[:alpha:]` and its like, from behind the `[`; nothing is taken when there is none.
    fn posix(&mut self) -> bool {
        let Some(inner) = self.rest.strip_prefix(b":") else { return false };
        let Some(length) = inner.windows(2).position(|it| it == b":]") else { return false };
        let name = inner.get(..length).unwrap_or_default();
        let (negated, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
        let high = match name {
            b"alpha" | b"alnum" | b"word" => LETTERS,
            b"upper" => r"\xC0-\xD6\xD8-\xDE",
            b"lower" => r"\xAA\xB5\xBA\xDF-\xF6\xF8-\xFF",
            b"punct" => r"\xA0-\xA9\xAB-\xB4\xB6-\xB9\xBB-\xBF\xD7\xF7",
            b"print" | b"graph" => r"\xA0-\xFF",
            b"cntrl" => r"\x80-\x9F",
            b"ascii" | b"blank" | b"digit" | b"space" | b"xdigit" => "",
            _ => return false,
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let not = if negated { "^" } else { "" };
        self.emit(&format!("[{not}[:{name}:]{high}]"));
        self.rest = inner.get(length + 2..).unwrap_or_default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pcre_writes_otherwise_is_translated() {
        for (pattern, expected) in [
            (r#"{"a":(\d+)}"#, r#"\{"a":(\d+)\}"#),
            ("a{2}b{2,}c{2,3}d{,3}e{x}", r"a{2}b{2,}c{2,3}d\{,3\}e\{x\}"),
            ("[[]", r"[\[]"),
            ("[]a^-]", r"[\]a\^\-]"),
            ("[a&&b~~c]", r"[a\&\&b\~\~c]"),
            (r"[\d-x]", r"[\d\-x]"),
            ("[a-c-e]", r"[a-c\-e]"),
            (r"\Q.*\E+", r"\.\*+"),
            (r"\/\-\_\i\<", r"/\-_i<"),
            (r"\e\101\x41\x{42}\0\cA", r"\x1B\x41\x41\x42\x00\x01"),
            ("(?#why)a", "a"),
            ("(?'n'a)", "(?<n>a)"),
            ("é", r"\xC3\xA9"),
            ("a$", r"a\z"),
            ("(?m)a$", "(?m)a$"),
        ] {
            assert_eq!(
                translated(pattern.as_bytes(), End::Text).as_deref(),
                Ok(expected),
                "{pattern}"
            );
        }
        assert_eq!(translated(b"a$", End::Line).as_deref(), Ok("a(?m:$)"));
    }
}
