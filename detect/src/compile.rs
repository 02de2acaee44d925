//! What a rule, or one of its steps, asks of one log source, planned: a filter, and what is done with the rows behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{FileError, RawPath, schema};
use keytrail_sql::{Expression, Name, Planner, SqlError};

use crate::excepted::{self, Excepted};
use crate::filter::Filter;
use crate::rule::{Body, Rule, Sources};
use crate::sigma;
use crate::window::Step;

/// A log source as rules see it.
pub struct SourceFields<'a> {
    pub name: &'a str,
    /// Whether its records can have a path; the error ends the sentence with the nearest known one.
    pub knows: &'a dyn Fn(&RawPath) -> Result<(), String>,
}

/// A rule, or one step of it: what has a predicate of its own.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The rule's place in the list.
    pub(crate) index: usize,
    pub(crate) rule: &'a Rule,
    pub(crate) number: u16,
    step: Option<&'a Step>,
}

impl<'a> Part<'a> {
    /// The parts of a rule that read events.
    pub(crate) fn all(index: usize, rule: &'a Rule) -> Vec<Self> {
        match &rule.body {
            Body::Sql(_) | Body::Sigma(_) => vec![Self { index, rule, number: 0, step: None }],
            Body::Steps => {
                let steps = (0u16..).zip(&rule.steps);
                steps.map(|(number, step)| Self { index, rule, number, step: Some(step) }).collect()
            }
        }
    }

    pub(crate) fn reads(&self, source: &str) -> bool {
        match self.step.and_then(|step| step.sources.as_ref()) {
            Some(sources) => sources.iter().any(|name| name == source),
            None => self.rule.sources.include(source),
        }
    }

    /// The log sources that it names.
    pub(crate) fn named_sources(&self) -> &'a [String] {
        match (self.step.and_then(|step| step.sources.as_ref()), &self.rule.sources) {
            (Some(sources), _) | (None, Sources::Named(sources)) => sources,
            (None, Sources::Any) => &[],
        }
    }

    /// The event columns of the group's key.
    pub(crate) fn keys(&self) -> &'a [String] {
        self.step.map_or(&self.rule.group_by, |step| &step.by)
    }

    /// The evidence columns, from `select:` or from the rule's SELECT.
    fn selected(&self) -> impl Iterator<Item = &'a (String, Expression)> {
        let of_sql = match &self.rule.body {
            Body::Sql(select) => select.columns.as_slice(),
            Body::Sigma(_) | Body::Steps => &[],
        };
        of_sql.iter().chain(&self.rule.select)
    }

    /// What the window looks at.
    fn values(&self) -> impl Iterator<Item = (&'a Expression, bool)> {
        let of = self.rule.window.iter().flat_map(|window| &window.of);
        of.map(|column| (&column.expression, column.network))
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> FileError {
        let line = self.step.map_or(self.rule.line, |step| Some(step.line));
        FileError::new(&self.rule.file, line, message)
    }
}

/// What a part asks for, before any schema is known.
pub(crate) struct Wanted {
    predicate: Predicate,
    /// What the predicate reads: every event needs it.
    pub(crate) filter_names: BTreeSet<Name>,
    /// What else the rule reads of the events that it matched.
    shown_names: BTreeSet<Name>,
}

enum Predicate {
    All,
    Sql(Expression),
    Logical(Expr),
}

/// A part ready to run over batches of one source.
pub(crate) struct Compiled {
    pub(crate) filter: Filter,
    pub(crate) select: Vec<(String, Arc<dyn PhysicalExpr>)>,
    /// The window's values, and whether of an address only the network counts.
    pub(crate) values: Vec<(Arc<dyn PhysicalExpr>, bool)>,
    pub(crate) excepted: Excepted,
}

/// The names that a part reads.
pub(crate) fn wanted(part: &Part<'_>, source: &SourceFields<'_>) -> Result<Wanted, FileError> {
    let (predicate, filter_names) = predicate(part)?;
    let shown = part.selected().map(|(_, expression)| expression).chain(part.values().map(|(of, _)| of));
    let mut shown_names: BTreeSet<Name> = shown.flat_map(|expression| expression.names.iter().cloned()).collect();
    shown_names.extend(excepted::names(part.rule, source)?);
    Ok(Wanted { predicate, filter_names, shown_names })
}

fn predicate(part: &Part<'_>) -> Result<(Predicate, BTreeSet<Name>), FileError> {
    let filter = match (&part.rule.body, part.step) {
        (Body::Steps, Some(step)) => Some(&step.filter),
        (Body::Sql(select), _) => select.filter.as_ref(),
        (Body::Sigma(detections), _) => {
            let (expr, names) = sigma::expression(detections).map_err(|reason| part.error(reason))?;
            return Ok((Predicate::Logical(expr), names));
        }
        (Body::Steps, None) => None,
    };
    Ok(filter.map_or_else(
        || (Predicate::All, BTreeSet::new()),
        |filter| (Predicate::Sql(filter.clone()), filter.names.clone()),
    ))
}

impl Wanted {
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.filter_names.iter().chain(&self.shown_names)
    }

    /// Refuses names that the source cannot have.
    pub(crate) fn check(self, part: &Part<'_>, source: &SourceFields<'_>) -> Result<Self, FileError> {
        for name in self.names() {
            let Name::Raw(path) = name else { continue };
            if let Err(hint) = (source.knows)(path) {
                let source = source.name;
                return Err(part.error(format!("`{path}` is neither an event column nor a field of {source}{hint}")));
            }
        }
        Ok(self)
    }

    pub(crate) fn compile(
        &self,
        part: &Part<'_>,
        batch: &SchemaRef,
        planner: &Planner,
    ) -> Result<Compiled, FileError> {
        let fail = |error: SqlError| part.error(error.to_string());
        let filter = self.filter(batch, planner).map_err(fail)?;
        let mut select = Vec::new();
        for (name, expression) in part.selected() {
            select.push((name.clone(), plan_shown(expression, batch, planner).map_err(fail)?));
        }
        let mut values = Vec::new();
        for (expression, network) in part.values() {
            values.push((plan_shown(expression, batch, planner).map_err(fail)?, network));
        }
        Ok(Compiled { filter, select, values, excepted: Excepted::compile(part.rule, batch, planner)? })
    }

    fn filter(&self, batch: &SchemaRef, planner: &Planner) -> Result<Filter, SqlError> {
        let expr = match &self.predicate {
            Predicate::All => return Ok(Filter::all()),
            Predicate::Sql(expression) => planner.predicate(expression, batch)?,
            Predicate::Logical(expr) => planner.logical_predicate(expr.clone(), batch)?,
        };
        Filter::new(&expr, batch, planner)
    }
}

/// Evidence is shown as text; a list is shown joined.
fn plan_shown(
    expression: &Expression,
    batch: &SchemaRef,
    planner: &Planner,
) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    planner.plan(expression, batch, &DataType::Utf8View).or_else(|error| match error {
        SqlError::Type { .. } => planner.plan(expression, batch, &schema::Kind::Texts.arrow()),
        other => Err(other),
    })
}
