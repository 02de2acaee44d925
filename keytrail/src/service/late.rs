//! Events that came after their time was settled: the time that they can touch is evaluated anew from the lake. Findings
//! that were missing are added, those that no longer hold are superseded, and nothing is deleted.

use std::collections::HashSet;

use anyhow::Result;
use keytrail_detect::{Anew, Compared, Detector};
use keytrail_ingest::{Normalised, Normaliser, Reader};
use keytrail_lineage::{Enricher, LIFE};
use keytrail_model::{Entry, EntryBody, EventBatch, Finding, Micros};
use keytrail_store::{FindingFilter, Lake, LakeFile, Store, entry};
use tracing::{info, warn};

use super::engine::{Engine, conclude};
use super::leader::entries;
use super::seen::{Id, Seen, id_of};
use super::settings::Settings;
use super::shared::Stop;
use super::stages::Stages;
use crate::pipeline::join;

/// Evaluates anew what late events can have changed, the earliest first, has the engine go on from there, and gives the
/// difference to what the store holds. When it is stopped on the way, nothing was done and all of it is still to be done.
pub async fn put_right(
    engine: &mut Engine,
    (lake, store): (&Lake, &Store),
    stages: &Stages,
    settings: &Settings,
    stop: &Stop,
) -> Result<Vec<Entry>> {
    let Some(late) = engine.detector().late_since() else { return Ok(Vec::new()) };
    let (settled, reach) = (engine.settled().unwrap_or(Micros(i64::MIN)), stages.plan.reach());
    let since = Some(Micros(late.0.saturating_sub(reach)));
    let mut known = Vec::new();
    for rule in engine.detector().late_rules() {
        let filter = FindingFilter { rule: Some(rule), since, ..FindingFilter::default() };
        known.extend(store.findings(&filter).await?);
    }
    // What was deleted is not there to be evaluated anew: what was found in it stands.
    let mut anew = engine.detector().anew(&known, settings.lake_begins(settled, reach));
    if !anew.too_late.is_empty() {
        let rules = anew.too_late.join(", ");
        warn!(
            rules,
            "events came so late that the lake holds their time no longer; they change none of their findings"
        );
    }
    if anew.is_empty() {
        engine.put_right(&anew, None);
        return Ok(Vec::new());
    }
    let (Compared { news, gone }, detector) = loop {
        let (found, detector) = again(engine, lake, &anew, stages, stop).await?;
        if stop.is_set() {
            return Ok(Vec::new());
        }
        match anew.compare(&stages.plan, &found, &known) {
            Some(compared) => break (compared, detector),
            None => anew = anew.to_present(settled),
        }
    };
    engine.put_right(&anew, Some(detector));
    let mut changed = entries(news, stages)?;
    for finding in gone {
        let reason = format!("events that came late, up to {}, changed what its rule found", anew.until);
        changed.push(entry(anew.until, EntryBody::Superseded { finding, reason })?);
    }
    Ok(changed)
}

/// What is found in that time, and what found it.
async fn again(
    engine: &Engine,
    lake: &Lake,
    anew: &Anew,
    stages: &Stages,
    stop: &Stop,
) -> Result<(Vec<Finding>, Detector)> {
    info!(from = %anew.from, until = %anew.until, "events came late; their time is evaluated anew from the lake");
    let (detector, enricher, normaliser) = engine.aside(anew);
    // Where the session keys of then came from may have been forgotten.
    let taught = if enricher.facts().forgot_since(anew.from) { LIFE } else { 0 };
    // What was evaluated ahead of what is settled counts too, where it reaches to the present.
    let until = if anew.live { Micros(i64::MAX) } else { anew.until };
    let files = lake.files(Micros(anew.from.0.saturating_sub(taught)), until).await?;
    let (seen, evaluated) = (HashSet::new(), &engine.seen);
    let mut again = Again { detector, enricher, normaliser, seen, anew, evaluated, stop };
    let found = tokio::task::block_in_place(|| again.run(lake, &files, stages))?;
    Ok((found, again.detector))
}

