//! `keytrail rule backtest`: what rules would have found in logs of the past, by rule.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use keytrail_detect::Rule;
use keytrail_model::{Finding, Micros, did_you_mean};
use serde_json::{Value, json};

use super::pack;
use crate::cli::{Backtest, Global};
use crate::commands::{lake, scan::read};
use crate::config::Config;
use crate::output::{self, Rows, note};
use crate::pipeline::{Extent, Outcome, Pipeline, inputs, threads};
use crate::{progress, tables};

const DAY: i64 = 86_400 * Micros::SECOND;

pub async fn run(global: &Global, asked: &Backtest) -> Result<()> {
    let config = Config::load(global)?;
    let pack = pack(global, &asked.rule_set)?;
    let rules = only(pack.rules()?, &asked.rule)?;
    let mut pipeline = Pipeline::over(&pack, rules, config.limits.limits())?;
    let lake = if asked.data.is_empty() { lake::existing(&config, asked.lake.as_deref())? } else { None };
    let inputs = match lake {
        Some(lake) => lake::inputs(&lake, asked.since, asked.until).await?,
        None if asked.data.is_empty() => bail!("over which logs? name them with --data, or a lake with --lake"),
        None => inputs(&asked.data)?.0,
    };
    let extent = Extent {
        threads: threads(asked.threads),
        census: false,
        conclude: !asked.detect_only,
        write: false,
        since: asked.since.unwrap_or(Micros(i64::MIN)),
        until: asked.until.unwrap_or(Micros(i64::MAX)),
    };
    let outcome = pipeline.run_to(extent, &inputs, &progress::bytes(0, global.quiet), None)?;
    if asked.findings {
        output::print(&tables::findings(&outcome.findings), global)?;
    } else {
        output::print(&by_rule(pipeline.rules(), &outcome, !asked.detect_only), global)?;
    }
    note(global, &said(&outcome));
    Ok(())
}

/// The rules with these ids; all when none is named.
fn only(rules: Vec<Rule>, ids: &[String]) -> Result<Vec<Rule>> {
    if let Some(id) = ids.iter().find(|id| rules.iter().all(|rule| rule.id != **id)) {
        let near = did_you_mean(id, rules.iter().map(|rule| rule.id.as_str()));
        return Err(anyhow!("no rule `{id}` is in force{near}"));
    }
    Ok(rules.into_iter().filter(|rule| ids.is_empty() || ids.contains(&rule.id)).collect())
}

fn by_rule(rules: &[Rule], outcome: &Outcome, concluded: bool) -> Rows {
    let mut rows = Rows::new(&[
        "rule",
        "severity",
        "state",
        "findings",
        "events",
        "per_day",
        "busiest_day",
        "credentials",
        "owners",
        "actions",
        "first_seen",
        "last_seen",
    ]);
    let days = outcome.range.map_or(1, |(first, last)| (last.bucket(DAY).0 - first.bucket(DAY).0) / DAY + 1);
    for rule in rules {
        let found: Vec<&Finding> = outcome.findings.iter().filter(|finding| finding.rule == rule.id).collect();
        rows.push(row(rule, &found, days).into_iter().chain(led_to(&found, outcome, concluded)).chain(span(&found)));
    }
    rows.rows.sort_by_key(|row| std::cmp::Reverse(row.get("findings").and_then(Value::as_u64)));
    rows
}

fn row(rule: &Rule, found: &[&Finding], days: i64) -> Vec<Value> {
    let mut by_day: BTreeMap<Micros, u64> = BTreeMap::new();
    for finding in found {
        *by_day.entry(finding.first_seen.bucket(DAY)).or_default() += 1;
    }
    // The first of the busiest days: of several with the same number the map gives the last, so it is turned round.
    let busiest = by_day.iter().rev().max_by_key(|(_, count)| **count);
    let day = |at: &Micros| at.to_string().chars().take(10).collect::<String>();
    let events: u64 = found.iter().map(|finding| finding.count).sum();
    vec![
        json!(rule.id),
        json!(rule.severity.name()),
        json!(rule.state.name()),
        json!(found.len()),
        json!(events),
        json!((found.len() as f64 / days as f64 * 100.0).round() / 100.0),
        json!(busiest.map(|(at, count)| format!("{}: {count}", day(at)))),
        json!(found.iter().filter_map(|finding| finding.target.credential.as_deref()).collect::<BTreeSet<_>>().len()),
    ]
}

/// Owners who would get a ticket, and actions that would be planned.
fn led_to(found: &[&Finding], outcome: &Outcome, concluded: bool) -> Vec<Value> {
    if !concluded {
        return vec![Value::Null, Value::Null];
    }
    let owners = found.iter().filter_map(|finding| finding.ownership.as_ref()).flat_map(|known| &known.owners);
    let owners: BTreeSet<&str> = owners.map(|owner| owner.id.as_str()).collect();
    let ids: BTreeSet<&str> = found.iter().map(|finding| finding.id.as_str()).collect();
    let mut actions: BTreeMap<String, u64> = BTreeMap::new();
    for action in outcome.actions.iter().filter(|action| ids.contains(action.finding.as_str())) {
        let refused = if action.refused.is_some() { " (refused)" } else { "" };
        *actions.entry(format!("{}{refused}", action.remediator)).or_default() += 1;
    }
    let actions: Vec<String> = actions.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    vec![json!(owners.into_iter().collect::<Vec<_>>().join(", ")), json!(actions.join(", "))]
}

fn span(found: &[&Finding]) -> Vec<Value> {
    let first = found.iter().map(|finding| finding.first_seen).min();
    let last = found.iter().map(|finding| finding.last_seen).max();
    vec![json!(first), json!(last)]
}

fn said(outcome: &Outcome) -> String {
    let (findings, tickets) = (outcome.findings.len(), outcome.ticket_count);
    let mut lines =
        vec![format!("{findings} findings, {tickets} tickets; nothing was written, sent or planned"), read(outcome)];
    if let Some(first) = outcome.rejects.first() {
        lines.push(format!("{} rejects, first at {}: {}", outcome.reject_count, first.position, first.reason));
    }
    lines.extend(outcome.trouble());
    lines.join("\n")
}
