//! The steps of a rule: which events each is, and by what they are grouped.

use keytrail_model::{RawPath, did_you_mean, schema};
use keytrail_sql::{Expression, Scope, parse_expression};

use super::reading::Reading;
use super::written::{OneOrMany, WrittenStep, WrittenSteps};
use crate::sigma::SigmaBody;

/// What a step takes.
#[derive(Clone, Debug)]
pub enum Takes {
    Sql(Expression),
    /// Events that a Sigma detection finds. The step's keys, what the window looks at and what its matches show to a
    /// rule above are fields as Sigma rules name them.
    Sigma {
        body: Box<SigmaBody>,
        of: Vec<String>,
        show: Vec<String>,
    },
    /// The matches of another rule with a window, by its id.
    Matches(String),
}

/// A step of a rule: which events are it, and what they are grouped by.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    /// `None`: the rule's own.
    pub sources: Option<Vec<String>>,
    pub filter: Takes,
    /// The filter as written.
    pub text: String,
    pub line: u64,
    /// This step's keys, in the order of the rule's `group_by`.
    pub by: Vec<String>,
}

impl Reading<'_> {
    /// The steps that the measure names, in its order; no other may be there.
    pub(super) fn steps(&mut self, line: u64, names: &[String], written: &WrittenSteps) -> Option<Vec<Step>> {
        for (name, step) in written.iter().filter(|(name, _)| !names.contains(name)) {
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            let remedy = if names.is_empty() { "write `where` in place of `steps`" } else { "name it, or remove it" };
            self.fail(step.referenced.line(), format!("the window names no step `{name}`{hint}: {remedy}"));
        }
        let steps: Vec<Option<Step>> = names
            .iter()
            .map(|name| {
                let Some(step) = written.get(name) else {
                    let hint = did_you_mean(name, written.keys().map(String::as_str));
                    self.fail(line, format!("`steps` has no `{name}`{hint}: add `{name}: {{where: …}}`"));
                    return None;
                };
                self.step(name, &step.value)
            })
            .collect();
        steps.into_iter().collect()
    }

    fn step(&mut self, name: &str, written: &WrittenStep) -> Option<Step> {
        let line = written.predicate.referenced.line();
        let text = written.predicate.value.clone();
        let by = self.by(name, written);
        let sources = written.source.as_ref().map(OneOrMany::list);
        match parse_expression(&text, Scope::Rule) {
            Ok(filter) => {
                Some(Step { name: name.to_owned(), sources, filter: Takes::Sql(filter), text, line, by: by? })
            }
            Err(error) => {
                self.fail(line, format!("step `{name}`: {error}"));
                None
            }
        }
    }

    /// Event columns or raw paths, as many as the rule's keys; the rule's own where the step has none.
    fn by(&mut self, name: &str, written: &WrittenStep) -> Option<Vec<String>> {
        let before = self.errors.len();
        let is_path = |text: &str| text.contains('.') && RawPath::parse(text).is_some();
        let known = |text: &str| schema::find(text).is_some() || is_path(text);
        for column in written.by.iter().filter(|column| !known(&column.value)) {
            let known = did_you_mean(&column.value, schema::FIELDS.iter().map(|field| field.name));
            let message =
                format!("by `{}` of step `{name}` is neither an event column nor a path{known}", column.value);
            self.fail(column.referenced.line(), message);
        }
        let Some(first) = written.by.first() else { return Some(self.group_by.to_vec()) };
        if written.by.len() != self.group_by.len() {
            let (keys, wanted) = (written.by.len(), self.group_by.len());
            let message = format!("step `{name}` has {keys} keys in `by` and the rule {wanted} in `group_by`");
            self.fail(first.referenced.line(), format!("{message}: give one for each, in that order"));
        }
        (self.errors.len() == before).then(|| written.by.iter().map(|column| column.value.clone()).collect())
    }
}
