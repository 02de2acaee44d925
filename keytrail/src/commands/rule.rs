//! `keytrail rule`: list, test, lint, fields, functions, explain.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use keytrail_detect::{Body, Rule as Detection, Sources};
use keytrail_model::{did_you_mean, schema};
use serde_json::json;

use crate::cli::{Global, Rule, RuleSet};
use crate::config::Config;
use crate::failure::Failure;
use crate::lint;
use crate::output::{self, Rows, note};
use crate::pack::{Pack, detections};
use crate::run_rules::{Bench, Verdict};

pub fn run(global: &Global, command: Rule) -> Result<()> {
    match command {
        Rule::List { rule_set } => list(global, &rule_set),
        Rule::Test { paths } => test(global, &paths),
        Rule::Lint { paths } => lint(global, &paths),
        Rule::Fields { source } => fields(global, source.as_deref()),
        Rule::Functions => functions(global),
        Rule::Explain { id, rule_set } => explain(global, &id, &rule_set),
    }
}

fn loaded(global: &Global, set: &RuleSet) -> Result<Vec<Detection>> {
    Pack::with(&Config::load(global)?.rule_set(set))?.rules()
}

fn list(global: &Global, set: &RuleSet) -> Result<()> {
    let mut rows = Rows::new(&["id", "severity", "source", "body", "group_by", "playbook", "tests", "title"]);
    for rule in loaded(global, set)? {
        rows.push([
            json!(rule.id),
            json!(rule.severity.name()),
            json!(sources(&rule.sources)),
            json!(if matches!(rule.body, Body::Sql(_)) { "sql" } else { "sigma" }),
            json!(rule.group_by),
            json!(rule.playbook),
            json!(rule.tests.len()),
            json!(rule.title),
        ]);
    }
    output::print(&rows, global)
}

fn sources(sources: &Sources) -> String {
    match sources {
        Sources::Any => "any".to_owned(),
        Sources::Named(names) => names.join(", "),
    }
}

fn test(global: &Global, paths: &[PathBuf]) -> Result<()> {
    let pack = Pack::embedded();
    let loaded = keytrail_detect::load(&detections(paths)?, &pack.vocabulary()?);
    if !loaded.errors.is_empty() {
        return Err(Failure::rules(loaded.errors));
    }
    let rules = loaded.rules;
    let bench = Bench::new(&pack)?;
    let mut verdicts = Vec::new();
    for rule in &rules {
        verdicts.extend(bench.run(rule)?);
    }
    say(global, &rules, &verdicts)
}

fn say(global: &Global, rules: &[Detection], verdicts: &[Verdict]) -> Result<()> {
    let mut rows = Rows::new(&["rule", "test", "result", "reason"]);
    for verdict in verdicts {
        let result = if verdict.failure.is_none() { "passed" } else { "failed" };
        rows.push([json!(verdict.rule), json!(verdict.test), json!(result), json!(verdict.failure)]);
    }
    output::print(&rows, global)?;
    let failed = verdicts.iter().filter(|verdict| verdict.failure.is_some()).count();
    let passed = verdicts.len() - failed;
    let untested: Vec<&str> = rules.iter().filter(|rule| rule.tests.is_empty()).map(|rule| rule.id.as_str()).collect();
    note(global, &format!("{} rules: {passed} passed, {failed} failed, {} without tests", rules.len(), untested.len()));
    if failed > 0 {
        return Err(Failure::Found(format!("{failed} rule tests failed")).into());
    }
    Ok(())
}

fn lint(global: &Global, paths: &[PathBuf]) -> Result<()> {
    let pack = Pack::embedded();
    let files = detections(paths)?;
    let problems = lint::problems(&pack, &files)?;
    let mut rows = Rows::new(&["file", "line", "problem"]);
    for problem in &problems {
        rows.push([json!(problem.file), json!(problem.line), json!(problem.message)]);
    }
    if !problems.is_empty() {
        output::print(&rows, global)?;
    }
    note(global, &format!("{} rule files, {} problems", files.len(), problems.len()));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Found(format!("{} problems in rules", problems.len())).into())
    }
}

fn fields(global: &Global, source: Option<&str>) -> Result<()> {
    let mappings = Pack::embedded().mappings()?;
    let Some(source) = source else {
        let mut rows = Rows::new(&["column", "type", "filled_by", "ocsf", "meaning"]);
        for field in schema::FIELDS {
            let filled = format!("{:?}", field.filled).to_lowercase();
            rows.push([
                json!(field.name),
                json!(field.kind.name()),
                json!(filled),
                json!(field.ocsf),
                json!(field.doc),
            ]);
        }
        return output::print(&rows, global);
    };
    let mapping = mappings.iter().find(|mapping| mapping.source == source).ok_or_else(|| {
        let hint = did_you_mean(source, mappings.iter().map(|mapping| mapping.source.as_str()));
        let known: Vec<&str> = mappings.iter().map(|mapping| mapping.source.as_str()).collect();
        anyhow!("no mapping for log source `{source}`{hint} (known: {})", known.join(", "))
    })?;
    let mut rows = Rows::new(&["name", "kind", "from"]);
    for (name, expression, _) in &mapping.columns {
        rows.push([json!(name), json!("event column"), json!(expression.text)]);
    }
    for path in mapping.paths().iter().chain(&mapping.fields) {
        rows.push([json!(path.to_string()), json!("raw path"), json!("the record")]);
    }
    output::print(&rows, global)
}

fn functions(global: &Global) -> Result<()> {
    let mut rows = Rows::new(&["name", "arguments", "returns", "meaning"]);
    for function in keytrail_sql::functions::catalogue() {
        rows.push([json!(function.name), json!(function.args), json!(function.returns.name()), json!(function.doc)]);
    }
    output::print(&rows, global)
}

fn explain(global: &Global, id: &str, set: &RuleSet) -> Result<()> {
    let rules = loaded(global, set)?;
    let rule = rules
        .iter()
        .find(|rule| rule.id == id)
        .ok_or_else(|| anyhow!("no rule `{id}`{}", did_you_mean(id, rules.iter().map(|rule| rule.id.as_str()))))?;
    output::text(&explained(rule))
}

fn explained(rule: &Detection) -> String {
    let hours = rule.suppress_for / (3600 * keytrail_model::Micros::SECOND);
    let rows = [
        ("file", rule.file.clone()),
        ("reads", sources(&rule.sources)),
        ("looks for", rule.text.trim().replace('\n', "\n              ")),
        ("group", format!("one finding for each {} in {hours} h (UTC-aligned)", rule.group_by.join(" and "))),
        (
            "leads to",
            rule.playbook
                .clone()
                .unwrap_or_else(|| "the playbook that fits the credential, or a ticket only".to_owned()),
        ),
        ("harmless", rule.false_positives.join("; ")),
        ("runbook", rule.runbook.clone().unwrap_or_default().trim().to_owned()),
        ("tags", rule.tags.join(", ")),
        ("tests", rule.tests.iter().map(|test| test.name.as_str()).collect::<Vec<_>>().join("; ")),
    ];
    let body: String = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("  {name:<11} {value}\n"))
        .collect();
    format!("{} [{}] {}\n{}\n\n{body}", rule.id, rule.severity, rule.title, rule.description.trim())
}
