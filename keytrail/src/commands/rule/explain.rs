//! `keytrail rule explain ID`: a rule in full.

use anyhow::{Result, anyhow};
use keytrail_detect::{Exception, Measure, Rule};
use keytrail_model::{Micros, did_you_mean, printable_lines};

use super::{pack, sources};
use crate::cli::{Global, RuleSet};
use crate::output;

pub fn run(global: &Global, id: &str, set: &RuleSet) -> Result<()> {
    let rules = pack(global, set)?.all_rules()?;
    let rule = rules
        .iter()
        .find(|rule| rule.id == id)
        .ok_or_else(|| anyhow!("no rule `{id}`{}", did_you_mean(id, rules.iter().map(|rule| rule.id.as_str()))))?;
    output::text(&printable_lines(&explained(rule)))
}

fn explained(rule: &Rule) -> String {
    let rows = [
        ("file", rule.file.clone()),
        ("state", state(rule).to_owned()),
        ("reads", sources(&rule.sources)),
        ("looks for", rule.text.trim().to_owned()),
        ("and", each(&rule.narrowed, |narrowed| narrowed.condition.text.clone())),
        ("window", window(rule).unwrap_or_default()),
        ("judged", judged(rule).to_owned()),
        ("group", group(rule)),
        ("leads to", leads_to(rule)),
        ("harmless", rule.false_positives.join("; ")),
        ("runbook", rule.runbook.clone().unwrap_or_default().trim().to_owned()),
        ("tags", rule.tags.join(", ")),
        ("tests", rule.tests.iter().map(|test| test.name.as_str()).collect::<Vec<_>>().join("; ")),
        ("changed by", rule.overlaid.join("\n")),
        ("excepted", each(&rule.exceptions, excepted)),
    ];
    let row = |(name, value): (&str, String)| format!("  {name:<11} {}\n", value.replace('\n', "\n              "));
    let body: String = rows.into_iter().filter(|(_, value)| !value.is_empty()).map(row).collect();
    format!("{} [{}] {}\n{}\n\n{body}", rule.id, rule.severity, rule.title, rule.description.trim())
}

fn each<T>(items: &[T], say: impl Fn(&T) -> String) -> String {
    items.iter().map(say).collect::<Vec<_>>().join("\n")
}

fn state(rule: &Rule) -> &'static str {
    match rule.state {
        keytrail_detect::State::On => "on",
        keytrail_detect::State::Shadow => "shadow: its findings are listed, without plan and ticket",
        keytrail_detect::State::Off => "off: it is tested and linted, and not loaded",
    }
}

/// The window as one line, where the rule has one.
pub fn window(rule: &Rule) -> Option<String> {
    let window = rule.window.as_ref()?;
    let steps = window.steps.join(", ");
    let measure = match &window.measure {
        Measure::Count(_) => "count".to_owned(),
        Measure::Distinct(_) => "distinct values".to_owned(),
        Measure::Sum(_) => "sum".to_owned(),
        Measure::Avg(_) => "average".to_owned(),
        Measure::Percentile { rank, .. } => format!("{rank}th percentile"),
        Measure::AllOf(_) => format!("all of {steps}"),
        Measure::Sequence => format!("sequence {steps}"),
        Measure::Absence { .. } => format!("absence, of {steps}"),
        Measure::FirstSeen { learn, .. } => return Some(format!("first seen, after {} of learning", length(*learn))),
    };
    let kind = format!("{:?}", window.kind).to_lowercase();
    Some(format!("{measure} within {}, {kind}", length(window.within)))
}

/// In the largest unit that it is a whole number of.
fn length(micros: i64) -> String {
    let seconds = micros / Micros::SECOND;
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let fitting = units.into_iter().find(|(size, _)| seconds % size == 0);
    fitting.map_or_else(String::new, |(size, unit)| format!("{}{unit}", seconds / size))
}

fn judged(rule: &Rule) -> &'static str {
    if rule.settled() {
        "settled: when the watermark has passed, because other events can still change the answer"
    } else {
        "immediate: by the event alone"
    }
}

fn group(rule: &Rule) -> String {
    let by = rule.group_by.join(" and ");
    let time = length(rule.suppress_for);
    match &rule.window {
        None => format!("one finding for each {by} in {time} (UTC-aligned)"),
        Some(_) => format!("one finding for each {by}; what follows within {time} is counted into it"),
    }
}

fn leads_to(rule: &Rule) -> String {
    let fitting = || "the playbook that fits the credential, or a ticket only".to_owned();
    rule.playbook.clone().unwrap_or_else(fitting)
}

fn excepted(exception: &Exception) -> String {
    let Exception { id, filter, owner, reason, expires, .. } = exception;
    format!("{id} until {expires}: {} ({owner}: {})", filter.text, reason.trim())
}
