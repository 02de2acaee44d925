//! Values that are new for a group. Keeps of each value its earliest entries and coarse counts, whatever their number.

use std::collections::{BTreeMap, BTreeSet};

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Match, Value};
use super::{is_over, later};

/// Entries kept of one value.
const KEPT: usize = 5;

/// Later events of a value are counted in so many cells of time: which of them lie within `follow` of the first one is
/// only known when the first one is.
const CELLS: i64 = 256;

/// Width of such a cell: a match counts up to the end of the cell in which `follow` runs out.
pub(super) fn grain(follow: i64) -> i64 {
    (follow / CELLS).max(1)
}

#[derive(Clone, Copy)]
pub(super) struct Learning {
    pub(super) learn: i64,
    pub(super) follow: i64,
}

impl Learning {
    /// The last instant at which an event counts into the match that begins at `first`.
    fn cutoff(self, first: Micros) -> i64 {
        let grain = grain(self.follow);
        let end = Micros(later(first, self.follow)).bucket(grain);
        later(end, grain - 1)
    }
}

/// What is known of one value that is not settled for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trace {
    /// The earliest, in order.
    entries: Vec<Entry>,
    /// By start of the cell: how many events, and the last one's time.
    cells: BTreeMap<i64, (u64, Micros)>,
    /// Whether no earlier event can come any more.
    certain: bool,
}

impl Trace {
    fn first(&self) -> Option<Micros> {
        self.entries.first().map(|entry| entry.time)
    }

    fn cutoff(&self, learning: Learning) -> i64 {
        self.first().map_or(i64::MAX, |first| learning.cutoff(first))
    }

    fn add(&mut self, learning: Learning, entry: Entry) {
        let cell = entry.time.bucket(grain(learning.follow));
        self.count(cell.0, 1, entry.time);
        self.keep(entry);
        self.cut(learning);
    }

    fn count(&mut self, cell: i64, count: u64, last: Micros) {
        let counted = self.cells.entry(cell).or_insert((0, last));
        *counted = (counted.0 + count, counted.1.max(last));
    }

    fn keep(&mut self, entry: Entry) {
        let at = self.entries.partition_point(|kept| kept.order(&entry).is_le());
        if at < KEPT {
            self.entries.insert(at, entry);
            self.entries.truncate(KEPT);
        }
    }

    /// Drops what is too late for the first event, and so for any earlier one.
    fn cut(&mut self, learning: Learning) {
        let cutoff = self.cutoff(learning);
        self.entries.retain(|entry| entry.time.0 <= cutoff);
        if cutoff < i64::MAX {
            drop(self.cells.split_off(&(cutoff + 1)));
        }
    }

    fn merge(&mut self, learning: Learning, other: Self) {
        other.cells.into_iter().for_each(|(cell, (count, last))| self.count(cell, count, last));
        other.entries.into_iter().for_each(|entry| self.keep(entry));
        self.certain |= other.certain;
        self.cut(learning);
    }

    fn found(&self) -> Option<Match> {
        let at = self.first()?;
        let count = self.cells.values().map(|(count, _)| count).sum();
        let last = self.cells.values().map(|(_, last)| *last).max()?;
        Some(Match { entries: self.entries.clone(), at, count, last })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FirstSeen {
    /// Of the group, whatever its value.
    first: Option<Micros>,
    /// Values of which nothing more is to be told.
    known: BTreeSet<Value>,
    #[serde(with = "pairs")]
    traces: BTreeMap<Value, Trace>,
}

impl FirstSeen {
    /// Values.
    pub(super) fn len(&self) -> usize {
        self.known.len() + self.traces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// False where the value is one too many.
    pub(super) fn push(&mut self, learning: Learning, entry: Entry, limit: usize) -> bool {
        self.begin(entry.time);
        let Some(value) = entry.value.clone().filter(|value| !self.known.contains(value)) else { return true };
        if !self.traces.contains_key(&value) && self.len() >= limit {
            return false;
        }
        self.traces.entry(value).or_default().add(learning, entry);
        true
    }

    /// The number of events that went with values too many.
    pub(super) fn merge(&mut self, learning: Learning, other: Self, limit: usize) -> u64 {
        other.first.into_iter().for_each(|first| self.begin(first));
        self.traces.retain(|value, _| !other.known.contains(value));
        self.known.extend(other.known);
        let mut dropped = 0;
        for (value, trace) in other.traces {
            if self.known.contains(&value) {
                continue;
            }
            if !self.traces.contains_key(&value) && self.len() >= limit {
                dropped += trace.cells.values().map(|(count, _)| count).sum::<u64>();
                continue;
            }
            self.traces.entry(value).or_default().merge(learning, trace);
        }
        dropped
    }

    pub(super) fn advance(&mut self, learning: Learning, watermark: Micros, found: &mut Vec<Match>) {
        let Some(begin) = self.first else { return };
        let tells_from = later(begin, learning.learn);
        let mut over = Vec::new();
        for (value, trace) in &mut self.traces {
            let Some(first) = trace.first() else { continue };
            trace.certain |= is_over(first.0, watermark);
            let told = first.0 >= tells_from;
            if trace.certain && (!told || is_over(learning.cutoff(first), watermark)) {
                over.push((value.clone(), told));
            }
        }
        let start = found.len();
        for (value, told) in over {
            found.extend(self.traces.remove(&value).filter(|_| told).and_then(|trace| trace.found()));
            self.known.insert(value);
        }
        found.get_mut(start..).unwrap_or_default().sort_by(in_order);
    }

    /// New values that still count events.
    pub(super) fn growing(&self) -> Vec<Match> {
        let mut growing: Vec<Match> =
            self.traces.values().filter(|trace| trace.certain).filter_map(Trace::found).collect();
        growing.sort_by(in_order);
        growing
    }

    fn begin(&mut self, time: Micros) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
    }
}

fn in_order(left: &Match, right: &Match) -> std::cmp::Ordering {
    match (left.entries.first(), right.entries.first()) {
        (Some(left), Some(right)) => left.order(right),
        _ => left.at.cmp(&right.at),
    }
}

/// A map whose keys are no texts, as a list.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Trace, Value};

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Value, Trace>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Value, Trace>, D::Error> {
        Vec::deserialize(from).map(|pairs| pairs.into_iter().collect())
    }
}
