//! Which rules take the matches of which others, in what order that is settled, and how much later.

use keytrail_model::{FileError, Micros};

use crate::rule::Rule;
use crate::window::{Takes, Window};

#[derive(Debug, Default)]
pub(crate) struct Nesting {
    /// By rule: the rules, and the steps of them, that take its matches.
    above: Vec<Vec<(usize, u16)>>,
    /// By rule: how many rules deep its matches lie; 0 for one that takes events only.
    level: Vec<usize>,
    /// By rule: how much later it is settled because of those below; `None` when only the end settles it.
    delay: Vec<Option<i64>>,
}

impl Nesting {
    pub(crate) fn new(rules: &[Rule]) -> (Self, Vec<FileError>) {
        let mut nesting = Self {
            above: vec![Vec::new(); rules.len()],
            level: vec![0; rules.len()],
            delay: vec![Some(0); rules.len()],
        };
        let mut errors = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for (number, step) in (0u16..).zip(&rule.steps) {
                let Takes::Matches(id) = &step.filter else { continue };
                if let Some(below) = rules.iter().position(|other| other.id == *id) {
                    nesting.put(below, (index, number));
                } else {
                    let message = format!("it takes the matches of `{id}`, which is not loaded");
                    errors.push(FileError::new(&rule.file, Some(step.line), message));
                }
            }
        }
        // As many rounds as rules at most; that no rule stands on itself was checked when they were read.
        for _ in 0..rules.len() {
            if !nesting.raise(rules) {
                break;
            }
        }
        (nesting, errors)
    }

    fn put(&mut self, below: usize, above: (usize, u16)) {
        if let Some(known) = self.above.get_mut(below) {
            known.push(above);
        }
    }

    /// Puts every rule above those it takes matches of; whether anything moved.
    fn raise(&mut self, rules: &[Rule]) -> bool {
        let mut moved = false;
        for (below, rule) in rules.iter().enumerate() {
            let own = rule.window.as_ref().and_then(Window::delay);
            let delay = self.delay(below).zip(own).map(|(before, own)| before.saturating_add(own));
            let level = self.level(below) + 1;
            for (above, _) in self.above(below).to_vec() {
                let (Some(known), Some(late)) = (self.level.get_mut(above), self.delay.get_mut(above)) else {
                    continue;
                };
                let later = late.zip(delay).map(|(late, delay)| late.max(delay));
                moved |= *known < level || *late != later;
                *known = level.max(*known);
                *late = later;
            }
        }
        moved
    }

    pub(crate) fn above(&self, rule: usize) -> &[(usize, u16)] {
        self.above.get(rule).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn level(&self, rule: usize) -> usize {
        self.level.get(rule).copied().unwrap_or_default()
    }

    pub(crate) fn levels(&self) -> usize {
        self.level.iter().max().map_or(0, |level| level + 1)
    }

    /// How much later a rule is settled because of those below; `None` when only the end settles it.
    pub(crate) fn delay(&self, rule: usize) -> Option<i64> {
        self.delay.get(rule).copied().unwrap_or(Some(0))
    }

    /// Up to when a rule is settled when events are up to `watermark`; `None`: not at all yet.
    pub(crate) fn settled(&self, rule: usize, watermark: Micros) -> Option<Micros> {
        if watermark.0 == i64::MAX {
            return Some(watermark);
        }
        self.delay(rule).map(|delay| Micros(watermark.0.saturating_sub(delay)))
    }
}
