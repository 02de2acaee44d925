//! The result of a rule: what happened, with which credential, whose it is, and on what evidence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Micros, Ownership, Selected, Severity, Target, Text};

/// One event that shows the finding, with what a person needs to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub time: Micros,
    pub event_id: Text,
    pub action: Text,
    pub outcome: Text,
    pub actor: Option<Text>,
    pub ip: Option<Text>,
    pub user_agent: Option<Text>,
    pub tool: Option<Text>,
    pub resources: Vec<Text>,
    pub prompt_ref: Option<Text>,
    /// `file:line`, so that the record can be opened.
    pub position: String,
    /// The columns that the rule selected, beyond those above.
    pub selected: Selected,
}

/// One step of the lineage behind a finding: `agent refund-agent —uses→ credential ASIA…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// `owner`, `agent`, `principal`, `credential`, `tool`, `resource`, `guardrail`.
    pub from_kind: String,
    pub from: String,
    /// `owns`, `uses`, `issued`, `called`, `reached`, `denied`, `breaks`.
    pub edge: String,
    pub to_kind: String,
    pub to: String,
    /// `observed`, `declared`, `allowed`.
    pub basis: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `stable_id("fnd", [rule, group key…, period start])`.
    pub id: String,
    pub rule: String,
    pub title: String,
    pub severity: Severity,
    /// Log source: `aws.cloudtrail` …
    pub source: String,
    pub tags: Vec<String>,
    /// One sentence about this very finding, made from the rule's `summary` template.
    pub summary: String,
    /// Group columns and their values, in the rule's order.
    pub group: Vec<(String, String)>,
    pub period_start: Micros,
    pub first_seen: Micros,
    pub last_seen: Micros,
    pub count: u64,
    /// By outcome: allowed, denied, error.
    pub outcomes: BTreeMap<String, u64>,
    pub target: Target,
    /// Guardrail ids broken by any event of the finding.
    pub guardrails: Vec<String>,
    /// The first events in (time, event id) order, at most `Finding::EXAMPLES`.
    pub examples: Vec<Example>,
    /// Distinct values seen, sorted, each list bounded; the exact number stands beside it.
    pub ips: Vec<String>,
    pub ip_count: u64,
    pub resources: Vec<String>,
    pub resource_count: u64,
    pub ownership: Option<Ownership>,
    pub lineage: Vec<Hop>,
    pub playbook: Option<String>,
    pub runbook: Option<String>,
    pub false_positives: Vec<String>,
    pub references: Vec<String>,
    /// Its rule is on trial: it is listed, and has no plan and no ticket.
    #[serde(default)]
    pub shadow: bool,
}

impl Finding {
    /// How many example events a finding keeps.
    pub const EXAMPLES: usize = 5;
    /// How many distinct values a finding lists.
    pub const VALUES: usize = 20;
}
