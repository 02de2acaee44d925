//! What is known of each assigned partition: what was gathered, what is handed over, and how far it is acknowledged.
//! Talks to nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keytrail_model::Micros;

use super::context::Key;
use crate::Limits;
use crate::sources::{Extent, Messages, Part, Receipt};

#[derive(Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Key, Lane>,
    /// Of which something was acknowledged here. Bounded by the partitions there are.
    reached: BTreeSet<Key>,
    /// How far the ledger knew them when this began, and since when.
    known: BTreeMap<Key, (i64, Micros)>,
    /// All that the topics have, whoever has them; unknown until it was asked for.
    existing: Option<BTreeSet<Key>>,
}

pub(super) struct Lane {
    assignment: u64,
    /// Where the next piece begins; unknown until the group's committed offset was asked for.
    next: Option<i64>,
    pub(super) settled: bool,
    /// Where reading has to start anew; what still comes from before is dropped.
    pub(super) rewind: Option<i64>,
    end: End,
    gathered: Option<Gathered>,
    flights: VecDeque<Flight>,
    /// What the group may commit.
    acked: Option<i64>,
    begins: Begins,
}

/// What is known of where a lane begins, until something of it was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Begins {
    /// It goes on where it was committed.
    #[default]
    Committed,
    /// It was made anew.
    Anew,
    /// The group knows nothing of it, and it went so far.
    Oldest { end: i64 },
}

impl Begins {
    fn extent(self, (from, to): (i64, i64), written: Option<Micros>) -> Extent {
        match self {
            Self::Committed => Extent::Piece { from, to },
            Self::Anew => Extent::Anew { from, to },
            Self::Oldest { end } => Extent::Oldest { from, to, end, written },
        }
    }
}

/// librdkafka names the partition that ended, but not its topic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// This one, or that of the same number in another topic.
    Perhaps,
    Yes,
}

struct Gathered {
    messages: Messages,
    from: i64,
    to: i64,
    /// When the first of them was.
    written: Option<Micros>,
}

struct Flight {
    receipt: Receipt,
    from: i64,
    to: i64,
    acked: bool,
    begins: Begins,
}

