//! What a chunk becomes when it is taken in: what one record alone shows is found at once, and all records are packed for
//! their turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use keytrail_detect::Detector;
use keytrail_ingest::{Chunk, Normalised, Normaliser, Unfinished};
use keytrail_lineage::Enricher;
use keytrail_model::{EventBatch, Finding, Micros, Place, Reject};
use keytrail_store::Held;

use super::held::pack;
use super::stages::Stages;

/// A session key that may yet turn out to stem from a static key: what is said of it waits for its turn.
const UNDECIDED: &str = "console_or_unknown_parent";

pub struct Reading {
    normaliser: Normaliser,
    detector: Detector,
    enricher: Enricher,
}

/// By part of a chunk, how many events and rejects.
pub type Counted = BTreeMap<u32, (u64, u64)>;

/// What became of a chunk.
#[derive(Debug, Default)]
pub struct Read {
    pub held: Option<Held>,
    pub counted: Counted,
    pub rejects: Vec<Reject>,
    pub ignored: u64,
}

impl Reading {
    pub fn over(stages: &Stages) -> Result<Self> {
        let detector = Detector::over(Arc::clone(&stages.immediate));
        Ok(Self { normaliser: stages.taker()?, detector, enricher: stages.enricher.clone() })
    }

    pub fn chunk(&mut self, chunk: Chunk, lane: &str, arrived: Micros) -> Result<Read> {
        let mut found = Normalised::default();
        self.normaliser.normalise(chunk, &mut found);
        for (batch, from) in found.batches.iter().zip(&found.sources) {
            self.detect(batch, from)?;
        }
        let held = pack(lane, &found.batches, arrived)?;
        let (counted, ignored) = (counted(&found), found.ignored.values().sum());
        let unknown = found.unknown.into_iter().map(|(shape, unknown)| {
            let (count, first) = (unknown.count, unknown.first);
            let reason = format!("{count} records of no known log source, first at {first}: keys {shape}");
            Reject { position: Place::default().within(first.origin), reason, record: String::new() }
        });
        let rejects = found.rejects.into_iter().chain(unknown).collect();
        Ok(Read { held, counted, rejects, ignored })
    }

    fn detect(&mut self, batch: &EventBatch, from: &Unfinished) -> Result<()> {
        let decided = |row: usize| {
            batch.text("credential_note", row) != Some(UNDECIDED)
                || batch.text("credential_lifetime", row) != Some("ephemeral")
        };
        let matches = self.detector.matches(batch).retain(decided);
        if matches.is_empty() {
            return Ok(());
        }
        let rows = matches.rows();
        let full = self.normaliser.complete(batch, from, &rows)?;
        let full = self.enricher.enrich(full).map_err(|error| anyhow!("enrichment failed: {error}"))?;
        self.detector.take(&matches.among(&rows), &full);
        Ok(())
    }

    /// What was found since the last time.
    pub fn findings(&mut self) -> Vec<Finding> {
        let found = self.detector.findings();
        self.detector.clear();
        found.into_iter().map(|finding| self.early(finding)).collect()
    }

    /// With its owner where the inventory knows one; else its turn will tell, and its ticket waits for that.
    fn early(&self, mut finding: Finding) -> Finding {
        let ownership = self.enricher.ownership(&finding.target);
        finding.ownership = (ownership.confidence > 0.0).then_some(ownership);
        finding
    }
}

fn counted(found: &Normalised) -> Counted {
    let mut counted = Counted::new();
    for place in found.batches.iter().flat_map(|batch| &batch.places) {
        counted.entry(place.part).or_default().0 += 1;
    }
    found.bad.iter().for_each(|(part, bad)| counted.entry(*part).or_default().1 = *bad);
    counted
}

#[cfg(test)]
mod tests {
    use keytrail_ingest::{Limits, Reader};

    use super::*;
    use crate::cli::RuleSet;
    use crate::pack::Pack;

    const KEY: &str = r#"{"eventVersion":"1.11","eventTime":"2026-11-02T10:00:00Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers","eventID":"5f9c1a52-0d54-4a6e-9a57-3b6d7ee0c1aa","eventType":"AwsApiCall","userIdentity":{"type":"Root","accountId":"111122223333","arn":"arn:aws:iam::111122223333:root"}}"#;

    fn chunk(origin: &str, text: &str) -> Chunk {
        let mut read = Reader::over(origin, text.as_bytes().to_vec(), &Limits::default()).expect("bytes");
        read.next().expect("a chunk").expect("no reject")
    }

    #[test]
    fn parts_that_are_read_together_are_counted_and_told_apart() {
        let pack = Pack::with(&RuleSet::default()).expect("the shipped pack");
        let stages = Stages::build(&pack, Limits::default()).expect("stages");
        let chunks =
            vec![chunk("one", KEY), chunk("two", "{\"who\":1}"), chunk("three", "{\"a\":"), chunk("four", KEY)];
        let read =
            Reading::over(&stages).expect("a reading").chunk(Chunk::joined(chunks), "", Micros(0)).expect("events");
        assert_eq!(read.counted, [(0, (1, 0)), (1, (0, 1)), (2, (0, 1)), (3, (1, 0))].into());
        let mut rejected: Vec<&str> = read.rejects.iter().map(|reject| &*reject.position.origin).collect();
        rejected.sort_unstable();
        assert_eq!(rejected, ["three", "two"]);
        let held = super::super::held::unpack(&read.held.expect("two events").body).expect("a chunk");
        let places: Vec<String> =
            held.spans.iter().map(|span| held.origins.position(span.place).origin.to_string()).collect();
        assert_eq!(places, ["one", "four"]);
    }
}
