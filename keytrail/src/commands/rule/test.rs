//! `keytrail rule test`: runs the tests inside rule files.

use anyhow::Result;
use keytrail_detect::Rule;
use serde_json::json;

use super::{pack, write};
use crate::cli::{Global, Test};
use crate::failure::Failure;
use crate::junit;
use crate::output::{self, Rows, note};
use crate::pack::{Pack, files_of};
use crate::run_rules::{Bench, Verdict};

pub fn run(global: &Global, test: &Test) -> Result<()> {
    let pack = pack(global, &test.rule_set)?;
    let rules = rules(&pack, test)?;
    let bench = Bench::new(&pack)?;
    let mut verdicts = Vec::new();
    for rule in &rules {
        verdicts.extend(bench.run(rule)?);
    }
    if let Some(file) = &test.junit {
        let files: Vec<&str> = rules.iter().map(|rule| rule.file.as_str()).collect();
        write(file, &junit::document(&files, &verdicts))?;
    }
    say(global, &rules, &verdicts)
}

/// As they are written: an overlay of the place where they are tested must not change what their authors proved.
fn rules(pack: &Pack, test: &Test) -> Result<Vec<Rule>> {
    let files = if test.paths.is_empty() { pack.detections.clone() } else { files_of(&test.paths)?.detections };
    let loaded = keytrail_detect::load(&files, &pack.vocabulary()?);
    if loaded.errors.is_empty() { Ok(loaded.rules) } else { Err(Failure::rules(loaded.errors)) }
}

fn say(global: &Global, rules: &[Rule], verdicts: &[Verdict]) -> Result<()> {
    let mut rows = Rows::new(&["rule", "test", "result", "reason"]);
    for verdict in verdicts {
        let result = if verdict.failure.is_none() { "passed" } else { "failed" };
        rows.push([json!(verdict.rule), json!(verdict.test), json!(result), json!(verdict.failure)]);
    }
    output::print(&rows, global)?;
    let failed = verdicts.iter().filter(|verdict| verdict.failure.is_some()).count();
    let passed = verdicts.len() - failed;
    let untested = rules.iter().filter(|rule| rule.tests.is_empty()).count();
    note(global, &format!("{} rules: {passed} passed, {failed} failed, {untested} without tests", rules.len()));
    if failed > 0 {
        return Err(Failure::Found(format!("{failed} rule tests failed")).into());
    }
    Ok(())
}
