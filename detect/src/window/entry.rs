//! What a window needs of one event, owned and compact, the order in which entries count, and what a match is.

use std::cmp::Ordering;
use std::sync::Arc;

use keytrail_model::{Micros, Position, Text};
use serde::{Deserialize, Serialize};

use crate::seen::Seen;
use crate::shared;

/// One event that passed a stateful rule's filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub time: Micros,
    pub event_id: Text,
    /// Keeps copies of one event in one order.
    pub place: Position,
    /// Index into the window's steps; 0 where there are none.
    pub step: u16,
    /// What the measure looks at; `None`: the event lacks it.
    pub value: Option<Value>,
    #[serde(with = "shared::one")]
    pub(crate) seen: Arc<Seen>,
}

impl Entry {
    /// The order that everything here counts in. The step goes before the place, so that one event of two steps serves
    /// a sequence wherever its copies stand.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }

    fn key(&self) -> (Micros, &str, u16, &Position, Option<&Value>) {
        (self.time, &self.event_id, self.step, &self.place, self.value.as_ref())
    }

    /// What "before" and "later" mean in the rules' language: copies of one event are neither.
    pub(super) fn moment(&self) -> (Micros, &str) {
        (self.time, &self.event_id)
    }
}

/// A value that is counted, summed or seen for the first time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "n")]
    Number(#[serde(with = "exact")] f64),
}

impl Value {
    /// Several values as one; `None` where one of them is missing.
    #[must_use]
    pub fn tuple(parts: &[Option<&str>]) -> Option<Self> {
        match parts {
            [one] => one.map(|one| Self::Text(one.to_owned())),
            many => {
                let parts = many.iter().copied().collect::<Option<Vec<_>>>()?;
                serde_json::to_string(&parts).ok().map(Self::Text)
            }
        }
    }

    /// The number that it is or spells.
    pub(super) fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        number.is_finite().then_some(number)
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            // Adding zero makes a positive zero of a negative one.
            (Self::Number(left), Self::Number(right)) => (left + 0.0).total_cmp(&(right + 0.0)),
            (Self::Text(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Text(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

/// What a window found in one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// In order; the first is the period's start. Of a first-seen value only the earliest.
    pub entries: Vec<Entry>,
    /// Event time at which it was complete: of the event that completed it, or the end of a window that is judged when
    /// it is over.
    pub at: Micros,
    /// How many events it stands for, and the last of them.
    pub count: u64,
    pub last: Micros,
}

impl Match {
    pub(super) fn of(entries: Vec<Entry>, at: Micros) -> Self {
        let last = entries.last().map_or(at, |entry| entry.time);
        Self { count: entries.len() as u64, last, entries, at }
    }
}

/// Numbers as text: a JSON reader may miss the last bit, and has no word for infinity.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
