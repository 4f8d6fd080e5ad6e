//! Which filters to subscribe to, so that one message arrives once.
//!
//! A broker may send a message once for each subscription that it matches (MQTT 5 section 3.3.4, MQTT 3.1.1 section 3.3.5;
//! Mosquitto does, EMQX does), and two copies cannot be told from two messages. So no two subscriptions may overlap: a filter within
//! another is left out, and two that only share some topics become one filter over both. That one may bring
//! messages that nobody wants; they match no rule and are acknowledged.

use crate::topic::TopicFilter;

/// What to subscribe to.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// Together they match whatever one of the wanted filters matches. No topic matches two of them, `apart` set aside.
    pub(super) filters: Vec<TopicFilter>,
    /// Pairs that overlap and could not be joined.
    pub(super) apart: Vec<(TopicFilter, TopicFilter)>,
}

impl Cover {
    /// Shared and exclusive subscriptions stay as they are: they mean something else than their filter alone, so nothing
    /// is joined to a filter that would reach into one. One that overlaps with a plain filter brings a message of its own.
    pub(super) fn of(wanted: &[TopicFilter]) -> Self {
        let (plain, mut special): (Vec<_>, Vec<_>) =
            wanted.iter().cloned().partition(TopicFilter::is_plain);
        special.sort();
        special.dedup();
        let mut cover = Self::default();
        for filter in plain {
            cover.add(filter, &special);
        }
        cover.note_apart();
        cover.filters.append(&mut special);
        cover
    }

    fn note_apart(&mut self) {
        for (index, one) in self.filters.iter().enumerate() {
            for other in self.filters.iter().skip(index + 1) {
                if one.overlaps(other) {
                    self.apart.push((one.clone(), other.clone()));
                }
            }
        }
    }

    fn add(&mut self, mut filter: TopicFilter, special: &[TopicFilter]) {
        let mut index = 0;
        while let Some(other) = self.filters.get(index) {
            if !other.overlaps(&filter) {
                index += 1;
                continue;
            }
            let joined = join(other, &filter);
            let reaches = |special: &TopicFilter| {
                let into = |filter: &TopicFilter| filter.overlaps(special);
                into(&joined) && !into(other) && !into(&filter)
            };
            if special.iter().any(reaches) {
                index += 1;
            } else {
                // What is joined may reach what was passed by before.
                filter = joined;
                self.filters.swap_remove(index);
                index = 0;
            }
        }
        self.filters.push(filter);
    }
}

/// What `joined` was joined from; nothing when it is itself wanted.
pub(super) fn parts(joined: &TopicFilter, wanted: &[TopicFilter]) -> Vec<TopicFilter> {
    if wanted.contains(joined) {
        return Vec::new();
    }
    let of_this = |filter: &&TopicFilter| filter.is_plain() && filter.overlaps(joined);
    wanted.iter().filter(of_this).cloned().collect()
}

/// The narrowest filter that matches whatever either matches.
fn join(left: &TopicFilter, right: &TopicFilter) -> TopicFilter {
    let mut levels = Vec::new();
    let (mut left_levels, mut right_levels) = (left.plain().split('/'), right.plain().split('/'));
    loop {
        match (left_levels.next(), right_levels.next()) {
            (None, None) => break,
            (Some("#") | None, _) | (_, Some("#") | None) => {
                levels.push("#");
                break;
            }
            (Some(left), Some(right)) => levels.push(if left == right { left } else { "+" }),
        }
    }
    // Overlapping filters agree in their first level or have a wildcard there, so `$SYS/..` stays within `$SYS`.
    TopicFilter::new(&levels.join("/")).expect("levels of valid filters make a valid filter")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::Topic;

    fn filters(texts: &[&str]) -> Vec<TopicFilter> {
        texts.iter().map(|text| TopicFilter::new(text).unwrap()).collect()
    }

    #[track_caller]
    fn assert_cover(wanted: &[&str], expected: &[&str]) {
        let mut cover: Vec<String> =
            Cover::of(&filters(wanted)).filters.iter().map(ToString::to_string).collect();
        cover.sort();
        assert_eq!(cover, expected, "for {wanted:?}");
    }

    #[test]
    fn a_filter_within_another_is_left_out_and_overlaps_are_joined() {
        assert_cover(&["a/b", "a/+", "a/#"], &["a/#"]);
        assert_cover(&["a/#", "a"], &["a/#"]);
        assert_cover(&["a/+", "+/b"], &["+/+"]);
        assert_cover(&["plant/+/temp", "plant/7/#"], &["plant/+/#"]);
        assert_cover(&["a", "b/+", "c/#"], &["a", "b/+", "c/#"]);
        assert_cover(&["a/+/c", "a/b/+", "x/y"], &["a/+/+", "x/y"]);
        assert_cover(&["#", "$SYS/#", "+/x"], &["#", "$SYS/#"]);
        assert_cover(&["$SYS/+/a", "$SYS/b/+"], &["$SYS/+/+"]);
        assert_cover(&["$share/g/a/#", "a/b"], &["$share/g/a/#", "a/b"]);
        assert_cover(&["$share/g/a", "a/+", "+/b", "$share/g/a"], &["$share/g/a", "+/+"]);
        // Joined they would take what is shared with others.
        assert_cover(&["a/+", "+/b", "$share/g/s/x"], &["$share/g/s/x", "+/b", "a/+"]);
        // The join of the first two reaches the third.
        assert_cover(&["a/b/c", "a/+/x", "a/b/+"], &["a/+/+"]);
    }

    fn any_filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop_oneof![Just("a"), Just("b"), Just("+"), Just("$SYS")];
        (proptest::collection::vec(level, 1..4), any::<bool>()).prop_filter_map(
            "valid",
            |(levels, rest)| {
                let mut text = levels.join("/");
                if rest {
                    text.push_str("/#");
                }
                TopicFilter::new(&text).ok()
            },
        )
    }

    fn any_topic() -> impl Strategy<Value = Topic> {
        let level = prop_oneof![Just("a"), Just("b"), Just("c"), Just("$SYS")];
        proptest::collection::vec(level, 1..5)
            .prop_map(|levels| Topic::new(&levels.join("/")).unwrap())
    }

    proptest! {
        #[test]
        fn a_topic_that_is_wanted_matches_exactly_one_subscription(
            wanted in proptest::collection::vec(any_filter(), 1..6),
            topics in proptest::collection::vec(any_topic(), 1..20),
        ) {
            let Cover { filters: cover, apart } = Cover::of(&wanted);
            prop_assert!(apart.is_empty(), "{apart:?}");
            for topic in topics {
                let matching = cover.iter().filter(|filter| filter.matches(&topic)).count();
                prop_assert!(matching <= 1, "{topic:?} matches {matching} of {cover:?}");
                if wanted.iter().any(|filter| filter.matches(&topic)) {
                    prop_assert_eq!(matching, 1, "{:?} is lost by {:?}", topic, cover);
                }
            }
        }
    }
}