/// The part's position in its topic, as the ledger knows it.
pub(super) fn origin(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

/// What `origin` was made of.
pub(super) fn key(origin: &str) -> Option<Key> {
    let (topic, partition) = origin.rsplit_once('/')?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

impl Lane {
    fn new(assignment: u64) -> Self {
        Self {
            assignment,
            next: None,
            settled: false,
            rewind: None,
            end: End::No,
            gathered: None,
            flights: VecDeque::new(),
            acked: None,
            begins: Begins::default(),
        }
    }

    /// The offset that is expected next.
    pub(super) fn position(&self) -> Option<i64> {
        self.gathered.as_ref().map(|gathered| gathered.to).or(self.next)
    }

    /// It continues at the committed offset.
    pub(super) fn continues(&mut self, at: i64) {
        self.settled = true;
        self.next = self.next.or(Some(at));
    }

    /// It starts at an offset that is not the committed one.
    pub(super) fn starts(&mut self, at: i64) {
        self.settled = true;
        self.restart(at);
    }

    /// It was made anew, and starts over.
    pub(super) fn starts_over(&mut self, at: i64) {
        self.starts(at);
        self.begins = Begins::Anew;
    }

    /// The group knows nothing of it.
    pub(super) fn starts_unknown(&mut self, at: i64, end: i64) {
        self.starts(at);
        self.begins = Begins::Oldest { end };
    }

    /// What was gathered is forgotten and comes again.
    fn restart(&mut self, at: i64) {
        self.gathered = None;
        self.next = Some(at);
        self.rewind = Some(at);
        self.end = End::No;
    }

    fn take(&mut self, origin: &str, (offset, written): (i64, Option<Micros>), payload: &[u8], limits: &Limits) {
        self.end = End::No;
        let gathered = self.gathered.get_or_insert_with(|| Gathered {
            messages: Messages::new(origin, limits),
            from: offset,
            to: offset,
            written,
        });
        gathered.to = offset + 1;
        gathered.written = gathered.written.or(written);
        if let (false, Ok(position)) = (payload.is_empty(), u64::try_from(offset)) {
            gathered.messages.add(position, payload);
        }
    }

    /// Nothing that can be read stands between the last message and the end: the piece goes up to it.
    fn close(&mut self, origin: &str, end: i64, limits: &Limits) {
        let (End::Yes, None, Some(next)) = (self.end, self.rewind, self.next) else { return };
        if self.position().is_none_or(|position| position >= end) {
            return;
        }
        let empty = || Gathered { messages: Messages::new(origin, limits), from: next, to: next, written: None };
        self.gathered.get_or_insert_with(empty).to = end;
    }

    fn hand_over(&mut self, receipt: Receipt, topic: &str, partition: i32) -> Option<Part> {
        let Gathered { messages, from: first, to, written } = self.gathered.take()?;
        // Holes within a topic join; what was deleted unread does not, for it was noticed and `next` moved on.
        let from = self.next.filter(|next| *next <= first).unwrap_or(first);
        self.next = Some(to);
        let begins = std::mem::take(&mut self.begins);
        self.flights.push_back(Flight { receipt, from, to, acked: false, begins });
        let origin = origin(topic, partition);
        Some(Part {
            lane: origin.clone(),
            origin,
            extent: begins.extent((from, to), written),
            chunks: Box::new(messages),
        })
    }

    /// What the group may commit now that this one is done; never past one that is not.
    fn ack(&mut self, receipt: Receipt) -> Option<i64> {
        let flight = self.flights.iter_mut().find(|flight| flight.receipt == receipt)?;
        flight.acked = true;
        let mut done = None;
        while self.flights.front().is_some_and(|flight| flight.acked) {
            done = self.flights.pop_front().map(|flight| flight.to);
        }
        self.acked = done.or(self.acked);
        done
    }

    /// This one and all after it come again.
    fn nack(&mut self, receipt: Receipt) {
        let Some(at) = self.flights.iter().position(|flight| flight.receipt == receipt) else { return };
        let again = self.flights.split_off(at);
        if let Some(first) = again.front() {
            let (from, begins) = (first.from, first.begins);
            self.restart(from);
            self.begins = begins;
        }
    }

    /// From here on all of it comes again, whatever was acknowledged.
    pub(super) fn refill(&mut self, from: i64) {
        self.flights.retain(|flight| flight.to <= from);
        self.settled = true;
        self.restart(from);
    }
}

impl Lanes {
    /// Takes over what is assigned. What was gathered of a partition that is gone comes to whoever has it now.
    pub(super) fn assigned(&mut self, assigned: &BTreeMap<Key, u64>) {
        self.lanes.retain(|key, lane| assigned.get(key) == Some(&lane.assignment));
        for (key, number) in assigned {
            self.lanes.entry(key.clone()).or_insert_with(|| Lane::new(*number));
        }
    }

    /// A message, its offset and when it was written.
    pub(super) fn take(&mut self, key: &Key, at: (i64, Option<Micros>), payload: &[u8], limits: &Limits) -> bool {
        let lane = self.lanes.get_mut(key).filter(|lane| lane.rewind.is_none());
        lane.map(|lane| lane.take(&origin(&key.0, key.1), at, payload, limits)).is_some()
    }

    /// One partition of this number has nothing more.
    pub(super) fn ended(&mut self, partition: i32) {
        let open = |lane: &Lane| lane.rewind.is_none() && lane.end != End::Yes;
        let mut lanes: Vec<_> = self.lanes.iter_mut().filter(|(key, _)| key.1 == partition).collect();
        let end = if lanes.len() == 1 { End::Yes } else { End::Perhaps };
        lanes.iter_mut().filter(|(_, lane)| open(lane)).for_each(|(_, lane)| lane.end = end);
    }

    /// Where partitions ended that had nothing left to take.
    pub(super) fn ends(&mut self, ends: &[(Key, i64)], limits: &Limits) -> bool {
        for (key, end) in ends {
            let Some(lane) = self.lanes.get_mut(key).filter(|lane| lane.rewind.is_none()) else { continue };
            lane.close(&origin(&key.0, key.1), *end, limits);
            if lane.end == End::Perhaps && lane.position().is_some_and(|position| position <= *end) {
                lane.end = End::Yes;
            }
        }
        self.gathering()
    }

    pub(super) fn gathering(&self) -> bool {
        self.lanes.values().any(|lane| lane.gathered.is_some())
    }

    pub(super) fn is_settled(&self) -> bool {
        self.lanes.values().all(|lane| lane.settled && lane.rewind.is_none())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Lane)> {
        self.lanes.iter_mut()
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Lane> {
        self.lanes.get_mut(key)
    }

    /// Which assignment brought it.
    pub(super) fn assignment(&self, key: &Key) -> Option<u64> {
        self.lanes.get(key).map(|lane| lane.assignment)
    }

    pub(super) fn unsettled(&self) -> Vec<Key> {
        self.lanes.iter().filter(|(_, lane)| !lane.settled).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.lanes.keys().cloned().collect()
    }

    /// Whether something of this partition was acknowledged before.
    pub(super) fn reached(&self, key: &Key) -> bool {
        self.reached.contains(key)
    }

    pub(super) fn hand_over(&mut self, receipt: Receipt) -> Vec<Part> {
        let mut parts = Vec::new();
        for (key, lane) in &mut self.lanes {
            parts.extend(lane.hand_over(receipt, &key.0, key.1));
        }
        parts
    }

    pub(super) fn ack(&mut self, receipt: Receipt) -> Vec<(Key, i64)> {
        let done = self.lanes.iter_mut().filter_map(|(key, lane)| Some((key.clone(), lane.ack(receipt)?)));
        let done: Vec<_> = done.collect();
        self.reached.extend(done.iter().map(|(key, _)| key.clone()));
        done
    }

    /// All that may be committed, for when a commit failed.
    pub(super) fn acked(&self) -> Vec<(Key, i64)> {
        self.lanes.iter().filter_map(|(key, lane)| Some((key.clone(), lane.acked?))).collect()
    }

    pub(super) fn nack(&mut self, receipt: Receipt) {
        self.lanes.values_mut().for_each(|lane| lane.nack(receipt));
    }

    /// Takes over which partitions there are.
    pub(super) fn exist(&mut self, keys: Vec<Key>) {
        self.existing = Some(keys.into_iter().collect());
    }

    /// How far the ledger knew it when this began, and since when.
    pub(super) fn known(&self, key: &Key) -> Option<(i64, Micros)> {
        self.known.get(key).copied()
    }

    /// Takes over what the ledger knows.
    pub(super) fn know(&mut self, known: impl Iterator<Item = (Key, (i64, Micros))>) {
        self.known.extend(known);
    }

    /// All that there are.
    pub(super) fn all(&self) -> Vec<String> {
        let all: BTreeSet<&Key> = self.lanes.keys().chain(self.existing.iter().flatten()).collect();
        all.into_iter().map(|(topic, partition)| origin(topic, *partition)).collect()
    }

    /// Those at their end, and those that are there no more. What another replica has is for that one to say.
    pub(super) fn idle(&self) -> Vec<String> {
        let ended = self.lanes.iter().filter(|(_, lane)| lane.end == End::Yes && lane.gathered.is_none());
        let gone = |key: &&Key| self.existing.as_ref().is_some_and(|existing| !existing.contains(*key));
        let gone = self.known.keys().chain(&self.reached).filter(gone).filter(|key| !self.lanes.contains_key(*key));
        let idle: BTreeSet<&Key> = ended.map(|(key, _)| key).chain(gone).collect();
        idle.into_iter().map(|(topic, partition)| origin(topic, *partition)).collect()
    }
}
