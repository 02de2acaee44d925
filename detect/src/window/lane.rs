//! The state of one rule and group: entries that are not settled, and the machine that took those that are.

use keytrail_model::Micros;
use serde::{Deserialize, Serialize};

use super::absence::{Absence, Awaited};
use super::entry::{Entry, Match, Value};
use super::first_seen::{FirstSeen, Learning};
use super::run::Run;
use super::sequence::Sequence;
use super::{Measure, Window};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Everything before it is settled. A plain number: the end of all files is no date.
    settled: Option<i64>,
    /// In no order.
    pending: Vec<Entry>,
    machine: Machine,
    /// Entries that the limit kept out. Where there are any, the matches depend on the order of pushes.
    pub dropped: u64,
}

/// What the measure needs of settled entries. First-seen takes entries at once, settled or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Machine {
    #[default]
    Fresh,
    Run(Run),
    Sequence(Sequence),
    Absence(Absence),
    FirstSeen(FirstSeen),
}

impl Machine {
    fn of(measure: &Measure) -> Self {
        match measure {
            Measure::Sequence => Self::Sequence(Sequence::default()),
            Measure::Absence { .. } => Self::Absence(Absence::default()),
            Measure::FirstSeen { .. } => Self::FirstSeen(FirstSeen::default()),
            _ => Self::Run(Run::default()),
        }
    }

    /// Entries, or values, that it holds.
    fn len(&self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Run(run) => run.len(),
            Self::Sequence(sequence) => sequence.len(),
            Self::Absence(absence) => absence.len(),
            Self::FirstSeen(seen) => seen.len(),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::FirstSeen(seen) => seen.is_empty(),
            other => other.len() == 0,
        }
    }

    fn take(&mut self, window: &Window, entry: Entry, found: &mut Vec<Match>) {
        match self {
            Self::Run(run) => run.take(window, entry, found),
            Self::Sequence(sequence) => sequence.take(window, entry),
            Self::Absence(absence) => absence.take(awaited(window), entry, found),
            Self::FirstSeen(_) | Self::Fresh => {}
        }
    }

    fn advance(&mut self, window: &Window, watermark: Micros, found: &mut Vec<Match>) {
        match self {
            Self::Run(run) => run.advance(window, watermark, found),
            Self::Sequence(sequence) => sequence.advance(window, watermark, found),
            Self::Absence(absence) => absence.advance(awaited(window), watermark, found),
            Self::FirstSeen(seen) => {
                if let Some(learning) = learning(window) {
                    seen.advance(learning, watermark, found);
                }
            }
            Self::Fresh => {}
        }
    }
}

impl Lane {
    /// An empty lane in which everything before `watermark` is late: for a key that was not there, or was idle and
    /// dropped, and for a worker that will be merged.
    #[must_use]
    pub fn since(watermark: Micros) -> Self {
        Self { settled: Some(watermark.0), ..Self::default() }
    }

    /// The first entry that it still holds.
    pub(crate) fn first(&self) -> Option<Micros> {
        let pending = self.pending.iter().map(|entry| entry.time).min();
        let run = if let Machine::Run(run) = &self.machine { run.first() } else { None };
        pending.into_iter().chain(run).min()
    }

    /// Everything before it is settled.
    #[must_use]
    pub fn settled(&self) -> Option<Micros> {
        self.settled.map(Micros)
    }

    /// False (and not kept) when its time lies before what was settled already: a late event, counted by the caller. A value
    /// is new whenever it comes, so first-seen takes it.
    pub fn push(&mut self, window: &Window, entry: Entry) -> bool {
        if learning(window).is_none() && self.settled.is_some_and(|settled| entry.time.0 < settled) {
            return false;
        }
        let kept = match learning(window) {
            Some(learning) => self.first_seen(window).is_none_or(|seen| seen.push(learning, entry, window.limit)),
            None => usable(window, entry).is_none_or(|entry| self.keep(window, entry)),
        };
        self.dropped += u64::from(!kept);
        true
    }

