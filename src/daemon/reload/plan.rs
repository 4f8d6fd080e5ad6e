//! What differs between two configs, and what of that a running gateway can take over. Pure.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::name::{RuleName, SinkName, SourceName};

/// What a reload has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) sources: Difference<SourceName>,
    pub(super) rules: Difference<RuleName>,
    pub(super) sinks: Difference<SinkName>,
}

/// Names by what became of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference<Name> {
    pub(super) added: Vec<Name>,
    pub(super) changed: Vec<Name>,
    pub(super) removed: Vec<Name>,
}

impl<Name> Default for Difference<Name> {
    fn default() -> Self {
        Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() }
    }
}

impl<Name: Ord + Clone> Difference<Name> {
    fn between<T: PartialEq>(old: &BTreeMap<Name, T>, new: &BTreeMap<Name, T>) -> Self {
        let mut difference = Self::default();
        for (name, now) in new {
            match old.get(name) {
                None => difference.added.push(name.clone()),
                Some(before) if before != now => difference.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = old.keys().filter(|name| !new.contains_key(name));
        difference.removed = gone.cloned().collect();
        difference
    }
}

impl Plan {
    /// From one config to another. `Err` names the settings that differ and cannot change while it runs, one a line.
    pub(super) fn between(old: &Config, new: &Config) -> Result<Self, Vec<String>> {
        let fixed = fixed(old, new);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        Ok(Self {
            sources: Difference::between(&old.sources, &new.sources),
            rules: Difference::between(&old.rules, &new.rules),
            sinks: Difference::between(&old.sinks, &new.sinks),
        })
    }
}

/// The settings that differ and need a restart.
fn fixed(old: &Config, new: &Config) -> Vec<String> {
    let differs = [
        ("gateway.name", old.gateway.name != new.gateway.name),
        ("gateway.data_dir", old.gateway.data_dir != new.gateway.data_dir),
        ("gateway.admin_socket", old.gateway.admin_socket != new.gateway.admin_socket),
        ("gateway.intake_max_bytes", old.gateway.intake_bytes_max != new.gateway.intake_bytes_max),
        ("gateway.status_interval", old.gateway.status_interval != new.gateway.status_interval),
        ("log.format", old.log.format != new.log.format),
        ("log.filter", old.log.filter != new.log.filter),
        ("metrics.listen", old.metrics_listen != new.metrics_listen),
        ("store.commit_window_max", old.store.commit_window_max != new.store.commit_window_max),
        ("dead_letters.max_bytes", old.dead_letters.bytes_max != new.dead_letters.bytes_max),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(key, _)| format!("{key} has changed, which needs a restart of waypost")).collect()
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, NonZeroUsize};
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{self, LogFormat, Surroundings};

    const BASE: &str = r#"
        [gateway]
        name = "plant-7"
        data_dir = "/tmp/waypost"
        [sources.local]
        type = "mqtt"
        url = "mqtt://127.0.0.1"
        [connectors.api]
        url = "http://127.0.0.1:1"
        [webhooks.one]
        topics = ["a/#"]
        connector = "api"
        [webhooks.two]
        topics = ["b/#"]
        url = "http://127.0.0.1:2"
    "#;

    fn config(text: &str) -> Config {
        let surroundings = Surroundings::of(Path::new("waypost.toml"));
        config::parse(text, &surroundings).unwrap_or_else(|report| panic!("{report}")).0
    }

    fn plan(from: &str, to: &str) -> Plan {
        Plan::between(&config(from), &config(to)).unwrap()
    }

    #[test]
    fn the_same_config_with_other_spaces_changes_nothing() {
        let other = BASE.replace("topics", "# a remark\n topics  ");
        assert_eq!(plan(BASE, &other), Plan::default());
    }

    #[test]
    fn what_was_added_changed_and_removed_is_told_by_its_kind() {
        let other = BASE
            .replace("[webhooks.two]", "[webhooks.three]")
            .replace("127.0.0.1:1\"", "127.0.0.1:3\"")
            .replace("\"a/#\"", "\"a/b\"")
            .replace("mqtt://127.0.0.1", "mqtt://127.0.0.2");
        let plan = plan(BASE, &other);
        let names = |names: &[SinkName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&plan.sinks.added), ["three"]);
        assert_eq!(names(&plan.sinks.changed), ["one"], "by way of its connector");
        assert_eq!(names(&plan.sinks.removed), ["two"]);
        assert_eq!(plan.rules.changed, [RuleName::new("one").unwrap()]);
        assert_eq!(plan.sources.changed, [SourceName::new("local").unwrap()]);
        assert!(plan.sources.added.is_empty() && plan.sources.removed.is_empty());
    }

    /// The key, and a change of it.
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Config));

    #[test]
    fn every_setting_that_needs_a_restart_is_named_alone() {
        let base = config(BASE);
        let with = |change: &str, to: &dyn Fn(&mut Config)| {
            let mut other = base.clone();
            to(&mut other);
            assert_ne!(other, base, "{change}");
            Plan::between(&base, &other).unwrap_err()
        };
        let changes: [Change<'_>; 10] = [
            ("gateway.name", &|it| it.gateway.name = "plant-8".to_owned()),
            ("gateway.data_dir", &|it| it.gateway.data_dir = "/tmp/other".into()),
            ("gateway.admin_socket", &|it| it.gateway.admin_socket = "/tmp/other.sock".into()),
            ("gateway.intake_max_bytes", &|it| it.gateway.intake_bytes_max = NonZeroUsize::MAX),
            ("gateway.status_interval", &|it| it.gateway.status_interval = Some(Duration::MAX)),
            ("log.format", &|it| it.log.format = LogFormat::Json),
            ("log.filter", &|it| it.log.filter = "debug".to_owned()),
            ("metrics.listen", &|it| it.metrics_listen = None),
            ("store.commit_window_max", &|it| it.store.commit_window_max = Duration::MAX),
            ("dead_letters.max_bytes", &|it| it.dead_letters.bytes_max = NonZeroU64::MAX),
        ];
        for (key, change) in changes {
            let told = format!("{key} has changed, which needs a restart of waypost");
            assert_eq!(with(key, change), [told]);
        }
        // A key that is new must be in the list, too, or be taken over.
        let Config { gateway, log, metrics_listen: _, store, dead_letters, .. } = &base;
        let config::Gateway {
            name: _,
            data_dir: _,
            admin_socket: _,
            intake_bytes_max: _,
            status_interval: _,
        } = gateway;
        let config::Log { format: _, filter: _ } = log;
        let config::StoreOptions { commit_window_max: _ } = store;
        let config::DeadLetterOptions { bytes_max: _ } = dead_letters;
    }
}
