//! Reads the text exposition format.

use std::collections::BTreeMap;

/// All series of one scrape: `name{labels}` to value.
#[derive(Debug, Clone)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub fn parse(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(series.collect())
    }

    /// The value of one series; labels as they stand between the braces.
    pub fn get(&self, name: &str, labels: &str) -> Option<f64> {
        let series =
            if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") };
        self.0.get(&series).copied()
    }

    /// All series of a name, by their labels.
    pub fn series(&self, name: &str) -> BTreeMap<&str, f64> {
        let labelled = self.0.iter().filter_map(|(series, value)| {
            let labels = series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
            Some((labels, *value))
        });
        labelled.collect()
    }

    /// The sum of all series of a name whose labels contain `label`.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let prefix = format!("{name}{{");
        let matching = self
            .0
            .iter()
            .filter(|(series, _)| series.starts_with(&prefix) && series.contains(label));
        matching.map(|(_, value)| value).sum()
    }

    /// `recovered + enqueued = delivered + dead-lettered + dropped + queued` for every sink, and nothing below zero.
    #[track_caller]
    pub fn assert_conservation(&self) {
        let prefix = "waypost_queue_records{";
        let sinks: Vec<&str> = self
            .0
            .keys()
            .filter_map(|series| series.strip_prefix(prefix)?.strip_suffix('}'))
            .collect();
        assert!(!sinks.is_empty(), "no queue in {self:?}");
        for sink in sinks {
            let value = |name: &str| {
                let value = self.get(name, sink).unwrap_or_else(|| panic!("no {name}{{{sink}}}"));
                assert!(value >= 0.0, "{name}{{{sink}}} is {value}");
                value
            };
            let taken =
                value("waypost_queue_recovered_total") + value("waypost_queue_enqueued_total");
            let given = value("waypost_records_delivered_total")
                + self.sum("waypost_records_dead_lettered_total", sink)
                + self.sum("waypost_records_dropped_total", sink)
                + value("waypost_queue_records");
            assert!(taken == given, "{sink}: {taken} taken, {given} accounted for: {self:?}");
        }
    }
}
