//! Events that came after their time was settled: the time that they can touch is evaluated anew from the lake. Findings
//! that were missing are added, those that no longer hold are superseded, and nothing is deleted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use keytrail_detect::{Detector, Rule};
use keytrail_ingest::{Normalised, Normaliser, Reader};
use keytrail_lineage::Enricher;
use keytrail_model::{Entry, EntryBody, EventBatch, Finding, Micros};
use keytrail_store::{FindingFilter, Lake, LakeFile, Store, entry};

use super::engine::Engine;
use super::leader::entries;
use super::seen::{Id, id_of};
use super::settings::Settings;
use super::stages::Stages;
use crate::pipeline::reference;

/// Evaluates anew what events of `times` can have changed, has the engine go on from there, and gives the difference to
/// what the store holds.
pub async fn put_right(
    engine: &mut Engine,
    (lake, store): (&Lake, &Store),
    times: (Micros, Micros),
    stages: &Stages,
    settings: &Settings,
) -> Result<Vec<Entry>> {
    let Some(settled) = engine.settled().filter(|settled| settled.0 < i64::MAX) else { return Ok(Vec::new()) };
    let reach = reach_of(stages);
    let until = settled.0.min(times.1.0.saturating_add(reach));
    // What was deleted is not there to be evaluated anew: what was found in it stands.
    let begins = settings.lake_begins(settled, reach).0;
    let oldest = until.saturating_sub(settings.reevaluate.max(reach)).max(begins);
    let from = Micros(times.0.0.saturating_sub(reach).max(oldest));
    let until = Micros(until);
    if from >= until {
        tracing::warn!(%begins, "events came so late that the lake holds their time no longer; they change no finding");
        engine.put_right(None);
        return Ok(Vec::new());
    }
    tracing::info!(%from, %until, "events came late; their time is evaluated anew from the lake");
    let files = lake.files(from, until).await?;
    let (detector, enricher, normaliser) = engine.aside();
    let mut again = Again { detector, enricher, normaliser, seen: HashSet::new(), from, settled: until };
    let found = tokio::task::block_in_place(|| again.run(lake, &files, stages))?;
    // Where it does not reach to the present, what is open now is not touched.
    engine.put_right((until == settled).then_some(again.detector));
    let settled = until;
    let mut found: BTreeMap<String, Finding> = found.into_iter().map(|one| (one.id.clone(), one)).collect();
    found.values_mut().for_each(|finding| engine.conclude(finding));
    let known = store.findings(&FindingFilter { superseded: true, ..FindingFilter::default() }).await?;
    let superseded = store.superseded().await?;
    difference(&found, known, &superseded, &Touched { stages, times, oldest, settled })
}

/// How far an event can touch findings of any rule, on both sides.
#[must_use]
pub fn reach_of(stages: &Stages) -> i64 {
    stages.plan.rules().iter().map(reach).max().unwrap_or(0).saturating_mul(2)
}

/// How far from an event the findings can be that it touches.
fn reach(rule: &Rule) -> i64 {
    rule.suppress_for.saturating_add(rule.window.as_ref().map_or(0, |window| window.within))
}

/// Which findings late events can have changed.
struct Touched<'a> {
    stages: &'a Stages,
    times: (Micros, Micros),
    oldest: i64,
    settled: Micros,
}

impl Touched<'_> {
    /// Matches are taken one after the other, so everything from the first that can hold a late event on is another.
    fn holds(&self, finding: &Finding) -> bool {
        let rule = self.stages.plan.rules().iter().find(|rule| rule.id == finding.rule);
        let from = rule.map(|rule| self.times.0.0.saturating_sub(reach(rule)));
        let after = from.is_some_and(|from| finding.period_start.0 >= from.max(self.oldest));
        after && finding.last_seen < self.settled
    }
}

fn difference(
    found: &BTreeMap<String, Finding>,
    known: Vec<Finding>,
    superseded: &BTreeMap<String, String>,
    touched: &Touched<'_>,
) -> Result<Vec<Entry>> {
    let known: BTreeMap<String, Finding> = known.into_iter().map(|one| (one.id.clone(), one)).collect();
    let says = |finding: &Finding| (finding.count, finding.first_seen, finding.last_seen);
    let differs = |finding: &&Finding| {
        let before = known.get(&finding.id);
        // One that was found early has no owner yet where only its turn tells.
        before.is_none_or(|before| says(before) != says(finding) || before.ownership.is_none())
            || superseded.contains_key(&finding.id)
    };
    let news: Vec<Finding> = found.values().filter(|finding| touched.holds(finding)).filter(differs).cloned().collect();
    let mut changed = entries(news, touched.stages)?;
    let gone = known.values().filter(|finding| {
        touched.holds(finding) && !found.contains_key(&finding.id) && !superseded.contains_key(&finding.id)
    });
    for finding in gone {
        let reason = format!(
            "events that came late, of {} to {}, changed what its rule found",
            touched.times.0, touched.times.1
        );
        changed.push(entry(touched.settled, EntryBody::Superseded { finding: finding.id.clone(), reason })?);
    }
    Ok(changed)
}

/// One more evaluation of a past time.
struct Again {
    detector: Detector,
    enricher: Enricher,
    normaliser: Normaliser,
    /// The lake may hold a record more than once.
    seen: HashSet<Id>,
    from: Micros,
    settled: Micros,
}

impl Again {
    fn run(&mut self, lake: &Lake, files: &[LakeFile], stages: &Stages) -> Result<Vec<Finding>> {
        let mut files: Vec<&LakeFile> = files.iter().collect();
        files.sort_by_key(|file| file.day);
        // What a prompt or a tool call led to is forgotten once it is over: it is learnt again.
        for file in &files {
            self.batches(lake, file, stages, Self::learn)?;
        }
        self.detector.join(Arc::new(reference(&self.enricher, &stages.plan)?));
        let mut found = Vec::new();
        for day in files.chunk_by(|left, right| left.day == right.day) {
            for file in day {
                self.batches(lake, file, stages, Self::evaluate)?;
            }
            let end = day.last().map_or(self.settled, |file| Micros(file.last().0.saturating_add(1)));
            self.detector.settle(end.min(self.settled));
            found.extend(self.detector.news(true));
        }
        self.detector.settle(self.settled);
        found.extend(self.detector.news(true));
        Ok(found)
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
        }
        Ok(())
    }

    fn learn(&mut self, batch: EventBatch) -> Result<()> {
        self.enricher.observe(&batch);
        Ok(())
    }

    fn evaluate(&mut self, batch: EventBatch) -> Result<()> {
        let wanted = |time: Micros| self.from <= time && time < self.settled;
        let rows: Vec<bool> =
            (0..batch.rows()).map(|row| wanted(batch.time(row)) && self.seen.insert(id_of(&batch, row))).collect();
        if rows.iter().any(|wanted| *wanted) {
            let batch = self.enricher.enrich(batch)?;
            let matches = self.detector.matches(&batch).retain(|row| rows.get(row).copied().unwrap_or(false));
            self.detector.take(&matches, &batch);
        }
        Ok(())
    }
}
