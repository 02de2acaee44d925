//! The way of the data for inputs that can be read twice: once to learn who made what, once to enrich and detect.
//!
//! Two passes make the result independent of the order of files and records, within bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use keytrail_detect::{Detector, Matches, Plan, Questions, Reference, Rule, RuleFailure};
use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader, Unfinished, Unknown, expand};
use keytrail_lineage::{ENRICHED, Enricher};
use keytrail_model::tables::{self, Asked, Rows};
use keytrail_model::{Action, EventBatch, FileError, Finding, Micros, Place, Reject};
use keytrail_remediate::{Playbooks, Ticket, plan, ticket_count, tickets};
use keytrail_store::{Lake, LakeFile};

use crate::census::Census;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::feed::{Feed, Item};
use crate::pack::Pack;

/// The event columns that lineage learns from.
pub(crate) const LEARNT: [&str; 20] = [
    "time",
    "event_id",
    "account",
    "action",
    "outcome",
    "actor",
    "session",
    "credential",
    "issued_credential",
    "issued_kind",
    "issued_lifetime",
    "issued_for",
    "issued_until",
    "agent_evidence",
    "tool",
    "user_agent",
    "resources",
    "request_id",
    "downstream_ids",
    "prompt_ref",
];

/// How many rejects are kept; all are counted.
const REJECTS_KEPT: usize = 10_000;

/// Chunks for each thread between two times that windows are settled: few enough that memory stays flat.
const ROUND: usize = 2;

/// Something to read.
#[derive(Clone)]
pub enum Input {
    File(PathBuf),
    Embedded(String, &'static [u8]),
    Lake(Lake, LakeFile),
}

impl Input {
    pub fn open(&self, limits: &Limits) -> Result<Reader> {
        Ok(match self {
            Self::File(path) => Reader::open(path, limits)?,
            Self::Embedded(name, bytes) => Reader::over(name, bytes.to_vec(), limits)?,
            Self::Lake(lake, file) => Reader::reading(file.name(), lake.records(file)?, file.bytes, limits)?,
        })
    }

    pub fn unopened(&self, error: &anyhow::Error) -> Reject {
        let origin = match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded(name, _) => name.clone(),
            Self::Lake(_, file) => file.name().to_owned(),
        };
        Reject { position: Place::default().within(origin), reason: format!("{error:#}"), record: String::new() }
    }

    fn size(&self) -> u64 {
        match self {
            Self::File(path) => path.metadata().map_or(0, |metadata| metadata.len()),
            Self::Embedded(_, bytes) => bytes.len() as u64,
            Self::Lake(_, file) => file.bytes,
        }
    }
}

/// Everything that a run over some inputs gives.
#[derive(Default)]
pub struct Outcome {
    pub findings: Vec<Finding>,
    pub actions: Vec<Action>,
    pub tickets: Vec<Ticket>,
    /// How many tickets there are, or would be where none is written.
    pub ticket_count: usize,
    pub census: Census,
    pub rejects: Vec<Reject>,
    pub reject_count: u64,
    pub ignored: BTreeMap<String, u64>,
    pub unknown: BTreeMap<String, Unknown>,
    pub passed_by: Vec<PathBuf>,
    pub redacted: u64,
    pub rule_failures: BTreeSet<RuleFailure>,
    /// Events by log source.
    pub events: BTreeMap<String, u64>,
    pub range: Option<(Micros, Micros)>,
    /// Events too late for their window, and entries that a full window kept out.
    pub left_out: (u64, u64),
    /// By exception: how many events it kept from counting.
    pub excepted: BTreeMap<String, u64>,
}

/// The stages, built.
pub struct Pipeline {
    mappings: Vec<Arc<Mapping>>,
    plan: Arc<Plan>,
    pub enricher: Enricher,
    playbooks: Playbooks,
    limits: Limits,
}

/// How much of the work is done, and by how many.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub threads: usize,
    /// Every event with all its columns, counted in the census; otherwise only what a rule matched is completed.
    pub census: bool,
    /// Owners and plans of the findings.
    pub conclude: bool,
    /// What is written about them too: lineage and tickets.
    pub write: bool,
    /// Rules look at no event before this time …
    pub since: Micros,
    /// … and at none from this time on.
    pub until: Micros,
}

/// As many as there are cores, unless said.
#[must_use]
pub fn threads(asked: Option<NonZeroUsize>) -> usize {
    asked.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from)
}

impl Extent {
    pub const FULL: Self = Self {
        threads: 1,
        census: true,
        conclude: true,
        write: true,
        since: Micros(i64::MIN),
        until: Micros(i64::MAX),
    };

    fn holds(&self, time: Micros) -> bool {
        self.since <= time && time < self.until
    }
}

