//! Steps in order: for each first step, the earliest later entry of each next step, within the time.

use std::cmp::Ordering;
use std::collections::VecDeque;

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Match};
use super::{Window, is_over, later};

/// Entries that may still be part of a match, by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sequence {
    lines: Vec<VecDeque<Entry>>,
}

/// What became of the oldest first step.
enum Chain {
    Complete(Vec<Entry>),
    /// A step is missing that may still come.
    Open,
    /// A step came too late.
    Broken,
}

impl Sequence {
    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    /// Takes the next entry in order.
    pub(super) fn take(&mut self, window: &Window, entry: Entry) {
        self.lines.resize_with(window.steps.len(), VecDeque::new);
        if let Some(line) = self.lines.get_mut(usize::from(entry.step)) {
            line.push_back(entry);
        }
    }

    /// Decides the first steps in order, as far as they can be decided.
    pub(super) fn advance(&mut self, window: &Window, watermark: Micros, found: &mut Vec<Match>) {
        while let Some(first) = self.lines.first().and_then(VecDeque::front) {
            let end = later(first.time, window.within);
            match self.chain(first, end) {
                Chain::Complete(entries) => found.push(self.consume(entries)),
                Chain::Open if !is_over(end, watermark) => break,
                Chain::Open | Chain::Broken => self.drop_first(),
            }
        }
        self.trim();
    }

    fn chain(&self, first: &Entry, end: i64) -> Chain {
        let mut chain = vec![first.clone()];
        let mut last = first;
        for line in self.lines.iter().skip(1) {
            let next = line.partition_point(|entry| entry.order(last) != Ordering::Greater);
            match line.get(next) {
                None => return Chain::Open,
                Some(entry) if entry.time.0 > end => return Chain::Broken,
                Some(entry) => last = entry,
            }
            chain.push(last.clone());
        }
        Chain::Complete(chain)
    }

    /// A match uses up its entries and every one before its last.
    fn consume(&mut self, entries: Vec<Entry>) -> Match {
        if let Some(last) = entries.last() {
            self.drop_where(|entry| entry.order(last) != Ordering::Greater);
        }
        let at = entries.last().map(|last| last.time).unwrap_or_default();
        Match::of(entries, at)
    }

    fn drop_first(&mut self) {
        self.lines.first_mut().and_then(VecDeque::pop_front);
    }

    /// Later steps count only after a first one.
    fn trim(&mut self) {
        match self.lines.first().and_then(|line| line.front().cloned()) {
            Some(first) => self.drop_where(|entry| entry.order(&first) == Ordering::Less),
            None => self.lines.clear(),
        }
    }

    fn drop_where(&mut self, gone: impl Fn(&Entry) -> bool) {
        for line in &mut self.lines {
            while line.pop_front_if(|entry| gone(entry)).is_some() {}
        }
    }
}
