//! What came too late, and what has to be evaluated anew because of it: which groups of which rules, and from when on, so
//! that what is found is what would have been found had it come in time.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keytrail_model::{Finding, Micros};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::group::Group;
use crate::plan::Plan;
use crate::progress::Key;
use crate::rule::Rule;
use crate::window::{Lane, Measure, Takes};

/// More groups of one rule are not told apart.
const GROUPS: usize = 10_000;
const DAY: i64 = 86_400 * Micros::SECOND;

/// What came too late for one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Late {
    first: Micros,
    last: Micros,
    /// For which groups.
    groups: BTreeSet<Vec<String>>,
    /// For any group.
    all: bool,
    /// From when on the events of any group may mean something else.
    taught: Option<Micros>,
}

impl Late {
    fn of((first, last): (Micros, Micros)) -> Self {
        Self { first, last, groups: BTreeSet::new(), all: false, taught: None }
    }

    fn merge(&mut self, other: Self) {
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
        self.taught = self.taught.into_iter().chain(other.taught).min();
        self.groups.extend(other.groups);
        self.all |= other.all || self.groups.len() > GROUPS;
        if self.all {
            self.groups.clear();
        }
    }
}

/// What came too late, by day and rule: what lies far apart is not evaluated anew together with all between.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lates {
    days: BTreeMap<Micros, BTreeMap<usize, Late>>,
}

impl Lates {
    pub(crate) fn note(&mut self, (rule, group): &Key, time: Micros) {
        self.add(*rule, Late { groups: [group.clone()].into(), ..Late::of((time, time)) });
    }

    fn add(&mut self, rule: usize, late: Late) {
        add(self.days.entry(late.first.bucket(DAY)).or_default(), rule, late);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (rule, late) in other.days.into_values().flatten() {
            self.add(rule, late);
        }
    }

    pub(crate) fn save(&self, plan: &Plan) -> Vec<(Micros, String, Late)> {
        let lates = self.days.iter().flat_map(|(day, rules)| rules.iter().map(move |(rule, late)| (day, rule, late)));
        let named = |(day, rule, late): (&Micros, &usize, &Late)| {
            plan.rules().get(*rule).map(|rule| (*day, rule.id.clone(), late.clone()))
        };
        lates.filter_map(named).collect()
    }

    pub(crate) fn restore(plan: &Plan, saved: Vec<(Micros, String, Late)>) -> Self {
        let mut lates = Self::default();
        for (day, id, late) in saved {
            if let Some(rule) = plan.position(&id) {
                add(lates.days.entry(day).or_default(), rule, late);
            }
        }
        lates
    }
}

fn add(lates: &mut BTreeMap<usize, Late>, rule: usize, late: Late) {
    match lates.entry(rule) {
        Place::Vacant(place) => drop(place.insert(late)),
        Place::Occupied(mut known) => known.get_mut().merge(late),
    }
}

/// What of one rule is evaluated anew.
#[derive(Clone, Debug)]
struct Part {
    /// Findings that begin before it stand as they are.
    from: Micros,
    /// The same for each group that is meant, unless all are.
    groups: BTreeMap<Vec<String>, Micros>,
    all: bool,
    /// Of any group, a finding without events before it is meant too.
    taught: Option<Micros>,
    /// From when on events are needed.
    reads: Micros,
    /// How far what is found can reach.
    reach: i64,
}

/// What comes of it.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Missing so far, or other than they were told.
    pub news: Vec<Finding>,
    /// The ids of those that hold no longer.
    pub gone: Vec<String>,
}

impl Part {
    /// Whether it decides about what a group holds: since when, and from which event on.
    fn decides(&self, group: &[String], (start, first): (Micros, Micros)) -> bool {
        let from = if self.all { Some(self.from) } else { self.groups.get(group).copied() };
        from.is_some_and(|from| start >= from) || self.taught.is_some_and(|taught| first >= taught)
    }

    fn means(&self, group: &[String]) -> bool {
        self.all || self.groups.contains_key(group)
    }
}

/// Groups of rules to be evaluated anew, over events of a time.
#[derive(Clone, Debug)]
pub struct Anew {
    parts: BTreeMap<usize, Part>,
    /// On which what came too late is put right by it.
    days: Vec<Micros>,
    /// The events that are needed for it; none where nothing can be evaluated anew.
    pub from: Micros,
    pub until: Micros,
    /// Whether that is all that was evaluated: then what is found is what is open now, too.
    pub live: bool,
    /// Rules of which nothing is evaluated anew, because the events that it needs are gone.
    pub too_late: Vec<String>,
}