impl Pipeline {
    pub fn build(pack: &Pack, limits: Limits) -> Result<Self> {
        Self::over(pack, pack.rules()?, limits)
    }

    /// With these rules only.
    pub fn over(pack: &Pack, rules: Vec<Rule>, limits: Limits) -> Result<Self> {
        let mappings = pack.mappings()?;
        let plan = Arc::new(pack.plan(rules, &mappings)?);
        let playbooks = pack.playbooks()?;
        check_playbooks(plan.rules(), &playbooks)?;
        Ok(Self { plan, enricher: pack.enricher()?, playbooks, mappings, limits })
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        self.plan.rules()
    }

    /// Reads the inputs twice and detects. `keep` gets every enriched batch.
    pub fn run(&mut self, inputs: &[Input], bar: &ProgressBar, keep: &mut Keep<'_>) -> Result<Outcome> {
        self.run_to(Extent::FULL, inputs, bar, Some(keep))
    }

    /// The same to some extent. Who keeps batches gets them from one thread only.
    pub fn run_to(
        &mut self,
        extent: Extent,
        inputs: &[Input],
        bar: &ProgressBar,
        keep: Option<&mut Keep<'_>>,
    ) -> Result<Outcome> {
        let joins = self.plan.joined().next().is_some();
        if joins {
            self.enricher.learn_uses();
        }
        let windows = self.plan.has_windows();
        let learns = extent.conclude || extent.census || joins || windows || self.reads_enriched();
        let size = inputs.iter().map(Input::size).sum::<u64>();
        bar.set_length(if learns { 2 * size } else { size });
        let mut clock = Clock::default();
        if learns {
            bar.set_message("learning");
            clock = self.learn(extent, inputs, bar)?;
        }
        bar.set_message("detecting");
        let reference = Arc::new(self.reference()?);
        self.enricher.forget_uses();
        let mut done = self.detect((extent, reference), &clock, Feed::new(inputs, &self.limits, bar), keep)?;
        bar.finish_and_clear();
        done.detector.settle(Micros(i64::MAX));
        let mut outcome = done.outcome;
        outcome.rule_failures.clone_from(done.detector.progress().failures());
        outcome.left_out = done.detector.progress().left_out();
        outcome.excepted.clone_from(done.detector.progress().excepted());
        drop(done.enricher);
        outcome.findings = done.detector.into_findings();
        if extent.conclude {
            self.conclude(extent, &mut outcome);
        }
        Ok(outcome)
    }

    /// The tables that rules join, of what was learnt so far.
    pub fn reference(&self) -> Result<Reference> {
        reference(&self.enricher, &self.plan.joined().map(|table| (table.name, Asked::All)).collect())
    }

    /// Whether a predicate reads what only enrichment fills.
    fn reads_enriched(&self) -> bool {
        ENRICHED.iter().any(|column| self.plan.columns().contains(*column))
    }

    fn learn(&mut self, extent: Extent, inputs: &[Input], bar: &ProgressBar) -> Result<Clock> {
        let columns = Some(LEARNT.iter().map(|&name| name.to_owned()).collect());
        let normaliser = self.normaliser(&Needed { columns, paths: BTreeMap::new() })?;
        let learner =
            || Learner { normaliser: normaliser.fork(), enricher: self.enricher.clone(), clock: Clock::default() };
        let mut learners: Vec<Learner> = (0..extent.threads.max(1)).map(|_| learner()).collect();
        let takers = learners.iter_mut().map(|learner| |item| learner.take(item)).collect();
        Feed::new(inputs, &self.limits, bar).share(usize::MAX, takers)?;
        let mut clock = Clock::default();
        for learner in learners {
            clock.merge(&learner.clock);
            self.enricher.learn(learner.enricher.into_facts());
        }
        Ok(clock)
    }

    fn detect(
        &self,
        (extent, reference): (Extent, Arc<Reference>),
        clock: &Clock,
        mut feed: Feed<'_>,
        keep: Option<&mut Keep<'_>>,
    ) -> Result<Worker> {
        let whole = extent.census || self.reads_enriched();
        let columns = (!whole).then(|| self.plan.columns().clone());
        let normaliser = self.normaliser(&Needed { columns, paths: self.plan.paths().clone() })?;
        let enriches = extent.conclude || whole;
        let worker = || Worker {
            normaliser: normaliser.fork(),
            detector: Detector::over(Arc::clone(&self.plan)).joining(Arc::clone(&reference)),
            enricher: enriches.then(|| self.enricher.clone()),
            whole,
            extent,
            outcome: Outcome::default(),
        };
        let mut done = worker();
        if let Some(keep) = keep {
            let mut more = true;
            while more {
                more = feed.hand_out(feed.number() + ROUND, &mut |item| done.take(item, keep))?;
                clock.after(feed.number()).into_iter().for_each(|watermark| done.detector.settle(watermark));
            }
            return Ok(done);
        }
        let mut workers: Vec<Worker> = (0..extent.threads.max(1)).map(|_| worker()).collect();
        let mut more = true;
        while more {
            let takers = workers.iter_mut().map(|worker| |item| worker.take(item, &mut |_| {})).collect();
            more = feed.share(feed.number() + ROUND * extent.threads.max(1), takers)?;
            workers.iter_mut().for_each(|worker| done.join(worker, &self.plan));
            if let Some(watermark) = clock.after(feed.number()) {
                done.detector.settle(watermark);
            }
        }
        Ok(done)
    }

