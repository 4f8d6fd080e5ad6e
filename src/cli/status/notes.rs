//! What is wrong and what is good to know, in paragraphs.

use crate::admin::{Note, NoteLevel};

/// Columns that a paragraph may have.
const COLUMNS: usize = 80;

pub(super) fn text(notes: &[Note], given: &str) -> String {
    let of = |level| {
        let of_level = notes.iter().filter(move |note| note.level == level);
        of_level.map(|note| paragraph(note, given))
    };
    let (wrong, hints) = (of(NoteLevel::Wrong), of(NoteLevel::Hint));
    let wrong: String = wrong.collect();
    let hints: String = hints.collect();
    let wrong = if wrong.is_empty() {
        "Nothing is wrong.\n".to_owned()
    } else {
        format!("WHAT IS WRONG\n{wrong}")
    };
    if hints.is_empty() { wrong } else { format!("{wrong}\nGOOD TO KNOW\n{hints}") }
}

fn paragraph(note: &Note, given: &str) -> String {
    let mut text = wrapped(&format!("{}: {}", note.about, note.what), "* ", "  ");
    if let Some(advice) = &note.advice {
        // A command comes last.
        let given = if advice.contains("waypost ") { given } else { "" };
        text += &wrapped(&format!("{advice}{given}"), "  -> ", "     ");
    }
    text
}

/// Lines of whole words; a word that is longer than a line stands alone.
fn wrapped(text: &str, first: &str, others: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines += line.trim_end();
            lines.push('\n');
            others.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines + line.trim_end() + "\n"
}