    /// Settles everything that no event at or after `watermark` can change any more; the matches found, in order.
    /// `i64::MAX` ends everything.
    pub fn settle(&mut self, window: &Window, watermark: Micros) -> Vec<Match> {
        let watermark = self.settled.map_or(watermark, |settled| watermark.max(Micros(settled)));
        self.settled = Some(watermark.0);
        let is_settled = |entry: &Entry| entry.time < watermark || watermark.0 == i64::MAX;
        let (mut settled, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(is_settled);
        self.pending = pending;
        settled.sort_unstable_by(Entry::order);
        let mut found = Vec::new();
        if !settled.is_empty() && matches!(self.machine, Machine::Fresh) {
            self.machine = Machine::of(&window.measure);
        }
        settled.into_iter().for_each(|entry| self.machine.take(window, entry, &mut found));
        self.machine.advance(window, watermark, &mut found);
        found
    }

    /// Matches that hold for certain, with their first event, and may still take in more: `settle` gives them, final,
    /// when they are over. For who cannot wait so long.
    #[must_use]
    pub fn growing(&self, window: &Window) -> Vec<Match> {
        match &self.machine {
            Machine::Run(run) => run.growing(window).into_iter().collect(),
            Machine::FirstSeen(seen) => seen.growing(),
            Machine::Fresh | Machine::Sequence(_) | Machine::Absence(_) => Vec::new(),
        }
    }

    /// Takes over the entries of another lane of the same key and the same settled point, at most one of which has
    /// settled entries of its own. The number of entries that were late after all.
    pub fn merge(&mut self, window: &Window, other: Self) -> u64 {
        let mut late = 0;
        for entry in other.pending {
            late += u64::from(!self.push(window, entry));
        }
        self.dropped += other.dropped;
        match (&mut self.machine, other.machine, learning(window)) {
            (Machine::FirstSeen(mine), Machine::FirstSeen(theirs), Some(learning)) => {
                self.dropped += mine.merge(learning, theirs, window.limit);
            }
            (_, theirs, _) if theirs.is_idle() => {}
            (mine, theirs, _) if mine.is_idle() => *mine = theirs,
            (_, theirs, _) => late += theirs.len() as u64,
        }
        late
    }

    /// Holds nothing that a later event could need: may be dropped, if [`Lane::since`] makes the next one of its key.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.machine.is_idle()
    }

    /// Entries, or values, that it holds: for who adds up what all lanes need.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len() + self.machine.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn keep(&mut self, window: &Window, entry: Entry) -> bool {
        let kept = self.len() < window.limit;
        self.pending.extend(kept.then_some(entry));
        kept
    }

    fn first_seen(&mut self, window: &Window) -> Option<&mut FirstSeen> {
        if matches!(self.machine, Machine::Fresh) {
            self.machine = Machine::of(&window.measure);
        }
        match &mut self.machine {
            Machine::FirstSeen(seen) => Some(seen),
            _ => None,
        }
    }
}

/// The entry as the measure looks at it; an event that lacks the value takes no part.
fn usable(window: &Window, mut entry: Entry) -> Option<Entry> {
    if window.measure.is_numeric() {
        entry.value = entry.value.as_ref().and_then(Value::number).map(Value::Number);
    }
    let wants_value = window.measure.is_numeric() || matches!(window.measure, Measure::Distinct(_));
    (!wants_value || entry.value.is_some()).then_some(entry)
}

fn awaited(window: &Window) -> Awaited {
    let within = window.within;
    match window.measure {
        Measure::Absence { after, of } => Awaited { after, of, within },
        _ => Awaited { after: 0, of: 0, within },
    }
}

fn learning(window: &Window) -> Option<Learning> {
    match window.measure {
        Measure::FirstSeen { learn, follow } => Some(Learning { learn, follow }),
        _ => None,
    }
}
