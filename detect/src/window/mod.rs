//! Stateful rules: what a window is, and the operators that find matches in the entries of one group.
//!
//! Pure functions of the set of entries: in which order they come in, when they are settled, whether the state was
//! saved, restored or merged in between makes no difference. Which events become entries, and what becomes of a
//! match, is the detector's.

mod absence;
mod condition;
mod entry;
mod first_seen;
mod lane;
mod network;
mod reading;
mod run;
mod sequence;
mod steps;
mod tally;
mod written;

#[cfg(test)]
mod tests;

use keytrail_model::Micros;
use keytrail_sql::Expression;
use serde::Deserialize;

pub use condition::{Combination, Comparison, Condition};
pub use entry::{Entry, Match, Value};
pub use lane::Lane;
pub use network::network;
pub(crate) use reading::Reading;
pub use steps::{Step, Takes};
pub(crate) use written::{WrittenSteps, WrittenWindow};

/// Which events are looked at together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The last `within` before an event; for what is judged when it is over, `within` from the first event not used.
    #[default]
    Sliding,
    /// UTC-aligned buckets of `within`.
    Tumbling,
    /// Events that follow each other with gaps of `within` at most.
    Session,
}

/// What must hold of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    Count(Condition),
    /// Different values.
    Distinct(Condition),
    Sum(Condition),
    Avg(Condition),
    /// The smallest value that `rank` per cent of the values do not exceed (nearest rank: always one that occurred).
    Percentile {
        rank: f64,
        condition: Condition,
    },
    /// Which steps must have happened, in any order.
    AllOf(Combination),
    /// All steps of the window, in order.
    Sequence,
    /// Step `after` without a later step `of` within the time. The two may be one step: a sign of life that ends.
    Absence {
        after: u16,
        of: u16,
    },
    /// A value that is new for the group, `learn` or more after the group's first event. Later events of the value are
    /// counted into the match for `follow`.
    FirstSeen {
        learn: i64,
        follow: i64,
    },
}

impl Measure {
    /// Whether more events can only make it truer, so that it is decided as soon as it holds.
    #[must_use]
    pub fn is_monotone(&self) -> bool {
        match self {
            Self::Count(condition) | Self::Distinct(condition) | Self::Sum(condition) => condition.is_monotone(),
            Self::AllOf(steps) => steps.is_monotone(),
            Self::Avg(_) | Self::Percentile { .. } => false,
            Self::Sequence | Self::Absence { .. } | Self::FirstSeen { .. } => true,
        }
    }

    /// Whether it looks at numbers only.
    fn is_numeric(&self) -> bool {
        matches!(self, Self::Sum(_) | Self::Avg(_) | Self::Percentile { .. })
    }
}

/// A value that the measure looks at.
#[derive(Clone, Debug)]
pub struct Column {
    pub expression: Expression,
    /// Whether the value is the network (see [`network`]) of the address that the expression gives.
    pub network: bool,
}

#[derive(Clone, Debug)]
pub struct Window {
    /// Microseconds. Nothing to a first-seen measure.
    pub within: i64,
    pub kind: Kind,
    pub measure: Measure,
    /// Names of the steps; [`Entry::step`] is an index into them.
    pub steps: Vec<String>,
    /// What [`Entry::value`] is made of; several are one tuple ([`Value::tuple`]).
    pub of: Vec<Column>,
    /// Most entries (for first-seen: values) that one lane holds.
    pub limit: usize,
    /// Its matches only serve rules that take them.
    pub quiet: bool,
}

impl Window {
    pub const LIMIT: usize = 1_000_000;

    #[must_use]
    pub fn new(within: i64, kind: Kind, measure: Measure) -> Self {
        Self {
            within: within.max(1),
            kind,
            measure,
            steps: Vec::new(),
            of: Vec::new(),
            limit: Self::LIMIT,
            quiet: false,
        }
    }

    /// How far before the watermark the `at` of a match that is yet to be found can lie. A rule over the matches of
    /// this one is settled so much later. `None`: without bound (a session ends when it likes).
    #[must_use]
    pub fn delay(&self) -> Option<i64> {
        match (&self.measure, self.kind) {
            (Measure::Sequence | Measure::Absence { .. }, _) => Some(0),
            (Measure::FirstSeen { follow, .. }, _) => Some(follow.saturating_add(first_seen::grain(*follow))),
            (measure, _) if !measure.is_monotone() => Some(0),
            (_, Kind::Session) => None,
            _ => Some(self.within),
        }
    }

    /// How long after the settled point a match may still begin before it, where that does not show in the lane: values
    /// that were seen stay in one for good. `None`: a lane that is gone has no such match.
    pub(crate) fn grace(&self) -> Option<i64> {
        matches!(self.measure, Measure::FirstSeen { .. }).then(|| self.delay()).flatten()
    }

    /// From when on events can be in a match with one at `first`, where no match took any of them. `None` where everything that ever was decides: which values were seen, or where windows are cut that no
    /// match begins.
    pub(crate) fn begins(&self, first: Micros) -> Option<Micros> {
        let back = |times: i64| Micros(first.0.saturating_sub(self.within.saturating_mul(times)));
        match (&self.measure, self.kind) {
            (Measure::FirstSeen { .. }, _) => None,
            (Measure::Sequence | Measure::Absence { .. }, _) => Some(back(1)),
            (_, Kind::Tumbling) => Some(first.bucket(self.within)),
            (_, Kind::Session) => Some(back(SESSION)),
            (measure, Kind::Sliding) => measure.is_monotone().then(|| back(1)),
        }
    }

    /// Whether matches are taken greedily out of the stream of events, as soon as they hold.
    fn is_greedy(&self) -> bool {
        self.kind == Kind::Sliding && self.measure.is_monotone()
    }
}

/// So many gaps a session that is no match is looked for backwards.
const SESSION: i64 = 24;

/// Whether no event at or after the watermark can come at `last` or before. The highest watermark ends everything.
fn is_over(last: i64, watermark: Micros) -> bool {
    last < watermark.0 || watermark.0 == i64::MAX
}

fn later(time: Micros, by: i64) -> i64 {
    time.0.saturating_add(by)
}
