//! Progress written down: by rule id and not by place, so that it can be restored under another set of rules, and in one
//! order, so that the same progress gives the same bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use keytrail_model::{Micros, stable_id};
use serde::{Deserialize, Serialize};

use crate::anew::{Late, Lates};
use crate::group::Group;
use crate::plan::Plan;
use crate::progress::{Key, Progress, RuleFailure};
use crate::rule::Rule;
use crate::shared::hash_of;
use crate::window::Lane;

/// Raised when what is written changes; an older binary then refuses a newer state by name.
const VERSION: u32 = 1;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved<'a> {
    version: u32,
    settled: Option<i64>,
    /// What each rule with a window was when its lanes were filled.
    windows: BTreeMap<String, String>,
    groups: Vec<(Id, i64, Cow<'a, Group>)>,
    lanes: Vec<(Id, Cow<'a, Lane>)>,
    open: Vec<(Id, i64)>,
    late: u64,
    #[serde(default)]
    lates: Vec<(Micros, String, Late)>,
    dropped: u64,
    failures: Vec<RuleFailure>,
    excepted: BTreeMap<String, u64>,
}

/// Rule id and group key.
type Id = (String, Vec<String>);

/// Why a saved state cannot be taken up again.
#[derive(Debug, thiserror::Error)]
#[error("the state is of version {found}, and this binary reads version {VERSION}: run the newer binary that wrote it")]
pub struct NewerState {
    found: u32,
}

impl Progress {
    #[must_use]
    pub fn save(&self, plan: &Plan) -> Saved<'_> {
        let id = |key: &Key| plan.rules().get(key.0).map(|rule| (rule.id.clone(), key.1.clone())).unwrap_or_default();
        Saved {
            version: VERSION,
            settled: self.settled.map(|settled| settled.0),
            windows: plan.rules().iter().filter_map(|rule| Some((rule.id.clone(), fingerprint(rule)?))).collect(),
            groups: self.groups.iter().map(|((key, start), group)| (id(key), start.0, Cow::Borrowed(group))).collect(),
            lanes: self.lanes.iter().map(|(key, lane)| (id(key), Cow::Borrowed(lane))).collect(),
            open: self.open.iter().map(|(key, start)| (id(key), start.0)).collect(),
            late: self.late,
            lates: self.lates.save(plan),
            dropped: self.dropped,
            failures: self.failures.iter().cloned().collect(),
            excepted: self.excepted.clone(),
        }
    }

    /// Takes a saved state up again. What belongs to rules that are no longer there is left behind, and so is what
    /// windows hold that have become others.
    pub fn restore(plan: &Plan, saved: Saved<'_>) -> Result<Self, NewerState> {
        if saved.version > VERSION {
            return Err(NewerState { found: saved.version });
        }
        let key = |(id, key): Id| plan.position(&id).map(|index| (index, key));
        let same = |id: &str| {
            let rule = plan.position(id).and_then(|index| plan.rules().get(index));
            rule.and_then(fingerprint).is_some_and(|now| saved.windows.get(id) == Some(&now))
        };
        let groups = saved.groups.into_iter();
        let groups = groups.filter_map(|(id, start, group)| Some(((key(id)?, Micros(start)), group.into_owned())));
        let mut progress = Self::default();
        progress.groups = groups.collect();
        let lanes = saved.lanes.into_iter().filter(|(id, _)| same(&id.0));
        progress.lanes = lanes.filter_map(|(id, lane)| Some((key(id)?, lane.into_owned()))).collect();
        progress.open = saved.open.into_iter().filter_map(|(id, start)| Some((key(id)?, Micros(start)))).collect();
        progress.lates = Lates::restore(plan, saved.lates);
        progress.settled = saved.settled.map(Micros);
        (progress.late, progress.dropped) = (saved.late, saved.dropped);
        progress.failures.extend(saved.failures);
        progress.excepted = saved.excepted;
        Ok(progress)
    }
}

impl Saved<'_> {
    /// The same state in as many parts, each group in one of them whatever else there is: by hash of rule and key.
    #[must_use]
    pub fn split(self, parts: usize) -> Vec<Self> {
        let parts = parts.max(1);
        let (version, settled) = (self.version, self.settled);
        let windows = self.windows.clone();
        let empty = || Self { version, settled, windows: windows.clone(), ..Self::default() };
        let mut split: Vec<Self> = (0..parts).map(|_| empty()).collect();
        let mut shard = |id: &Id, put: &mut dyn FnMut(&mut Self)| {
            if let Some(part) = split.get_mut(shard_of(id, parts)) {
                put(part);
            }
        };
        for (id, start, group) in self.groups {
            let mut group = Some((id.clone(), start, group));
            shard(&id, &mut |part| part.groups.extend(group.take()));
        }
        for (id, lane) in self.lanes {
            let mut lane = Some((id.clone(), lane));
            shard(&id, &mut |part| part.lanes.extend(lane.take()));
        }
        for (id, start) in self.open {
            shard(&id, &mut |part| part.open.push((id.clone(), start)));
        }
        if let Some(first) = split.first_mut() {
            (first.late, first.lates, first.dropped) = (self.late, self.lates, self.dropped);
            (first.failures, first.excepted) = (self.failures, self.excepted);
        }
        split
    }
}

/// What decides which events a rule's windows hold and what they look for; `None` without a window.
fn fingerprint(rule: &Rule) -> Option<String> {
    let window = rule.window.as_ref()?;
    let of: Vec<&str> = window.of.iter().map(|column| column.expression.text.as_str()).collect();
    let shape = format!("{} {:?} {:?} {:?} {of:?}", window.within, window.kind, window.measure, window.steps);
    Some(stable_id("window", &[&rule.text, &rule.group_by.join(","), &shape]))
}

/// Which of so many shards a group belongs to.
fn shard_of(id: &Id, shards: usize) -> usize {
    usize::try_from(hash_of(id) % shards as u64).unwrap_or_default()
}
