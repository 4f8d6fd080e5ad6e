//! "Did you mean": words that are almost right.

/// The candidate that `word` is most likely a slip of.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let distances =
        candidates.map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    let slips_max = (word.chars().count().max(candidate.chars().count()) / 3).max(1);
    (distance <= slips_max).then_some(candidate)
}

/// `a`, `b` and `c`, for a sentence.
pub(super) fn known_words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
