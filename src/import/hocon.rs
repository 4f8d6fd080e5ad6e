//! HOCON as EMQX writes and documents it, JSON included: comments, paths as keys, objects that are merged, texts without
//! quotes, texts in three quotes with or without `~`, optional commas. What it does not have (`include`, substitutions) is an
//! error with its line. Never panics; bounded in depth.

use serde_json::{Map, Value};

/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// A text is not HOCON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct NotHocon {
    /// From 1 on.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// The object, or the array of JSON, that a text holds.
pub(super) fn parse(text: &str) -> Result<Value, NotHocon> {
    let mut reader = Reader { text, position: 0 };
    reader.skip_blanks(true);
    let value = match reader.peek() {
        Some('[') => reader.array(0)?,
        Some('{') => reader.braced(0)?,
        _ => Value::Object(reader.fields(None, 0)?),
    };
    reader.skip_blanks(true);
    match reader.peek() {
        None => Ok(value),
        Some(other) => Err(reader.wrong(format!("`{other}` after the end"))),
    }
}

struct Reader<'text> {
    text: &'text str,
    position: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn take(&mut self, token: &str) -> bool {
        let is = self.rest().starts_with(token);
        if is {
            self.position += token.len();
        }
        is
    }

    fn wrong(&self, message: impl Into<String>) -> NotHocon {
        let before = self.text.get(..self.position).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        NotHocon { line, message: message.into() }
    }

    /// Blanks and comments; ends of lines too, where they mean nothing.
    fn skip_blanks(&mut self, lines: bool) {
        loop {
            match self.peek() {
                Some('\n') if !lines => return,
                Some(blank) if blank.is_whitespace() || blank == '\u{feff}' => {
                    self.next();
                }
                _ if self.rest().starts_with('#') || self.rest().starts_with("//") => {
                    let end = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.position += end;
                }
                _ => return,
            }
        }
    }

    fn braced(&mut self, depth: usize) -> Result<Value, NotHocon> {
        self.take("{");
        Ok(Value::Object(self.fields(Some('}'), depth)?))
    }

    /// Fields up to `end`, or to the end of the text.
    fn fields(&mut self, end: Option<char>, depth: usize) -> Result<Map<String, Value>, NotHocon> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        let mut object = Map::new();
        loop {
            self.skip_blanks(true);
            match self.peek() {
                Some(',') => {
                    self.next();
                }
                None if end.is_none() => return Ok(object),
                None => return Err(self.wrong("a `}` is missing")),
                Some(character) if Some(character) == end => {
                    self.next();
                    return Ok(object);
                }
                Some(_) => self.field(&mut object, depth)?,
            }
        }
    }

    fn field(&mut self, object: &mut Map<String, Value>, depth: usize) -> Result<(), NotHocon> {
        if self.rest().starts_with("include ") {
            return Err(self.wrong("`include` is not followed: put the file's text here"));
        }
        let path = self.path()?;
        self.skip_blanks(true);
        let appends = self.take("+=");
        let value = if self.peek() == Some('{') {
            self.braced(depth + 1)?
        } else if appends || self.take("=") || self.take(":") {
            self.skip_blanks(true);
            self.value(depth + 1)?
        } else {
            return Err(self.wrong(format!("`=` is missing behind `{}`", path.join("."))));
        };
        if path.len() > DEPTH_MAX {
            return Err(self.wrong("a path of too many keys"));
        }
        put(object, &path, value, appends);
        Ok(())
    }

    fn path(&mut self) -> Result<Vec<String>, NotHocon> {
        let mut path = Vec::new();
        loop {
            let key = if self.peek() == Some('"') {
                self.next();
                self.quoted()?
            } else {
                let plain = |it: char| it.is_alphanumeric() || "_-$@/*+#%~".contains(it);
                let end = self.rest().find(|it| !plain(it)).unwrap_or(self.rest().len());
                let key = self.rest().get(..end).unwrap_or_default().to_owned();
                self.position += end;
                key
            };
            if key.is_empty() {
                let found = self.peek().map_or("the end".to_owned(), |it| format!("`{it}`"));
                return Err(self.wrong(format!("a key is missing before {found}")));
            }
            path.push(key);
            if !self.take(".") {
                return Ok(path);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotHocon> {
        match self.peek() {
            Some('{') => self.braced(depth),
            Some('[') => self.array(depth),
            Some('"') if self.take("\"\"\"") => self.three_quotes().map(Value::String),
            Some('"') => {
                self.next();
                self.quoted().map(Value::String)
            }
            _ => self.unquoted(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, NotHocon> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        self.take("[");
        let mut elements = Vec::new();
        loop {
            self.skip_blanks(true);
            match self.peek() {
                Some(']') => {
                    self.next();
                    return Ok(Value::Array(elements));
                }
                Some(',') => {
                    self.next();
                }
                None => return Err(self.wrong("a `]` is missing")),
                Some(_) => elements.push(self.value(depth + 1)?),
            }
        }
    }

    /// Behind the opening quote.
    fn quoted(&mut self) -> Result<String, NotHocon> {
        let start = self.position;
        loop {
            match self.next() {
                Some('"') => break,
                Some('\\') => {
                    self.next();
                }
                Some('\n') | None => return Err(self.wrong("a `\"` is missing")),
                Some(_) => {}
            }
        }
        let inside = self.text.get(start..self.position - 1).unwrap_or_default();
        // A tab or another control character is let pass, which JSON does not.
        let json: String =
            inside
                .chars()
                .map(|it| {
                    if it.is_control() {
                        format!("\\u{:04x}", u32::from(it))
                    } else {
                        it.to_string()
                    }
                })
                .collect();
        serde_json::from_str(&format!("\"{json}\""))
            .map_err(|_error| self.wrong("an escape in a text is wrong"))
    }

    /// Behind the opening quotes: taken as it stands; with `~` without the indentation that all lines have.
    fn three_quotes(&mut self) -> Result<String, NotHocon> {
        let rest = self.rest();
        let Some(mut end) = rest.find("\"\"\"") else {
            return Err(self.wrong("`\"\"\"` is missing"));
        };
        // Of more quotes the last three close.
        while rest.get(end + 3..).is_some_and(|after| after.starts_with('"')) {
            end += 1;
        }
        let text = rest.get(..end).unwrap_or_default();
        let result = match text.strip_prefix('~') {
            Some(indented) if indented.starts_with(['\n', '\r']) => unindented(indented),
            _ => text.to_owned(),
        };
        self.position += end + 3;
        Ok(result)
    }

    fn unquoted(&mut self) -> Result<Value, NotHocon> {
        let rest = self.rest();
        let mut end = rest.len();
        for (place, character) in rest.char_indices() {
            let comment = rest.get(place..).is_some_and(|here| here.starts_with("//"));
            if comment || ",}]\n#\"{[".contains(character) {
                end = place;
                break;
            }
        }
        let text = rest.get(..end).unwrap_or_default().trim().to_owned();
        if text.starts_with("${") || rest.get(..end).is_some_and(|it| it.ends_with('$')) {
            return Err(
                self.wrong("substitutions such as `${a.b}` are not followed: write the value")
            );
        }
        if text.is_empty() {
            return Err(self.wrong("a value is missing"));
        }
        self.position += end;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// Later fields win, objects are merged.
fn put(object: &mut Map<String, Value>, path: &[String], value: Value, appends: bool) {
    let Some((key, below)) = path.split_first() else { return };
    let slot = object.entry(key.clone()).or_insert(Value::Null);
    if !below.is_empty() {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        if let Value::Object(inner) = slot {
            put(inner, below, value, appends);
        }
        return;
    }
    match (slot, value) {
        (Value::Array(elements), value) if appends => elements.push(value),
        (slot, value) if appends => *slot = Value::Array(vec![value]),
        (Value::Object(inner), Value::Object(more)) => {
            for (key, value) in more {
                put(inner, &[key], value, false);
            }
        }
        (slot, value) => *slot = value,
    }
}

/// `"""~` to `~"""`: the line ends next to the marks and the common indentation go.
fn unindented(text: &str) -> String {
    let text = text.strip_suffix('~').unwrap_or(text);
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    lines.remove(0);
    if lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    let indentation = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let common =
        lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    let cut = |line: &&str| line.get(common..).unwrap_or_default().to_owned();
    lines.iter().map(cut).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_emqx_writes_is_read() {
        let text = r#"
            # a comment
            connectors.http.WH_D { url = "http://127.0.0.1:5000", ssl { enable = false }, pool_size = 8 }
            connectors { http { WH_D { connect_timeout = 15s // behind it
              headers { "content-type" = "application/json" } } } }
            rule_engine {
              ignore_sys_message = true
              rules.r1 {
                sql = """~
                  SELECT
                    *
                  FROM "t/#"
                ~"""
                actions = ["http:WH_D"
                  {function = console}]
              }
            }
            sizes : [256MB, 1.5, null, -3]
            sizes += "x"
            raw = """a "quoted" \n text"""
        "#;
        let expected = json!({
            "connectors": {"http": {"WH_D": {
                "url": "http://127.0.0.1:5000", "ssl": {"enable": false}, "pool_size": 8,
                "connect_timeout": "15s", "headers": {"content-type": "application/json"}
            }}},
            "rule_engine": {"ignore_sys_message": true, "rules": {"r1": {
                "sql": "SELECT\n  *\nFROM \"t/#\"", "actions": ["http:WH_D", {"function": "console"}]
            }}},
            "sizes": ["256MB", 1.5, null, -3, "x"],
            "raw": "a \"quoted\" \\n text"
        });
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse("[{\"a\": 1}]"), Ok(json!([{"a": 1}])));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, line, message) in [
            ("a = 1\nb", 2, "`=` is missing behind `b`"),
            ("a {\n b = 1\n", 3, "a `}` is missing"),
            ("a = [1,\n2", 2, "a `]` is missing"),
            ("a = \"x\n", 2, "a `\"` is missing"),
            ("a = ${b}", 1, "substitutions such as `${a.b}` are not followed: write the value"),
            ("\ninclude \"x.conf\"", 2, "`include` is not followed: put the file's text here"),
            ("a =\n", 2, "a value is missing"),
            ("{} x", 1, "`x` after the end"),
        ] {
            let expected = NotHocon { line, message: message.to_owned() };
            assert_eq!(parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[a-c{}\[\]=:,."~$\\ \n#/+0-9]{0,40}"#) {
            drop(parse(&text));
        }

        #[test]
        fn json_is_read_as_json(numbers in prop::collection::vec(any::<i32>(), 0..5), text in ".{0,10}") {
            let value = json!({"list": numbers, "inner": {"text": text}});
            prop_assert_eq!(parse(&value.to_string()), Ok(value.clone()));
            prop_assert_eq!(parse(&format!("{value:#}")), Ok(value));
        }
    }
}
