//! Why a rule finds an event, or does not: its conditions clause by clause, with what the event holds at each place.
//!
//! Asks one event at a time and keeps nothing: a window over several events is only named. Not for the hot path.

mod asker;
mod clause;
mod clauses;
mod found;
mod joined;
mod sigma;

use keytrail_model::{EventBatch, FileError, Micros};
use keytrail_sql::Planner;
use serde::Serialize;

use crate::compile::{Asks, Part, SourceFields};
use crate::progress::first_shown;
use crate::reference::Reference;
use crate::rule::Rule;
use crate::window::Takes;
use asker::Asker;
pub use clause::{Clause, Joined};
use found::Event;
pub use found::{Found, Read};

/// What the event is to the rule; the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is a finding, or one event of it.
    Matches,
    /// It enters the rule's window, which decides.
    Counts,
    /// It would match, but an overlay or an exception says that it does not count.
    KeptOut,
    /// It would enter the window, but a key of its group is null.
    NoGroup,
    Misses,
}

/// A rule's conditions on one event.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub rule: String,
    pub title: String,
    pub severity: &'static str,
    pub state: &'static str,
    pub verdict: Verdict,
    /// At how few places the event would have to be another to match.
    pub failing: usize,
    /// The rule, or each of its steps that reads the log source.
    pub parts: Vec<Asked>,
    /// What overlays and exceptions say.
    pub kept_out: Vec<KeptOut>,
    /// By step: the rule whose matches it takes instead of events.
    pub takes_matches_of: Vec<(String, String)>,
}

/// What one part of a rule asks.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    pub step: Option<String>,
    pub clause: Clause,
    /// The group that the event falls into.
    pub group: Vec<GroupKey>,
}

#[derive(Clone, Debug, Serialize)]
pub struct GroupKey {
    pub name: String,
    /// `None`: null. A window has no group without a value.
    pub value: Option<String>,
}

/// A condition of an overlay, or an exception.
#[derive(Clone, Debug, Serialize)]
pub struct KeptOut {
    /// The overlay's file and line, or the exception's id.
    pub by: String,
    pub keeps_out: bool,
    pub clause: Clause,
    #[serde(flatten)]
    pub granted: Option<Granted>,
}

/// By whose word an exception holds.
#[derive(Clone, Debug, Serialize)]
pub struct Granted {
    pub owner: String,
    pub reason: String,
    pub expires: Micros,
}

/// Whether any part of the rule reads the log source.
#[must_use]
pub fn reads(rule: &Rule, source: &str) -> bool {
    Part::all(0, rule).iter().any(|part| part.reads(source))
}

/// Explains rules; made once, because planning has much to set up.
#[derive(Default)]
pub struct Explainer {
    planner: Planner,
    reference: Reference,
}

impl Explainer {
    /// With the tables that rules join.
    #[must_use]
    pub fn new(reference: Reference) -> Self {
        Self { planner: Planner::new(), reference }
    }

    /// One rule on one event of a batch that has the columns of the rule's plan.
    pub fn explain(
        &self,
        rule: &Rule,
        source: &SourceFields<'_>,
        events: &EventBatch,
        row: usize,
    ) -> Result<Explained, FileError> {
        let event = Event::new(events, row);
        let asker = Asker::new(&self.planner, &event);
        let mut parts = Vec::new();
        for part in Part::all(0, rule).iter().filter(|part| part.reads(source.name)) {
            parts.push(self.asked(part, source, &asker).map_err(|message| part.error(message))?);
        }
        let fail = |message: String| FileError::new(&rule.file, rule.line, message);
        let kept_out = kept_out(rule, &asker).map_err(fail)?;
        let near = parts.iter().map(|part| part.clause.failing()).min().unwrap_or(1);
        let kept = kept_out.iter().filter(|one| one.keeps_out).count();
        Ok(Explained {
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity.name(),
            state: rule.state.name(),
            verdict: verdict(rule, &parts, kept > 0),
            failing: near + kept,
            parts,
            kept_out,
            takes_matches_of: taken(rule),
        })
    }

    fn asked(&self, part: &Part<'_>, source: &SourceFields<'_>, asker: &Asker<'_>) -> Result<Asked, String> {
        let clause = match (part.joined(), part.asks()) {
            (Some(select), _) => joined::clause(select, &self.planner, &self.reference, asker.event)?,
            (None, Asks::Nothing) => Clause::of("every event", Joined::All, Vec::new()),
            (None, Asks::Sql(condition)) => asker.condition(condition)?,
            (None, Asks::Sigma(body)) => sigma::body(body, source, asker)?,
        };
        let (events, row) = (asker.event.events, asker.event.row);
        let mut group = Vec::new();
        for key in part.keys() {
            let columns = part.columns_of(key, source)?;
            group.push(GroupKey { name: key.clone(), value: first_shown(events, &columns, row) });
        }
        Ok(Asked { step: part.name().map(str::to_owned), clause, group })
    }
}

fn verdict(rule: &Rule, parts: &[Asked], kept_out: bool) -> Verdict {
    let mut held = parts.iter().filter(|part| part.clause.holds == Some(true)).peekable();
    let misses = held.peek().is_none();
    let grouped = |part: &Asked| part.group.iter().all(|key| key.value.is_some());
    match (misses, kept_out, rule.window.is_some()) {
        (true, ..) => Verdict::Misses,
        (_, true, _) => Verdict::KeptOut,
        (_, _, false) => Verdict::Matches,
        (_, _, true) if held.any(grouped) => Verdict::Counts,
        (_, _, true) => Verdict::NoGroup,
    }
}

fn kept_out(rule: &Rule, asker: &Asker<'_>) -> Result<Vec<KeptOut>, String> {
    let mut all = Vec::new();
    for narrowed in &rule.narrowed {
        let clause = asker.condition(&narrowed.condition)?;
        let by = format!("overlay {}:{}", narrowed.file, narrowed.line);
        all.push(KeptOut { by, keeps_out: clause.holds != Some(true), clause, granted: None });
    }
    let time = asker.event.events.time(asker.event.row);
    // One for any rule covers nothing where the log source lacks its fields.
    for exception in rule.exceptions.iter().filter(|exception| asker.knows(&exception.filter)) {
        let clause = asker.condition(&exception.filter)?;
        let (owner, reason) = (exception.owner.clone(), exception.reason.trim().to_owned());
        all.push(KeptOut {
            by: format!("exception {}", exception.id),
            keeps_out: clause.holds == Some(true) && time < exception.expires,
            clause,
            granted: Some(Granted { owner, reason, expires: exception.expires }),
        });
    }
    Ok(all)
}

fn taken(rule: &Rule) -> Vec<(String, String)> {
    let taken = rule.steps.iter().filter_map(|step| match &step.filter {
        Takes::Matches(id) => Some((step.name.clone(), id.clone())),
        Takes::Sql(_) | Takes::Sigma { .. } => None,
    });
    taken.collect()
}
