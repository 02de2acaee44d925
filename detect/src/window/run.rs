//! Windows over a run of entries: sliding, tumbling, sessions; thresholds and steps in any order.

use std::collections::VecDeque;

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Match};
use super::tally::{Tally, judge};
use super::{Kind, Window, is_over, later};

/// The window that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    entries: VecDeque<Entry>,
    /// When the match that the entries are was complete; only of greedy windows, which then take in what follows.
    complete: Option<Micros>,
    /// Of the entries, while a greedy window is being searched.
    #[serde(skip)]
    tally: Tally,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first(&self) -> Option<Micros> {
        self.entries.front().map(|entry| entry.time)
    }

    /// Takes the next entry in order.
    pub(super) fn take(&mut self, window: &Window, entry: Entry, found: &mut Vec<Match>) {
        let searching = window.is_greedy() && self.complete.is_none();
        if !searching && self.reach(window).is_some_and(|reach| reach < entry.time.0) {
            self.close(window, found);
        }
        if window.is_greedy() && self.complete.is_none() {
            self.search(window, entry);
        } else {
            self.entries.push_back(entry);
        }
    }

    /// Ends what nothing at or after the watermark can belong to.
    pub(super) fn advance(&mut self, window: &Window, watermark: Micros, found: &mut Vec<Match>) {
        if window.is_greedy() && self.complete.is_none() {
            self.forget(window, |first| is_over(later(first.time, window.within), watermark));
        } else if self.reach(window).is_some_and(|reach| is_over(reach, watermark)) {
            self.close(window, found);
        }
    }

    /// The match that holds already and may still grow.
    pub(super) fn growing(&self, window: &Window) -> Option<Match> {
        let at = match window.is_greedy() {
            true => self.complete,
            false if window.measure.is_monotone() => judge(window, &self.entries),
            false => None,
        };
        at.map(|at| Match::of(self.entries.iter().cloned().collect(), at))
    }

    /// The last instant at which an event may still join.
    fn reach(&self, window: &Window) -> Option<i64> {
        let first = self.entries.front()?;
        Some(match window.kind {
            Kind::Sliding => later(first.time, window.within),
            Kind::Tumbling => later(first.time.bucket(window.within), window.within - 1),
            Kind::Session => later(self.entries.back()?.time, window.within),
        })
    }

    /// The oldest run that reaches to this entry; complete as soon as it holds.
    fn search(&mut self, window: &Window, entry: Entry) {
        self.forget(window, |first| later(first.time, window.within) < entry.time.0);
        self.tally.add(&window.measure, &entry);
        if self.tally.holds(&window.measure) {
            self.complete = Some(entry.time);
            self.tally = Tally::default();
        }
        self.entries.push_back(entry);
    }

    /// Drops the oldest entries as long as they are too old.
    fn forget(&mut self, window: &Window, too_old: impl Fn(&Entry) -> bool) {
        if self.tally.count() != self.entries.len() {
            self.tally = Tally::of(&window.measure, &self.entries);
        }
        while let Some(first) = self.entries.pop_front_if(|first| too_old(first)) {
            self.tally.remove(&window.measure, &first);
        }
    }

    fn close(&mut self, window: &Window, found: &mut Vec<Match>) {
        let entries = std::mem::take(&mut self.entries);
        let at = if window.is_greedy() { self.complete.take() } else { judge(window, &entries) };
        found.extend(at.map(|at| Match::of(entries.into(), at)));
    }
}
