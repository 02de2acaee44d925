//! The state behind one finding: counts, first events, distinct values. The same whatever order the events came in.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use keytrail_model::{EventBatch, Finding, Micros, Position, Target, Text, stable_id};
use serde::{Deserialize, Serialize};

use crate::rule::{Rule, State};
use crate::seen::Seen;
use crate::shared::{self, hash_of};

/// Distinct values beyond this are no longer told apart; the count then says "at least".
const DISTINCT_MAX: usize = 100_000;

/// Distinct texts: the smallest ones, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Distinct {
    /// Sorted.
    smallest: Vec<Text>,
    /// Hashes of all of them, once they are more than the smallest.
    #[serde(with = "shared::sorted")]
    seen: HashSet<u64>,
}

impl Distinct {
    fn add(&mut self, value: &str) {
        self.keep(value);
        if self.seen.is_empty() && self.smallest.len() > Finding::VALUES {
            self.remember();
        }
        if !self.seen.is_empty() && self.seen.len() < DISTINCT_MAX {
            self.seen.insert(hash_of(value));
        }
        self.smallest.truncate(Finding::VALUES);
    }

    fn keep(&mut self, value: &str) {
        if let Err(at) = self.smallest.binary_search_by(|known| (**known).cmp(value))
            && at <= Finding::VALUES
        {
            self.smallest.insert(at, value.into());
        }
    }

    fn remember(&mut self) {
        self.seen = self.smallest.iter().map(hash_of).collect();
    }

    fn merge(&mut self, other: &Self) {
        other.smallest.iter().for_each(|value| self.add(value));
        if self.seen.is_empty() && !other.seen.is_empty() {
            self.remember();
        }
        let room = DISTINCT_MAX.saturating_sub(self.seen.len());
        let new: Vec<u64> = other.seen.difference(&self.seen).copied().take(room).collect();
        self.seen.extend(new);
    }

    fn count(&self) -> usize {
        self.seen.len().max(self.smallest.len())
    }

    fn list(&self) -> Vec<String> {
        self.smallest.iter().map(String::from).collect()
    }
}

