//! What is wrong and what is good to know, in paragraphs.

use crate::admin::{Note, NoteLevel};
use crate::suggestion::{Part, parts};

/// Columns that a paragraph may have.
const COLUMNS: usize = 80;

pub(super) fn text(notes: &[Note]) -> String {
    let of = |level| notes.iter().filter(move |note| note.level == level).map(paragraph);
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

fn paragraph(note: &Note) -> String {
    let what = format!("{}: {}", note.about, note.what);
    let mut text = wrapped(what.split_whitespace(), "* ", "  ");
    if let Some(advice) = &note.advice {
        // A command is one word: on one line, however long, it can be copied.
        let words = parts(advice).flat_map(|part| match part {
            Part::Words(words) => words.split_whitespace().collect(),
            Part::Command(command) => vec![command],
        });
        text += &wrapped(words, "  -> ", "     ");
    }
    text
}

/// Lines of whole words; a word that is longer than a line stands alone.
fn wrapped<'a>(words: impl Iterator<Item = &'a str>, first: &str, others: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words {
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
