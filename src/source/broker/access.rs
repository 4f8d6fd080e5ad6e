//! What a client may publish and subscribe: the access rules of the config, the first that matches decides.
//!
//! Without rules everything is allowed; with rules, what none of them matches is denied. A subscription can reach
//! many topics, so an allow rule must cover all of them and a deny rule hits when it touches one.

use crate::access::{Client, TopicPattern};
use crate::config::{AccessAction, AccessRule};

/// Whether `client` may publish to `topic`.
pub(super) fn may_publish(rules: &[AccessRule], client: Client<'_>, topic: &str) -> bool {
    let applies = |rule: &AccessRule, pattern: &TopicPattern| {
        let reserved = rule.allow && pattern.starts_with_placeholder() && topic.starts_with('$');
        !reserved && pattern.matches(client, topic)
    };
    decide(rules, client, AccessAction::Publish, applies)
}

/// Whether `client` may subscribe to `filter`, which has no `$share/GROUP/` in front.
pub(super) fn may_subscribe(rules: &[AccessRule], client: Client<'_>, filter: &str) -> bool {
    let applies = |rule: &AccessRule, pattern: &TopicPattern| {
        let reserved = rule.allow && pattern.starts_with_placeholder() && filter.starts_with('$');
        let within = if rule.allow {
            pattern.covers(client, filter)
        } else {
            pattern.touches(client, filter)
        };
        !reserved && within
    };
    decide(rules, client, AccessAction::Subscribe, applies)
}

fn decide(
    rules: &[AccessRule],
    client: Client<'_>,
    action: AccessAction,
    applies: impl Fn(&AccessRule, &TopicPattern) -> bool,
) -> bool {
    let decisive = rules.iter().find(|rule| {
        let is = |wanted: &Option<String>, actual: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == actual
        };
        is(&rule.username, client.username)
            && is(&rule.client_id, Some(client.client_id))
            && rule.action.is_none_or(|wanted| wanted == action)
            && (rule.topics.is_empty() || rule.topics.iter().any(|topic| applies(rule, topic)))
    });
    decisive.map_or(rules.is_empty(), |rule| rule.allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUMP: Client<'_> = Client { client_id: "pump-1", username: Some("alice") };

    fn rule(allow: bool, action: Option<AccessAction>, topics: &[&str]) -> AccessRule {
        let topics = topics.iter().map(|text| TopicPattern::new(text).unwrap()).collect();
        AccessRule { allow, username: None, client_id: None, action, topics }
    }

    #[test]
    fn without_rules_all_is_allowed_and_with_rules_what_none_matches_is_denied() {
        assert!(may_publish(&[], PUMP, "t") && may_subscribe(&[], PUMP, "#"));
        let rules = [rule(true, None, &["a/#"])];
        assert!(may_publish(&rules, PUMP, "a/b") && !may_publish(&rules, PUMP, "b"));
        assert!(may_subscribe(&rules, PUMP, "a/+") && !may_subscribe(&rules, PUMP, "+/b"));
    }

    #[test]
    fn the_first_match_decides() {
        let rules = [rule(false, None, &["a/secret"]), rule(true, None, &["#"])];
        assert!(!may_publish(&rules, PUMP, "a/secret") && may_publish(&rules, PUMP, "a/b"));
        let rules = [rule(true, None, &["#"]), rule(false, None, &["a/secret"])];
        assert!(may_publish(&rules, PUMP, "a/secret"));
    }

    #[test]
    fn a_wide_subscription_does_not_slip_past_a_deny_rule() {
        let rules = [rule(false, None, &["a/secret"]), rule(true, None, &["#"])];
        for filter in ["a/secret", "a/+", "a/#", "#", "+/secret"] {
            assert!(!may_subscribe(&rules, PUMP, filter), "{filter}");
        }
        assert!(may_subscribe(&rules, PUMP, "b/#"));
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let full = AccessRule {
            username: Some("alice".into()),
            client_id: Some("pump-1".into()),
            ..rule(true, Some(AccessAction::Publish), &["t"])
        };
        let rules = [full];
        assert!(may_publish(&rules, PUMP, "t"));
        assert!(!may_subscribe(&rules, PUMP, "t"));
        assert!(!may_publish(&rules, PUMP, "u"));
        assert!(!may_publish(&rules, Client { client_id: "pump-2", ..PUMP }, "t"));
        assert!(!may_publish(&rules, Client { username: None, ..PUMP }, "t"));
    }

    #[test]
    fn a_client_id_does_not_open_reserved_topics() {
        let client = Client { client_id: "$SYS", username: None };
        let rules = [rule(true, None, &["${clientid}/#"])];
        assert!(!may_publish(&rules, client, "$SYS/x") && !may_subscribe(&rules, client, "$SYS/#"));
        let rules = [rule(false, None, &["${clientid}/#"]), rule(true, None, &[])];
        assert!(!may_publish(&rules, client, "$SYS/x"), "a deny rule holds all the same");
    }
}
