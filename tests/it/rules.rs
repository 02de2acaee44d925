//! The shipped rules, mappings, playbooks and guardrails: each loads, is tested by its own file and names what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keytrail::pack::{Pack, Texts, read_files, samples};
use keytrail::run_rules::Bench;
use keytrail::{lint, pipeline::Pipeline};
use keytrail_detect::{Body, Rule, RuleTest};
use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader};
use keytrail_remediate::{Filter, Playbook};

use crate::golden::root;

fn rules() -> Vec<Rule> {
    Pack::embedded().all_rules().expect("rules that read")
}

#[test]
fn every_rule_passes_its_own_tests() {
    let bench = Bench::new(&Pack::embedded()).expect("mappings and guardrails");
    let mut failures = Vec::new();
    let mut run = 0;
    for rule in rules() {
        let verdicts = bench.run(&rule).expect("a rule that plans");
        run += verdicts.len();
        failures.extend(verdicts.into_iter().filter_map(|verdict| {
            let reason = verdict.failure?;
            Some(format!("{}: {}: {reason}", verdict.file, verdict.test))
        }));
    }
    assert!(failures.is_empty(), "{} of {run} in-file tests fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_rule_is_without_a_lint() {
    let pack = Pack::embedded();
    let problems = lint::problems(&pack, &pack, None).expect("mappings and playbooks");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn there_are_forty_rules_in_both_bodies_and_no_id_twice() {
    let rules = rules();
    let ids: BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids.len(), rules.len(), "an id stands twice");
    assert!(rules.len() >= 40, "{} rules", rules.len());
    let sigma = rules.iter().filter(|rule| matches!(rule.body, Body::Sigma(_))).count();
    assert!(sigma > 0 && sigma < rules.len(), "{sigma} of {} have a Sigma body", rules.len());
}

/// Mappings, rules, playbooks, guardrails and the example inventory, planned together.
#[test]
fn the_whole_pack_builds() {
    for pack in [Pack::embedded(), Pack::demo()] {
        let built = Pipeline::build(&pack, Limits::default());
        assert!(built.is_ok(), "{:#}", built.err().map(|error| format!("{error:#}")).unwrap_or_default());
        assert!(!pack.playbooks.is_empty() && !pack.guardrails.is_empty() && !pack.mappings.is_empty());
    }
}

/// It stops every workload of the account, so only a user's own rule may lead to it; its description says so.
const CHOSEN_BY_HAND: &str = "contain-gcp-service-account";

#[test]
fn every_playbook_is_named_by_a_rule_or_fits_a_credential() {
    let playbooks = Pack::embedded().playbooks().expect("playbooks");
    let named: BTreeSet<String> = rules().into_iter().filter_map(|rule| rule.playbook).collect();
    let unknown: Vec<&String> = named.iter().filter(|id| playbooks.get(id).is_none()).collect();
    assert!(unknown.is_empty(), "rules name playbooks that do not exist: {unknown:?}");
    let fits = |book: &Playbook| book.applies_to != Filter::default();
    let unreachable = playbooks.iter().filter(|book| !named.contains(&book.id) && !fits(book));
    let unreachable: Vec<&str> = unreachable.map(|book| book.id.as_str()).filter(|id| *id != CHOSEN_BY_HAND).collect();
    assert!(unreachable.is_empty(), "nothing leads to these playbooks: {unreachable:?}");
}

/// A file that is not embedded would work here and be missing in the binary.
#[test]
fn the_binary_carries_the_folders_as_they_are() {
    let pack = Pack::demo();
    let folders: [(&str, &Texts, &[&str]); 7] = [
        ("ingest/mappings", &pack.mappings, &["yaml"]),
        ("rules/detections", &pack.detections, &["yaml", "yml"]),
        ("rules/guardrails", &pack.guardrails, &["cedar"]),
        ("rules/playbooks", &pack.playbooks, &["yaml"]),
        ("rules/inventory", &pack.inventory, &["yaml"]),
        ("rules/exceptions", &pack.exceptions, &["yaml"]),
        ("rules/overlays", &pack.overlays, &["yaml"]),
    ];
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    for (folder, embedded, endings) in folders {
        let files = read_files(&root().join(folder), endings).expect("a folder");
        let files: BTreeMap<String, String> = files.into_iter().map(|(path, text)| (name(&path), text)).collect();
        let embedded: BTreeMap<String, String> =
            embedded.iter().map(|(path, text)| (name(path), text.clone())).collect();
        assert_eq!(embedded.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>(), "{folder}");
        assert!(embedded == files, "the binary carries older texts of {folder}: build it again");
    }
}

/// A record that two mappings recognise would become whichever was tried first.
#[test]
fn no_record_is_recognised_by_two_mappings() {
    let pack = Pack::embedded();
    let mappings = pack.mappings().expect("mappings");
    let mut inputs: Vec<(String, Vec<u8>)> =
        samples().into_iter().map(|(name, bytes)| (name, bytes.to_vec())).collect();
    for file in read_files(&root().join("tests/golden/shapes"), &["jsonl"]).expect("shapes") {
        inputs.push((file.0, file.1.into_bytes()));
    }
    for rule in rules() {
        let records = rule.tests.iter().flat_map(RuleTest::all_records).map(|record| record.to_string() + "\n");
        inputs.push((rule.file.clone(), records.collect::<String>().into_bytes()));
    }
    let mut taken: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for mapping in &mappings {
        for record in recognised(mapping, &mappings, &inputs) {
            taken.entry(record).or_default().insert(&mapping.source);
        }
    }
    let twice: Vec<_> = taken.iter().filter(|(_, sources)| sources.len() > 1).collect();
    assert!(twice.is_empty(), "{} records: {:#?}", twice.len(), twice.first());
    assert!(taken.len() > 500, "only {} distinct records", taken.len());
}

/// The records that one mapping, alone but with the envelopes of all, takes for its own.
fn recognised(mapping: &Mapping, all: &[Arc<Mapping>], inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut alone = mapping.clone();
    alone.ignore = None;
    alone.redact.clear();
    alone.columns.retain(|(column, ..)| *column == "time");
    alone.envelopes = all.iter().flat_map(|other| other.envelopes.clone()).collect();
    let (alone, limits) = ([Arc::new(alone)], Limits::default());
    let mut normaliser = Normaliser::new(&alone, &Needed::default(), limits.clone()).expect("a mapping that plans");
    let mut found = Normalised::default();
    for (name, bytes) in inputs {
        for chunk in Reader::over(name, bytes.clone(), &limits).expect("a reader") {
            normaliser.normalise(chunk.expect("a sample that reads"), &mut found);
        }
    }
    let mut records: Vec<String> = found.rejects.into_iter().map(|reject| reject.record).collect();
    for batch in &found.batches {
        records.extend((0..batch.rows()).filter_map(|row| batch.text("raw", row)).map(str::to_owned));
    }
    records
}
