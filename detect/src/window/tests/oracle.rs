//! What the semantics say, as plainly as can be: every window is looked at whole and anew.

use std::collections::{BTreeMap, BTreeSet};

use super::super::first_seen::grain;
use super::*;

/// A window, and the bounds of its condition for an eye that is not the product's.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) window: Window,
    pub(super) bounds: Vec<(Comparison, f64)>,
}

pub(super) fn expected(case: &Case, entries: &[Entry]) -> Vec<Match> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|one| (one.time, one.event_id.clone(), one.step, one.place.clone(), one.value.clone()));
    let wants_value = !matches!(case.window.measure, Measure::Count(_) | Measure::AllOf(_));
    match case.window.measure {
        Measure::Sequence => return sequence(&case.window, &sorted),
        Measure::Absence { after, of } => return absence(&case.window, &sorted, after, of),
        Measure::FirstSeen { learn, follow } => return first_seen(&sorted, learn, follow),
        _ => sorted.retain(|entry| !wants_value || entry.value.is_some()),
    }
    match (case.window.kind, case.window.measure.is_monotone()) {
        (Kind::Sliding, true) => greedy(case, &sorted),
        (Kind::Sliding, false) => judged(case, &sorted, |first, _, entry| entry - first <= case.window.within),
        (Kind::Tumbling, _) => judged(case, &sorted, |first, _, entry| bucket(case, first) == bucket(case, entry)),
        (Kind::Session, _) => judged(case, &sorted, |_, last, entry| entry - last <= case.window.within),
    }
}

fn bucket(case: &Case, time: i64) -> i64 {
    time.div_euclid(case.window.within)
}

/// The earliest event at which some run of events within the time satisfies it; the oldest such run; what follows.
fn greedy(case: &Case, mut entries: &[Entry]) -> Vec<Match> {
    let mut found = Vec::new();
    'search: loop {
        for end in 0..entries.len() {
            let runs = (0..=end).filter(|start| entries[end].time.0 - entries[*start].time.0 <= case.window.within);
            let runs: Vec<&[Entry]> = runs.map(|start| &entries[start..=end]).collect();
            if runs.iter().any(|run| holds(case, run)) {
                let start = end + 1 - runs[0].len();
                let last = entries[start].time.0 + case.window.within;
                let after = entries.iter().filter(|entry| entry.time.0 <= last).count();
                found.push(Match::of(entries[start..after].to_vec(), entries[end].time));
                entries = &entries[after..];
                continue 'search;
            }
        }
        return found;
    }
}

/// Windows one after the other; `joins` says by first, last and next time whether the next belongs to it.
fn judged(case: &Case, entries: &[Entry], joins: impl Fn(i64, i64, i64) -> bool) -> Vec<Match> {
    let mut windows: Vec<Vec<Entry>> = Vec::new();
    for entry in entries {
        match windows.last_mut() {
            Some(window) if joins(window[0].time.0, window[window.len() - 1].time.0, entry.time.0) => {
                window.push(entry.clone());
            }
            _ => windows.push(vec![entry.clone()]),
        }
    }
    let judge = |window: Vec<Entry>| {
        let at = match case.window.measure.is_monotone() {
            true => window[(0..window.len()).find(|end| holds(case, &window[..=*end]))?].time.0,
            false if !holds(case, &window) => return None,
            false => match case.window.kind {
                Kind::Sliding => window[0].time.0 + case.window.within,
                Kind::Tumbling => (bucket(case, window[0].time.0) + 1) * case.window.within,
                Kind::Session => window[window.len() - 1].time.0 + case.window.within,
            },
        };
        Some(Match::of(window, Micros(at)))
    };
    windows.into_iter().filter_map(judge).collect()
}

