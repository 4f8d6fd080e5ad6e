//! A look at bytes that came from outside, for a person: short, and nothing in it moves a cursor.

/// At most `chars_max` characters of a text, control characters escaped; what is not UTF-8 stands as `\x..`. What was
/// left out is said with `…` at the end.
#[must_use]
pub fn excerpt(bytes: &[u8], chars_max: usize) -> String {
    let mut shown = String::new();
    let mut room = chars_max;
    for chunk in bytes.utf8_chunks() {
        let escaped = chunk.valid().chars().map(printable);
        let broken = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in escaped.chain(broken) {
            let length = piece.chars().count();
            if length > room {
                shown.push('…');
                return shown;
            }
            room -= length;
            shown += &piece;
        }
    }
    shown
}

fn printable(character: char) -> String {
    if character.is_control() || is_invisible(character) {
        character.escape_default().to_string()
    } else {
        character.to_string()
    }
}

/// Characters that turn the order of a line around or hide in it.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_moves_no_cursor() {
        for (bytes, max, shown) in [
            (&b"{\"temp\": 31.5}"[..], 14, "{\"temp\": 31.5}"),
            (b"exactly ten", 10, "exactly te…"),
            (b"a\x1b[2Jb\nc", 10, "a\\u{1b}[2J…"),
            (b"a\nb", 10, "a\\nb"),
            (b"\xff\xfeab", 10, "\\xff\\xfeab"),
            ("gr\u{fc}n\u{202e}x".as_bytes(), 20, "gr\u{fc}n\\u{202e}x"),
        ] {
            assert_eq!(excerpt(bytes, max), shown, "{bytes:?}");
        }
    }
}
