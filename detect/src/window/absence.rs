//! One step that another does not follow in time.

use std::collections::VecDeque;

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Match};
use super::{is_over, later};

/// Entries that wait for what should follow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Absence {
    waiting: VecDeque<Entry>,
}

/// The steps of the measure and its time.
#[derive(Clone, Copy)]
pub(super) struct Awaited {
    pub(super) after: u16,
    pub(super) of: u16,
    pub(super) within: i64,
}

impl Absence {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next entry in order.
    pub(super) fn take(&mut self, awaited: Awaited, entry: Entry, found: &mut Vec<Match>) {
        if entry.step == awaited.of {
            self.expire(awaited.within, found, |end| end < entry.time.0);
            while self.waiting.pop_front_if(|waiting| waiting.moment() < entry.moment()).is_some() {}
        }
        if entry.step == awaited.after {
            self.waiting.push_back(entry);
        }
    }

    pub(super) fn advance(&mut self, awaited: Awaited, watermark: Micros, found: &mut Vec<Match>) {
        self.expire(awaited.within, found, |end| is_over(end, watermark));
    }

    fn expire(&mut self, within: i64, found: &mut Vec<Match>, over: impl Fn(i64) -> bool) {
        while let Some(entry) = self.waiting.pop_front_if(|entry| over(later(entry.time, within))) {
            let at = Micros(later(entry.time, within));
            found.push(Match::of(vec![entry], at));
        }
    }
}
