//! What the matches so far add up to: a value that can be merged with another worker's, saved, restored and split by key.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};

use keytrail_model::{EventBatch, Finding, Micros};
use serde::{Deserialize, Serialize};

use crate::anew::Lates;
use crate::compile::Columns;
use crate::group::{self, Group};
use crate::matches::Matches;
use crate::plan::{Feed, Plan};
use crate::reference::Reference;
use crate::rule::Rule;
use crate::seen::Pool;
use crate::template::shown;
use crate::values::{Selected, Values};
use crate::window::{Entry, Lane, Match, Window};

/// A rule that failed while running. It is never silent: it becomes a finding of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleFailure {
    pub rule: String,
    pub source: String,
    pub reason: String,
}

/// A record that comes again is known as such while it is no older than this: event time before what is settled.
pub const REPEATS: i64 = 3_600 * Micros::SECOND;

/// Rule and group key.
pub(crate) type Key = (usize, Vec<String>);

#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// By rule, key and period start.
    pub(crate) groups: BTreeMap<(Key, Micros), Group>,
    pub(crate) lanes: BTreeMap<Key, Lane>,
    /// The period that later matches of a window's group still fall into.
    pub(crate) open: BTreeMap<Key, Micros>,
    pub(crate) settled: Option<Micros>,
    /// Events that came after their time was settled.
    pub(crate) late: u64,
    /// What came too late and is to be put right.
    pub(crate) lates: Lates,
    /// By rule: nothing before it is taken, in one that evaluates a past time anew.
    pub(crate) begins: BTreeMap<usize, Micros>,
    /// Entries that a full window kept out.
    pub(crate) dropped: u64,
    pub(crate) failures: BTreeSet<RuleFailure>,
    /// By exception: how many events it kept from counting.
    pub(crate) excepted: BTreeMap<String, u64>,
    pool: Pool,
}

impl Progress {
    /// Counts the matches of a batch; `events` holds the rows that `matches` speaks of, with all their columns.
    pub fn take(&mut self, (plan, reference): (&Plan, &Reference), matches: &Matches, events: &EventBatch) {
        let Some(source) = plan.source(&events.source) else { return };
        for (filter, rows) in &matches.passed {
            match source.widened(*filter, events, rows, reference) {
                Ok(wide) => {
                    let events = wide.as_ref().unwrap_or(events);
                    source.feeds_of(*filter).iter().for_each(|feed| self.feed(plan, feed, rows, events));
                }
                Err(error) => self.fail_all(plan, source.feeds_of(*filter), events, &error.to_string()),
            }
        }
        for (filter, reason) in &matches.failed {
            self.fail_all(plan, source.feeds_of(*filter), events, reason);
        }
    }

    fn fail_all(&mut self, plan: &Plan, feeds: &[Feed], events: &EventBatch, reason: &str) {
        for rule in feeds.iter().filter_map(|feed| plan.rules().get(feed.rule)) {
            self.fail(rule, events, reason.to_owned());
        }
    }

    fn fail(&mut self, rule: &Rule, events: &EventBatch, reason: String) {
        let (rule, source) = (rule.id.clone(), events.source.to_string());
        self.failures.insert(RuleFailure { rule, source, reason });
    }

    fn feed(&mut self, plan: &Plan, feed: &Feed, rows: &[u32], events: &EventBatch) {
        let Some(rule) = plan.rules().get(feed.rule) else { return };
        let done = feed.excepted.left(rows.to_vec(), events, &mut self.excepted).and_then(|rows| {
            let selected = Selected::of(feed, events);
            if rule.window.is_none() {
                rows.iter().for_each(|row| self.count((rule, feed), events, *row as usize, &selected));
                return Ok(());
            }
            let looked_at = (Values::of(feed, events).map_err(|error| error.to_string())?, selected);
            rows.iter().for_each(|row| self.enter(plan, (rule, feed), (events, *row as usize), &looked_at));
            Ok(())
        });
        if let Err(reason) = done {
            self.fail(rule, events, reason);
        }
    }

    /// A rule that looks at one event at a time: the event counts into its group.
    fn count(&mut self, (rule, feed): (&Rule, &Feed), events: &EventBatch, row: usize, selected: &Selected<'_>) {
        let value = |columns: &Columns| first_shown(events, columns, row).unwrap_or_else(|| "(none)".to_owned());
        let key: Key = (feed.rule, feed.keys.iter().map(value).collect());
        let time = events.time(row);
        let start = time.bucket(rule.suppress_for);
        let over = |settled: Micros| start.0.saturating_add(rule.suppress_for) <= settled.0;
        let repeated = |settled: Micros| time.0 < settled.0.saturating_sub(REPEATS);
        if self.settled.is_some_and(|settled| time < settled && (over(settled) || repeated(settled))) {
            self.late += 1;
            return self.lates.note(&key, time);
        }
        let pool = &mut self.pool;
        let seen = || pool.seen(rule, events, row, selected.at(row));
        self.groups.entry((key, start)).or_default().add(events, row, seen);
    }

