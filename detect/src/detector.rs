//! Plan, index and progress together, for one worker: evaluates batches and gives the findings.

use std::collections::BTreeMap;
use std::sync::Arc;

use keytrail_model::{EventBatch, FileError, Finding, Micros};

use crate::compile::SourceFields;
use crate::index::Lookup;
use crate::matches::Matches;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::reference::{Questions, Reference};
use crate::rule::Rule;
use crate::saved::{NewerState, Saved};

pub struct Detector {
    plan: Arc<Plan>,
    progress: Progress,
    /// By log source.
    lookups: BTreeMap<Arc<str>, Lookup>,
    reference: Arc<Reference>,
}

impl Detector {
    /// Plans every rule for every log source that it reads. All errors, not only the first.
    pub fn new(rules: Vec<Rule>, sources: &[SourceFields<'_>]) -> Result<Self, Vec<FileError>> {
        Plan::new(rules, sources).map(|plan| Self::over(Arc::new(plan)))
    }

    /// One more worker over the same plan, with a progress of its own.
    #[must_use]
    pub fn over(plan: Arc<Plan>) -> Self {
        let (progress, reference) = (Progress::default(), Arc::new(Reference::default()));
        Self { plan, progress, lookups: BTreeMap::new(), reference }
    }

    /// With the tables that rules join.
    #[must_use]
    pub fn joining(self, reference: Arc<Reference>) -> Self {
        Self { reference, ..self }
    }

    /// Takes other tables from now on.
    pub fn join(&mut self, reference: Arc<Reference>) {
        self.reference = reference;
    }

    /// What these events ask the tables for: all that rules join has to be there before they are looked at.
    #[must_use]
    pub fn questions(&self, events: &EventBatch) -> Questions {
        self.plan.source(&events.source).map(|source| source.questions(events)).unwrap_or_default()
    }

    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Goes on under another plan, made whole before this is called: so a set of rules that does not plan leaves the old
    /// one in force. What rules counted stays with those that are still there.
    pub fn reload(&mut self, plan: Arc<Plan>) -> Result<(), NewerState> {
        self.progress = Progress::restore(&plan, self.progress.save(&self.plan))?;
        self.plan = plan;
        self.lookups.clear();
        Ok(())
    }

    /// Which rows pass which filters. Reads only `Plan::columns` and the raw paths of the batch.
    pub fn matches(&mut self, events: &EventBatch) -> Matches {
        let lookup = self.lookups.entry(Arc::clone(&events.source)).or_default();
        let found = self.plan.source(&events.source).map(|source| source.matches(events, lookup, &self.reference));
        found.unwrap_or_default()
    }

    /// The same by evaluating every filter over every row: what `matches` must agree with.
    #[must_use]
    pub fn matches_plainly(&self, events: &EventBatch) -> Matches {
        let source = self.plan.source(&events.source);
        source.map(|source| source.plainly(events, &self.reference)).unwrap_or_default()
    }

    /// Counts matches; `events` holds the rows that they speak of, with all columns.
    pub fn take(&mut self, matches: &Matches, events: &EventBatch) {
        self.progress.take((&self.plan, &self.reference), matches, events);
    }

    /// Evaluates a batch that has all its columns.
    pub fn evaluate(&mut self, events: &EventBatch) {
        let matches = self.matches(events);
        self.take(&matches, events);
    }

    /// The findings so far, worst first, then by time and id.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.progress.findings(&self.plan)
    }

    /// The same at the end of everything: what only matching needs is given up first.
    #[must_use]
    pub fn into_findings(mut self) -> Vec<Finding> {
        drop((self.reference, self.lookups));
        self.progress.take_findings(&self.plan)
    }

    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    pub fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    pub(crate) fn into_progress(self) -> Progress {
        self.progress
    }

    /// Settles what no event at or after the watermark can change; `Micros(i64::MAX)` ends everything.
    pub fn settle(&mut self, watermark: Micros) {
        self.progress.settle(&self.plan, watermark);
    }

    /// What is new; see [`Progress::news`].
    #[must_use]
    pub fn news(&mut self, all: bool) -> Vec<Finding> {
        self.progress.news(&self.plan, all)
    }

    /// Its progress, to be written down.
    #[must_use]
    pub fn save(&self) -> Saved<'_> {
        self.progress.save(&self.plan)
    }

    /// Goes on from a progress that was written down.
    pub fn restore(&mut self, saved: Saved<'_>) -> Result<(), NewerState> {
        self.progress = Progress::restore(&self.plan, saved)?;
        Ok(())
    }

    /// Forgets the matches, keeps the plans.
    pub fn clear(&mut self) {
        self.progress = Progress::default();
    }
}