impl Anew {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What was found anew beside what was known of the same rules.
    #[must_use]
    pub fn compare(&self, plan: &Plan, found: Vec<Finding>, known: Vec<Finding>) -> Compared {
        let (known, stand): (Vec<_>, Vec<_>) = known.into_iter().partition(|finding| self.decides_on(plan, finding));
        let stand: BTreeSet<String> = stand.into_iter().map(|finding| finding.id).collect();
        let known: BTreeMap<&str, &Finding> = known.iter().map(|finding| (finding.id.as_str(), finding)).collect();
        let says = |finding: &Finding| (finding.count, finding.first_seen, finding.last_seen);
        // One that was found early has no owner yet where only its turn tells.
        let same = |before: &Finding, now: &Finding| says(before) == says(now) && before.ownership.is_some();
        let mut news: BTreeMap<String, Finding> = BTreeMap::new();
        for finding in found.into_iter().filter(|one| self.decides_on(plan, one) && !stand.contains(&one.id)) {
            news.insert(finding.id.clone(), finding);
        }
        // One that is later was told when its event arrived, and waits for its turn.
        let over = known.values().filter(|one| one.last_seen < self.until && !news.contains_key(&one.id));
        let gone = over.map(|finding| finding.id.clone()).collect();
        news.retain(|id, now| known.get(id.as_str()).is_none_or(|before| !same(before, now)));
        Compared { news: news.into_values().collect(), gone }
    }

    fn decides_on(&self, plan: &Plan, finding: &Finding) -> bool {
        let group: Vec<String> = finding.group.iter().map(|(_, value)| value.clone()).collect();
        let part = plan.position(&finding.rule).and_then(|rule| self.parts.get(&rule));
        part.is_some_and(|part| {
            let whole = self.live || finding.period_start.0.saturating_add(part.reach) <= self.until.0;
            whole && part.decides(&group, (finding.period_start, finding.first_seen))
        })
    }

    fn decides(&self, (key, start): &(Key, Micros), group: &Group) -> bool {
        self.parts.get(&key.0).is_some_and(|part| part.decides(&key.1, (*start, group.first)))
    }

    fn means(&self, key: &Key) -> bool {
        self.parts.get(&key.0).is_some_and(|part| part.means(&key.1))
    }
}

impl Rule {
    /// How far from an event the findings can be that it touches.
    #[must_use]
    pub fn reach(&self) -> i64 {
        self.suppress_for.saturating_add(self.within())
    }

    fn within(&self) -> i64 {
        self.window.as_ref().map_or(0, |window| window.within)
    }
}

impl Detector {
    /// Events of this time taught something after others were evaluated that it can change the meaning of: `facts`, or
    /// only who uses what.
    pub fn taught(&mut self, times: (Micros, Micros), facts: bool) {
        let plan = Arc::clone(self.plan());
        let meant = |rule: &Rule| rule.joins().next().is_some() || facts && rule.reads_later();
        for (index, _) in plan.rules().iter().enumerate().filter(|(_, rule)| meant(rule)) {
            self.progress_mut().lates.add(index, Late { taught: Some(times.0), ..Late::of(times) });
        }
    }

    /// Since when something came too late that is still to be put right.
    #[must_use]
    pub fn late_since(&self) -> Option<Micros> {
        let lates = self.progress().lates.days.values().flat_map(BTreeMap::values);
        lates.map(|late| late.taught.map_or(late.first, |taught| taught.min(late.first))).min()
    }

    /// The ids of the rules that something came too late for, and of those over them.
    #[must_use]
    pub fn late_rules(&self) -> BTreeSet<String> {
        let lates = self.progress().lates.days.values().flat_map(|day| self.touched(day.clone()).into_keys());
        lates.filter_map(|rule| Some(self.plan().rules().get(rule)?.id.clone())).collect()
    }

    /// What of it is evaluated anew next: the earliest day, with those that read what it reads. `known` are the findings of
    /// the rules that it concerns; events from before `oldest` are gone.
    #[must_use]
    pub fn anew(&self, known: &[Finding], oldest: Micros) -> Anew {
        let settled = self.progress().settled().unwrap_or(Micros(i64::MIN));
        let (mut together, mut days): (BTreeMap<usize, Late>, Vec<Micros>) = (BTreeMap::new(), Vec::new());
        let mut anew = self.whole(&together, known, oldest, settled);
        for (day, lates) in &self.progress().lates.days {
            let lates = self.touched(lates.clone());
            let next = self.whole(&lates, known, oldest, settled);
            if !days.is_empty() && next.from > anew.until {
                break;
            }
            days.push(*day);
            lates.into_iter().for_each(|(rule, late)| add(&mut together, rule, late));
            anew = self.whole(&together, known, oldest, settled);
        }
        Anew { days, ..anew }
    }

    fn whole(&self, lates: &BTreeMap<usize, Late>, known: &[Finding], oldest: Micros, settled: Micros) -> Anew {
        let (mut parts, mut until, mut too_late) = (BTreeMap::new(), Micros(i64::MIN), Vec::new());
        for (index, late) in lates {
            let Some(rule) = self.plan().rules().get(*index) else { continue };
            let part = part(rule, late, known);
            if part.reads < oldest {
                too_late.push(rule.id.clone());
                continue;
            }
            until = until.max(Micros(late.last.0.saturating_add(part.reach.saturating_mul(2))));
            parts.insert(*index, part);
        }
        let from = parts.values().map(|part: &Part| part.reads).min().unwrap_or(until);
        Anew { parts, days: Vec::new(), from, until: until.min(settled), live: until >= settled, too_late }
    }

