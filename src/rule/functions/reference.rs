//! The functions as text: a table, one function, and the reference page.

use std::fmt::Write as _;

use super::{FAMILIES, Function, unavailable};

impl Function {
    /// Everything about it, for a terminal.
    #[must_use]
    pub fn described(&self) -> String {
        let mut text = format!("{}\n\n", self.signature());
        for line in wrapped(self.docs, 90) {
            writeln!(text, "  {line}").expect("memory takes all");
        }
        text.push('\n');
        for (call, result) in self.examples {
            writeln!(text, "  {call} = {result}").expect("memory takes all");
        }
        text
    }
}

/// Words put into lines of at most so many characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `config/rule-functions.md`.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(
        "# Functions of the rule language\n\n\
         Printed by `waypost rule functions --markdown`; `waypost rule functions NAME` tells about one.\n\n\
         They are EMQX's (5 and 6), with its names, arities and results. A value of another kind than the signature names fails \
         the rule for that event; `undefined` and `null` are such values wherever a signature does not say `any`. A text that a \
         function makes may have 4 MiB, an array 100,000 elements. Unknown names and wrong numbers of arguments are found when \
         the rule is loaded.\n",
    );
    for family in FAMILIES {
        write_family(&mut text, family.title, family.functions);
    }
    text.push_str(
        "\n## Not available\n\nFunctions of EMQX that fail when the rule is loaded, and why.\n\n",
    );
    for (name, reason) in unavailable::all() {
        writeln!(text, "* `{name}`: {reason}.").expect("memory takes all");
    }
    text
}

fn write_family(text: &mut String, title: &str, functions: &[Function]) {
    write!(text, "\n## {title}\n").expect("memory takes all");
    for function in functions {
        let Function { docs, .. } = function;
        write!(text, "\n### `{}`\n{docs}\n\n```sql\n", function.signature())
            .expect("memory takes all");
        for (call, result) in function.examples {
            writeln!(text, "{call} = {result}").expect("memory takes all");
        }
        text.push_str("```\n");
    }
}
