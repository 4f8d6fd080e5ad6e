//! JSON for people.

/// The same JSON with a line for each value. Numbers and texts stay as they are, to the last digit.
pub(super) fn pretty(json: &str) -> String {
    let (mut text, mut depth, mut in_text, mut is_escaped) = (String::new(), 0_usize, false, false);
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    let mut characters = json.chars().peekable();
    while let Some(c) = characters.next() {
        if in_text {
            text.push(c);
            in_text = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        match c {
            ' ' | '\n' | '\r' | '\t' => {}
            '{' | '[' => {
                text.push(c);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                let end = if c == '{' { '}' } else { ']' };
                if let Some(end) = characters.next_if_eq(&end) {
                    text.push(end);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => {
                in_text = c == '"';
                text.push(c);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_json_keeps_every_digit_and_every_text() {
        let json = r#"{"a":[1.50,123456789012345678901,{}],"b":{"c":"x, {\"y\": [\\"},"d":[]}"#;
        expect_test::expect![[r#"
            {
              "a": [
                1.50,
                123456789012345678901,
                {}
              ],
              "b": {
                "c": "x, {\"y\": [\\"
              },
              "d": []
            }"#]]
        .assert_eq(&pretty(json));
        assert_eq!(pretty(&pretty(json)), pretty(json));
    }
}
