//! Runs the tests inside rule files: raw vendor records through mapping, enrichment and the one rule under test.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use keytrail_detect::{Detector, Dialects, Reference, Rule, RuleTest};
use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader};
use keytrail_lineage::{Enricher, Guardrails, Inventory};
use keytrail_model::tables::Asked;
use keytrail_model::{EventBatch, Finding, Micros, Owner, OwnerKind};

use crate::pack::{Pack, Texts, plan};

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
    /// The user's, for tests that bring none.
    inventory: Texts,
    dialects: Dialects,
}

impl Bench {
    pub fn new(pack: &Pack) -> Result<Self> {
        let inventory = if pack.has_inventory() { pack.inventory.clone() } else { Texts::new() };
        let dialects = pack.vocabulary()?.dialects;
        Ok(Self { mappings: pack.mappings()?, guardrails: pack.guardrails()?, inventory, dialects })
    }

    /// Runs all tests of a rule.
    pub fn run(&self, rule: &Rule) -> Result<Vec<Verdict>> {
        let plan = plan(vec![rule.clone()], &self.mappings, &self.dialects);
        let plan = plan.map_err(crate::failure::Failure::rules)?;
        let mut detector = Detector::over(Arc::new(plan));
        let needed = Needed { columns: None, paths: detector.plan().paths().clone() };
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
        let mut enricher = Enricher::new(self.inventory(test)?, self.guardrails.clone());
        enricher.learn_uses();
        found.batches.iter().for_each(|batch| enricher.observe(batch));
        detector.join(Arc::new(reference(test, &enricher, detector)?));
        let read = Read::of(&found);
        for batch in found.batches {
            detector.evaluate(&enricher.enrich(batch)?);
        }
        detector.settle(Micros(i64::MAX));
        if let Some(failure) = detector.progress().failures().first() {
            return Err(anyhow!("the rule fails while running: {}", failure.reason));
        }
        expect(test.findings, detector, &read)
    }

    /// The test's own inventory, or the user's.
    fn inventory(&self, test: &RuleTest) -> Result<Inventory> {
        let email = "fallback@example.com".to_owned();
        let fallback = Owner { id: "fallback".to_owned(), name: "Fallback".to_owned(), email, kind: OwnerKind::Team };
        let own: Texts =
            test.inventory.iter().map(|own| ("inventory of the test".to_owned(), own.to_string())).collect();
        let loaded = match &test.inventory {
            None if !self.inventory.is_empty() => Inventory::load(&self.inventory),
            _ => Inventory::load_fragment(&own, fallback),
        };
        loaded.map_err(|errors| {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow!(text.join("; "))
        })
    }
}

/// What the records of a test became, for the message when it fails.
struct Read {
    events: usize,
    seen: BTreeSet<String>,
}

impl Read {
    fn of(found: &Normalised) -> Self {
        let events = found.batches.iter().map(EventBatch::rows).sum();
        let seen = found.batches.iter().flat_map(|batch| {
            let action = |row| batch.text("action", row).unwrap_or("(no action)");
            (0..batch.rows()).map(move |row| format!("{} {}", batch.source, action(row)))
        });
        Self { events, seen: seen.collect() }
    }
}

/// The tables that the rule joins: what the test's records and inventory show, and the rows that it gives.
fn reference(test: &RuleTest, enricher: &Enricher, detector: &Detector) -> Result<Reference> {
    let mut tables = Vec::new();
    for table in detector.plan().joined() {
        let given = test.rows(table.name).iter().map(|row| table.row(row)).collect::<Result<Vec<_>, _>>();
        let given = given.map_err(|reason| anyhow!(reason))?;
        let mut rows = Vec::new();
        enricher.rows(table, &Asked::All, &mut |row| rows.push(row));
        // What the test says about a thing is all that is known of it.
        rows.retain(|row| table.key == 0 || given.iter().all(|other| other.get(..table.key) != row.get(..table.key)));
        rows.extend(given);
        tables.push((table, table.batch(&rows)?));
    }
    Ok(Reference::new(tables))
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

/// What was wanted, and what was found in its place.
fn expect(wanted: usize, detector: &Detector, read: &Read) -> Result<()> {
    let findings = detector.findings();
    if findings.len() == wanted {
        return Ok(());
    }
    let noun = if wanted == 1 { "finding" } else { "findings" };
    let said = format!("{wanted} {noun} wanted, {} found", findings.len());
    if findings.is_empty() {
        let seen: Vec<&str> = read.seen.iter().map(String::as_str).collect();
        return Err(anyhow!(
            "{said}: {} events were read, and the rule holds for none: {}",
            read.events,
            seen.join(", ")
        ));
    }
    let got: Vec<String> = findings.iter().map(told).collect();
    Err(anyhow!("{said}: {}", got.join("; ")))
}

fn told(finding: &Finding) -> String {
    let group: Vec<String> = finding.group.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let Finding { summary, count, first_seen, .. } = finding;
    format!("`{summary}` ({count} events from {first_seen}, {})", group.join(", "))
}
