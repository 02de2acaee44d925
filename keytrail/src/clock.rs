//! How far event time has come while files are read a second time: nothing that is still to be read lies before it.
//!
//! Known exactly, because the first reading noted the earliest time of each chunk. So windows settle on the way and
//! memory stays flat over files in any order of time, without a guess about how late an event can be.

use keytrail_model::{EventBatch, Micros};

/// The earliest time in each chunk, by number; noted in any order.
#[derive(Debug, Default)]
pub struct Clock {
    earliest: Vec<Micros>,
}

impl Clock {
    pub fn note(&mut self, chunk: usize, batches: &[EventBatch]) {
        let times = batches.iter().filter_map(EventBatch::time_range);
        let earliest = times.map(|(first, _)| first).min().unwrap_or(Micros(i64::MAX));
        if self.earliest.len() <= chunk {
            self.earliest.resize(chunk + 1, Micros(i64::MAX));
        }
        if let Some(known) = self.earliest.get_mut(chunk) {
            *known = earliest.min(*known);
        }
    }

    /// Takes over what another thread noted.
    pub fn merge(&mut self, other: &Self) {
        for (chunk, earliest) in other.earliest.iter().enumerate() {
            match self.earliest.get_mut(chunk) {
                Some(known) => *known = (*known).min(*earliest),
                None => self.earliest.push(*earliest),
            }
        }
    }

    /// The watermark once so many chunks were read; `None` while nothing is known.
    #[must_use]
    pub fn after(&self, chunks: usize) -> Option<Micros> {
        let rest = self.earliest.get(chunks..)?;
        rest.iter().min().copied().filter(|earliest| earliest.0 < i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_earliest_of_what_is_still_to_come() {
        let clock = Clock { earliest: [30, 10, 20, 40].map(Micros).to_vec() };
        let after: Vec<_> = (0..5).map(|chunks| clock.after(chunks).map(|at| at.0)).collect();
        assert_eq!(after, [Some(10), Some(10), Some(20), Some(40), None]);
        let mut merged = Clock { earliest: vec![Micros(50)] };
        merged.merge(&clock);
        assert_eq!(merged.earliest, clock.earliest);
    }
}
