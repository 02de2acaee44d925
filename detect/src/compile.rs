//! A rule planned against one log source's columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{FileError, RawPath, schema};
use keytrail_sql::{Expression, Name, Planner, SqlError};

use crate::rule::{Body, Rule};
use crate::dialect::Dialect;
use crate::sigma::{self, Resolver};

/// A log source as rules see it.
pub struct SourceFields<'a> {
    pub name: &'a str,
    /// Whether its records can have a path; the error ends the sentence with the nearest known one.
    pub knows: &'a dyn Fn(&RawPath) -> Result<(), String>,
    /// What Sigma rules call its fields.
    pub dialect: Option<&'a Dialect>,
}

/// What a rule asks for, before any schema is known.
pub(crate) struct Wanted {
    filter: Filter,
    pub(crate) names: BTreeSet<Name>,
}

enum Filter {
    All,
    Sql(Expression),
    /// With expressions of which one must hold too, if there are any.
    Logical(Expr, Vec<Expression>),
}

/// A rule ready to run over batches of one source.
pub(crate) struct Compiled {
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) select: Vec<(String, Arc<dyn PhysicalExpr>)>,
}

/// The names that a rule reads, event columns for grouping and summary included.
pub(crate) fn wanted(rule: &Rule, source: &SourceFields<'_>) -> Result<Wanted, FileError> {
    let (filter, mut names) = match &rule.body {
        Body::Sql(select) => match &select.filter {
            Some(filter) => (Filter::Sql(filter.clone()), filter.names.clone()),
            None => (Filter::All, BTreeSet::new()),
        },
        Body::Sigma(body) => {
            let resolver = Resolver { source: source.name, dialect: source.dialect, knows: source.knows };
            let blame = |fault: sigma::Fault| FileError::new(&rule.file, fault.line.or(rule.line), fault.message);
            let (expr, mut names) = sigma::expression(body, &resolver).map_err(blame)?;
            let narrow = body.narrow.get(source.name).cloned().unwrap_or_default();
            names.extend(narrow.iter().flat_map(|narrow| narrow.names.iter().cloned()));
            (Filter::Logical(expr, narrow), names)
        }
    };
    names.extend(selected(rule).flat_map(|(_, expression)| expression.names.iter().cloned()));
    Ok(Wanted { filter, names })
}

/// The evidence columns of a rule, from `select:` or from its SELECT.
fn selected(rule: &Rule) -> impl Iterator<Item = &(String, Expression)> {
    let of_sql = match &rule.body {
        Body::Sql(select) => select.columns.as_slice(),
        Body::Sigma(_) => &[],
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
        Filter::Logical(expr, narrow) => {
            let expr = planner.plan_logical(expr.clone(), batch).map_err(fail)?;
            let narrow = narrow.iter().map(|narrow| planner.plan(narrow, batch, &DataType::Boolean));
            let narrow = narrow.collect::<Result<Vec<_>, _>>().map_err(fail)?;
            let any = narrow.into_iter().reduce(|left, right| join(left, Operator::Or, right));
            Some(any.into_iter().fold(expr, |expr, any| join(any, Operator::And, expr)))
        }
    };
    let mut select = Vec::new();
    for (name, expression) in selected(rule) {
        select.push((name.clone(), plan_shown(expression, batch, planner).map_err(fail)?));
    }
    Ok(Compiled { filter, select })
}

fn join(left: Arc<dyn PhysicalExpr>, operator: Operator, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, operator, right))
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
