//! Plan, matcher and state together, for one worker: evaluates batches and gives the findings.

use std::collections::BTreeMap;
use std::sync::Arc;

use keytrail_model::{EventBatch, FileError, Finding};

use crate::compile::SourceFields;
use crate::index::Lookup;
use crate::matches::Matches;
use crate::plan::Plan;
use crate::rule::Rule;
use crate::state::State;

pub struct Detector {
    plan: Arc<Plan>,
    state: State,
    /// By log source.
    lookups: BTreeMap<Arc<str>, Lookup>,
}

impl Detector {
    /// Plans every rule for every log source that it reads. All errors, not only the first.
    pub fn new(rules: Vec<Rule>, sources: &[SourceFields<'_>]) -> Result<Self, Vec<FileError>> {
        Plan::new(rules, sources).map(|plan| Self::over(Arc::new(plan)))
    }

    /// One more worker over the same plan, with a state of its own.
    #[must_use]
    pub fn over(plan: Arc<Plan>) -> Self {
        Self { plan, state: State::default(), lookups: BTreeMap::new() }
    }

    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Which rows pass which filters. Reads only `Plan::columns` and the raw paths of the batch.
    pub fn matches(&mut self, events: &EventBatch) -> Matches {
        let lookup = self.lookups.entry(Arc::clone(&events.source)).or_default();
        self.plan.source(&events.source).map(|source| source.matches(events, lookup)).unwrap_or_default()
    }

    /// The same by evaluating every filter over every row: what `matches` must agree with.
    #[must_use]
    pub fn matches_plainly(&self, events: &EventBatch) -> Matches {
        self.plan.source(&events.source).map(|source| source.plainly(events)).unwrap_or_default()
    }

    /// Counts matches; `events` holds the rows that they speak of, with all columns.
    pub fn take(&mut self, matches: &Matches, events: &EventBatch) {
        self.state.take(&self.plan, matches, events);
    }

    /// Evaluates a batch that has all its columns.
    pub fn evaluate(&mut self, events: &EventBatch) {
        let matches = self.matches(events);
        self.take(&matches, events);
    }

    /// The findings so far, worst first, then by time and id.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.state.findings(&self.plan)
    }

    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Forgets the matches, keeps the plans.
    pub fn clear(&mut self) {
        self.state = State::default();
    }
}
