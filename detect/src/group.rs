//! The state behind one finding: counts, first events, distinct values. The same whatever order the events came in.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use keytrail_model::{EventBatch, Example, Finding, Micros, Position, Target, stable_id};

use crate::rule::{Rule, State};

/// Distinct values beyond this are no longer told apart; the count then says "at least".
const DISTINCT_MAX: usize = 100_000;

/// Distinct texts: the smallest ones, and how many there are.
#[derive(Clone, Debug, Default)]
struct Distinct {
    smallest: BTreeSet<String>,
    seen: HashSet<u64>,
}

impl Distinct {
    fn add(&mut self, value: &str) {
        let mut hash = DefaultHasher::new();
        value.hash(&mut hash);
        if self.seen.len() < DISTINCT_MAX {
            self.seen.insert(hash.finish());
        }
        let full = self.smallest.len() >= Finding::VALUES;
        if full && self.smallest.last().is_some_and(|last| value >= last.as_str()) {
            return;
        }
        self.smallest.insert(value.to_owned());
        if self.smallest.len() > Finding::VALUES {
            self.smallest.pop_last();
        }
    }

    fn list(&self) -> Vec<String> {
        self.smallest.iter().cloned().collect()
    }
}

/// An event that a finding shows, with what else is taken from the first of them.
#[derive(Clone, Debug)]
struct Candidate {
    example: Example,
    target: Target,
    summary: String,
    source: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    first: Micros,
    last: Micros,
    count: u64,
    outcomes: BTreeMap<String, u64>,
    /// By time and event id; the place keeps two copies of one event apart.
    examples: BTreeMap<Moment, Candidate>,
    guardrails: BTreeSet<String>,
    ips: Distinct,
    resources: Distinct,
    /// What a containment would act on.
    acted_on: Distinct,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            first: Micros(i64::MAX),
            last: Micros(i64::MIN),
            count: 0,
            outcomes: BTreeMap::new(),
            examples: BTreeMap::new(),
            guardrails: BTreeSet::new(),
            ips: Distinct::default(),
            resources: Distinct::default(),
            acted_on: Distinct::default(),
        }
    }
}

impl Group {
    /// Counts one matching event; `selected` is only asked for when the event is among the first.
    pub(crate) fn add(
        &mut self,
        rule: &Rule,
        events: &EventBatch,
        row: usize,
        selected: impl FnOnce() -> BTreeMap<String, String>,
    ) {
        let time = events.time(row);
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.count += 1;
        *self.outcomes.entry(events.text("outcome", row).unwrap_or("unknown").to_owned()).or_default() += 1;
        self.guardrails.extend(events.texts("guardrails", row));
        events.text("ip", row).into_iter().for_each(|ip| self.ips.add(ip));
        events.texts("resources", row).iter().for_each(|resource| self.resources.add(resource));
        acted_on(events, row).into_iter().for_each(|one| self.acted_on.add(one));
        let event_id = events.text("event_id", row).unwrap_or_default().to_owned();
        let key = (time, event_id, events.position(row));
        if self.is_among_first(&key) {
            let summary = rule.summary.fill(events, row);
            let source = events.source.to_string();
            let candidate =
                Candidate { example: example(events, row, selected()), target: target(events, row), summary, source };
            self.examples.insert(key, candidate);
            if self.examples.len() > Finding::EXAMPLES {
                self.examples.pop_last();
            }
        }
    }

    fn is_among_first(&self, key: &Moment) -> bool {
        self.examples.len() < Finding::EXAMPLES || self.examples.last_key_value().is_some_and(|(last, _)| key < last)
    }

    /// The first event's credential or session. One of several is not exact: an action could miss the one at fault.
    fn target(&self, lead: &Candidate) -> Target {
        let mut target = lead.target.clone();
        if self.acted_on.seen.len() > 1 {
            target.quality = Some("group".to_owned());
        }
        target
    }

    /// The finding as it stands now.
    pub(crate) fn finding(&self, rule: &Rule, key: &[String], period_start: Micros) -> Option<Finding> {
        let lead = self.examples.values().next()?;
        let mut parts = vec![rule.id.as_str()];
        parts.extend(key.iter().map(String::as_str));
        let start = period_start.0.to_string();
        parts.push(&start);
        Some(Finding {
            id: stable_id("fnd", &parts),
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity,
            source: lead.source.clone(),
            tags: rule.tags.clone(),
            summary: lead.summary.clone(),
            group: rule.group_by.iter().cloned().zip(key.iter().cloned()).collect(),
            period_start,
            first_seen: self.first,
            last_seen: self.last,
            count: self.count,
            outcomes: self.outcomes.clone(),
            target: self.target(lead),
            guardrails: self.guardrails.iter().cloned().collect(),
            examples: self.examples.values().map(|candidate| candidate.example.clone()).collect(),
            ips: self.ips.list(),
            ip_count: self.ips.seen.len() as u64,
            resources: self.resources.list(),
            resource_count: self.resources.seen.len() as u64,
            ownership: None,
            lineage: Vec::new(),
            playbook: rule.playbook.clone(),
            runbook: rule.runbook.clone(),
            false_positives: rule.false_positives.clone(),
            references: rule.references.clone(),
            shadow: rule.state == State::Shadow,
        })
    }
}

/// A session's keys change while it lasts, and it is the session that is contained; of other credentials it is the key.
fn acted_on(events: &EventBatch, row: usize) -> Option<&str> {
    let credential = events.text("credential", row);
    match events.text("credential_lifetime", row) {
        Some("ephemeral") => events.text("session", row).or(credential),
        _ => credential,
    }
}

type Moment = (Micros, String, Position);

fn example(events: &EventBatch, row: usize, selected: BTreeMap<String, String>) -> Example {
    let text = |name: &str| events.text(name, row).map(str::to_owned);
    Example {
        time: events.time(row),
        event_id: text("event_id").unwrap_or_default(),
        action: text("action").unwrap_or_default(),
        outcome: text("outcome").unwrap_or_else(|| "unknown".to_owned()),
        actor: text("actor"),
        ip: text("ip"),
        user_agent: text("user_agent"),
        tool: text("tool"),
        resources: events.texts("resources", row),
        prompt_ref: text("prompt_ref"),
        position: events.position(row).to_string(),
        selected,
    }
}

fn target(events: &EventBatch, row: usize) -> Target {
    let text = |name: &str| events.text(name, row).filter(|text| !text.is_empty()).map(str::to_owned);
    Target {
        credential: text("credential"),
        kind: text("credential_kind"),
        lifetime: text("credential_lifetime"),
        quality: text("credential_quality"),
        parent: text("credential_parent"),
        provider: text("provider"),
        account: text("account"),
        actor: text("actor"),
        actor_kind: text("actor_kind"),
        actor_name: text("actor_name"),
        session: text("session"),
        on_behalf_of: text("on_behalf_of"),
        agent: text("agent"),
        resources: events.texts("resources", row),
        time: events.time(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_keeps_the_smallest_and_the_exact_number() {
        let mut forward = Distinct::default();
        let mut backward = Distinct::default();
        (0..100).for_each(|n| forward.add(&format!("{n:03}")));
        (0..100).rev().for_each(|n| backward.add(&format!("{n:03}")));
        assert_eq!(forward.list(), backward.list());
        assert_eq!((forward.list().len(), forward.seen.len()), (Finding::VALUES, 100));
    }
}
