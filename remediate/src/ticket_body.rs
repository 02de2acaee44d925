//! The ticket's text: what happened, with which credential, why you, what we plan, what you do, and the evidence.
//!
//! Plain text at about 100 columns. It holds ids and never a secret, because nothing before it does.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keytrail_model::{Action, Example, Finding, Micros, Mode, Owner, Target, Undo, printable};

use crate::command::pieces;
use crate::wrap::{paragraph, shell};

const LISTED: usize = 5;

pub fn body(key: &str, owner: &Owner, findings: &[&Finding], actions: &[&Action], fallback: &Owner) -> String {
    let Some(lead) = findings.first() else { return String::new() };
    let sections = [
        opening(owner, lead, actions),
        what_happened(findings),
        credential(findings),
        who_used_it(findings),
        what_it_touched(findings),
        why_you(owner, lead, fallback),
        what_we_plan(actions),
        what_you_do(findings),
        evidence(findings),
        reference(key, findings),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn opening(owner: &Owner, lead: &Finding, actions: &[&Action]) -> String {
    let state = if actions.iter().all(|action| action.mode == Mode::Shadow) {
        "Nothing has been changed: we run in shadow mode, and what we would call is written out below."
    } else {
        "What we call, and what waits for approval, is written out below."
    };
    let known = lead.ownership.as_ref().filter(|known| !known.orphan);
    let why = match known {
        Some(known) => {
            format!("As far as we know this is yours (confidence {}, see WHY YOU).", percent(known.confidence))
        }
        None => "Nobody is known to own this, so it comes to you.".to_owned(),
    };
    let first = format!("{},\n\n", printable(&owner.name));
    format!("{first}{}\n{}", paragraph("", &sentence(&lead.summary)), paragraph("", &format!("{why} {state}")))
}

fn what_happened(findings: &[&Finding]) -> String {
    let mut out = heading("WHAT HAPPENED");
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            out.push('\n');
            out.push_str(&row("also", &sentence(&finding.summary)));
        }
        out.push_str(&row("rule", &format!("{} ({})", finding.title, finding.rule)));
        out.push_str(&row("severity", finding.severity.name()));
        out.push_str(&row("when", &span(finding)));
        out.push_str(&row("events", &format!("{}{} in {}", finding.count, outcomes(finding), finding.source)));
        out.push_str(&listed("guardrails", &finding.guardrails, finding.guardrails.len() as u64));
    }
    out
}

fn span(finding: &Finding) -> String {
    let (first, last) = (when(finding.first_seen), when(finding.last_seen));
    if first == last { first } else { format!("{first}, last {last}") }
}

