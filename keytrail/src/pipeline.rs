//! The way of the data for inputs that can be read twice: once to learn who made what, once to enrich and detect.
//!
//! Two passes make the result independent of the order of files and records, within bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use keytrail_detect::{Detector, RuleFailure};
use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader, Unknown, expand};
use keytrail_lineage::Enricher;
use keytrail_model::{Action, EventBatch, FileError, Finding, Place, Reject};
use keytrail_remediate::{Playbooks, Ticket, plan, tickets};

use crate::census::Census;
use crate::failure::Failure;
use crate::pack::Pack;

/// The event columns that lineage learns from.
const LEARNT: [&str; 20] = [
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

/// Something to read.
#[derive(Clone)]
pub enum Input {
    File(PathBuf),
    Embedded(String, &'static [u8]),
}

impl Input {
    fn open(&self, limits: &Limits) -> Result<Reader> {
        Ok(match self {
            Self::File(path) => Reader::open(path, limits)?,
            Self::Embedded(name, bytes) => Reader::over(name, bytes.to_vec(), limits)?,
        })
    }

    fn unopened(&self, error: &anyhow::Error) -> Reject {
        let origin = match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded(name, _) => name.clone(),
        };
        Reject { position: Place::default().within(&origin), reason: format!("{error:#}"), record: String::new() }
    }

    fn size(&self) -> u64 {
        match self {
            Self::File(path) => path.metadata().map_or(0, |metadata| metadata.len()),
            Self::Embedded(_, bytes) => bytes.len() as u64,
        }
    }
}

/// Everything that a run over some inputs gives.
#[derive(Default)]
pub struct Outcome {
    pub findings: Vec<Finding>,
    pub actions: Vec<Action>,
    pub tickets: Vec<Ticket>,
    pub census: Census,
    pub rejects: Vec<Reject>,
    pub reject_count: u64,
    pub ignored: BTreeMap<String, u64>,
    pub unknown: BTreeMap<String, Unknown>,
    pub passed_by: Vec<PathBuf>,
    pub redacted: u64,
    pub rule_failures: BTreeSet<RuleFailure>,
    /// By exception: how many events it kept from counting.
    pub excepted: BTreeMap<String, u64>,
}

/// The stages, built.
pub struct Pipeline {
    mappings: Vec<Arc<Mapping>>,
    pub detector: Detector,
    pub enricher: Enricher,
    playbooks: Playbooks,
    limits: Limits,
}

impl Pipeline {
    pub fn build(pack: &Pack, limits: Limits) -> Result<Self> {
        let mappings = pack.mappings()?;
        let detector = pack.detector(pack.rules()?, &mappings)?;
        let playbooks = pack.playbooks()?;
        check_playbooks(&detector, &playbooks)?;
        Ok(Self { detector, enricher: pack.enricher()?, playbooks, mappings, limits })
    }

    /// Reads the inputs twice and detects. `keep` gets every enriched batch.
    pub fn run(&mut self, inputs: &[Input], bar: &ProgressBar, keep: &mut dyn FnMut(EventBatch)) -> Result<Outcome> {
        bar.set_length(2 * inputs.iter().map(Input::size).sum::<u64>());
        bar.set_message("learning");
        self.learn(inputs, bar)?;
        bar.set_message("detecting");
        let mut outcome = self.detect(inputs, bar, keep)?;
        bar.finish_and_clear();
        self.conclude(&mut outcome);
        Ok(outcome)
    }

    fn learn(&mut self, inputs: &[Input], bar: &ProgressBar) -> Result<()> {
        let columns = Some(LEARNT.iter().map(|&name| name.to_owned()).collect());
        let needed = Needed { columns, paths: BTreeMap::new() };
        let mut normaliser = self.normaliser(&needed)?;
        let enricher = &mut self.enricher;
        read(inputs, &self.limits, &mut normaliser, bar, &mut |_, found| {
            found.batches.iter().for_each(|batch| enricher.observe(batch));
            Ok(())
        })
    }

    fn detect(&mut self, inputs: &[Input], bar: &ProgressBar, keep: &mut dyn FnMut(EventBatch)) -> Result<Outcome> {
        let needed = Needed { columns: None, paths: self.detector.paths().clone() };
        let mut normaliser = self.normaliser(&needed)?;
        let mut outcome = Outcome::default();
        let (enricher, detector) = (&mut self.enricher, &mut self.detector);
        read(inputs, &self.limits, &mut normaliser, bar, &mut |rejects, found| {
            outcome.count(rejects, &found);
            for batch in found.batches {
                let batch = enricher.enrich(batch).map_err(|error| anyhow!("enrichment failed: {error}"))?;
                outcome.census.observe(&batch);
                detector.evaluate(&batch);
                keep(batch);
            }
            Ok(())
        })?;
        Ok(outcome)
    }

    /// Findings with owner, lineage, plan and ticket.
    fn conclude(&mut self, outcome: &mut Outcome) {
        let protected: Vec<String> = self.enricher.inventory().protected().map(str::to_owned).collect();
        outcome.findings = self.detector.findings();
        outcome.rule_failures.clone_from(self.detector.failures());
        outcome.excepted.clone_from(self.detector.excepted());
        for finding in &mut outcome.findings {
            finding.ownership = Some(self.enricher.ownership(&finding.target, None));
            finding.lineage = self.enricher.lineage(finding);
            outcome.actions.extend(plan(finding, &self.playbooks, &protected));
        }
        outcome.tickets = tickets(&outcome.findings, &outcome.actions, self.enricher.inventory().fallback());
    }

    fn normaliser(&self, needed: &Needed) -> Result<Normaliser> {
        Normaliser::new(&self.mappings, needed, self.limits.clone()).map_err(Failure::rules)
    }
}

impl Outcome {
    fn count(&mut self, rejects: Vec<Reject>, found: &Normalised) {
        self.reject_count += (rejects.len() + found.rejects.len()) as u64;
        let room = REJECTS_KEPT.saturating_sub(self.rejects.len());
        self.rejects.extend(rejects.into_iter().chain(found.rejects.iter().cloned()).take(room));
        self.redacted += found.redacted;
        for (reason, count) in &found.ignored {
            *self.ignored.entry(reason.clone()).or_default() += count;
        }
        for (shape, unknown) in &found.unknown {
            let first = || Unknown { first: unknown.first.clone(), count: 0 };
            self.unknown.entry(shape.clone()).or_insert_with(first).count += unknown.count;
        }
    }
}

type Take<'a> = dyn FnMut(Vec<Reject>, Normalised) -> Result<()> + 'a;

/// Reads every input chunk by chunk through the normaliser.
fn read(
    inputs: &[Input],
    limits: &Limits,
    normaliser: &mut Normaliser,
    bar: &ProgressBar,
    take: &mut Take<'_>,
) -> Result<()> {
    for input in inputs {
        let mut reader = match input.open(limits) {
            Ok(reader) => reader,
            // One file that cannot be opened is set aside like a record; the only one is an error.
            Err(error) if inputs.len() > 1 => {
                take(vec![input.unopened(&error)], Normalised::default())?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut before = 0;
        while let Some(next) = reader.next() {
            let mut found = Normalised::default();
            let mut rejects = Vec::new();
            match next {
                Ok(chunk) => normaliser.normalise(chunk, &mut found),
                Err(reject) => rejects.push(reject),
            }
            take(rejects, found)?;
            bar.inc(reader.bytes_read().saturating_sub(before));
            before = reader.bytes_read();
        }
    }
    Ok(())
}

/// Files, folders and globs to inputs.
pub fn inputs(paths: &[String]) -> Result<(Vec<Input>, Vec<PathBuf>)> {
    let files = expand(paths)?;
    Ok((files.files.into_iter().map(Input::File).collect(), files.passed_by))
}

/// A rule that names a playbook which does not exist is refused, with the nearest known one.
fn check_playbooks(detector: &Detector, playbooks: &Playbooks) -> Result<()> {
    let unknown = detector.rules().iter().filter_map(|rule| {
        let id = rule.playbook.as_deref().filter(|id| playbooks.get(id).is_none())?;
        let hint = keytrail_model::did_you_mean(id, playbooks.ids());
        Some(FileError::new(&rule.file, rule.line, format!("no playbook is called `{id}`{hint}")))
    });
    let unknown: Vec<FileError> = unknown.collect();
    if unknown.is_empty() { Ok(()) } else { Err(Failure::rules(unknown)) }
}
