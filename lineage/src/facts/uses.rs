//! When credentials were first used, and by whom, within a bound: of more than `KEPT` uses the earliest are kept, so
//! that what is kept depends neither on the order of events nor on who saw them.

use std::collections::{BTreeSet, HashMap};

use keytrail_model::Micros;
use keytrail_model::tables::Asked;
use serde::{Deserialize, Serialize};

/// How many credentials, and how many pairs of a credential and its user, are kept.
pub const KEPT: usize = 65_536;
/// How many more may gather before the later ones are dropped.
const SLACK: usize = KEPT / 4;

/// Who used a credential: an agent, a principal or a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use<'a> {
    pub kind: &'a str,
    pub credential: &'a str,
    pub id: &'a str,
}

impl<'a> Use<'a> {
    fn of(key: &'a str) -> Option<Self> {
        let mut parts = key.splitn(3, '\t');
        Some(Self { kind: parts.next()?, credential: parts.next()?, id: parts.next()? })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    first: Firsts,
    by: Firsts,
    /// Where a key is put together.
    #[serde(skip)]
    scratch: String,
}

impl Uses {
    pub fn first(&mut self, credential: &str, at: Micros) {
        self.first.see(credential, at);
    }

    pub fn by(&mut self, one: &Use<'_>, at: Micros) {
        self.scratch.clear();
        for part in [one.kind, "\t", one.credential, "\t", one.id] {
            self.scratch.push_str(part);
        }
        self.by.see(&self.scratch, at);
    }

    pub fn merge(&mut self, other: Self) {
        self.first.merge(other.first);
        self.by.merge(other.by);
        self.scratch.clear();
    }

    /// Whether the other holds nothing new.
    pub fn know(&self, other: &Self) -> bool {
        self.first.know(&other.first) && self.by.know(&other.by)
    }

    /// Each credential that is asked for and its first use, by id.
    #[must_use]
    pub fn credentials<'a>(&'a self, asked: &'a Asked) -> Vec<(&'a str, Micros)> {
        asked.of("credential").map_or_else(|| self.first.kept(), |ids| self.first.of(&ids))
    }

    /// Who used what, and since when, of what is asked for.
    pub fn users<'a>(&'a self, asked: &Asked) -> impl Iterator<Item = (Use<'a>, Micros)> {
        let credentials = asked.wants_any("credential");
        let perhaps = move |key: &str| credentials || key.split('\t').next().is_some_and(|kind| asked.wants_any(kind));
        let used = self.by.all().filter(move |(key, _)| perhaps(key));
        let used = used.filter_map(|(key, at)| Some((Use::of(key)?, at)));
        used.filter(|(one, _)| asked.wants("credential", one.credential) || asked.wants(one.kind, one.id))
    }
}

/// First times of names. Walked in order only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Firsts {
    times: HashMap<String, Micros>,
    /// As many as are kept are earlier than this: it and what is later never will be.
    #[serde(default)]
    full: Option<(Micros, String)>,
}

impl Firsts {
    fn see(&mut self, name: &str, at: Micros) {
        if let Some(known) = self.times.get_mut(name) {
            *known = at.min(*known);
        } else if !self.is_too_late(name, at) {
            self.times.insert(name.to_owned(), at);
            self.trim();
        }
    }

    fn is_too_late(&self, name: &str, at: Micros) -> bool {
        self.full.as_ref().is_some_and(|(time, first)| (at, name) >= (*time, first.as_str()))
    }

    fn know(&self, other: &Self) -> bool {
        let known = |name: &String, at| self.times.get(name).is_some_and(|known| known <= at);
        other.times.iter().all(|(name, at)| known(name, at) || self.is_too_late(name, *at))
    }

    fn merge(&mut self, other: Self) {
        self.full = self.full.take().into_iter().chain(other.full).min();
        other.times.into_iter().for_each(|(name, at)| self.see(&name, at));
    }

    /// Cut back rarely.
    fn trim(&mut self) {
        if self.times.len() > KEPT + SLACK
            && let Some((time, name)) = self.too_many().map(|(time, name)| (time, name.to_owned()))
        {
            self.times.retain(|known, at| (*at, known.as_str()) < (time, &name));
            self.full = Some((time, name));
        }
    }

    /// The first one that is not kept.
    fn too_many(&self) -> Option<(Micros, &str)> {
        if self.times.len() <= KEPT {
            return None;
        }
        let mut all: Vec<(Micros, &str)> = self.times.iter().map(|(name, at)| (*at, name.as_str())).collect();
        Some(*all.select_nth_unstable(KEPT).1)
    }

    fn keeps(&self) -> impl Fn(&(&str, Micros)) -> bool {
        let too_many = self.too_many();
        move |(name, at)| too_many.is_none_or(|end| (*at, *name) < end)
    }

    /// In no order.
    fn all(&self) -> impl Iterator<Item = (&str, Micros)> {
        self.times.iter().map(|(name, at)| (name.as_str(), *at)).filter(self.keeps())
    }

    fn kept(&self) -> Vec<(&str, Micros)> {
        let mut all: Vec<(&str, Micros)> = self.all().collect();
        all.sort_unstable();
        all
    }

    fn of<'a>(&self, names: &BTreeSet<&'a str>) -> Vec<(&'a str, Micros)> {
        let known = names.iter().filter_map(|name| Some((*name, *self.times.get(*name)?)));
        known.filter(self.keeps()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(names: impl Iterator<Item = usize>) -> Uses {
        let mut uses = Uses::default();
        for number in names {
            let time = Micros(i64::try_from(number % (KEPT + 7)).unwrap_or_default());
            uses.first(&format!("c{}", number % (2 * KEPT + 100)), time);
        }
        uses
    }

    #[test]
    fn the_earliest_are_kept_in_any_order_and_from_any_worker() {
        let count = 3 * KEPT;
        let forwards = seen(0..count);
        let backwards = seen((0..count).rev());
        let mut merged = seen((0..count).filter(|number| number % 2 == 1));
        merged.merge(seen((0..count).filter(|number| number % 2 == 0)));
        assert_eq!(forwards.credentials(&Asked::All).len(), KEPT);
        assert!(
            forwards.credentials(&Asked::All) == backwards.credentials(&Asked::All)
                && forwards.credentials(&Asked::All) == merged.credentials(&Asked::All)
        );
    }

    #[test]
    fn what_would_not_be_kept_tells_nothing_new() {
        let known = seen(0..3 * KEPT);
        let mut other = Uses::default();
        other.first("late", Micros(i64::MAX));
        assert!(known.know(&other) && !Uses::default().know(&other));
        let mut merged = Uses::default();
        merged.merge(known.clone());
        assert!(merged.know(&other), "it stays so where it is merged into another");
        other.first("early", Micros(-1));
        assert!(!known.know(&other) && !merged.know(&other));
    }

    #[test]
    fn who_used_what_comes_back_as_it_was() {
        let mut uses = Uses::default();
        let one = Use { kind: "tool", credential: "c", id: "mcp\trun" };
        uses.by(&one, Micros(5));
        uses.by(&one, Micros(3));
        assert_eq!(uses.users(&Asked::All).collect::<Vec<_>>(), [(one, Micros(3))]);
    }
}