    /// Findings with owner, lineage, plan and ticket.
    fn conclude(&mut self, extent: Extent, outcome: &mut Outcome) {
        let protected: Vec<String> = self.enricher.inventory().protected().map(str::to_owned).collect();
        for finding in &mut outcome.findings {
            finding.ownership = Some(self.enricher.ownership(&finding.target));
            if extent.write {
                finding.lineage = self.enricher.lineage(finding);
            }
            outcome.actions.extend(plan(finding, &self.playbooks, &protected));
        }
        let fallback = self.enricher.inventory().fallback();
        outcome.ticket_count = ticket_count(&outcome.findings, fallback);
        if extent.write {
            outcome.tickets = tickets(&outcome.findings, &outcome.actions, fallback);
        }
    }

    fn normaliser(&self, needed: &Needed) -> Result<Normaliser> {
        Normaliser::new(&self.mappings, needed, self.limits.clone()).map_err(Failure::rules)
    }
}

/// Gets every enriched batch.
pub type Keep<'a> = dyn FnMut(EventBatch) + 'a;

/// The first pass, on one thread.
struct Learner {
    normaliser: Normaliser,
    enricher: Enricher,
    clock: Clock,
}

impl Learner {
    fn take(&mut self, item: Item) -> Result<()> {
        if let Ok(chunk) = item.read {
            let mut found = Normalised::default();
            self.normaliser.normalise(chunk, &mut found);
            self.clock.note(item.number, &found.batches);
            found.batches.iter().for_each(|batch| self.enricher.observe(batch));
        }
        Ok(())
    }
}

/// The second pass, on one thread.
struct Worker {
    normaliser: Normaliser,
    detector: Detector,
    enricher: Option<Enricher>,
    /// Whether batches come with all their columns.
    whole: bool,
    extent: Extent,
    outcome: Outcome,
}

impl Worker {
    fn take(&mut self, item: Item, keep: &mut Keep<'_>) -> Result<()> {
        let mut found = Normalised::default();
        let mut rejects = Vec::new();
        match item.read {
            Ok(chunk) => self.normaliser.normalise(chunk, &mut found),
            Err(reject) => rejects.push(reject),
        }
        self.outcome.count(rejects, &found);
        for (batch, from) in found.batches.into_iter().zip(found.sources) {
            self.outcome.read(&batch);
            if self.whole { keep(self.whole(batch)?) } else { self.matched(&batch, &from)? }
        }
        Ok(())
    }

    fn whole(&mut self, batch: EventBatch) -> Result<EventBatch> {
        let batch = self.enriched(batch)?;
        if self.extent.census {
            self.outcome.census.observe(&batch);
        }
        let matches = self.matches(&batch);
        self.detector.take(&matches, &batch);
        Ok(batch)
    }

    fn matches(&mut self, batch: &EventBatch) -> Matches {
        let matches = self.detector.matches(batch);
        matches.retain(|row| self.extent.holds(batch.time(row)))
    }

    /// Completes only the rows that a rule matched: most events concern no rule.
    fn matched(&mut self, batch: &EventBatch, from: &Unfinished) -> Result<()> {
        let matches = self.matches(batch);
        if matches.is_empty() {
            return Ok(());
        }
        let rows = matches.rows();
        let full = self.normaliser.complete(batch, from, &rows)?;
        let full = self.enriched(full)?;
        self.detector.take(&matches.among(&rows), &full);
        Ok(())
    }

    fn enriched(&mut self, batch: EventBatch) -> Result<EventBatch> {
        match &mut self.enricher {
            Some(enricher) => enricher.enrich(batch).map_err(|error| anyhow!("enrichment failed: {error}")),
            None => Ok(batch),
        }
    }

    /// Takes over what another thread counted since the last time.
    fn join(&mut self, other: &mut Self, plan: &Plan) {
        let counted = self.detector.progress().take_over(other.detector.progress_mut());
        self.detector.progress_mut().merge(plan, counted);
        self.outcome.merge(std::mem::take(&mut other.outcome));
    }
}