    /// What takes the matches of a rule is touched by what touches it. What knows which values it has seen knows them from
    /// all time: it is left as it is.
    fn touched(&self, mut lates: BTreeMap<usize, Late>) -> BTreeMap<usize, Late> {
        let plan = self.plan();
        let mut todo: Vec<usize> = lates.keys().copied().collect();
        while let Some(rule) = todo.pop() {
            let Some(late) = lates.get(&rule).cloned() else { continue };
            let reach = plan.rules().get(rule).map_or(0, Rule::reach);
            let times = (Micros(late.first.0.saturating_sub(reach)), Micros(late.last.0.saturating_add(reach)));
            for (above, _) in plan.nesting.above(rule) {
                add(&mut lates, *above, Late { all: true, ..Late::of(times) });
                todo.push(*above);
            }
        }
        lates.retain(|rule, _| !remembers(plan, *rule));
        lates
    }

    /// It was put right, or cannot be.
    pub fn forget_late(&mut self, anew: &Anew) {
        self.progress_mut().lates.days.retain(|day, _| !anew.days.contains(day));
    }

    /// One that evaluates those groups anew.
    #[must_use]
    pub fn aside(&self, anew: &Anew) -> Self {
        let mut detector = Self::over(Arc::clone(self.plan()));
        for (rule, part) in &anew.parts {
            for (group, from) in part.groups.iter().filter(|_| self.plan().window(*rule).is_some()) {
                detector.progress_mut().lanes.insert((*rule, group.clone()), Lane::since(*from));
            }
        }
        detector
    }

    /// Goes on, with those groups, from where another came to that evaluated the same events.
    pub fn adopt(&mut self, other: Self, anew: &Anew) {
        let progress = self.progress_mut();
        progress.groups.retain(|place, group| !anew.decides(place, group));
        progress.lanes.retain(|key, _| !anew.means(key));
        progress.open.retain(|key, _| !anew.means(key));
        let other = other.into_progress();
        for (place, group) in other.groups.into_iter().filter(|(place, group)| anew.decides(place, group)) {
            progress.groups.entry(place).or_insert(group);
        }
        progress.lanes.extend(other.lanes.into_iter().filter(|(key, _)| anew.means(key)));
        progress.open.extend(other.open.into_iter().filter(|(key, _)| anew.means(key)));
    }
}

/// Whether a rule, or one whose matches it takes, knows values for good.
fn remembers(plan: &Plan, rule: usize) -> bool {
    let Some((rule, window)) = plan.window(rule) else { return false };
    let below = rule.steps.iter().filter_map(|step| match &step.filter {
        Takes::Matches(id) => plan.position(id),
        _ => None,
    });
    matches!(window.measure, Measure::FirstSeen { .. }) || below.into_iter().any(|below| remembers(plan, below))
}

fn part(rule: &Rule, late: &Late, known: &[Finding]) -> Part {
    let (within, reach) = (rule.within(), rule.reach());
    let back = |by: i64| Micros(late.first.0.saturating_sub(by));
    if rule.window.is_none() {
        let from = late.first.bucket(rule.suppress_for);
        let groups: BTreeMap<_, _> = late.groups.iter().map(|group| (group.clone(), from)).collect();
        let reads = if late.all || !groups.is_empty() { from } else { late.first };
        return Part { from, groups, all: late.all, taught: late.taught, reads, reach };
    }
    if late.all || late.taught.is_some() {
        let (from, reads) = (back(reach), back(reach.saturating_mul(2)));
        return Part { from, groups: BTreeMap::new(), all: true, taught: None, reads, reach };
    }
    // A match takes its events for itself. So it is begun where one began for certain, or so long before that none did.
    let (begins, free) = (back(reach.saturating_add(within)), back(within.saturating_mul(2)));
    let mut groups: BTreeMap<Vec<String>, Micros> = late.groups.iter().map(|group| (group.clone(), free)).collect();
    let mut starts: BTreeMap<Vec<String>, Micros> = BTreeMap::new();
    for finding in known.iter().filter(|finding| finding.rule == rule.id) {
        if begins <= finding.period_start && finding.period_start < late.first {
            let group = finding.group.iter().map(|(_, value)| value.clone()).collect();
            let start = starts.entry(group).or_insert(finding.period_start);
            *start = finding.period_start.max(*start);
        }
    }
    groups.iter_mut().for_each(|(group, from)| *from = starts.get(group).copied().unwrap_or(*from));
    let reads = groups.values().min().copied().unwrap_or(free);
    Part { from: reads, groups, all: false, taught: None, reads, reach }
}