    /// A rule with a window: the event becomes an entry of its group's lane. Without a key there is no group.
    fn enter(
        &mut self,
        plan: &Plan,
        (rule, feed): (&Rule, &Feed),
        (events, row): (&EventBatch, usize),
        (values, selected): &(Values, Selected<'_>),
    ) {
        let value = |columns: &Columns| first_shown(events, columns, row);
        let Some(key) = feed.keys.iter().map(value).collect::<Option<Vec<_>>>() else { return };
        let seen = self.pool.seen(rule, events, row, selected.at(row));
        for value in values.at(row) {
            let entry = Entry {
                time: events.time(row),
                event_id: events.text("event_id", row).unwrap_or_default().into(),
                place: events.position(row),
                step: feed.step,
                value,
                seen: seen.clone(),
            };
            self.push(plan, (feed.rule, key.clone()), entry);
        }
    }

    fn push(&mut self, plan: &Plan, key: Key, entry: Entry) {
        let Some((_, window)) = plan.window(key.0) else { return };
        let settled = self.settled.and_then(|settled| plan.nesting.settled(key.0, settled));
        let begins = settled.into_iter().chain(self.begins.get(&key.0).copied()).max();
        let fresh = || begins.map_or_else(Lane::default, Lane::since);
        let time = entry.time;
        let kept = match self.lanes.get_mut(&key) {
            Some(lane) => lane.push(window, entry),
            None => self.lanes.entry(key.clone()).or_insert_with(fresh).push(window, entry),
        };
        if !kept {
            self.late += 1;
            self.lates.note(&key, time);
        }
    }

    /// Settles what no event at or after the watermark can change any more; `Micros(i64::MAX)` ends everything.
    pub fn settle(&mut self, plan: &Plan, watermark: Micros) {
        if self.settled.is_some_and(|settled| settled >= watermark) {
            return;
        }
        self.settled = Some(watermark);
        for level in 0..plan.nesting.levels() {
            let on_level = |key: &&Key| plan.nesting.level(key.0) == level;
            for key in self.lanes.keys().filter(on_level).cloned().collect::<Vec<_>>() {
                if let Some(watermark) = plan.nesting.settled(key.0, watermark) {
                    self.settle_lane(plan, &key, watermark);
                }
            }
        }
    }

    fn settle_lane(&mut self, plan: &Plan, key: &Key, watermark: Micros) {
        let Some((rule, window)) = plan.window(key.0) else { return };
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let matches = lane.settle(window, watermark);
        // One that begins later than that stays, to know where it begins.
        if lane.is_idle() && lane.settled() <= Some(watermark) {
            self.dropped += lane.dropped;
            self.lanes.remove(key);
        }
        for found in matches {
            for above in plan.nesting.above(key.0) {
                self.pass_on(plan, *above, &found);
            }
            if !window.quiet {
                self.found(rule, key, found);
            }
        }
    }

    /// A match is an entry of the rules that take it, at the time when it was complete, in the group that its events
    /// say.
    fn pass_on(&mut self, plan: &Plan, (above, number): (usize, u16), found: &Match) {
        let step = plan.window(above).and_then(|(rule, _)| rule.steps.get(usize::from(number)));
        let (Some(step), Some(first)) = (step, found.entries.first()) else { return };
        let value = |field: &String| {
            let mut shown = found.entries.iter().filter_map(|entry| entry.seen.selected.get(field));
            shown.find(|value| !value.is_empty()).map(String::from)
        };
        let Some(key) = step.by.iter().map(value).collect::<Option<Vec<_>>>() else { return };
        let entry = Entry { time: found.at, step: number, value: None, ..first.clone() };
        self.push(plan, (above, key), entry);
    }

    /// A match counts into the finding before it while that one is suppressing, else it begins one.
    fn found(&mut self, rule: &Rule, key: &Key, found: Match) {
        let Some(first) = found.entries.first().map(|entry| entry.time) else { return };
        let open = self.open.get(key).copied();
        let start = open.filter(|start| first.0 < start.0.saturating_add(rule.suppress_for)).unwrap_or(first);
        self.open.insert(key.clone(), start);
        let group = self.groups.entry((key.clone(), start)).or_default();
        let extra = found.count.saturating_sub(found.entries.len() as u64);
        let own = group::credential_of(rule, &key.1);
        let own = |entry: &&Entry| own.is_some() && entry.seen.target.credential.as_deref() == own;
        if let Some(entry) = found.entries.iter().rfind(own) {
            group.lead((entry.time, entry.event_id.clone(), entry.place.clone()), &entry.seen);
        }
        let mut before: Option<group::Moment> = None;
        for entry in found.entries {
            let moment = (entry.time, entry.event_id, entry.place);
            // An event with several values, or of several steps, is one event of the finding.
            if before.as_ref() != Some(&moment) {
                group.add_seen(moment.clone(), &entry.seen);
            }
            before = Some(moment);
        }
        group.add_more(extra, found.last);
    }

    /// What a worker counted since the last time, to be merged; it goes on with nothing, from the settled point of this
    /// one on.
    #[must_use]
    pub fn take_over(&self, worker: &mut Self) -> Self {
        let pool = std::mem::take(&mut worker.pool);
        std::mem::replace(worker, Self { settled: self.settled, pool, ..Self::default() })
    }

    /// Takes over what another worker of the same plan counted, up to the same settled point. The order of merging does
    /// not matter.
    pub fn merge(&mut self, plan: &Plan, other: Self) {
        for (key, group) in other.groups {
            self.groups.entry(key).or_default().merge(group);
        }
        for (key, lane) in other.lanes {
            let Some((_, window)) = plan.window(key.0) else { continue };
            match self.lanes.entry(key) {
                Place::Vacant(place) => drop(place.insert(lane)),
                Place::Occupied(mut known) => self.late += known.get_mut().merge(window, lane),
            }
        }
        self.open.extend(other.open);
        self.settled = self.settled.max(other.settled);
        self.late += other.late;
        self.lates.merge(other.lates);
        self.dropped += other.dropped;
        self.failures.extend(other.failures);
        for (exception, count) in other.excepted {
            *self.excepted.entry(exception).or_default() += count;
        }
    }

    /// The findings so far, worst first, then by time and id.
    #[must_use]
    pub fn findings(&self, plan: &Plan) -> Vec<Finding> {
        in_order(self.groups.iter().filter_map(|(place, group)| finding(plan, place, group)).collect())
    }

    /// The same, and forgets what they are made of as it goes: memory holds no finding twice.
    #[must_use]
    pub fn take_findings(&mut self, plan: &Plan) -> Vec<Finding> {
        let groups = std::mem::take(&mut self.groups).into_iter();
        in_order(groups.filter_map(|(place, group)| finding(plan, &place, &group)).collect())
    }

    /// For who cannot wait for the end: findings that are new, whose count doubled since they were last given, or whose
    /// period is over. The latter are final and forgotten. With `all`, every one that changed.
    #[must_use]
    pub fn news(&mut self, plan: &Plan, all: bool) -> Vec<Finding> {
        let settled = |rule: usize| self.settled.and_then(|settled| plan.nesting.settled(rule, settled));
        let (lanes, mut news) = (&self.lanes, Vec::new());
        let over = |key: &Key, start: Micros| {
            let Some(rule) = plan.rules().get(key.0) else { return true };
            let grace = rule.window.as_ref().and_then(Window::grace);
            let end = start.0.saturating_add(rule.suppress_for).saturating_add(grace.unwrap_or(0));
            let held = lanes.contains_key(key) && grace.is_none();
            !held && settled(key.0).is_some_and(|settled| end <= settled.0)
        };
        self.groups.retain(|place, group| {
            let over = over(&place.0, place.1);
            news.extend(group.is_news(over || all).then(|| finding(plan, place, group)).flatten());
            !over
        });
        self.open.retain(|key, start| !over(key, *start));
        in_order(news)
    }

    /// Everything before it is settled.
    #[must_use]
    pub fn settled(&self) -> Option<Micros> {
        self.settled
    }

    /// How many groups and lanes it holds: what memory grows with.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.groups.len(), self.lanes.len())
    }

    /// How many events each exception kept from counting.
    #[must_use]
    pub fn excepted(&self) -> &BTreeMap<String, u64> {
        &self.excepted
    }

    #[must_use]
    pub fn failures(&self) -> &BTreeSet<RuleFailure> {
        &self.failures
    }

    /// Events that came after their time was settled, and entries that a full window kept out.
    #[must_use]
    pub fn left_out(&self) -> (u64, u64) {
        (self.late, self.dropped + self.lanes.values().map(|lane| lane.dropped).sum::<u64>())
    }
}

fn finding(plan: &Plan, ((index, key), start): &(Key, Micros), group: &Group) -> Option<Finding> {
    plan.rules().get(*index).and_then(|rule| group.finding(rule, key, *start))
}

fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|left, right| {
        let order = right.severity.cmp(&left.severity).then(left.first_seen.cmp(&right.first_seen));
        order.then_with(|| left.id.cmp(&right.id))
    });
    findings
}

/// The first of the columns that has a value.
pub(crate) fn first_shown(events: &EventBatch, columns: &[String], row: usize) -> Option<String> {
    columns.iter().find_map(|column| shown(events, column, row).filter(|value| !value.is_empty()))
}
