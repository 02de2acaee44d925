//! What `demo` and `scan` print on a terminal: findings as people take them up, one block for each credential and owner.

use std::collections::BTreeMap;

use keytrail_model::{Action, Finding, Severity, printable};
use keytrail_remediate::Ticket;

use crate::pipeline::Outcome;
use crate::tables::short_id;

/// Findings shown in one block; the ticket has them all.
const FINDINGS_SHOWN: usize = 5;
const WIDTH: usize = 132;

/// One matter: the tickets about the same findings (two when the owner is contested).
struct Matter<'a> {
    tickets: Vec<&'a Ticket>,
    findings: Vec<&'a Finding>,
}

/// The first `limit` matters, worst first, and how many more there are.
#[must_use]
pub fn text(outcome: &Outcome, limit: usize, colour: bool) -> String {
    let matters = matters(outcome);
    let mut text: String =
        matters.iter().take(limit).map(|matter| block(matter, &actions(outcome, matter), colour)).collect();
    if matters.len() > limit {
        text.push_str(&format!(
            "… and {} more, less grave; all of them are in the files below\n\n",
            matters.len() - limit
        ));
    }
    text.push_str(&on_trial(outcome));
    text
}

/// Findings of rules in state shadow: counted by rule, worst first; they have no owner to tell, no plan, no ticket.
fn on_trial(outcome: &Outcome) -> String {
    let mut by_rule: BTreeMap<(std::cmp::Reverse<Severity>, &str), (u64, u64)> = BTreeMap::new();
    for finding in outcome.findings.iter().filter(|finding| finding.shadow) {
        let entry = by_rule.entry((std::cmp::Reverse(finding.severity), &finding.rule)).or_default();
        entry.0 += 1;
        entry.1 += finding.count;
    }
    let rule = |((std::cmp::Reverse(severity), rule), (findings, events)): (_, (u64, u64))| {
        line(&format!("  [{severity}] {rule}: {findings} findings, {events} events"))
    };
    let lines: String = by_rule.into_iter().map(rule).collect();
    if lines.is_empty() { lines } else { format!("rules on trial (shadow: no plan, no ticket)\n{lines}\n") }
}

fn matters(outcome: &Outcome) -> Vec<Matter<'_>> {
    let mut by_findings: BTreeMap<&[String], Vec<&Ticket>> = BTreeMap::new();
    for ticket in &outcome.tickets {
        by_findings.entry(&ticket.findings).or_default().push(ticket);
    }
    let known: BTreeMap<&str, &Finding> =
        outcome.findings.iter().map(|finding| (finding.id.as_str(), finding)).collect();
    let mut matters: Vec<Matter<'_>> = Vec::new();
    for (ids, tickets) in by_findings {
        let findings = ids.iter().filter_map(|id| known.get(id.as_str()).copied()).collect();
        matters.push(Matter { tickets, findings });
    }
    matters.sort_by_key(|matter| {
        let severity = matter.findings.first().map(|finding| finding.severity);
        let graver = matter.findings.iter().filter(|finding| finding.severity >= Severity::High).count();
        (
            std::cmp::Reverse(severity),
            std::cmp::Reverse(graver),
            matter.tickets.first().map(|ticket| ticket.key.as_str()),
        )
    });
    matters
}

/// Its actions, each once, those that can be carried out first.
fn actions<'a>(outcome: &'a Outcome, matter: &Matter<'_>) -> Vec<&'a Action> {
    let of_matter = |action: &&Action| matter.findings.iter().any(|finding| finding.id == action.finding);
    let mut actions: Vec<&Action> = outcome.actions.iter().filter(of_matter).collect();
    actions.sort_by_key(|action| action.refused.is_some());
    let mut seen = Vec::new();
    actions.retain(|action| {
        let new = !seen.contains(&(&action.remediator, &action.target));
        seen.push((&action.remediator, &action.target));
        new
    });
    actions
}

fn block(matter: &Matter<'_>, actions: &[&Action], colour: bool) -> String {
    let Some(lead) = matter.findings.first() else { return String::new() };
    let mut text = format!("{}\n", headline(lead, colour));
    for finding in matter.findings.iter().take(FINDINGS_SHOWN) {
        text.push_str(&line(&format!("  {:>6}×  {}  {}", finding.count, short_id(&finding.id), finding.summary)));
    }
    if matter.findings.len() > FINDINGS_SHOWN {
        text.push_str(&line(&format!("           and {} findings more", matter.findings.len() - FINDINGS_SHOWN)));
    }
    text.push_str(&line(&format!("  owner    {}", owner(lead))));
    for action in plan(actions) {
        text.push_str(&line(&format!("  plan     [{}] {}", action.mode, action.summary)));
    }
    for action in actions.iter().filter(|action| action.refused.is_some()).take(1) {
        let reason = action.refused.as_ref().map(|refusal| refusal.reason.as_str()).unwrap_or_default();
        text.push_str(&line(&format!("  refused  {}: {reason}", action.remediator)));
    }
    let keys: Vec<&str> = matter.tickets.iter().map(|ticket| ticket.key.as_str()).collect();
    text.push_str(&line(&format!("  ticket   {}", keys.join(", "))));
    text.push('\n');
    text
}

fn plan<'a>(actions: &'a [&'a Action]) -> impl Iterator<Item = &'a &'a Action> {
    let contains = |action: &&Action| action.refused.is_none() && !action.calls.is_empty();
    let any = actions.iter().any(contains);
    actions.iter().filter(move |action| if any { contains(action) } else { action.refused.is_none() }).take(3)
}

fn headline(lead: &Finding, colour: bool) -> String {
    let target = &lead.target;
    let who =
        target.agent.as_deref().or(target.actor_name.as_deref()).or(target.actor.as_deref()).unwrap_or("unknown actor");
    let with = match (&target.credential, &target.lifetime) {
        (Some(credential), Some(lifetime)) => format!("{credential} ({lifetime})"),
        (Some(credential), None) => credential.clone(),
        _ => "no credential named in the log".to_owned(),
    };
    let name = lead.severity.name().to_uppercase();
    let rest = printable(&format!("{who} · {with} · {}", lead.source));
    format!("{}  {rest}", painted(&name, lead.severity, colour))
}

fn painted(text: &str, severity: Severity, colour: bool) -> String {
    let code = match severity {
        Severity::Critical => "1;35",
        Severity::High => "1;31",
        Severity::Medium => "1;33",
        Severity::Low | Severity::Informational => "1;36",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn owner(finding: &Finding) -> String {
    let Some(known) = &finding.ownership else { return "unknown".to_owned() };
    let names: Vec<String> = known.owners.iter().map(|owner| format!("{} <{}>", owner.name, owner.email)).collect();
    let why = known.evidence.first().map(|evidence| format!(": {}", evidence.detail)).unwrap_or_default();
    format!("{} (confidence {:.2}){why}", names.join(" and "), known.confidence)
}

/// One line, cut to a width that terminals have.
fn line(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= WIDTH {
        return format!("{text}\n");
    }
    let cut: String = text.chars().take(WIDTH - 1).collect();
    format!("{cut}…\n")
}