/// One more evaluation of a past time.
struct Again<'a> {
    detector: Detector,
    enricher: Enricher,
    normaliser: Normaliser,
    /// The lake may hold a record more than once.
    seen: HashSet<Id>,
    anew: &'a Anew,
    /// What waits may be in the lake too, from a term that ended before it was committed.
    evaluated: &'a Seen,
    stop: &'a Stop,
}

impl Again<'_> {
    fn run(&mut self, lake: &Lake, files: &[LakeFile], stages: &Stages) -> Result<Vec<Finding>> {
        let mut files: Vec<&LakeFile> = files.iter().collect();
        files.sort_by_key(|file| file.day);
        let days: Vec<_> = files.chunk_by(|left, right| left.day == right.day).collect();
        let mut learnt = days.iter();
        let mut found = Vec::new();
        for day in &days {
            // What a prompt or a tool call led to is forgotten once it is over: it is learnt again, ahead of what is
            // evaluated by the rest of its day and the next.
            let ahead = if learnt.len() == days.len() { 2 } else { 1 };
            for file in learnt.by_ref().take(ahead).copied().flatten() {
                self.batches(lake, file, stages, Self::learn)?;
            }
            let begins = day.first().map_or(self.anew.from, |file| file.day);
            if day.last().is_some_and(|file| file.last() < self.anew.from) {
                continue;
            }
            self.enricher.forget_before(begins.max(self.anew.from));
            // A record's id holds its time.
            self.seen.clear();
            for file in *day {
                self.batches(lake, file, stages, Self::evaluate)?;
            }
            let end = day.last().map_or(self.anew.until, |file| Micros(file.last().0.saturating_add(1)));
            self.detector.settle(end.min(self.anew.until));
            found.extend(self.news());
        }
        self.detector.settle(self.anew.until);
        found.extend(self.news());
        Ok(found)
    }

    /// Concluded while what is known of that time is.
    fn news(&mut self) -> Vec<Finding> {
        let mut news = self.detector.news(true);
        news.iter_mut().for_each(|finding| conclude(&self.enricher, finding));
        news
    }

    fn batches(
        &mut self,
        lake: &Lake,
        file: &LakeFile,
        stages: &Stages,
        take: fn(&mut Self, EventBatch) -> Result<()>,
    ) -> Result<()> {
        for read in Reader::reading(file.name(), lake.records(file)?, file.bytes, &stages.limits)? {
            let Ok(chunk) = read else { continue };
            let mut out = Normalised::default();
            self.normaliser.normalise(chunk, &mut out);
            for batch in out.batches {
                take(self, batch)?;
            }
            if self.stop.is_set() {
                break;
            }
        }
        Ok(())
    }

    fn learn(&mut self, batch: EventBatch) -> Result<()> {
        self.enricher.observe(&batch);
        Ok(())
    }

    fn evaluate(&mut self, batch: EventBatch) -> Result<()> {
        let rows: Vec<bool> = (0..batch.rows()).map(|row| self.wants(&batch, row)).collect();
        if rows.iter().any(|wanted| *wanted) {
            let batch = self.enricher.enrich(batch)?;
            join(&mut self.detector, &self.enricher, &batch)?;
            let matches = self.detector.matches(&batch).retain(|row| rows.get(row).copied().unwrap_or(false));
            self.detector.take(&matches, &batch);
        }
        Ok(())
    }

    fn wants(&mut self, batch: &EventBatch, row: usize) -> bool {
        let (time, id) = (batch.time(row), id_of(batch, row));
        let asked = self.anew.from <= time && (self.anew.live || time < self.anew.until);
        asked && self.evaluated.may_contain(&id, time) && self.seen.insert(id)
    }
}

#[cfg(test)]
pub(super) mod tests;
