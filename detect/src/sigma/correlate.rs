//! Looks up the rules that correlations count, across files, and makes rules of the correlations: each rule counted is a
//! step with its own log sources, keys and detection; a correlation counted is a step that takes its matches.

use std::collections::BTreeSet;

use keytrail_model::{FileError, did_you_mean};
use rsigma_parser::Level;

use super::correlation::Correlation;
use super::file::{Head, severity};
use super::place::Fault;
use super::{Named, SigmaBody};
use crate::rule::{Body, Rule, Sources};
use crate::window::{Step, Takes, Window};

/// What became of correlations.
#[derive(Debug, Default)]
pub(crate) struct Correlated {
    pub(crate) rules: Vec<Rule>,
    pub(crate) errors: Vec<FileError>,
    pub(crate) skipped: Vec<FileError>,
}

/// Makes rules of correlations. Of `rules` those stay that yield findings of their own; `left_out` are names of rules
/// that placeholders kept from loading.
pub(crate) fn correlate(
    correlations: &[Correlation],
    rules: &mut Vec<Named>,
    left_out: &BTreeSet<String>,
) -> Correlated {
    let known = Known { correlations, rules, left_out };
    let mut out = Correlated::default();
    for correlation in correlations {
        match known.rule(correlation) {
            Ok(rule) => out.rules.push(rule),
            Err(Failed::Skipped(error)) => out.skipped.push(error),
            Err(Failed::Wrong(error)) => out.errors.push(error),
        }
    }
    // Matches of a correlation that is not there would never come.
    let there: BTreeSet<String> = out.rules.iter().map(|rule| rule.id.clone()).collect();
    let comes = |step: &Step| if let Takes::Matches(id) = &step.filter { there.contains(id) } else { true };
    out.rules.retain(|rule| rule.steps.iter().all(comes));
    rules.retain(|rule| correlations.iter().all(|correlation| !uses_up(correlation, &|name| rule.is_called(name))));
    out
}

/// Whether a correlation takes a rule's findings for itself.
fn uses_up(correlation: &Correlation, called: &dyn Fn(&str) -> bool) -> bool {
    !correlation.rule.generate && correlation.rule.rules.iter().any(|name| called(name))
}

enum Failed {
    Wrong(FileError),
    Skipped(FileError),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Wrong(FileError::new(&fault.file, fault.line, fault.message))
    }
}

struct Known<'a> {
    correlations: &'a [Correlation],
    rules: &'a [Named],
    left_out: &'a BTreeSet<String>,
}

