//! Runs the tests inside rule files: raw vendor records through mapping, enrichment and the one rule under test.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use keytrail_detect::{Detector, Dialects, Rule, RuleTest};
use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader};
use keytrail_lineage::{Enricher, Guardrails, Inventory};
use keytrail_model::{Owner, OwnerKind};

use crate::pack::{Pack, plan};

/// What one in-file test gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub rule: String,
    pub file: String,
    pub test: String,
    /// `None` when it passed.
    pub failure: Option<String>,
}

/// Tests rules one by one; mappings and guardrails are read once.
pub struct Bench {
    mappings: Vec<Arc<Mapping>>,
    guardrails: Guardrails,
    dialects: Dialects,
}

impl Bench {
    pub fn new(pack: &Pack) -> Result<Self> {
        let dialects = pack.vocabulary()?.dialects;
        Ok(Self { mappings: pack.mappings()?, guardrails: pack.guardrails()?, dialects })
    }

    /// Runs all tests of a rule.
    pub fn run(&self, rule: &Rule) -> Result<Vec<Verdict>> {
        let mut detector =
            plan(vec![rule.clone()], &self.mappings, &self.dialects).map_err(crate::failure::Failure::rules)?;
        let needed = Needed { columns: None, paths: detector.paths().clone() };
        let mut normaliser =
            Normaliser::new(&self.mappings, &needed, Limits::default()).map_err(crate::failure::config)?;
        let mut verdicts = Vec::new();
        for test in &rule.tests {
            detector.clear();
            let failure = self.one(test, &mut detector, &mut normaliser).err().map(|error| format!("{error:#}"));
            let (rule, file) = (rule.id.clone(), rule.file.clone());
            verdicts.push(Verdict { rule, file, test: test.name.clone(), failure });
        }
        Ok(verdicts)
    }

    fn one(&self, test: &RuleTest, detector: &mut Detector, normaliser: &mut Normaliser) -> Result<()> {
        let mut found = Normalised::default();
        for chunk in Reader::over(&test.name, lines(test).into_bytes(), &Limits::default())? {
            match chunk {
                Ok(chunk) => normaliser.normalise(chunk, &mut found),
                Err(reject) => return Err(anyhow!("{}: {}", reject.position, reject.reason)),
            }
        }
        check_read(&found)?;
        let mut enricher = Enricher::new(inventory(test)?, self.guardrails.clone());
        found.batches.iter().for_each(|batch| enricher.observe(batch));
        for batch in found.batches {
            detector.evaluate(&enricher.enrich(batch)?);
        }
        if let Some(failure) = detector.failures().first() {
            return Err(anyhow!("the rule fails while running: {}", failure.reason));
        }
        expect(test.findings, detector)
    }
}

fn lines(test: &RuleTest) -> String {
    test.all_records().map(|record| format!("{record}\n")).collect()
}

fn check_read(found: &Normalised) -> Result<()> {
    if let Some(reject) = found.rejects.first() {
        return Err(anyhow!("record {} is rejected: {}", reject.position, reject.reason));
    }
    if let Some((keys, unknown)) = found.unknown.iter().next() {
        return Err(anyhow!("record {} is of no known log source; its keys: {keys}", unknown.first));
    }
    Ok(())
}

fn inventory(test: &RuleTest) -> Result<Inventory> {
    let email = "fallback@example.com".to_owned();
    let fallback = Owner { id: "fallback".to_owned(), name: "Fallback".to_owned(), email, kind: OwnerKind::Team };
    let files: Vec<(String, String)> =
        test.inventory.iter().map(|inventory| ("inventory of the test".to_owned(), inventory.to_string())).collect();
    Inventory::load_fragment(&files, fallback).map_err(|errors| {
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!(text.join("; "))
    })
}

fn expect(wanted: usize, detector: &Detector) -> Result<()> {
    let findings = detector.findings();
    if findings.len() == wanted {
        return Ok(());
    }
    let got: Vec<String> =
        findings.iter().map(|finding| format!("{} ({} events)", finding.summary, finding.count)).collect();
    Err(anyhow!(
        "{wanted} findings wanted, {} found{}{}",
        got.len(),
        if got.is_empty() { "" } else { ": " },
        got.join("; ")
    ))
}
