//! What the entries of a window amount to. A function of the entries alone, whatever was added and taken away before.

use std::collections::BTreeMap;

use keytrail_model::Micros;

use super::condition::{UNIT, fixed};
use super::entry::{Entry, Value};
use super::{Kind, Measure, Window, later};

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    count: usize,
    sum: i128,
    values: BTreeMap<Value, usize>,
    steps: BTreeMap<u16, usize>,
}

/// It follows from the entries beside it, and is made anew where it is missing.
impl PartialEq for Tally {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Tally {
    pub(super) fn of<'a>(measure: &Measure, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut tally = Self::default();
        entries.into_iter().for_each(|entry| tally.add(measure, entry));
        tally
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, measure: &Measure, entry: &Entry) {
        self.count += 1;
        match measure {
            Measure::Distinct(_) | Measure::Percentile { .. } => {
                entry.value.iter().for_each(|value| *self.values.entry(value.clone()).or_default() += 1);
            }
            Measure::Sum(_) | Measure::Avg(_) => self.sum += amount(entry),
            Measure::AllOf(_) => *self.steps.entry(entry.step).or_default() += 1,
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, measure: &Measure, entry: &Entry) {
        self.count = self.count.saturating_sub(1);
        match measure {
            Measure::Distinct(_) | Measure::Percentile { .. } => {
                entry.value.iter().for_each(|value| remove_one(&mut self.values, value));
            }
            Measure::Sum(_) | Measure::Avg(_) => self.sum -= amount(entry),
            Measure::AllOf(_) => remove_one(&mut self.steps, &entry.step),
            _ => {}
        }
    }

    pub(super) fn holds(&self, measure: &Measure) -> bool {
        match measure {
            Measure::Count(condition) => condition.holds(self.count as i128 * UNIT, 1),
            Measure::Distinct(condition) => condition.holds(self.values.len() as i128 * UNIT, 1),
            Measure::Sum(condition) => condition.holds(self.sum, 1),
            Measure::Avg(condition) => condition.holds(self.sum, self.count),
            Measure::Percentile { rank, condition } => {
                self.percentile(*rank).is_some_and(|value| condition.holds(fixed(value), 1))
            }
            Measure::AllOf(steps) => steps.holds(&self.steps),
            Measure::Sequence | Measure::Absence { .. } | Measure::FirstSeen { .. } => false,
        }
    }

    /// The first value, from the smallest, at which `rank` per cent of all are reached.
    fn percentile(&self, rank: f64) -> Option<f64> {
        let wanted = fixed(rank) * self.count as i128;
        let mut reached = 0;
        self.values.iter().find_map(|(value, count)| {
            reached += *count as i128;
            (reached * 100 * UNIT >= wanted).then(|| value.number()).flatten()
        })
    }
}

/// When a window that is over turned out to hold, if it does.
pub(super) fn judge<'a>(
    window: &Window,
    entries: impl IntoIterator<Item = &'a Entry, IntoIter: Clone + DoubleEndedIterator>,
) -> Option<Micros> {
    let entries = entries.into_iter();
    if window.measure.is_monotone() {
        let mut tally = Tally::default();
        return entries.into_iter().find_map(|entry| {
            tally.add(&window.measure, entry);
            tally.holds(&window.measure).then_some(entry.time)
        });
    }
    let (first, last) = (entries.clone().next()?, entries.clone().next_back()?);
    Tally::of(&window.measure, entries).holds(&window.measure).then(|| end(window, first, last))
}

/// The time at which a window is over.
fn end(window: &Window, first: &Entry, last: &Entry) -> Micros {
    Micros(match window.kind {
        Kind::Sliding => later(first.time, window.within),
        Kind::Tumbling => later(first.time.bucket(window.within), window.within),
        Kind::Session => later(last.time, window.within),
    })
}

fn amount(entry: &Entry) -> i128 {
    entry.value.as_ref().and_then(Value::number).map_or(0, fixed)
}

fn remove_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
