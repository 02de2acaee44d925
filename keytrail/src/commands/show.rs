//! A finding as text for people: what, who, why, what next.

use keytrail_detect::Rule;
use keytrail_model::{Action, Example, Finding, Ownership, Undo, printable_lines};
use keytrail_remediate::command;

use crate::tables::marked;

/// The finding with evidence, owner and plan.
#[must_use]
pub fn finding(finding: &Finding, superseded: Option<&str>, actions: &[Action]) -> String {
    printable_lines(&told(finding, superseded, actions))
}

fn told(finding: &Finding, superseded: Option<&str>, actions: &[Action]) -> String {
    let mut text = format!("{} [{}] {}\n{}\n", finding.id, finding.severity, finding.title, marked(finding));
    if let Some(superseded) = superseded {
        text.push_str(&format!("{superseded}\n"));
    }
    text.push('\n');
    text.push_str(&facts(finding));
    text.push_str(&owner(finding.ownership.as_ref()));
    text.push_str(&lineage(finding));
    text.push_str(&if finding.shadow {
        "\nplan\n  none: the rule is on trial (shadow)\n".to_owned()
    } else {
        plan(actions)
    });
    text.push_str("\nevents\n");
    finding.examples.iter().for_each(|event| text.push_str(&example(event)));
    if let Some(runbook) = &finding.runbook {
        text.push_str(&format!("\nrunbook\n  {}\n", runbook.trim()));
    }
    text
}

fn facts(finding: &Finding) -> String {
    let target = &finding.target;
    let outcomes: Vec<String> = finding.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let rows = [
        ("rule", Some(finding.rule.clone())),
        (
            "seen",
            Some(format!(
                "{} events ({}), {} to {}",
                finding.count,
                outcomes.join(", "),
                finding.first_seen,
                finding.last_seen
            )),
        ),
        ("credential", target.credential.clone()),
        (
            "kind",
            target.kind.clone().map(|kind| format!("{kind}, {}", target.lifetime.as_deref().unwrap_or("unknown"))),
        ),
        ("parent", target.parent.clone()),
        ("actor", target.actor.clone()),
        ("agent", target.agent.clone()),
        ("account", target.account.clone()),
        ("from", Some(counted(&finding.ips, finding.ip_count)).filter(|text| !text.is_empty())),
        ("resources", Some(counted(&finding.resources, finding.resource_count)).filter(|text| !text.is_empty())),
        ("guardrails", Some(finding.guardrails.join(", ")).filter(|text| !text.is_empty())),
        ("tags", Some(finding.tags.join(", ")).filter(|text| !text.is_empty())),
    ];
    rows.into_iter().filter_map(|(name, value)| value.map(|value| format!("  {name:<11} {value}\n"))).collect()
}

fn counted(values: &[String], count: u64) -> String {
    let shown: Vec<&str> = values.iter().take(5).map(String::as_str).collect();
    let rest = count.saturating_sub(shown.len() as u64);
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}

fn owner(ownership: Option<&Ownership>) -> String {
    let Some(known) = ownership else { return String::new() };
    let names: Vec<String> = known.owners.iter().map(|owner| format!("{} <{}>", owner.name, owner.email)).collect();
    let state = match (known.contested, known.orphan) {
        (true, _) => ", contested",
        (_, true) => ", nobody is known: this is the fallback",
        _ => "",
    };
    let mut text = format!("\nowner\n  {} (confidence {:.2}{state})\n", names.join(" and "), known.confidence);
    for evidence in &known.evidence {
        text.push_str(&format!(
            "  - {:.2} {}: {} says {}\n",
            evidence.confidence, evidence.owner, evidence.source, evidence.detail
        ));
    }
    text
}

fn lineage(finding: &Finding) -> String {
    if finding.lineage.is_empty() {
        return String::new();
    }
    let hop = |hop: &keytrail_model::Hop| {
        format!("  {} {} --{}--> {} {} ({})\n", hop.from_kind, hop.from, hop.edge, hop.to_kind, hop.to, hop.basis)
    };
    format!("\nlineage\n{}", finding.lineage.iter().map(hop).collect::<String>())
}

fn plan(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "\nplan\n  none: the owner is told\n".to_owned();
    }
    format!("\nplan\n{}", actions.iter().map(planned).collect::<String>())
}

fn planned(action: &Action) -> String {
    let mut text = format!("  [{}] {}: {}\n", action.mode, action.remediator, action.summary);
    if let Some(refusal) = &action.refused {
        text.push_str(&format!("    refused ({}): {}\n", refusal.code, refusal.reason));
    }
    action.calls.iter().for_each(|call| text.push_str(&format!("    call  {}\n", command(call))));
    match &action.undo {
        Undo::Calls(calls) => calls.iter().for_each(|call| text.push_str(&format!("    undo  {}\n", command(call)))),
        Undo::Irreversible(why) => text.push_str(&format!("    undo  not possible: {why}\n")),
    }
    action.limits.iter().for_each(|limit| text.push_str(&format!("    note  {limit}\n")));
    text
}

fn example(event: &Example) -> String {
    let from = event.ip.as_deref().unwrap_or("unknown address");
    let mut text = format!("  {} {} {} from {from}, {}\n", event.time, event.action, event.outcome, event.position);
    if let Some(prompt) = &event.prompt_ref {
        text.push_str(&format!("    prompt {prompt} (by reference)\n"));
    }
    event.selected.iter().for_each(|(name, value)| text.push_str(&format!("    {name} = {value}\n")));
    text
}

/// Why it is a finding, why this owner, why this plan.
#[must_use]
pub fn explained(found: &Finding, superseded: Option<&str>, rule: Option<&Rule>, actions: &[Action]) -> String {
    let mut text = told(found, superseded, actions);
    let Some(rule) = rule else {
        text.push_str(&format!(
            "\nwhy\n  rule {} is not among the rules loaded now: name its folder with --rules\n",
            found.rule
        ));
        return printable_lines(&text);
    };
    let group: Vec<String> = found.group.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    text.push_str(&format!("\nwhy\n  {}\n  the rule looks for: {}\n", rule.description.trim(), rule.text.trim()));
    text.push_str(&format!("  grouped by {} since {}\n", group.join(", "), found.period_start));
    if !rule.false_positives.is_empty() {
        text.push_str(&format!("  known to be harmless: {}\n", rule.false_positives.join("; ")));
    }
    printable_lines(&text)
}
