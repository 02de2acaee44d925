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
use crate::rule::{DAY, Rule};
use crate::window::{Kind, Lane, Takes};

/// More groups of one rule are not told apart.
const GROUPS: usize = 10_000;

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
    /// Of each group that is meant, findings that begin before this stand as they are.
    groups: BTreeMap<Vec<String>, Micros>,
    /// Where all groups are meant, the same for the others.
    all: Option<Micros>,
    /// Of any group, a finding without events before it is meant too.
    taught: Option<Micros>,
    /// Which events are needed.
    reads: Micros,
    until: Micros,
    /// How far what is found can reach.
    reach: i64,
    window: bool,
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
        let from = self.groups.get(group).copied().or(self.all);
        from.is_some_and(|from| start >= from) || self.taught.is_some_and(|taught| first >= taught)
    }

    fn means(&self, group: &[String]) -> bool {
        self.all.is_some() || self.groups.contains_key(group)
    }

    /// More events make findings of it more, and none less.
    fn only_adds(&self) -> bool {
        !self.window && self.taught.is_none()
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

    /// What was found anew beside what was known of the same rules. `None` where what is later than it looked would be
    /// other too: then all is to be evaluated up to the present.
    #[must_use]
    pub fn compare(&self, plan: &Plan, found: &[Finding], known: &[Finding]) -> Option<Compared> {
        let (known, stand): (Vec<_>, Vec<_>) = known.iter().partition(|finding| self.decides_on(plan, finding));
        let (found, beyond): (Vec<_>, Vec<_>) = found.iter().partition(|finding| self.decides_on(plan, finding));
        if !self.live && !self.meets(plan, (&known, &found), stand.iter().chain(&beyond)) {
            return None;
        }
        let stand: BTreeSet<&str> = stand.iter().map(|finding| finding.id.as_str()).collect();
        let beyond: BTreeSet<&str> = beyond.iter().map(|finding| finding.id.as_str()).collect();
        let known: BTreeMap<&str, &Finding> = known.iter().map(|one| (one.id.as_str(), *one)).collect();
        let news = found.iter().filter(|finding| !stand.contains(finding.id.as_str()));
        let mut news: BTreeMap<&str, &Finding> = news.map(|one| (one.id.as_str(), *one)).collect();
        // One that is later was told when its event arrived, and waits for its turn.
        let found = |id: &str| news.contains_key(id) || beyond.contains(id);
        let over = known.values().filter(|one| one.last_seen < self.until && !found(&one.id));
        let gone = over.filter(|one| !self.part(plan, one).is_some_and(Part::only_adds));
        let gone = gone.map(|finding| finding.id.clone()).collect();
        let says = |finding: &Finding| (finding.count, finding.first_seen, finding.last_seen);
        // One that was found early has no owner yet where only its turn tells.
        let same = |before: &Finding, now: &Finding| says(before) == says(now) && before.ownership.is_some();
        news.retain(|id, now| known.get(id).is_none_or(|before| !same(before, now)));
        Some(Compared { news: news.into_values().cloned().collect(), gone })
    }

    /// Whether each group comes back to what it was, or is silent then: the last finding is the same, or nothing follows.
    fn meets<'a>(
        &self,
        plan: &Plan,
        (known, found): (&[&Finding], &[&Finding]),
        mut others: impl Iterator<Item = &'a &'a Finding>,
    ) -> bool {
        let last = |findings: &[&Finding]| {
            let mut last: BTreeMap<(String, Vec<String>), Micros> = BTreeMap::new();
            for one in findings.iter().filter(|one| self.part(plan, one).is_some_and(|part| part.window)) {
                let start = last.entry((one.rule.clone(), group_of(one))).or_insert(one.period_start);
                *start = one.period_start.max(*start);
            }
            last
        };
        let (known, found) = (last(known), last(found));
        let parted: BTreeSet<_> =
            known.keys().chain(found.keys()).filter(|key| known.get(key) != found.get(key)).collect();
        let follows = |one: &Finding| {
            let key = (one.rule.clone(), group_of(one));
            let last = known.get(&key).max(found.get(&key));
            parted.contains(&key) && last.is_some_and(|last| one.period_start > *last)
        };
        !others.any(|one| follows(one))
    }

    /// The same up to the present.
    #[must_use]
    pub fn to_present(self, settled: Micros) -> Self {
        Self { until: settled, live: true, ..self }
    }

    fn part(&self, plan: &Plan, finding: &Finding) -> Option<&Part> {
        plan.position(&finding.rule).and_then(|rule| self.parts.get(&rule))
    }

    fn decides_on(&self, plan: &Plan, finding: &Finding) -> bool {
        self.part(plan, finding).is_some_and(|part| {
            let whole = self.live || finding.period_start.0.saturating_add(part.reach) <= self.until.0;
            whole && part.decides(&group_of(finding), (finding.period_start, finding.first_seen))
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
    /// Of events of this time it was learnt too late who uses what, or also (`facts`) where credentials come from: others,
    /// evaluated already, may mean something else.
    pub fn learnt_late(&mut self, times: (Micros, Micros), facts: bool) {
        let plan = Arc::clone(self.plan());
        let reads = |rule: &Rule| if rule.window.is_some() { rule.reads_later() } else { rule.reads_learnt() };
        let meant = |rule: &Rule| rule.joins().next().is_some() || facts && reads(rule);
        for (index, _) in plan.rules().iter().enumerate().filter(|(_, rule)| meant(rule)) {
            self.progress_mut().lates.add(index, Late { taught: Some(times.0), ..Late::of(times) });
        }
    }

    /// Since when something came too late that is still to be put right.
    #[must_use]
    pub fn late_since(&self) -> Option<Micros> {
        let lates = self.progress().lates.days.values().flat_map(BTreeMap::values);
        lates.map(|late| late.first).min()
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
        let mut anew = self.whole(&together, known, settled);
        let mut too_late = Vec::new();
        for (day, lates) in &self.progress().lates.days {
            let (lates, gone) = self.reachable(self.touched(lates.clone()), known, oldest);
            let next = self.whole(&lates, known, settled);
            if !days.is_empty() && next.from > anew.until {
                break;
            }
            days.push(*day);
            too_late.extend(gone);
            lates.into_iter().for_each(|(rule, late)| add(&mut together, rule, late));
            anew = self.whole(&together, known, settled);
        }
        Anew { days, too_late, ..anew }
    }

    /// Without what needs events that are gone; of which rules that was.
    fn reachable(
        &self,
        mut lates: BTreeMap<usize, Late>,
        known: &[Finding],
        oldest: Micros,
    ) -> (BTreeMap<usize, Late>, Vec<String>) {
        let rules = self.plan().rules();
        let mut gone = Vec::new();
        lates.retain(|index, late| {
            let Some(rule) = rules.get(*index) else { return false };
            let kept = self.part((*index, rule), late, known).reads >= oldest;
            gone.extend((!kept).then(|| rule.id.clone()));
            kept
        });
        (lates, gone)
    }

    fn whole(&self, lates: &BTreeMap<usize, Late>, known: &[Finding], settled: Micros) -> Anew {
        let mut parts = BTreeMap::new();
        for (index, late) in lates {
            if let Some(rule) = self.plan().rules().get(*index) {
                parts.insert(*index, self.part((*index, rule), late, known));
            }
        }
        let until = parts.values().map(|part| part.until).max().unwrap_or(Micros(i64::MIN));
        let from = parts.values().map(|part: &Part| part.reads).min().unwrap_or(until);
        let (days, too_late) = (Vec::new(), Vec::new());
        Anew { parts, days, from, until: until.min(settled), live: until >= settled, too_late }
    }

    fn part(&self, (index, rule): (usize, &Rule), late: &Late, known: &[Finding]) -> Part {
        let plain = || plain(rule, late);
        let mut part = rule.window.as_ref().map_or_else(plain, |window| {
            let free = window.begins(late.first).unwrap_or(late.first);
            // A sliding match may begin before where it began, as soon as one event more lies within it.
            let moves = if window.kind == Kind::Sliding { window.within } else { 0 };
            let mut part = windowed(rule, late, (free, moves), known);
            // One that is still open began when it began.
            for (group, from) in &mut part.groups {
                let open = self.progress().lanes.get(&(index, group.clone())).and_then(Lane::first);
                *from = open.filter(|_| window.kind == Kind::Session).map_or(*from, |open| open.min(*from));
            }
            part
        });
        part.reads = part.groups.values().copied().chain([part.reads]).min().unwrap_or(part.reads);
        part.reads.0 = part.reads.0.saturating_sub(self.plan().run_up(rule));
        let later = self.plan().nesting.delay(index).unwrap_or(0);
        part.until.0 = part.until.0.saturating_add(later);
        part.reach = part.reach.saturating_add(later);
        part
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
            for (group, from) in part.groups.iter().filter(|_| part.window) {
                detector.progress_mut().lanes.insert((*rule, group.clone()), Lane::since(*from));
            }
            let others = part.all.filter(|_| part.window);
            detector.progress_mut().begins.extend(others.map(|from| (*rule, from)));
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

impl Plan {
    /// How far before a late event any rule may need events, for what it finds to be what it would have found.
    #[must_use]
    pub fn reach(&self) -> i64 {
        let of = |rule: &Rule| {
            let free = rule.window.as_ref().and_then(|window| window.begins(Micros(0))).map_or(0, |begins| -begins.0);
            rule.reach().saturating_mul(2).max(free.saturating_add(rule.reach())).saturating_add(self.run_up(rule))
        };
        self.rules().iter().map(of).max().unwrap_or(0)
    }

    /// How long before a rule those are begun whose matches it takes.
    fn run_up(&self, rule: &Rule) -> i64 {
        let below = below(self, rule).filter_map(|below| self.rules().get(below));
        below.map(|below| below.reach().saturating_mul(2).saturating_add(self.run_up(below))).max().unwrap_or(0)
    }
}

/// The rules whose matches a rule takes.
fn below<'a>(plan: &'a Plan, rule: &'a Rule) -> impl Iterator<Item = usize> + 'a {
    rule.steps.iter().filter_map(|step| match &step.filter {
        Takes::Matches(id) => plan.position(id),
        _ => None,
    })
}

/// Whether everything that ever was decides about a rule, or one whose matches it takes.
fn remembers(plan: &Plan, rule: usize) -> bool {
    let Some((rule, window)) = plan.window(rule) else { return false };
    window.begins(Micros(0)).is_none() || below(plan, rule).any(|below| remembers(plan, below))
}

fn group_of(finding: &Finding) -> Vec<String> {
    finding.group.iter().map(|(_, value)| value.clone()).collect()
}

/// Groups of one event each count in periods that hang on nothing.
fn plain(rule: &Rule, late: &Late) -> Part {
    let period = late.first.bucket(rule.suppress_for);
    let groups: BTreeMap<_, _> = late.groups.iter().map(|group| (group.clone(), period)).collect();
    let reads = if late.all { period } else { late.first };
    let until = Micros(late.last.bucket(rule.suppress_for).0.saturating_add(rule.suppress_for));
    let all = late.all.then_some(period);
    Part { groups, all, taught: late.taught, reads, until, reach: rule.suppress_for, window: false }
}

/// A match takes its events for itself. So a window is begun where one began for certain, or at `free`.
fn windowed(rule: &Rule, late: &Late, (free, moves): (Micros, i64), known: &[Finding]) -> Part {
    let (within, reach) = (rule.within(), rule.reach());
    let back = |from: Micros, by: i64| Micros(from.0.saturating_sub(by));
    let since = back(free, rule.suppress_for).min(back(late.first, reach.saturating_add(within)));
    let all = late.all || late.taught.is_some();
    let mut groups: BTreeMap<Vec<String>, Micros> = late.groups.iter().map(|group| (group.clone(), free)).collect();
    let mut starts: BTreeMap<Vec<String>, Micros> = BTreeMap::new();
    let stays = |start: Micros| start.0.saturating_add(moves) < late.first.0;
    for finding in known.iter().filter(|finding| finding.rule == rule.id && stays(finding.period_start)) {
        if finding.period_start >= since || finding.last_seen.0.saturating_add(within) >= late.first.0 {
            let start = starts.entry(group_of(finding)).or_insert(finding.period_start);
            *start = finding.period_start.max(*start);
        }
    }
    for (group, start) in starts {
        if all || groups.contains_key(&group) {
            groups.insert(group, start);
        }
    }
    let until = Micros(late.last.0.saturating_add(reach.saturating_mul(2)));
    Part { groups, all: all.then_some(free), taught: None, reads: free, until, reach, window: true }
}
