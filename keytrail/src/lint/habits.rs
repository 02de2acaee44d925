//! Lints of one rule that reads: tests, tags, words and names.

use std::collections::BTreeSet;
use std::sync::Arc;

use keytrail_detect::{Measure, Rule};
use keytrail_ingest::Mapping;
use keytrail_model::did_you_mean;
use keytrail_model::schema::{self, Filled};

use super::table::{DESCRIPTION, GROUP, Lint, PLAYBOOK, SUMMARY, SUPPRESS, TAG, TEST_NAME, TESTS};
use super::{Problem, tags};

/// Columns that every event has, and those that enrichment fills where the record does not.
const ALWAYS_FILLED: [&str; 9] = [
    "time",
    "event_id",
    "source",
    "provider",
    "agent_evidence",
    "tool",
    "prompt_ref",
    "credential_lifetime",
    "credential_note",
];

/// Fewer words do not say what happened and why it matters.
const WORDS_MIN: usize = 6;

pub fn of(rule: &Rule, text: &str, playbooks: &[&str], mappings: &[Arc<Mapping>]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    if let Some(id) = rule.playbook.as_deref().filter(|id| !playbooks.contains(id)) {
        let message = format!("no playbook is called `{id}`{}", did_you_mean(id, playbooks.iter().copied()));
        problems.push(at(rule, text, "playbook:", &PLAYBOOK, message));
    }
    problems.extend(suppress(rule, text));
    // Public Sigma rules carry neither tests nor our tags, and are written for other readers.
    if rule.file.ends_with(".yml") {
        return problems;
    }
    problems.extend(tests(rule, text));
    problems.extend(words(rule, text));
    problems.extend(summary(rule, text, mappings));
    for tag in rule.tags.iter().filter(|tag| !tags::is_tag(tag) && tags::well_formed(tag).is_none()) {
        let message =
            format!("tag `{tag}` is neither attack.tNNNN(.NNN), attack.tactic-name nor owasp.nhi1 to owasp.nhi10");
        problems.push(at(rule, text, "tags:", &TAG, message));
    }
    problems
}

/// A problem at the line of a top-level key.
fn at(rule: &Rule, text: &str, key: &str, lint: &'static Lint, message: impl Into<String>) -> Problem {
    let line = text.lines().position(|line| line.starts_with(key)).map(|line| line as u64 + 1);
    Problem::new(lint, &rule.file, line.or(rule.line), message)
}

fn tests(rule: &Rule, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let positive = rule.tests.iter().any(|test| test.findings > 0);
    let negative = rule.tests.iter().any(|test| test.findings == 0);
    if !positive || !negative {
        let message = "a rule needs a test that finds something and one that finds nothing";
        problems.push(at(rule, text, "tests:", &TESTS, message));
    }
    let mut names = BTreeSet::new();
    for test in rule.tests.iter().filter(|test| !names.insert(test.name.as_str())) {
        let message = format!("two tests are called `{}`: a report could not tell them apart", test.name);
        problems.push(at(rule, text, "tests:", &TEST_NAME, message));
    }
    problems
}

fn words(rule: &Rule, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if rule.group_by.is_empty() {
        let message = "group_by is empty: every event of a period would be one finding";
        problems.push(at(rule, text, "group_by:", &GROUP, message));
    }
    let description = rule.description.trim();
    if description.split_whitespace().count() < WORDS_MIN || description == rule.title {
        let message = "the description is for the owner who gets the ticket: say what happened and why it matters";
        problems.push(at(rule, text, "description:", &DESCRIPTION, message));
    }
    problems
}

fn summary(rule: &Rule, text: &str, mappings: &[Arc<Mapping>]) -> Vec<Problem> {
    let read: Vec<&Arc<Mapping>> = mappings.iter().filter(|mapping| rule.sources.include(&mapping.source)).collect();
    let filled = |column: &str| {
        let enriched = schema::find(column).is_some_and(|field| field.filled != Filled::Mapping);
        let mapped = || read.iter().any(|mapping| mapping.columns.iter().any(|(name, ..)| *name == column));
        enriched || ALWAYS_FILLED.contains(&column) || mapped()
    };
    // A log source that nobody maps is told by planning.
    let never = rule.summary.columns().filter(|column| !read.is_empty() && !filled(column));
    never
        .map(|column| {
            let message = format!("the summary names `{column}`, which no log source of the rule fills");
            at(rule, text, "summary:", &SUMMARY, message)
        })
        .collect()
}

/// First-seen rules have no `within`; their values are new only once.
fn suppress(rule: &Rule, text: &str) -> Option<Problem> {
    let window = rule.window.as_ref().filter(|window| !matches!(window.measure, Measure::FirstSeen { .. }))?;
    (rule.suppress_for < window.within).then(|| {
        let message = "suppress_for is shorter than the window's `within`: one matter becomes several findings";
        at(rule, text, "suppress_for:", &SUPPRESS, message)
    })
}
