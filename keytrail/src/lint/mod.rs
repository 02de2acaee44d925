//! What can be wrong with rules, exceptions and overlays that a reader of the file would not see.

mod blocks;
mod conditions;
pub mod fix;
mod habits;
mod table;
mod tags;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use keytrail_detect::{Loaded, Rule, Vocabulary};
use keytrail_ingest::Mapping;
use keytrail_model::{FileError, Micros};
use keytrail_sql::Planner;

use crate::output::warn;
use crate::pack::{Pack, plan, unknown_fields};
use crate::tuning::Tuning;
pub use table::{LINTS, Level, Lint};

/// One lint at one place.
#[derive(Clone, Debug)]
pub struct Problem {
    pub lint: &'static Lint,
    pub file: String,
    pub line: Option<u64>,
    pub message: String,
}

impl Problem {
    #[must_use]
    pub fn new(lint: &'static Lint, file: &str, line: Option<u64>, message: impl Into<String>) -> Self {
        Self { lint, file: file.to_owned(), line, message: message.into() }
    }

    fn of(lint: &'static Lint, error: FileError) -> Self {
        Self { lint, file: error.file, line: error.line, message: error.message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = FileError::new(&self.file, self.line, self.message.as_str());
        write!(f, "{error} [{}]", self.lint.id)
    }
}

/// Every problem in the files' rules, exceptions and overlays, in file and line order. `pack` gives what they refer to;
/// exceptions that end by `as_of` have expired.
pub fn problems(pack: &Pack, files: &Pack, as_of: Option<Micros>) -> Result<Vec<Problem>> {
    let mappings = pack.mappings()?;
    let vocabulary = pack.vocabulary()?;
    let Loaded { rules: own, errors, skipped, left_out } = keytrail_detect::load(&files.detections, &vocabulary);
    skipped.iter().for_each(|skipped| warn(&skipped.to_string()));
    let mut problems: Vec<Problem> = errors.into_iter().map(|error| Problem::of(&table::READ, error)).collect();
    let unknown = unknown_fields(&left_out, &mappings, &vocabulary.dialects);
    problems.extend(unknown.into_iter().map(|error| Problem::of(&table::PLAN, error)));
    let (playbooks, planner) = (pack.playbooks()?, Planner::new());
    let known: Vec<&str> = playbooks.ids().collect();
    for rule in &own {
        let text = text_of(files, &rule.file);
        problems.extend(habits::of(rule, text, &known, &mappings));
        problems.extend(conditions::of(rule, &planner));
    }
    let tuning = Tuning::read(files);
    problems.extend(as_of.into_iter().flat_map(|as_of| expired(&tuning, as_of)));
    let (rules, more) = tuned(pack, &vocabulary, own, tuning);
    problems.extend(more);
    problems.extend(unplanned(rules, &mappings, &vocabulary));
    problems.extend(fix::problems(files));
    problems
        .sort_by(|left, right| (&left.file, left.line, &left.message).cmp(&(&right.file, right.line, &right.message)));
    Ok(problems)
}

fn text_of<'a>(files: &'a Pack, file: &str) -> &'a str {
    files.detections.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text.as_str())
}

fn expired(tuning: &Tuning, as_of: Micros) -> Vec<Problem> {
    let over = tuning.exceptions.iter().filter(|exception| exception.expires <= as_of);
    let said = over.map(|exception| {
        let (id, expires, owner) = (&exception.id, exception.expires, &exception.owner);
        let message = format!("exception `{id}` expired at {expires}: delete it, or ask {owner} for a new date");
        Problem::new(&table::EXPIRED, &exception.file, Some(exception.line), message)
    });
    said.collect()
}

/// The rules with what changes them. Rules of the pack that only overlays or exceptions of the files are about come
/// along, so that those are checked.
fn tuned(pack: &Pack, vocabulary: &Vocabulary, own: Vec<Rule>, tuning: Tuning) -> (Vec<Rule>, Vec<Problem>) {
    let mut problems: Vec<Problem> = Vec::new();
    let Tuning { overlays, exceptions, overlay_errors, exception_errors } = tuning;
    problems.extend(overlay_errors.into_iter().map(|error| Problem::of(&table::OVERLAY, error)));
    problems.extend(exception_errors.into_iter().map(|error| Problem::of(&table::EXCEPTION, error)));
    let mut by_id: BTreeMap<String, (bool, Rule)> = BTreeMap::new();
    if !overlays.is_empty() || !exceptions.is_empty() {
        let theirs = keytrail_detect::load(&pack.detections, vocabulary).rules;
        by_id.extend(theirs.into_iter().map(|rule| (rule.id.clone(), (false, rule))));
    }
    let mut twice = Vec::new();
    for rule in own {
        if let Some((true, rule)) = by_id.insert(rule.id.clone(), (true, rule)) {
            twice.push(rule);
        }
    }
    let (own, mut rules): (Vec<bool>, Vec<Rule>) = by_id.into_values().unzip();
    let errors = keytrail_detect::apply_overlays(&mut rules, &overlays);
    problems.extend(errors.into_iter().map(|error| Problem::of(&table::OVERLAY, error)));
    let errors = keytrail_detect::attach_exceptions(&mut rules, exceptions);
    problems.extend(errors.into_iter().map(|error| Problem::of(&table::EXCEPTION, error)));
    let touched = |rule: &Rule| !rule.overlaid.is_empty() || !rule.exceptions.is_empty();
    let wanted = own.into_iter().zip(rules).filter(|(own, rule)| *own || touched(rule)).map(|(_, rule)| rule);
    (wanted.chain(twice).collect(), problems)
}

fn unplanned(rules: Vec<Rule>, mappings: &[Arc<Mapping>], vocabulary: &Vocabulary) -> Vec<Problem> {
    let errors = plan(rules, mappings, &vocabulary.dialects).err().unwrap_or_default();
    errors.into_iter().map(|error| Problem::of(&table::PLAN, error)).collect()
}