fn outcomes(finding: &Finding) -> String {
    let parts: Vec<String> = finding.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn credential(findings: &[&Finding]) -> String {
    let Some(target) = findings.first().map(|finding| &finding.target) else { return String::new() };
    let last = findings.iter().map(|finding| finding.last_seen).max().unwrap_or_default();
    let rows = [
        row("id", target.credential.as_deref().unwrap_or("the log names none")),
        row("class", &class(target)),
        optional("age", selected(findings, "credential_age").map(|days| age(&days))),
        optional("issued from", target.parent.clone()),
        optional("account", target.account.clone()),
        row("last use", &format!("{} (the last in the logs that we read)", when(last))),
    ];
    heading("THE CREDENTIAL") + &rows.concat()
}

fn class(target: &Target) -> String {
    let lifetime = match target.lifetime.as_deref() {
        Some("static") => "long-lived: it works until somebody takes it away",
        Some("derived_from_static") => "temporary, minted from a long-lived key",
        Some("ephemeral") => "temporary",
        _ => "of unknown lifetime",
    };
    let quality = match target.quality.as_deref() {
        Some("exact") => "",
        Some("group") => "; the log narrows it to a few and does not name the one",
        _ => "; the log does not say which one it was",
    };
    format!("{}, {lifetime}{quality}", kind(target.kind.as_deref().unwrap_or("unknown_kind")))
}

/// `aws_access_key` as people write it: `AWS access key`.
fn kind(name: &str) -> String {
    let words = name.split('_').map(|word| match word {
        "aws" | "gcp" | "api" | "pat" | "ssh" | "sas" => word.to_uppercase(),
        "azure" => "Azure".to_owned(),
        "github" => "GitHub".to_owned(),
        "oauth" => "OAuth".to_owned(),
        "bedrock" => "Bedrock".to_owned(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn age(days: &str) -> String {
    days.parse::<f64>().map_or_else(|_| days.to_owned(), |days| format!("{days:.0} days"))
}

fn who_used_it(findings: &[&Finding]) -> String {
    let Some(target) = findings.first().map(|finding| &finding.target) else { return String::new() };
    let kind = target.actor_kind.as_ref().map(|kind| format!(" ({})", kind.replace('_', " "))).unwrap_or_default();
    let rows = [
        optional("actor", target.actor.as_ref().map(|actor| format!("{actor}{kind}"))),
        optional("human", selected(findings, "on_behalf_of").map(|human| format!("on behalf of {human}"))),
        optional("agent", target.agent.clone()),
        optional("session", target.session.clone().filter(|session| Some(session) != target.actor.as_ref())),
        addresses(findings),
        listed_set("user agent", seen(findings, |example| example.user_agent.as_deref())),
        listed_set("tool", seen(findings, |example| example.tool.as_deref())),
        listed_set("prompt", seen(findings, |example| example.prompt_ref.as_deref())),
    ];
    heading("WHO USED IT, FROM WHERE") + &rows.concat() + &lineage(findings)
}

fn addresses(findings: &[&Finding]) -> String {
    let all: BTreeSet<&str> = findings.iter().flat_map(|finding| finding.ips.iter().map(String::as_str)).collect();
    let most = findings.iter().map(|finding| finding.ip_count).max().unwrap_or_default();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    listed("from", &all, most.max(all.len() as u64))
}

fn lineage(findings: &[&Finding]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for hop in findings.iter().flat_map(|finding| &finding.lineage) {
        let line = format!("{} {} -{}-> {} {} ({})", hop.from_kind, hop.from, hop.edge, hop.to_kind, hop.to, hop.basis);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let shown = lines.iter().take(2 * LISTED).enumerate();
    shown.map(|(index, line)| row(if index == 0 { "lineage" } else { "" }, line)).collect()
}

fn what_it_touched(findings: &[&Finding]) -> String {
    let all: BTreeSet<&str> =
        findings.iter().flat_map(|finding| finding.resources.iter().map(String::as_str)).collect();
    if all.is_empty() {
        return String::new();
    }
    let most = findings.iter().map(|finding| finding.resource_count).max().unwrap_or_default().max(all.len() as u64);
    let mut out = heading("WHAT IT TOUCHED");
    all.iter().take(LISTED).for_each(|resource| out.push_str(&paragraph("  - ", resource)));
    let rest = most.saturating_sub(LISTED as u64);
    if rest > 0 {
        out.push_str(&format!("  - and {rest} more\n"));
    }
    out
}

fn why_you(owner: &Owner, lead: &Finding, fallback: &Owner) -> String {
    let mut out = heading("WHY YOU");
    let known = lead.ownership.as_ref();
    if known.is_none_or(|known| known.orphan) {
        out.push_str(&paragraph(
            "  ",
            "Nobody is known to own this credential. It comes to you as the fallback owner.",
        ));
    }
    for evidence in known.iter().flat_map(|known| &known.evidence) {
        let whose =
            if evidence.owner == owner.id { String::new() } else { format!(" (speaks for {})", evidence.owner) };
        let event = evidence.event_id.as_ref().map(|id| format!(", event {id}")).unwrap_or_default();
        let line = format!(
            "{}: {}{event}{whose}, confidence {}",
            evidence.source,
            evidence.detail,
            percent(evidence.confidence)
        );
        out.push_str(&paragraph("  - ", &line));
    }
    if let Some(known) = known.filter(|known| known.contested) {
        let names: Vec<&str> =
            known.owners.iter().map(|other| other.name.as_str()).filter(|name| *name != owner.name).collect();
        out.push_str(&paragraph("  ", &format!("Contested: {} got the same ticket.", names.join(", "))));
    }
    if owner.id != fallback.id {
        let ask = format!("Not yours? Reply to {} and say whose it is, if you know.", fallback.email);
        out.push_str(&paragraph("  ", &ask));
    }
    out
}

fn percent(confidence: f64) -> String {
    format!("{:.0} %", confidence * 100.0)
}

fn what_we_plan(actions: &[&Action]) -> String {
    let mut out = heading("WHAT WE PLAN");
    for (index, action) in actions.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let number = format!("  {}. ", index + 1);
        match &action.refused {
            Some(refusal) => {
                out.push_str(&paragraph(
                    &number,
                    &format!("Not {} ({}): {}.", action.remediator, refusal.code, refusal.reason),
                ));
            }
            None => out.push_str(&planned(&number, action)),
        }
    }
    if actions.is_empty() {
        out.push_str("  Nothing: no playbook answers this finding.\n");
    }
    out
}

fn planned(number: &str, action: &Action) -> String {
    let mut out = paragraph(number, &sentence(&action.summary));
    if action.calls.is_empty() {
        return out + &limits(action);
    }
    out.push_str(&step("mode", &format!("{} ({})", action.mode, meaning(action.mode))));
    for call in &action.calls {
        out.push_str(&step("calls", &format!("{} {}, permission {}", call.service, call.operation, call.permission)));
        out.push_str(&shell(&label(""), &pieces(call)));
    }
    match &action.undo {
        Undo::Calls(calls) => {
            out.push_str(&step("undo", &format!("action {}, by hand:", action.id)));
            calls.iter().for_each(|call| out.push_str(&shell(&label(""), &pieces(call))));
        }
        Undo::Irreversible(instead) => out.push_str(&step("undo", &format!("none: {instead}"))),
    }
    out + &limits(action)
}

fn limits(action: &Action) -> String {
    let lines = action.limits.iter().enumerate();
    lines
        .map(|(index, limit)| paragraph(&format!("{}- ", label(if index == 0 { "mind" } else { "" })), limit))
        .collect()
}

fn meaning(mode: Mode) -> &'static str {
    match mode {
        Mode::Shadow => "planned only, nothing is called",
        Mode::Approve => "waits for a named person",
        Mode::Enforce => "is called by itself, within the caps",
    }
}

fn what_you_do(findings: &[&Finding]) -> String {
    let runbooks: BTreeSet<&str> = findings.iter().filter_map(|finding| finding.runbook.as_deref()).collect();
    let honest: BTreeSet<&str> =
        findings.iter().flat_map(|finding| finding.false_positives.iter().map(String::as_str)).collect();
    if runbooks.is_empty() && honest.is_empty() {
        return String::new();
    }
    let mut out = heading("WHAT YOU DO");
    runbooks.iter().for_each(|text| out.push_str(&paragraph("  ", text)));
    if !honest.is_empty() {
        out.push_str("  It can be honest; tell us if it is:\n");
        honest.iter().for_each(|text| out.push_str(&paragraph("  - ", text)));
    }
    out
}

fn evidence(findings: &[&Finding]) -> String {
    let mut examples: Vec<&Example> = findings.iter().flat_map(|finding| &finding.examples).collect();
    examples.sort_by_key(|example| (example.time, &example.event_id));
    examples.dedup_by_key(|example| (example.time, &example.event_id));
    let mut out = heading("THE EVENTS");
    for example in examples.iter().take(2 * LISTED) {
        let from = example.ip.as_ref().map(|ip| format!(" from {ip}")).unwrap_or_default();
        let what = format!("{} {} {}{from}", when(example.time), example.action, example.outcome);
        out.push_str(&paragraph("  - ", &what));
        out.push_str(&paragraph("    ", &format!("event {} in {}", example.event_id, example.position)));
    }
    out
}

fn reference(key: &str, findings: &[&Finding]) -> String {
    let mut out = heading("REFERENCE");
    out.push_str(&row("dedup key", key));
    for finding in findings {
        out.push_str(&row("finding", &finding.id));
    }
    let tags: BTreeSet<&str> = findings.iter().flat_map(|finding| finding.tags.iter().map(String::as_str)).collect();
    out.push_str(&optional("tags", (!tags.is_empty()).then(|| tags.into_iter().collect::<Vec<_>>().join(", "))));
    let links: BTreeSet<&str> =
        findings.iter().flat_map(|finding| finding.references.iter().map(String::as_str)).collect();
    links.iter().for_each(|link| out.push_str(&row("see", link)));
    out
}

fn heading(text: &str) -> String {
    format!("{text}\n")
}

fn row(name: &str, value: &str) -> String {
    paragraph(&format!("  {name:<13}"), value)
}

fn optional(name: &str, value: Option<String>) -> String {
    value.filter(|value| !value.is_empty()).map(|value| row(name, &value)).unwrap_or_default()
}

fn label(name: &str) -> String {
    format!("     {name:<7}")
}

fn step(name: &str, value: &str) -> String {
    paragraph(&label(name), value)
}

/// Up to a handful of values, and how many there are beyond them.
fn listed(name: &str, values: &[String], count: u64) -> String {
    if values.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = values.iter().take(LISTED).map(String::as_str).collect();
    let rest = count.saturating_sub(shown.len() as u64);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    row(name, &format!("{}{more}", shown.join(", ")))
}

fn listed_set(name: &str, values: BTreeSet<&str>) -> String {
    let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
    listed(name, &values, values.len() as u64)
}

fn seen<'a>(findings: &[&'a Finding], column: impl Fn(&'a Example) -> Option<&'a str>) -> BTreeSet<&'a str> {
    findings.iter().flat_map(|finding| finding.examples.iter().filter_map(&column)).collect()
}

/// The first value of a column that a rule selected.
fn selected(findings: &[&Finding], column: &str) -> Option<String> {
    let mut examples = findings.iter().flat_map(|finding| &finding.examples);
    examples.find_map(|example| example.selected.get(column)).filter(|value| !value.is_empty()).map(String::from)
}

/// To the second, in the one zone that everybody can compare.
fn when(at: Micros) -> String {
    let stamp = Timestamp::from_microsecond(at.0);
    stamp.map_or_else(|_| at.to_string(), |stamp| stamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// With a capital and a full stop, as people write.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    // An id or a name that starts the sentence stays as it is.
    let first_word = text.split_whitespace().next().unwrap_or_default();
    let plain = first_word.chars().all(|c| c.is_ascii_lowercase());
    match chars.next() {
        Some(first) if plain => format!("{}{}{stop}", first.to_uppercase(), chars.as_str()),
        _ => format!("{text}{stop}"),
    }
}
