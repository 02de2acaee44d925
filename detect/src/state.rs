//! What the matches so far add up to: a value that can be merged with another worker's, saved, restored and split by key.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray};
use keytrail_model::{EventBatch, Finding, Micros};
use keytrail_sql::evaluate;
use serde::{Deserialize, Serialize};

use crate::group::Group;
use crate::matches::Matches;
use crate::plan::{Feed, Plan};
use crate::rule::Rule;
use crate::seen::{Pool, Seen};
use crate::template::shown;

/// A rule that failed while running. It is never silent: it becomes a finding of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleFailure {
    pub rule: String,
    pub source: String,
    pub reason: String,
}

/// Rule, group key, period start.
type GroupKey = (usize, Vec<String>, Micros);

#[derive(Clone, Debug, Default)]
pub struct State {
    groups: BTreeMap<GroupKey, Group>,
    failures: BTreeSet<RuleFailure>,
    pool: Pool,
}

impl State {
    /// Counts the matches of a batch; `events` holds the rows that `matches` speaks of, with all their columns.
    pub fn take(&mut self, plan: &Plan, matches: &Matches, events: &EventBatch) {
        let Some(source) = plan.source(&events.source) else { return };
        for (filter, rows) in &matches.passed {
            for feed in source.feeds_of(*filter) {
                self.feed(plan, feed, rows, events);
            }
        }
        for (filter, reason) in &matches.failed {
            for rule in source.feeds_of(*filter).iter().filter_map(|feed| plan.rules().get(feed.rule)) {
                let (rule, source, reason) = (rule.id.clone(), events.source.to_string(), reason.clone());
                self.failures.insert(RuleFailure { rule, source, reason });
            }
        }
    }

    fn feed(&mut self, plan: &Plan, feed: &Feed, rows: &[u32], events: &EventBatch) {
        let Some(rule) = plan.rules().get(feed.rule) else { return };
        for row in rows.iter().map(|row| *row as usize) {
            self.count(rule, feed, events, row);
        }
    }

    fn count(&mut self, rule: &Rule, feed: &Feed, events: &EventBatch, row: usize) {
        let value = |column: &String| shown(events, column, row).unwrap_or_else(|| "(none)".to_owned());
        let key = (feed.rule, feed.keys.iter().map(value).collect(), events.time(row).bucket(rule.suppress_for));
        let pool = &mut self.pool;
        let seen = || pool.share(Seen::new(rule, events, row, selected(feed, events, row)));
        self.groups.entry(key).or_default().add(events, row, seen);
    }

    /// Takes over what another worker counted. The order of merging does not matter.
    pub fn merge(&mut self, other: Self) {
        for (key, group) in other.groups {
            self.groups.entry(key).or_default().merge(group);
        }
        self.failures.extend(other.failures);
    }

    /// The findings so far, worst first, then by time and id.
    #[must_use]
    pub fn findings(&self, plan: &Plan) -> Vec<Finding> {
        let found = self.groups.iter().filter_map(|((index, key, start), group)| {
            plan.rules().get(*index).and_then(|rule| group.finding(rule, key, *start))
        });
        let mut findings: Vec<Finding> = found.collect();
        findings.sort_by(|left, right| {
            let order = right.severity.cmp(&left.severity).then(left.first_seen.cmp(&right.first_seen));
            order.then_with(|| left.id.cmp(&right.id))
        });
        findings
    }

    #[must_use]
    pub fn failures(&self) -> &BTreeSet<RuleFailure> {
        &self.failures
    }
}

/// The rule's evidence columns for one event.
fn selected(feed: &Feed, events: &EventBatch, row: usize) -> BTreeMap<String, String> {
    if feed.select.is_empty() {
        return BTreeMap::new();
    }
    let one = events.batch.slice(row, 1);
    let column = |(name, expr): &(String, _)| {
        let array = evaluate(expr, &one).ok()?;
        first_text(&array).map(|text| (name.clone(), text))
    };
    feed.select.iter().filter_map(column).collect()
}

fn first_text(array: &ArrayRef) -> Option<String> {
    if array.is_empty() || array.is_null(0) {
        return None;
    }
    if let Some(texts) = array.as_string_view_opt() {
        return Some(texts.value(0).to_owned());
    }
    let values = array.as_list_opt::<i32>()?.value(0);
    let texts: Vec<&str> = values.as_string_view_opt()?.iter().flatten().collect();
    Some(texts.join(", "))
}
