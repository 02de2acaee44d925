//! How far event time has come in a stream: in each lane up to its latest event less the source's lateness, and over all
//! the least of that. A lane without events is moved on by ticks, which are written down as events are. A tick of no time
//! says that there is such a lane: what it holds is waited for.

use std::collections::BTreeMap;

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

/// The time of a lane that has shown nothing yet.
pub const UNSEEN: Micros = Micros(i64::MIN);

/// By source and lane, the latest time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes {
    at: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Lanes {
    pub fn note(&mut self, source: &str, lane: &str, at: Micros) {
        let known = self.at.entry(source.to_owned()).or_default().entry(lane.to_owned()).or_insert(UNSEEN.0);
        *known = at.0.max(*known);
    }

    /// No event is to come before it, as far as sources keep to their lateness; `None` while a source, or a lane that was
    /// named, has not shown itself. Sources that are configured no longer count no longer.
    #[must_use]
    pub fn watermark(&self, lateness: &BTreeMap<String, i64>) -> Option<Micros> {
        let of = |(source, late): (&String, &i64)| {
            let least = self.least(source).filter(|least| *least > UNSEEN.0)?;
            Some(Micros(least.saturating_sub(*late)))
        };
        let all: Option<Vec<Micros>> = lateness.iter().map(of).collect();
        all?.into_iter().min()
    }

    /// The nameless lane is that of a source that had none yet, and stands for nothing once it has.
    fn least(&self, source: &str) -> Option<i64> {
        let lanes = self.at.get(source)?;
        lanes.iter().filter(|(lane, _)| lanes.len() == 1 || !lane.is_empty()).map(|(_, at)| *at).min()
    }

    /// The latest time of all.
    #[must_use]
    pub fn latest(&self) -> Option<Micros> {
        self.at.values().flat_map(BTreeMap::values).max().copied().map(Micros).filter(|latest| *latest > UNSEEN)
    }

    /// The lanes of a source that have come no further since; the nameless one where it has shown none.
    #[must_use]
    pub fn standing_since(&self, before: &Self, source: &str) -> Vec<String> {
        let Some(lanes) = self.at.get(source) else { return vec![String::new()] };
        let stands = |(lane, at): &(&String, &i64)| before.at.get(source).and_then(|was| was.get(*lane)) == Some(*at);
        lanes.iter().filter(stands).map(|(lane, _)| lane.clone()).collect()
    }

    /// The source that holds the rest back.
    #[must_use]
    pub fn slowest<'a>(&self, lateness: &'a BTreeMap<String, i64>) -> Option<&'a str> {
        let of = |(source, late): (&'a String, &i64)| {
            let least = self.least(source);
            (least.map_or(UNSEEN.0, |least| least.saturating_sub(*late)), source.as_str())
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
    fn a_lane_that_was_named_is_waited_for() {
        let mut lanes = Lanes::default();
        lanes.note("b", "", Micros(50));
        lanes.note("a", "0", UNSEEN);
        lanes.note("a", "1", UNSEEN);
        assert_eq!((lanes.watermark(&lateness()), lanes.slowest(&lateness())), (None, Some("a")));
        lanes.note("a", "0", Micros(100));
        assert_eq!((lanes.watermark(&lateness()), lanes.latest()), (None, Some(Micros(100))));
        lanes.note("a", "1", Micros(40));
        lanes.note("a", "1", UNSEEN);
        lanes.note("a", "", Micros(7));
        assert_eq!(lanes.watermark(&lateness()), Some(Micros(30)), "named once more, it stays where it is");
    }

    #[test]
    fn only_lanes_that_stand_still_are_gone_on_without() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.standing_since(&Lanes::default(), "a"), [""]);
        lanes.note("a", "0", Micros(100));
        lanes.note("a", "1", UNSEEN);
        let before = lanes.clone();
        lanes.note("a", "0", Micros(101));
        lanes.note("a", "2", UNSEEN);
        assert_eq!(lanes.standing_since(&before, "a"), ["1"]);
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