fn holds(case: &Case, run: &[Entry]) -> bool {
    let numbers: Vec<f64> = run.iter().filter_map(|entry| entry.value.as_ref()?.number()).collect();
    let sum: f64 = numbers.iter().sum();
    let number = match &case.window.measure {
        Measure::Count(_) => run.len() as f64,
        Measure::Distinct(_) => run.iter().map(|entry| &entry.value).collect::<BTreeSet<_>>().len() as f64,
        Measure::Sum(_) => sum,
        Measure::Avg(_) => sum / numbers.len() as f64,
        Measure::Percentile { rank, .. } => percentile(&numbers, *rank),
        Measure::AllOf(combination) => return happened(combination, run),
        _ => panic!("no threshold"),
    };
    case.bounds.iter().all(|(comparison, bound)| match comparison {
        Comparison::Gt => number > *bound,
        Comparison::Gte => number >= *bound,
        Comparison::Lt => number < *bound,
        Comparison::Lte => number <= *bound,
        Comparison::Eq => (number - bound).abs() < 1e-9,
        Comparison::Neq => (number - bound).abs() >= 1e-9,
    })
}

fn percentile(numbers: &[f64], rank: f64) -> f64 {
    let share = |limit: f64| numbers.iter().filter(|number| **number <= limit).count() * 100;
    let enough = numbers.iter().filter(|number| share(**number) as f64 >= rank * numbers.len() as f64);
    enough.copied().fold(f64::INFINITY, f64::min)
}

fn happened(combination: &Combination, run: &[Entry]) -> bool {
    match combination {
        Combination::Step(step) => run.iter().any(|entry| entry.step == *step),
        Combination::And(parts) => parts.iter().all(|part| happened(part, run)),
        Combination::Or(parts) => parts.iter().any(|part| happened(part, run)),
        Combination::Not(part) => !happened(part, run),
    }
}

fn sequence(window: &Window, entries: &[Entry]) -> Vec<Match> {
    let mut found: Vec<Match> = Vec::new();
    let mut free = 0;
    for (index, first) in entries.iter().enumerate() {
        if index < free || first.step != 0 {
            continue;
        }
        let mut chain = vec![index];
        for step in 1..window.steps.len() {
            let before = entries[chain[chain.len() - 1]].moment();
            let fits = |entry: &Entry| usize::from(entry.step) == step && entry.moment() >= before;
            chain.extend((free..entries.len()).find(|next| fits(&entries[*next])));
            if chain.len() <= step {
                break;
            }
        }
        let last = chain[chain.len() - 1];
        if chain.len() == window.steps.len() && entries[last].time.0 - first.time.0 <= window.within {
            found.push(Match::of(chain.iter().map(|index| entries[*index].clone()).collect(), entries[last].time));
            free = last + 1;
        }
    }
    found
}

fn absence(window: &Window, entries: &[Entry], after: u16, of: u16) -> Vec<Match> {
    let follows = |one: &Entry, other: &Entry| {
        other.step == of && other.moment() > one.moment() && other.time.0 <= one.time.0 + window.within
    };
    let alone = |one: &&Entry| one.step == after && !entries.iter().any(|other| follows(one, other));
    let at = |one: &Entry| Micros(one.time.0 + window.within);
    entries.iter().filter(alone).map(|one| Match::of(vec![one.clone()], at(one))).collect()
}

fn first_seen(entries: &[Entry], learn: i64, follow: i64) -> Vec<Match> {
    let Some(begin) = entries.first() else { return Vec::new() };
    let mut by_value: BTreeMap<&Value, Vec<&Entry>> = BTreeMap::new();
    entries.iter().for_each(|entry| {
        entry.value.iter().for_each(|value| by_value.entry(value).or_default().push(entry));
    });
    let mut firsts: Vec<Vec<&Entry>> = by_value.into_values().collect();
    firsts.retain(|entries| entries[0].time.0 >= begin.time.0 + learn);
    firsts.sort_by(|left, right| left[0].order(right[0]));
    let counted = |entries: Vec<&Entry>| {
        let cell = |time: i64| time.div_euclid(grain(follow));
        let first = entries[0].time.0;
        let counted: Vec<Entry> =
            entries.into_iter().filter(|entry| cell(entry.time.0) <= cell(first + follow)).cloned().collect();
        let whole = Match::of(counted, Micros(first));
        Match { entries: whole.entries.iter().take(5).cloned().collect(), ..whole }
    };
    firsts.into_iter().map(counted).collect()
}
