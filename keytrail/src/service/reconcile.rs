//! What a provider says there is, held against what was taken in.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use keytrail_ingest::sources::{Gap, Listed, Listing, Proof, Source};
use keytrail_model::Micros;
use keytrail_store::Store;

/// Origins that are looked up at once.
const PAGE: usize = 1_000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Found {
    /// Objects, or positions of growing logs.
    pub listed: u64,
    pub taken: u64,
    pub gaps: Vec<Missing>,
    /// When the oldest object was written that is missing, where that is known.
    pub earliest: Option<Micros>,
    pub provable: bool,
    /// What the list was checked against, or why there is none.
    pub said: String,
}

/// What was missing when it was last looked for.
#[derive(Debug, Default)]
pub struct Before {
    /// Of logs that grow, how far they went.
    ends: BTreeMap<String, i64>,
    objects: BTreeSet<String>,
}

impl Before {
    /// How much of it is not only on its way: of logs that grow what was there the last time, and of a source that is
    /// `busy` what was missing then.
    pub fn gaps(&mut self, found: &Found, busy: bool) -> usize {
        let before = std::mem::take(self);
        let mut gaps = 0;
        for missing in &found.gaps {
            let missing = match missing {
                Missing::Broken(_) => true,
                Missing::Gap(Gap { origin, range: Some((from, to)), .. }) => {
                    self.ends.insert(origin.clone(), *to);
                    before.ends.get(origin).is_some_and(|end| from < end)
                }
                Missing::Gap(Gap { origin, .. }) => {
                    self.objects.insert(origin.clone());
                    !busy || before.objects.contains(origin)
                }
            };
            gaps += usize::from(missing);
        }
        gaps
    }
}

/// Something that is not there.
#[derive(Debug)]
pub enum Missing {
    /// Can be asked for again.
    Gap(Gap),
    /// The list itself does not hold: told, and nothing can be asked for.
    Broken(String),
}

impl Missing {
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Self::Gap(Gap { origin, range: Some((from, to)), .. }) => format!("{origin} from {from} to {to}"),
            Self::Gap(gap) => gap.origin.clone(),
            Self::Broken(said) => said.clone(),
        }
    }
}

pub async fn reconcile(
    (name, source): (&str, &mut dyn Source),
    store: &Store,
    (since, until): (Micros, Micros),
) -> Result<Found> {
    let mut found = Found { provable: true, ..Found::default() };
    let times = (since, until);
    match source.listing(since, until).await? {
        Listing::NotProvable(why) => {
            let total = store.ledger_total(name).await?;
            found.taken = total.map_or(0, |total| total.events);
            found.provable = false;
            found.said = format!("not provable: {why}");
        }
        Listing::Ranges(ranges) => of_ranges(name, store, &ranges, times, &mut found).await?,
        Listing::Objects { objects, proof } => {
            of_objects(name, store, &objects, times, &mut found).await?;
            told(proof, &mut found);
        }
        Listing::Both { objects, ranges } => {
            of_objects(name, store, &objects, times, &mut found).await?;
            of_ranges(name, store, &ranges, times, &mut found).await?;
        }
    }
    Ok(found)
}

fn told(proof: Proof, found: &mut Found) {
    found.said = proof.holds.join("; ");
    found.gaps.extend(proof.broken.into_iter().map(Missing::Broken));
}

async fn of_objects(
    name: &str,
    store: &Store,
    objects: &[Listed],
    (since, until): (Micros, Micros),
    found: &mut Found,
) -> Result<()> {
    found.listed += objects.len() as u64;
    for page in objects.chunks(PAGE) {
        let origins: Vec<String> = page.iter().map(|object| object.origin.clone()).collect();
        let marks = store.marks(name, &origins).await?;
        for (origin, written) in origins.into_iter().zip(page.iter().map(|object| object.at)) {
            if marks.get(&origin).is_some_and(|mark| mark.done) {
                found.taken += 1;
            } else {
                found.earliest = found.earliest.into_iter().chain((written.0 > 0).then_some(written)).min();
                found.gaps.push(Missing::Gap(Gap { origin, range: None, since, until }));
            }
        }
    }
    Ok(())
}

async fn of_ranges(
    name: &str,
    store: &Store,
    ranges: &[(String, i64, i64)],
    (since, until): (Micros, Micros),
    found: &mut Found,
) -> Result<()> {
    let origins: Vec<String> = ranges.iter().map(|(origin, ..)| origin.clone()).collect();
    let marks = store.marks(name, &origins).await?;
    for (origin, from, to) in ranges {
        let at = marks.get(origin).map_or(*from, |mark| mark.position);
        let count = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        found.listed += count(*from, *to);
        found.taken += count(*from, at.min(*to));
        if at < *to {
            let range = Some((at.max(*from), *to));
            found.gaps.push(Missing::Gap(Gap { origin: origin.clone(), range, since, until }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(object: bool, range: Option<(i64, i64)>) -> Found {
        let gap = |origin: &str, range| {
            Missing::Gap(Gap { origin: origin.to_owned(), range, since: Micros(0), until: Micros(9) })
        };
        let object = object.then(|| gap("o", None));
        Found {
            gaps: object.into_iter().chain(range.map(|range| gap("t/0", Some(range)))).collect(),
            ..Found::default()
        }
    }

    #[test]
    fn what_is_on_its_way_is_no_gap() {
        let mut before = Before::default();
        // It is behind all the time, and gets on.
        assert_eq!(before.gaps(&found(false, Some((5, 20))), true), 0);
        assert_eq!(before.gaps(&found(false, Some((20, 40))), true), 0);
        assert_eq!(before.gaps(&found(false, Some((39, 60))), false), 1, "this was there an hour ago");
        assert_eq!(before.gaps(&found(true, None), true), 0);
        assert_eq!(before.gaps(&found(true, None), true), 1, "it was missing before");
        assert_eq!(before.gaps(&found(false, None), true), 0);
        assert_eq!(before.gaps(&found(true, None), false), 1, "nothing else comes");
    }
}
