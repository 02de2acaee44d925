//! Which records were evaluated already: exact within a horizon, and bounded. Kept as the first 16 bytes of SHA-256 over
//! what makes a record itself.

use std::collections::{HashSet, VecDeque};

use keytrail_model::{EventBatch, Micros};
use sha2::{Digest, Sha256};

pub type Id = [u8; 16];

/// Beyond this the oldest are forgotten, horizon or not: some 300 MB would be too much, 64 MB is not.
const KEPT: usize = 2_000_000;

/// Ids in the order in which they were saved.
#[derive(Debug, Default)]
pub struct Seen {
    all: HashSet<Id>,
    generations: VecDeque<(Micros, Vec<Id>)>,
    fresh: Vec<Id>,
    last: Option<Micros>,
}

impl Seen {
    /// Whether it is new; from now on it is not.
    pub fn insert(&mut self, id: Id, time: Micros) -> bool {
        let new = self.all.insert(id);
        if new {
            self.fresh.push(id);
            self.last = self.last.max(Some(time));
        }
        new
    }

    /// Those since the last time, to be saved.
    pub fn turn(&mut self) -> Option<(Micros, Vec<u8>)> {
        let ids = std::mem::take(&mut self.fresh);
        let last = self.last.take()?;
        let bytes = ids.concat();
        self.generations.push_back((last, ids));
        Some((last, bytes))
    }

    /// Takes up what was saved.
    pub fn restore(&mut self, last: Micros, bytes: &[u8]) {
        let (ids, _) = bytes.as_chunks::<16>();
        self.all.extend(ids);
        self.generations.push_back((last, ids.to_vec()));
    }

    /// Forgets what is older, and what is too much.
    pub fn forget_before(&mut self, time: Micros) {
        while let Some((last, ids)) = self.generations.front() {
            if *last >= time && self.all.len() <= KEPT {
                break;
            }
            ids.iter().for_each(|id| {
                self.all.remove(id);
            });
            self.generations.pop_front();
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
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
}
