//! What a rule, or one of its steps, asks of one log source, planned: a filter, and what is done with the rows behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, when};
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{FileError, RawPath, schema};
use keytrail_sql::{Expression, Name, Planner, Select, SqlError};

use crate::dialect::Dialect;
use crate::excepted::{self, Excepted};
use crate::filter::Filter;
use crate::joining::Joining;
use crate::rule::{Body, Rule, Sources};
use crate::sigma::{self, Fault, Resolver, SigmaBody};
use crate::window::{Step, Takes};

/// A log source as rules see it.
pub struct SourceFields<'a> {
    pub name: &'a str,
    /// Whether its records can have a path; the error ends the sentence with the nearest known one.
    pub knows: &'a dyn Fn(&RawPath) -> Result<(), String>,
    /// What Sigma rules call its fields.
    pub dialect: Option<&'a Dialect>,
}

impl SourceFields<'_> {
    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver { source: self.name, dialect: self.dialect, knows: self.knows }
    }
}

/// How a part was written.
#[derive(Clone, Copy)]
pub(crate) enum Asks<'a> {
    /// Every event is taken.
    Nothing,
    Sql(&'a Expression),
    Sigma(&'a SigmaBody),
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
                let events = |(_, step): &(u16, &Step)| !matches!(step.filter, Takes::Matches(_));
                let steps = (0u16..).zip(&rule.steps).filter(events);
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

    /// Of its step, where it is one.
    pub(crate) fn name(&self) -> Option<&'a str> {
        self.step.map(|step| step.name.as_str())
    }

    /// What decides whether it takes an event.
    pub(crate) fn asks(&self) -> Asks<'a> {
        let filter = match (&self.rule.body, self.step.map(|step| &step.filter)) {
            (Body::Steps, Some(Takes::Sql(filter))) => Some(filter),
            (Body::Steps, Some(Takes::Sigma { body, .. })) | (Body::Sigma(body), _) => return Asks::Sigma(body),
            (Body::Sql(select), _) => select.filter.as_ref(),
            (Body::Steps, Some(Takes::Matches(_)) | None) => None,
        };
        filter.map_or(Asks::Nothing, Asks::Sql)
    }

    /// The columns of the group's key, as the rule names them.
    pub(crate) fn keys(&self) -> &'a [String] {
        self.step.map_or(&self.rule.group_by, |step| &step.by)
    }

    /// Where one of them stands in a log source.
    pub(crate) fn columns_of(&self, key: &str, source: &SourceFields<'_>) -> Result<Columns, String> {
        match self.fields() {
            Some(_) => Ok(source.resolver().names(key)?.iter().map(Name::column).collect()),
            None => Ok(vec![raw_key(key).map_or_else(|| key.to_owned(), |raw| raw.column())]),
        }
    }

    /// The evidence columns, from `select:` or from the rule's SELECT.
    fn selected(&self) -> impl Iterator<Item = &'a (String, Expression)> {
        let of_sql = match &self.rule.body {
            Body::Sql(select) => select.columns.as_slice(),
            Body::Sigma(_) | Body::Steps => &[],
        };
        of_sql.iter().chain(&self.rule.select)
    }

    /// Its SELECT, where that joins reference tables.
    pub(crate) fn joined(&self) -> Option<&'a Select> {
        match &self.rule.body {
            Body::Sql(select) => Some(select).filter(|select| !select.joins.is_empty()),
            Body::Sigma(_) | Body::Steps => None,
        }
    }

    /// What the window looks at.
    fn values(&self) -> impl Iterator<Item = (&'a Expression, bool)> {
        let of = self.rule.window.iter().flat_map(|window| &window.of);
        of.map(|column| (&column.expression, column.network))
    }

    /// The fields of a Sigma correlation's step that its window looks at, and those that its matches show.
    fn fields(&self) -> Option<(&'a [String], &'a [String])> {
        match self.step.map(|step| &step.filter) {
            Some(Takes::Sigma { of, show, .. }) => Some((of, show)),
            _ => None,
        }
    }

    fn blame(&self, fault: Fault) -> FileError {
        let file = if fault.file.is_empty() { &self.rule.file } else { &fault.file };
        let line = if fault.file.is_empty() { fault.line.or(self.rule.line) } else { fault.line };
        FileError::new(file, line, fault.message)
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> FileError {
        let line = self.step.map_or(self.rule.line, |step| Some(step.line));
        FileError::new(&self.rule.file, line, message)
    }
}