/// By time and event id; the place keeps two copies of one event apart.
pub(crate) type Moment = (Micros, Text, Position);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) first: Micros,
    last: Micros,
    count: u64,
    /// Lists, sorted: a tree of a few takes a node of many.
    outcomes: Vec<(Text, u64)>,
    #[serde(with = "shared::pairs")]
    examples: Vec<(Moment, Arc<Seen>)>,
    guardrails: BTreeSet<Text>,
    ips: Distinct,
    resources: Distinct,
    /// What a containment would act on.
    acted_on: Distinct,
    /// Of a window's match, the event that the finding's target is taken from, where it is not the first.
    lead: Option<(Moment, Lead)>,
    /// The count when it was last news.
    #[serde(default)]
    told: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lead(#[serde(with = "shared::one")] Arc<Seen>);

impl Default for Group {
    fn default() -> Self {
        Self {
            first: Micros(i64::MAX),
            last: Micros(i64::MIN),
            count: 0,
            outcomes: Vec::new(),
            examples: Vec::new(),
            guardrails: BTreeSet::new(),
            ips: Distinct::default(),
            resources: Distinct::default(),
            acted_on: Distinct::default(),
            lead: None,
            told: 0,
        }
    }
}

impl Group {
    /// Counts one matching event; what a finding shows of it is only asked for when it is among the first.
    pub(crate) fn add(&mut self, events: &EventBatch, row: usize, seen: impl FnOnce() -> Arc<Seen>) {
        let time = events.time(row);
        self.count_one(time, events.text("outcome", row));
        self.guardrails.extend(events.texts("guardrails", row).into_iter().map(Text::from));
        events.text("ip", row).into_iter().for_each(|ip| self.ips.add(ip));
        events.texts("resources", row).iter().for_each(|resource| self.resources.add(resource));
        Seen::acted_on(events, row).into_iter().for_each(|one| self.acted_on.add(one));
        let event_id = events.text("event_id", row).unwrap_or_default();
        if self.is_among_first(time, event_id) {
            self.keep((time, event_id.into(), events.position(row)), seen());
        }
    }

    /// The same for an event that a window held.
    pub(crate) fn add_seen(&mut self, moment: Moment, seen: &Arc<Seen>) {
        self.count_one(moment.0, Some(&seen.outcome));
        self.guardrails.extend(seen.guardrails.iter().cloned());
        seen.ip.iter().for_each(|ip| self.ips.add(ip));
        seen.resources.iter().for_each(|resource| self.resources.add(resource));
        seen.acted_on.iter().for_each(|one| self.acted_on.add(one));
        if self.is_among_first(moment.0, &moment.1) {
            self.keep(moment, Arc::clone(seen));
        }
    }

    /// Events of the same kind as another, of which nothing else is known any more.
    pub(crate) fn add_more(&mut self, count: u64, last: Micros) {
        self.count += count;
        self.last = self.last.max(last);
    }

    /// The event whose credential is the group's: with steps, the first event may be another's.
    pub(crate) fn lead(&mut self, moment: Moment, seen: &Arc<Seen>) {
        self.lead.get_or_insert_with(|| (moment, Lead(Arc::clone(seen))));
    }

    fn count_one(&mut self, time: Micros, outcome: Option<&str>) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.count += 1;
        self.count_outcome(outcome.unwrap_or("unknown"), 1);
    }

    fn count_outcome(&mut self, outcome: &str, count: u64) {
        match self.outcomes.binary_search_by(|(known, _)| (**known).cmp(outcome)) {
            Ok(at) => self.outcomes.get_mut(at).into_iter().for_each(|(_, known)| *known += count),
            Err(at) => self.outcomes.insert(at, (outcome.into(), count)),
        }
    }

    fn keep(&mut self, moment: Moment, seen: Arc<Seen>) {
        match self.examples.binary_search_by(|(known, _)| known.cmp(&moment)) {
            Ok(at) => self.examples.get_mut(at).into_iter().for_each(|known| known.1 = Arc::clone(&seen)),
            Err(at) => {
                // One at a time: there are many groups, and few have all of them.
                self.examples.reserve_exact(1);
                self.examples.insert(at, (moment, seen));
            }
        }
        self.examples.truncate(Finding::EXAMPLES);
    }

    fn is_among_first(&self, time: Micros, event_id: &str) -> bool {
        self.examples.len() < Finding::EXAMPLES
            || self.examples.last().is_some_and(|(last, _)| (time, event_id) <= (last.0, &*last.1))
    }

    /// Whether it is worth telling: new, twice what it was, or different for the last time. Asked once for each telling.
    pub(crate) fn is_news(&mut self, last: bool) -> bool {
        let news = if last { self.count != self.told } else { self.count >= self.told.saturating_mul(2).max(1) };
        if news {
            self.told = self.count;
        }
        news
    }

    /// Takes over what another group of the same rule, key and period counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
        self.told = self.told.max(other.told);
        for (outcome, count) in other.outcomes {
            self.count_outcome(&outcome, count);
        }
        self.guardrails.extend(other.guardrails);
        self.ips.merge(&other.ips);
        self.resources.merge(&other.resources);
        self.acted_on.merge(&other.acted_on);
        other.examples.into_iter().for_each(|(moment, seen)| self.keep(moment, seen));
        self.lead = match (self.lead.take(), other.lead) {
            (Some(mine), Some(theirs)) => Some(if theirs.0 < mine.0 { theirs } else { mine }),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// The credential or session that the finding is about. Where the group is one credential's, an event of that one
    /// says; otherwise the first event does, and one of several is not exact: an action could miss the one at fault.
    fn target(&self, rule: &Rule, key: &[String], first: (&Moment, &Seen)) -> Target {
        let (moment, seen) = self.lead.as_ref().map_or(first, |(moment, lead)| (moment, &lead.0));
        let mut target = Target {
            time: moment.0,
            resources: seen.resources.iter().map(String::from).collect(),
            ..seen.target.as_ref().clone()
        };
        match credential_of(rule, key) {
            Some(credential) if target.credential.as_deref() != Some(credential) => {
                target.quality = Some("none".to_owned());
            }
            Some(_) => {}
            None if self.acted_on.count() > 1 => target.quality = Some("group".to_owned()),
            None => {}
        }
        target
    }

    /// The finding as it stands now.
    pub(crate) fn finding(&self, rule: &Rule, key: &[String], period_start: Micros) -> Option<Finding> {
        let (moment, lead) = self.examples.first()?;
        Some(Finding {
            id: id(rule, key, period_start),
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity,
            source: String::from(&lead.source),
            tags: rule.tags.clone(),
            summary: String::from(&lead.summary),
            group: rule.group_by.iter().cloned().zip(key.iter().cloned()).collect(),
            period_start,
            first_seen: self.first,
            last_seen: self.last,
            count: self.count,
            outcomes: self.outcomes.iter().map(|(outcome, count)| (String::from(outcome), *count)).collect(),
            target: self.target(rule, key, (moment, lead)),
            guardrails: self.guardrails.iter().map(String::from).collect(),
            examples: self.examples.iter().map(|(moment, seen)| seen.example(moment)).collect(),
            ips: self.ips.list(),
            ip_count: self.ips.count() as u64,
            resources: self.resources.list(),
            resource_count: self.resources.count() as u64,
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

/// The credential that a window's group is about, where it is grouped by one.
pub(crate) fn credential_of<'a>(rule: &Rule, key: &'a [String]) -> Option<&'a str> {
    let at = rule.group_by.iter().position(|column| column == "credential")?;
    rule.window.as_ref().and_then(|_| key.get(at)).map(String::as_str)
}

/// A finding's id: of its rule, group and period, and of nothing else.
pub(crate) fn id(rule: &Rule, key: &[String], period_start: Micros) -> String {
    let start = period_start.0.to_string();
    let parts: Vec<&str> =
        std::iter::once(rule.id.as_str()).chain(key.iter().map(String::as_str)).chain([start.as_str()]).collect();
    stable_id("fnd", &parts)
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
        assert_eq!((forward.list().len(), forward.count()), (Finding::VALUES, 100));
    }
}
