//! Findings and their actions, grouped into one ticket for each owner and credential.

use std::collections::BTreeMap;

use keytrail_model::{Action, Finding, Micros, Owner, Ownership, Severity, Target, printable, stable_id};
use serde::{Deserialize, Serialize};

use crate::plan::subject;
use crate::ticket_body::body;

/// What one owner is told about one credential. The same findings give the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// `stable_id("tck", [owner, credential])`: file name, Message-ID and dedup key.
    pub key: String,
    pub to: Owner,
    /// Where the owner says that it is not theirs: the fallback owner's address.
    pub reply_to: String,
    pub severity: Severity,
    /// `[HIGH] rule title: credential (owner)`.
    pub title: String,
    pub body: String,
    /// Ids of its findings, most severe first.
    pub findings: Vec<String>,
    /// Time of the last event in it. No clock is read.
    pub at: Micros,
}

/// One ticket for each owner and credential, in the order of their keys. Contested owners both get theirs; a
/// finding of nobody's goes to `fallback`, one of a rule on trial to nobody.
#[must_use]
pub fn tickets(findings: &[Finding], actions: &[Action], fallback: &Owner) -> Vec<Ticket> {
    let mut of_finding = ByFinding::new();
    for action in actions {
        of_finding.entry(&action.finding).or_default().push(action);
    }
    let all = groups(findings, fallback)
        .into_iter()
        .map(|(key, (owner, group))| ticket(key, owner, group, &of_finding, fallback));
    all.flatten().collect()
}

/// How many tickets that would be.
#[must_use]
pub fn ticket_count(findings: &[Finding], fallback: &Owner) -> usize {
    groups(findings, fallback).len()
}

fn groups<'a>(findings: &'a [Finding], fallback: &Owner) -> BTreeMap<String, (Owner, Vec<&'a Finding>)> {
    let mut groups: BTreeMap<String, (Owner, Vec<&Finding>)> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| !finding.shadow) {
        for owner in owners(finding.ownership.as_ref(), fallback) {
            let key = stable_id("tck", &[&owner.id, subject(&finding.target)]);
            groups.entry(key).or_insert_with(|| (owner.clone(), Vec::new())).1.push(finding);
        }
    }
    groups
}

fn owners<'a>(ownership: Option<&'a Ownership>, fallback: &'a Owner) -> &'a [Owner] {
    ownership
        .map(|known| known.owners.as_slice())
        .filter(|known| !known.is_empty())
        .unwrap_or(std::slice::from_ref(fallback))
}

fn ticket(
    key: String,
    to: Owner,
    mut group: Vec<&Finding>,
    actions: &ByFinding<'_>,
    fallback: &Owner,
) -> Option<Ticket> {
    group.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.first_seen, &finding.id));
    group.dedup_by_key(|finding| &finding.id);
    let lead = *group.first()?;
    let planned = planned(&group, actions);
    Some(Ticket {
        title: title(lead, group.len(), &to),
        body: body(&key, &to, &group, &planned, fallback),
        severity: lead.severity,
        findings: group.iter().map(|finding| finding.id.clone()).collect(),
        at: group.iter().map(|finding| finding.last_seen).max().unwrap_or_default(),
        reply_to: fallback.email.clone(),
        key,
        to,
    })
}

type ByFinding<'a> = BTreeMap<&'a str, Vec<&'a Action>>;

/// The actions of these findings, those that would call the same only once.
fn planned<'a>(group: &[&Finding], actions: &ByFinding<'a>) -> Vec<&'a Action> {
    let mut chosen: Vec<&Action> = Vec::new();
    for finding in group {
        for &action in actions.get(finding.id.as_str()).into_iter().flatten() {
            let same = |other: &&Action| {
                (&other.remediator, &other.calls, &other.refused)
                    == (&action.remediator, &action.calls, &action.refused)
            };
            if !chosen.iter().any(same) {
                chosen.push(action);
            }
        }
    }
    chosen
}

fn title(lead: &Finding, count: usize, owner: &Owner) -> String {
    let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let severity = lead.severity.name().to_uppercase();
    printable(&format!("[{severity}] {}{more}: {} ({})", lead.title, short(&lead.target), owner.name))
}

/// The credential as a title can hold it: a GCP key by its account and the start of its id.
pub fn short(target: &Target) -> String {
    let text = subject(target);
    let mut parts = text.rsplit('/');
    match (text.contains("/serviceAccounts/"), parts.next(), parts.nth(1)) {
        (true, Some(key), Some(account)) => {
            format!("key {} of {account}", key.chars().take(8).collect::<String>())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