impl Outcome {
    /// What went wrong without stopping, one line each.
    #[must_use]
    pub fn trouble(&self) -> Vec<String> {
        let failed =
            |failure: &RuleFailure| format!("rule {} failed on {}: {}", failure.rule, failure.source, failure.reason);
        let mut lines: Vec<String> = self.rule_failures.iter().map(failed).collect();
        let (late, dropped) = self.left_out;
        if late > 0 {
            lines.push(format!("{late} events came too late for their window"));
        }
        if dropped > 0 {
            let limit = keytrail_detect::Window::LIMIT;
            lines.push(format!("{dropped} events were kept out of windows that held {limit} already"));
        }
        lines
    }

    fn read(&mut self, batch: &EventBatch) {
        *self.events.entry(batch.source.to_string()).or_default() += batch.rows() as u64;
        if let Some((first, last)) = batch.time_range() {
            let known = self.range.unwrap_or((first, last));
            self.range = Some((known.0.min(first), known.1.max(last)));
        }
    }

    fn count(&mut self, rejects: Vec<Reject>, found: &Normalised) {
        self.reject_count += (rejects.len() + found.rejects.len()) as u64;
        let room = REJECTS_KEPT.saturating_sub(self.rejects.len());
        self.rejects.extend(rejects.into_iter().chain(found.rejects.iter().cloned()).take(room));
        self.redacted += found.redacted;
        for (reason, count) in &found.ignored {
            *self.ignored.entry(reason.clone()).or_default() += count;
        }
        found.unknown.iter().for_each(|(shape, unknown)| self.unknown(shape, unknown));
    }

    fn unknown(&mut self, shape: &str, unknown: &Unknown) {
        let seen = self.unknown.entry(shape.to_owned()).or_insert_with(|| Unknown { count: 0, ..unknown.clone() });
        seen.count += unknown.count;
        // Of several places the same one whatever thread came first: within a file the earliest.
        if unknown.first < seen.first {
            seen.first.clone_from(&unknown.first);
        }
    }

    /// Takes over what another thread read.
    fn merge(&mut self, other: Self) {
        for (source, count) in other.events {
            *self.events.entry(source).or_default() += count;
        }
        if let Some((first, last)) = other.range {
            let known = self.range.unwrap_or((first, last));
            self.range = Some((known.0.min(first), known.1.max(last)));
        }
        self.reject_count += other.reject_count;
        self.rejects.extend(other.rejects);
        self.rejects.sort_by(|left, right| left.position.cmp(&right.position));
        self.rejects.truncate(REJECTS_KEPT);
        self.redacted += other.redacted;
        for (reason, count) in other.ignored {
            *self.ignored.entry(reason).or_default() += count;
        }
        other.unknown.iter().for_each(|(shape, unknown)| self.unknown(shape, unknown));
        self.census.merge(other.census);
    }
}

/// Files, folders and globs to inputs.
pub fn inputs(paths: &[String]) -> Result<(Vec<Input>, Vec<PathBuf>)> {
    let files = expand(paths)?;
    Ok((files.files.into_iter().map(Input::File).collect(), files.passed_by))
}

/// What was learnt so far, as the tables that rules join.
fn reference(enricher: &Enricher, questions: &Questions) -> Result<Reference> {
    let asked = questions.iter().filter_map(|(name, asked)| Some((tables::find(name)?, asked)));
    let filled = asked.map(|(table, asked)| {
        let mut rows = Rows::of(table);
        enricher.rows(table, asked, &mut |row| rows.push(row));
        rows.finish().map(|batch| (table, batch))
    });
    Ok(Reference::new(filled.collect::<Result<Vec<_>, _>>()?))
}

/// Gives a detector what these events ask for, as it is known now.
pub fn join(detector: &mut Detector, enricher: &Enricher, events: &EventBatch) -> Result<()> {
    detector.join(Arc::new(reference(enricher, &detector.questions(events))?));
    Ok(())
}

/// A rule that names a playbook which does not exist is refused, with the nearest known one.
pub(crate) fn check_playbooks(rules: &[Rule], playbooks: &Playbooks) -> Result<()> {
    let unknown = rules.iter().filter_map(|rule| {
        let id = rule.playbook.as_deref().filter(|id| playbooks.get(id).is_none())?;
        let hint = keytrail_model::did_you_mean(id, playbooks.ids());
        Some(FileError::new(&rule.file, rule.line, format!("no playbook is called `{id}`{hint}")))
    });
    let unknown: Vec<FileError> = unknown.collect();
    if unknown.is_empty() { Ok(()) } else { Err(Failure::rules(unknown)) }
}