/// What the log sources of Sigma rules do not have of the fields that those name, whatever the values are: rules that
/// wait for values of a placeholder are looked at so.
#[must_use]
pub fn unknown_fields(rules: &[Rule], sources: &[SourceFields<'_>]) -> Vec<FileError> {
    let mut errors = Vec::new();
    for part in rules.iter().enumerate().flat_map(|(index, rule)| Part::all(index, rule)) {
        let Body::Sigma(body) = &part.rule.body else { continue };
        for source in sources.iter().filter(|source| part.reads(source.name)) {
            let faults = sigma::unknown_fields(body, &source.resolver());
            errors.extend(faults.into_iter().map(|fault| part.blame(fault)));
        }
    }
    errors
}

/// What a part asks for, before any schema is known.
pub(crate) struct Wanted {
    predicate: Predicate,
    /// What the predicate reads: every event needs it.
    pub(crate) filter_names: BTreeSet<Name>,
    /// What else the rule reads of the events that it matched.
    shown_names: BTreeSet<Name>,
    /// The columns of the group's key: of several for one key, the first that has a value.
    keys: Vec<Columns>,
    /// The same for the values of a Sigma correlation.
    fields: Vec<Columns>,
    /// And for what its matches show, by the names of the fields.
    shown: Vec<(String, Columns)>,
}

/// Columns of which the first that has a value counts.
pub(crate) type Columns = Vec<String>;

enum Predicate {
    All,
    Sql(Expression),
    /// With expressions of which one must hold too, if there are any.
    Logical(Expr, Vec<Expression>),
}

/// A part ready to run over batches of one source.
pub(crate) struct Compiled {
    pub(crate) filter: Filter,
    pub(crate) select: Vec<(String, Arc<dyn PhysicalExpr>)>,
    /// The window's values, and whether of an address only the network counts.
    pub(crate) values: Vec<(Arc<dyn PhysicalExpr>, bool)>,
    pub(crate) excepted: Excepted,
    pub(crate) keys: Vec<Columns>,
}

/// The names that a part reads.
pub(crate) fn wanted(part: &Part<'_>, source: &SourceFields<'_>) -> Result<Wanted, FileError> {
    let (predicate, mut filter_names) = predicate(part, source)?;
    if let Some(select) = part.joined() {
        filter_names.extend(select.on().flat_map(|value| value.names.iter().cloned()));
        filter_names.insert(Name::Event("time"));
    }
    let shown = part.selected().map(|(_, expression)| expression).chain(part.values().map(|(of, _)| of));
    let mut shown_names: BTreeSet<Name> = shown.flat_map(|expression| expression.names.iter().cloned()).collect();
    shown_names.extend(excepted::names(part.rule, source)?);
    let mut wanted =
        Wanted { predicate, filter_names, shown_names, keys: Vec::new(), fields: Vec::new(), shown: Vec::new() };
    let Some((of, show)) = part.fields() else {
        for key in part.keys() {
            let raw = raw_key(key);
            wanted.keys.push(vec![raw.as_ref().map_or_else(|| key.clone(), Name::column)]);
            wanted.shown_names.extend(raw);
        }
        return Ok(wanted);
    };
    wanted.keys = columns(part, part.keys(), source, &mut wanted.shown_names)?;
    wanted.fields = columns(part, of, source, &mut wanted.shown_names)?;
    let shown = columns(part, show, source, &mut wanted.shown_names)?;
    wanted.shown = show.iter().cloned().zip(shown).collect();
    Ok(wanted)
}

/// A key that is a raw path and no event column.
fn raw_key(key: &str) -> Option<Name> {
    RawPath::parse(key).filter(|_| schema::find(key).is_none()).map(Name::Raw)
}

/// Where fields stand, as Sigma rules name them.
fn columns(
    part: &Part<'_>,
    fields: &[String],
    source: &SourceFields<'_>,
    read: &mut BTreeSet<Name>,
) -> Result<Vec<Columns>, FileError> {
    let mut all = Vec::new();
    for field in fields {
        let names = source.resolver().names(field).map_err(|message| part.error(message))?;
        all.push(names.iter().map(Name::column).collect());
        read.extend(names);
    }
    Ok(all)
}

fn sigma(
    part: &Part<'_>,
    body: &SigmaBody,
    source: &SourceFields<'_>,
) -> Result<(Predicate, BTreeSet<Name>), FileError> {
    let (expr, mut names) = sigma::expression(body, &source.resolver()).map_err(|fault| part.blame(fault))?;
    let narrow = body.narrow.get(source.name).cloned().unwrap_or_default();
    names.extend(narrow.iter().flat_map(|narrow| narrow.names.iter().cloned()));
    Ok((Predicate::Logical(expr, narrow), names))
}

fn predicate(part: &Part<'_>, source: &SourceFields<'_>) -> Result<(Predicate, BTreeSet<Name>), FileError> {
    match part.asks() {
        Asks::Nothing => Ok((Predicate::All, BTreeSet::new())),
        Asks::Sql(filter) => Ok((Predicate::Sql(filter.clone()), filter.names.clone())),
        Asks::Sigma(body) => sigma(part, body, source),
    }
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

    pub(crate) fn compile(&self, part: &Part<'_>, batch: &SchemaRef, planner: &Planner) -> Result<Compiled, FileError> {
        let fail = |error: SqlError| part.error(error.to_string());
        let filter = match part.joined() {
            Some(select) => joined(select, part, batch, planner),
            None => self.filter(batch, planner),
        };
        let filter = filter.map_err(fail)?;
        let wide = filter.joining.as_ref().map_or(batch, Joining::wide);
        let mut select = Vec::new();
        for (name, expression) in part.selected() {
            select.push((name.clone(), plan_shown(expression, wide, planner).map_err(fail)?));
        }
        for (name, columns) in &self.shown {
            select.push((name.clone(), first_of(columns, batch, planner).map_err(fail)?));
        }
        let mut values = Vec::new();
        for (expression, network) in part.values() {
            values.push((plan_shown(expression, batch, planner).map_err(fail)?, network));
        }
        for columns in &self.fields {
            values.push((first_of(columns, batch, planner).map_err(fail)?, false));
        }
        let (excepted, keys) = (Excepted::compile(part.rule, batch, planner)?, self.keys.clone());
        Ok(Compiled { filter, select, values, excepted, keys })
    }

    fn filter(&self, batch: &SchemaRef, planner: &Planner) -> Result<Filter, SqlError> {
        let expr = match &self.predicate {
            Predicate::All => return Ok(Filter::all()),
            Predicate::Sql(expression) => planner.predicate(expression, batch)?,
            Predicate::Logical(expr, narrow) => {
                let narrow = narrow.iter().map(|narrow| planner.predicate(narrow, batch));
                let any = narrow.collect::<Result<Vec<_>, _>>()?.into_iter().reduce(Expr::or);
                let expr = planner.logical_predicate(expr.clone(), batch)?;
                any.into_iter().fold(expr, Expr::and)
            }
        };
        Filter::new(&expr, batch, planner)
    }
}

fn joined(select: &Select, part: &Part<'_>, batch: &SchemaRef, planner: &Planner) -> Result<Filter, SqlError> {
    let shown = part.selected().map(|(_, expression)| expression);
    Filter::joined(Joining::new(select, shown, batch, planner)?, batch, planner)
}

fn first_of(columns: &[String], batch: &SchemaRef, planner: &Planner) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    let mut each = columns.iter().rev().map(|name| Expr::Column(Column::from_name(name)));
    let last = each.next().ok_or_else(|| SqlError::Plan("a field without a column".to_owned()))?;
    let first = each.try_fold(last, |rest, column| when(column.clone().is_not_null(), column).otherwise(rest));
    planner.physical(&first.map_err(|error| SqlError::Plan(error.to_string()))?, batch)
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
