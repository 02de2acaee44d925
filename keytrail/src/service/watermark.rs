//! How far event time has come in a stream: in each lane up to its latest event less the source's lateness, and over all
//! the least of that. A lane without events is moved on by ticks, which are written down as events are.

use std::collections::BTreeMap;

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

/// By source and lane, the latest time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes {
    at: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Lanes {
    pub fn note(&mut self, source: &str, lane: &str, at: Micros) {
        let known = self.at.entry(source.to_owned()).or_default().entry(lane.to_owned()).or_insert(i64::MIN);
        *known = at.0.max(*known);
    }

    /// No event is to come before it, as far as sources keep to their lateness; `None` while a source has not shown
    /// itself. Sources that are configured no longer count no longer.
    #[must_use]
    pub fn watermark(&self, lateness: &BTreeMap<String, i64>) -> Option<Micros> {
        let of = |(source, late): (&String, &i64)| {
            let least = self.at.get(source)?.values().min()?;
            Some(Micros(least.saturating_sub(*late)))
        };
        let all: Option<Vec<Micros>> = lateness.iter().map(of).collect();
        all?.into_iter().min()
    }

    /// The latest time of all.
    #[must_use]
    pub fn latest(&self) -> Option<Micros> {
        self.at.values().flat_map(BTreeMap::values).max().copied().map(Micros)
    }

    /// The lanes of a source; the nameless one where it has shown none.
    #[must_use]
    pub fn of(&self, source: &str) -> Vec<String> {
        self.at.get(source).map_or_else(|| vec![String::new()], |lanes| lanes.keys().cloned().collect())
    }

    /// The source that holds the rest back.
    #[must_use]
    pub fn slowest<'a>(&self, lateness: &'a BTreeMap<String, i64>) -> Option<&'a str> {
        let of = |(source, late): (&'a String, &i64)| {
            let least = self.at.get(source).and_then(|lanes| lanes.values().min()).copied();
            (least.map_or(i64::MIN, |least| least.saturating_sub(*late)), source.as_str())
        };
        lateness.iter().map(of).min().map(|(_, source)| source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lateness() -> BTreeMap<String, i64> {
        [("a".to_owned(), 10), ("b".to_owned(), 0)].into()
    }

    #[test]
    fn it_is_the_least_of_all_lanes_and_waits_for_every_source() {
        let mut lanes = Lanes::default();
        lanes.note("a", "0", Micros(100));
        lanes.note("a", "1", Micros(80));
        assert_eq!(lanes.watermark(&lateness()), None);
        assert_eq!(lanes.slowest(&lateness()), Some("b"));
        lanes.note("b", "", Micros(75));
        assert_eq!(lanes.watermark(&lateness()), Some(Micros(70)));
        assert_eq!(lanes.slowest(&lateness()), Some("a"));
        lanes.note("a", "1", Micros(60));
        lanes.note("a", "1", Micros(200));
        assert_eq!(lanes.watermark(&lateness()), Some(Micros(75)), "time never goes back");
    }

    #[test]
    fn a_source_that_is_gone_holds_nothing_back() {
        let mut lanes = Lanes::default();
        lanes.note("old", "", Micros(1));
        lanes.note("a", "", Micros(100));
        lanes.note("b", "", Micros(100));
        assert_eq!(lanes.watermark(&lateness()), Some(Micros(90)));
    }
}
