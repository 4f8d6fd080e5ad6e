//! From the filters of the rules to the subscriptions of a source.

use crate::topic::TopicFilter;

/// `filters` in a stable order, each once, without those that another plain filter covers.
pub(super) fn without_covered<'a>(
    filters: impl Iterator<Item = &'a TopicFilter>,
) -> Vec<TopicFilter> {
    let mut all: Vec<&TopicFilter> = filters.collect();
    all.sort_unstable();
    all.dedup();
    let covered =
        |filter: &TopicFilter| all.iter().any(|other| *other != filter && covers(other, filter));
    all.iter().filter(|filter| !covered(filter)).map(|filter| (*filter).clone()).collect()
}

/// Whether each topic that `narrow` matches is one that `wide` matches too. Filters with a prefix cover nothing and
/// are not covered: a broker serves a shared subscription beside the plain ones.
fn covers(wide: &TopicFilter, narrow: &TopicFilter) -> bool {
    let plain = |filter: &TopicFilter| filter.plain().len() == filter.as_str().len();
    let (wide_text, narrow_text) = (wide.as_str(), narrow.as_str());
    let dollar = narrow_text.starts_with('$') && wide_text.starts_with(['+', '#']);
    plain(wide) && plain(narrow) && !dollar && covers_levels(wide_text, narrow_text)
}

fn covers_levels(wide: &str, narrow: &str) -> bool {
    let mut narrow_levels = narrow.split('/');
    for wide_level in wide.split('/') {
        match (wide_level, narrow_levels.next()) {
            ("#", _) => return true,
            (_, Some("#")) => return false,
            ("+", Some(_)) => {}
            (wide_level, Some(narrow_level)) if wide_level == narrow_level => {}
            _ => return false,
        }
    }
    narrow_levels.next().is_none()
}
