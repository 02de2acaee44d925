//! Which records were evaluated already: exact within a horizon, and bounded. Kept as the first 16 bytes of SHA-256 over
//! what makes a record itself.

use std::collections::{HashSet, VecDeque};

use keytrail_model::{EventBatch, Micros};
use sha2::{Digest, Sha256};

pub type Id = [u8; 16];

/// Beyond this the oldest are forgotten, horizon or not.
const KEPT: usize = 2_000_000;
/// Ids of one run: asked one after the other, so few and large; forgotten whole, so not too large.
const RUN: usize = 1 << 18;

/// Sorted, and the event time of the latest.
#[derive(Debug)]
struct Run {
    last: Micros,
    ids: Vec<Id>,
}

/// Ids in the order in which they were saved. Two million of them are 32 MB; a set of them would be three times that.
#[derive(Debug, Default)]
pub struct Seen {
    fresh: HashSet<Id>,
    last: Option<Micros>,
    /// The oldest first.
    runs: VecDeque<Run>,
    /// Events up to this time may have been forgotten.
    forgotten: Option<Micros>,
}

impl Seen {
    /// Whether it is new; from now on it is not.
    pub fn insert(&mut self, id: Id, time: Micros) -> bool {
        let new = !self.contains(&id);
        if new {
            self.fresh.insert(id);
            self.last = self.last.max(Some(time));
        }
        new
    }

    #[must_use]
    pub fn contains(&self, id: &Id) -> bool {
        self.fresh.contains(id) || self.runs.iter().any(|run| run.ids.binary_search(id).is_ok())
    }

    /// Whether it may have been seen: of what was forgotten, nobody knows.
    #[must_use]
    pub fn may_contain(&self, id: &Id, time: Micros) -> bool {
        self.forgotten.is_some_and(|forgotten| time <= forgotten) || self.contains(id)
    }

    /// Those since the last time, to be saved.
    pub fn turn(&mut self) -> Option<(Micros, Vec<u8>)> {
        let last = self.last.take()?;
        let ids: Vec<Id> = std::mem::take(&mut self.fresh).into_iter().collect();
        let bytes = ids.concat();
        self.put(last, ids);
        Some((last, bytes))
    }

    /// Takes up what was saved.
    pub fn restore(&mut self, last: Micros, bytes: &[u8]) {
        self.put(last, bytes.as_chunks::<16>().0.to_vec());
    }

    /// Put together with those before that are not by far larger: each id is sorted few times, and runs stay few.
    fn put(&mut self, mut last: Micros, mut ids: Vec<Id>) {
        let fits = |before: &Run, now: usize| before.ids.len() < 2 * now && before.ids.len() + now <= RUN;
        while let Some(before) = self.runs.pop_back_if(|before| fits(before, ids.len())) {
            last = last.max(before.last);
            ids.extend(before.ids);
        }
        ids.sort_unstable();
        ids.shrink_to_fit();
        self.runs.push_back(Run { last, ids });
    }

    /// Forgets what is older, and what is too much.
    pub fn forget_before(&mut self, time: Micros) {
        self.forgotten = self.forgotten.max(Some(time));
        while self.runs.front().is_some_and(|run| run.last < time || self.len() > KEPT) {
            self.forgotten = self.forgotten.max(self.runs.pop_front().map(|run| run.last));
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.fresh.len() + self.runs.iter().map(|run| run.ids.len()).sum::<usize>()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a record is known by, whichever way it came: some providers give one id to several records of one operation, so
/// time, action and outcome stand beside it. Without an id, the record itself.
#[must_use]
pub fn id_of(batch: &EventBatch, row: usize) -> Id {
    let text = |name: &str| batch.text(name, row).filter(|text| !text.is_empty());
    let time = batch.time(row).0.to_string();
    let mut hash = Sha256::new();
    let own = text("event_id").or_else(|| text("raw")).unwrap_or_default();
    let parts = [&*batch.source, own, &time, text("action").unwrap_or_default(), text("outcome").unwrap_or_default()];
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_it_saw_until_it_is_told_to_forget() {
        let mut seen = Seen::default();
        assert!(seen.insert([1; 16], Micros(5)) && !seen.insert([1; 16], Micros(5)));
        let (last, bytes) = seen.turn().expect("a generation");
        assert_eq!((last, bytes.len()), (Micros(5), 16));
        assert!(seen.turn().is_none());
        let mut again = Seen::default();
        again.restore(last, &bytes);
        assert!(!again.insert([1; 16], Micros(5)));
        again.forget_before(Micros(6));
        assert!(again.is_empty() && again.insert([1; 16], Micros(9)));
    }

    #[test]
    fn what_is_too_much_is_forgotten_from_the_oldest_on() {
        let id = |number: usize| {
            let mut id = Id::default();
            id[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            id
        };
        let mut seen = Seen::default();
        for number in 0..KEPT + RUN {
            assert!(seen.insert(id(number), Micros(0)));
            if number % (RUN / 3) == 0 {
                seen.turn();
                seen.forget_before(Micros(0));
            }
        }
        seen.turn();
        seen.forget_before(Micros(0));
        assert!(KEPT - RUN < seen.len() && seen.len() <= KEPT, "{}", seen.len());
        assert!(!seen.contains(&id(0)) && seen.contains(&id(KEPT + RUN - 1)) && seen.contains(&id(2 * RUN)));
    }
}
