//! A rule planned against one log source's columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{FileError, RawPath, schema};
use keytrail_sql::{Expression, Name, Planner, SqlError};

use crate::excepted::{self, Excepted};
use crate::rule::{Body, Rule};
use crate::sigma;

/// A log source as rules see it.
pub struct SourceFields<'a> {
    pub name: &'a str,
    /// Whether its records can have a path; the error ends the sentence with the nearest known one.
    pub knows: &'a dyn Fn(&RawPath) -> Result<(), String>,
}

/// What a rule asks for, before any schema is known.
pub(crate) struct Wanted {
    filter: Filter,
    pub(crate) names: BTreeSet<Name>,
}

enum Filter {
    All,
    Sql(Expression),
    Logical(Expr),
}

/// A rule ready to run over batches of one source.
pub(crate) struct Compiled {
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) select: Vec<(String, Arc<dyn PhysicalExpr>)>,
    pub(crate) excepted: Excepted,
}

/// The names that a rule reads, event columns for grouping and summary included.
pub(crate) fn wanted(rule: &Rule, source: &SourceFields<'_>) -> Result<Wanted, FileError> {
    let (filter, mut names) = match &rule.body {
        Body::Sql(select) => match &select.filter {
            Some(filter) => (Filter::Sql(filter.clone()), filter.names.clone()),
            None => (Filter::All, BTreeSet::new()),
        },
        Body::Sigma(detections) => {
            let (expr, names) = sigma::expression(detections).map_err(|reason| at(rule, reason))?;
            (Filter::Logical(expr), names)
        }
        Body::Steps => return Err(at(rule, "rules with `steps` are not evaluated yet".to_owned())),
    };
    names.extend(excepted::names(rule, source)?);
    names.extend(selected(rule).flat_map(|(_, expression)| expression.names.iter().cloned()));
    Ok(Wanted { filter, names })
}

/// The evidence columns of a rule, from `select:` or from its SELECT.
fn selected(rule: &Rule) -> impl Iterator<Item = &(String, Expression)> {
    let of_sql = match &rule.body {
        Body::Sql(select) => select.columns.as_slice(),
        Body::Sigma(_) | Body::Steps => &[],
    };
    of_sql.iter().chain(&rule.select)
}

/// Refuses names that the source cannot have.
pub(crate) fn check_names(rule: &Rule, wanted: &Wanted, source: &SourceFields<'_>) -> Result<(), FileError> {
    for name in &wanted.names {
        let Name::Raw(path) = name else { continue };
        if let Err(hint) = (source.knows)(path) {
            let source = source.name;
            return Err(at(rule, format!("`{path}` is neither an event column nor a field of {source}{hint}")));
        }
    }
    Ok(())
}

pub(crate) fn compile(
    rule: &Rule,
    wanted: &Wanted,
    batch: &SchemaRef,
    planner: &Planner,
) -> Result<Compiled, FileError> {
    let fail = |error: SqlError| at(rule, error.to_string());
    let filter = match &wanted.filter {
        Filter::All => None,
        Filter::Sql(expression) => Some(planner.plan(expression, batch, &DataType::Boolean).map_err(fail)?),
        Filter::Logical(expr) => Some(planner.plan_logical(expr.clone(), batch).map_err(fail)?),
    };
    let mut select = Vec::new();
    for (name, expression) in selected(rule) {
        select.push((name.clone(), plan_shown(expression, batch, planner).map_err(fail)?));
    }
    Ok(Compiled { filter, select, excepted: Excepted::compile(rule, batch, planner)? })
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

fn at(rule: &Rule, message: String) -> FileError {
    FileError::new(&rule.file, rule.line, message)
}