impl Known<'_> {
    fn rule(&self, correlation: &Correlation) -> Result<Rule, Failed> {
        let written = &correlation.rule;
        if written.rules.is_empty() {
            return Err(correlation.place.fault("correlation", "a correlation without rules: name some").into());
        }
        self.check_depth(correlation, 0)?;
        let mut steps = Vec::new();
        for name in &written.rules {
            steps.push(self.step(correlation, name)?);
        }
        let window = correlation.window(&written.rules)?;
        let quiet = self.correlations.iter().any(|other| uses_up(other, &|name| correlation.is_called(name)));
        let level = written.level.map_or_else(|| self.highest(correlation), |level| severity(Some(level)));
        let mut sources: Vec<String> = steps.iter().flat_map(|step| step.sources.clone().unwrap_or_default()).collect();
        sources.sort();
        sources.dedup();
        let head = Head {
            id: correlation.id.clone(),
            title: written.title.clone(),
            level: written.level.or(Some(Level::Medium)),
            status: written.status,
            tags: written.tags.clone(),
            description: written.description.clone(),
            falsepositives: written.falsepositives.clone(),
            references: written.references.clone(),
        };
        Ok(Rule {
            severity: level,
            sources: Sources::Named(sources),
            group_by: written.group_by.clone(),
            window: Some(Window { quiet, ..window }),
            steps,
            text: correlation.text(),
            ..head.rule(&correlation.place, Body::Steps)
        })
    }

    fn step(&self, correlation: &Correlation, name: &str) -> Result<Step, Failed> {
        if let Some(rule) = self.rules.iter().find(|rule| rule.is_called(name)) {
            return self.counted(correlation, name, rule);
        }
        if let Some(other) = self.correlations.iter().find(|other| other.is_called(name)) {
            return nested(correlation, name, other);
        }
        let line = correlation.place.line_of(name);
        if self.left_out.contains(name) {
            let message = format!("correlation skipped: its rule `{name}` is, for want of values for a placeholder");
            return Err(Failed::Skipped(FileError::new(correlation.place.file(), line, message)));
        }
        let rules = self.rules.iter().flat_map(|rule| rule.names.iter().map(String::as_str));
        let hint = did_you_mean(name, rules.chain(self.correlations.iter().flat_map(Correlation::names)));
        let message = format!("correlation names rule `{name}`, which is not loaded{hint}");
        Err(Failed::Wrong(FileError::new(correlation.place.file(), line, message)))
    }

    fn counted(&self, correlation: &Correlation, name: &str, rule: &Named) -> Result<Step, Failed> {
        let Body::Sigma(body) = &rule.rule.body else {
            let message = format!("`{name}` is no Sigma rule: write the window in its own file");
            return Err(correlation.place.fault(name, message).into());
        };
        let called = |said: &str| said == name || rule.is_called(said);
        let by = fields_of(correlation, &called)?;
        let body: &SigmaBody = body;
        let mut show = by.clone();
        for above in self.above(correlation) {
            // What it groups by is looked up in the events of the matches; that has the name it has there.
            let inner = |said: &str| correlation.is_called(said) || called(said);
            show.extend(fields_of(above, &inner)?);
        }
        show.sort();
        show.dedup();
        let of = correlation.fields().to_vec();
        let Sources::Named(sources) = &rule.rule.sources else { return Err(correlation.place.fault(name, "").into()) };
        Ok(Step {
            name: name.to_owned(),
            sources: Some(sources.clone()),
            filter: Takes::Sigma { body: Box::new(body.clone()), of, show },
            text: rule.rule.text.clone(),
            line: correlation.place.line_of(name).unwrap_or(1),
            by,
        })
    }

    /// The correlations that take this one's matches, and theirs.
    fn above(&self, correlation: &Correlation) -> Vec<&Correlation> {
        let mut above: Vec<&Correlation> = Vec::new();
        let mut below = vec![correlation];
        while let Some(one) = below.pop() {
            let takes = |other: &&Correlation| other.rule.rules.iter().any(|name| one.is_called(name));
            for other in self.correlations.iter().filter(takes) {
                if above.iter().all(|known| known.id != other.id) {
                    above.push(other);
                    below.push(other);
                }
            }
        }
        above
    }

    fn below<'a>(&'a self, correlation: &'a Correlation) -> impl Iterator<Item = &'a Correlation> {
        let named = correlation.rule.rules.iter();
        named.filter_map(|name| self.correlations.iter().find(|other| other.is_called(name)))
    }

    fn check_depth(&self, correlation: &Correlation, depth: usize) -> Result<(), Failed> {
        if depth > self.correlations.len() {
            let message = "the correlation counts itself, by way of those that it names";
            return Err(correlation.place.fault("correlation", message).into());
        }
        self.below(correlation).try_for_each(|other| self.check_depth(other, depth + 1))
    }

    /// The highest level among the rules that it counts.
    fn highest(&self, correlation: &Correlation) -> keytrail_model::Severity {
        let own = self.rules.iter().filter(|rule| correlation.rule.rules.iter().any(|name| rule.is_called(name)));
        let nested = self.below(correlation).map(|other| self.highest(other));
        own.map(|rule| rule.rule.severity).chain(nested).max().unwrap_or(keytrail_model::Severity::Medium)
    }
}

fn fields_of(correlation: &Correlation, called: &dyn Fn(&str) -> bool) -> Result<Vec<String>, Fault> {
    let fields = correlation.rule.group_by.iter().map(|entry| correlation.field(entry, called));
    fields.map(|field| field.map(str::to_owned)).collect()
}

fn nested(correlation: &Correlation, name: &str, other: &Correlation) -> Result<Step, Failed> {
    if !correlation.fields().is_empty() {
        let message = format!("`{name}` is a correlation, and its matches have no fields to count");
        return Err(correlation.place.fault(name, message).into());
    }
    let by = fields_of(correlation, &|said: &str| said == name || other.is_called(said))?;
    Ok(Step {
        name: name.to_owned(),
        sources: Some(Vec::new()),
        filter: Takes::Matches(other.id.clone()),
        text: other.text(),
        line: correlation.place.line_of(name).unwrap_or(1),
        by,
    })
}
