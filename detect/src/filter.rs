//! One predicate over the batches of one log source: which of the proposed rows pass it.
//!
//! A Sigma predicate is checked row by row on the values themselves; anything else runs as a DataFusion expression over
//! the candidate rows only. `plainly` is the same over every row, without index or shortcut: the oracle of the tests.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatchOptions;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringViewArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::EventBatch;
use keytrail_sql::{Planner, SqlError, evaluate_flags};

use crate::joining::Joining;
use crate::predicate::{Ask, Predicate};
use crate::reference::Reference;

#[derive(Debug)]
pub(crate) struct Filter {
    /// As planned; `None` passes every row.
    pub(crate) expr: Option<Expr>,
    pub(crate) predicate: Predicate,
    /// Decided by the tree alone.
    by_tree: bool,
    /// The pivot is the whole predicate: what the index proposes has passed.
    by_index: bool,
    columns: Vec<String>,
    schema: SchemaRef,
    whole: Option<Arc<dyn PhysicalExpr>>,
    /// Decides over the rows that pass the rest, for a rule that joins reference tables.
    pub(crate) joining: Option<Joining>,
}

impl Filter {
    /// With joins: what needs no joined row is asked first, so that only the rest is joined.
    pub(crate) fn joined(
        (joining, of_events): (Joining, Option<Expr>),
        batch: &SchemaRef,
        planner: &Planner,
    ) -> Result<Self, SqlError> {
        let first = of_events.map_or_else(|| Ok(Self::all()), |expr| Self::new(&expr, batch, planner))?;
        Ok(Self { joining: Some(joining), ..first })
    }

    /// Passes every row.
    pub(crate) fn all() -> Self {
        let schema = Arc::new(Schema::empty());
        let predicate = Predicate::Other;
        Self {
            expr: None,
            predicate,
            by_tree: false,
            by_index: false,
            columns: Vec::new(),
            schema,
            whole: None,
            joining: None,
        }
    }

    /// From a predicate planned over the schema of a batch.
    pub(crate) fn new(expr: &Expr, batch: &SchemaRef, planner: &Planner) -> Result<Self, SqlError> {
        let mut columns: Vec<String> = expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
        columns.sort();
        let fields = columns.iter().filter_map(|name| batch.field_with_name(name).ok().cloned());
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let whole = Some(planner.physical(expr, &schema)?);
        let predicate = Predicate::of(expr);
        let by_index = matches!(&predicate, Predicate::Test(atom) if matches!(&atom.ask, Ask::Sigma(tests) if !tests.holds_without_value() && !tests.wants_all()));
        let (by_tree, expr) = (predicate.is_two_valued(), Some(expr.clone()));
        Ok(Self { expr, by_tree, by_index, predicate, columns, schema, whole, joining: None })
    }

    /// The rows, of those proposed or of all, that pass.
    pub(crate) fn pass(
        &self,
        events: &EventBatch,
        proposed: Option<&[u32]>,
        reference: &Reference,
    ) -> Result<Vec<u32>, SqlError> {
        let rows = self.pass_alone(&events.batch, proposed)?;
        match &self.joining {
            Some(joining) => joining.pass(events, &rows, reference),
            None => Ok(rows),
        }
    }

    fn pass_alone(&self, batch: &RecordBatch, proposed: Option<&[u32]>) -> Result<Vec<u32>, SqlError> {
        match proposed {
            Some(rows) if self.by_index => Ok(rows.to_vec()),
            Some(rows) if self.by_tree => {
                let bound = Bound::new(&self.predicate, batch);
                Ok(rows.iter().copied().filter(|row| bound.holds(*row as usize)).collect())
            }
            Some(rows) => self.by_expression(batch, rows),
            None => self.plainly_alone(batch),
        }
    }

    /// Every row that passes, by the expression alone.
    pub(crate) fn plainly(&self, events: &EventBatch, reference: &Reference) -> Result<Vec<u32>, SqlError> {
        match &self.joining {
            Some(joining) => joining.pass(events, &all_rows(&events.batch).collect::<Vec<_>>(), reference),
            None => self.plainly_alone(&events.batch),
        }
    }

    fn plainly_alone(&self, batch: &RecordBatch) -> Result<Vec<u32>, SqlError> {
        let rows = all_rows(batch);
        let Some(whole) = &self.whole else { return Ok(rows.collect()) };
        let flags = evaluate_flags(whole, &self.project(batch, None)?)?;
        Ok(rows.filter(|row| is_set(&flags, *row as usize)).collect())
    }

    fn by_expression(&self, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<u32>, SqlError> {
        let Some(whole) = &self.whole else { return Ok(rows.to_vec()) };
        let flags = evaluate_flags(whole, &self.project(batch, Some(rows))?)?;
        Ok(rows.iter().enumerate().filter(|(at, _)| is_set(&flags, *at)).map(|(_, row)| *row).collect())
    }

    /// The columns that the expression reads, at all rows or at some.
    fn project(&self, batch: &RecordBatch, rows: Option<&[u32]>) -> Result<RecordBatch, SqlError> {
        let rows = rows.map(|rows| UInt32Array::from(rows.to_vec()));
        let count = rows.as_ref().map_or(batch.num_rows(), Array::len);
        let plan = |error: arrow::error::ArrowError| SqlError::Plan(error.to_string());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for name in &self.columns {
            let column = batch.column_by_name(name);
            let column = column.ok_or_else(|| SqlError::Plan(format!("column `{name}` is not in the batch")))?;
            columns.push(match &rows {
                Some(rows) => take(column, rows, None).map_err(plan)?,
                None => Arc::clone(column),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(plan)
    }
}

fn all_rows(batch: &RecordBatch) -> Range<u32> {
    0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)
}

fn is_set(flags: &BooleanArray, row: usize) -> bool {
    flags.is_valid(row) && flags.value(row)
}

/// A predicate with the columns of one batch at hand.
enum Bound<'a> {
    All(Vec<Bound<'a>>),
    Any(Vec<Bound<'a>>),
    Not(Box<Bound<'a>>),
    Text(&'a StringViewArray, &'a Ask),
    Texts(&'a ListArray, &'a StringViewArray, &'a Ask),
    Flag(&'a BooleanArray),
    Never,
}

impl<'a> Bound<'a> {
    fn new(predicate: &'a Predicate, batch: &'a RecordBatch) -> Self {
        let each = |parts: &'a [Predicate]| parts.iter().map(|part| Self::new(part, batch)).collect();
        match predicate {
            Predicate::All(parts) => Self::All(each(parts)),
            Predicate::Any(parts) => Self::Any(each(parts)),
            Predicate::Not(part) => Self::Not(Box::new(Self::new(part, batch))),
            Predicate::Test(atom) => {
                batch.column_by_name(&atom.column).map_or(Self::Never, |column| Self::column(column, &atom.ask))
            }
            Predicate::Other => Self::Never,
        }
    }

    fn column(column: &'a ArrayRef, ask: &'a Ask) -> Self {
        if let Some(flags) = column.as_boolean_opt() {
            return Self::Flag(flags);
        }
        if let Some(texts) = column.as_string_view_opt() {
            return Self::Text(texts, ask);
        }
        let lists = column.as_list_opt::<i32>();
        let texts = lists.and_then(|lists| lists.values().as_string_view_opt());
        lists.zip(texts).map_or(Self::Never, |(lists, texts)| Self::Texts(lists, texts, ask))
    }

    fn holds(&self, row: usize) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Self::Not(part) => !part.holds(row),
            Self::Text(texts, ask) => ask.holds(texts.is_valid(row).then(|| texts.value(row)).into_iter()),
            Self::Texts(lists, texts, ask) => {
                let bound = |at: usize| lists.value_offsets().get(at).map_or(0, |at| usize::try_from(*at).unwrap_or(0));
                let values = (bound(row)..bound(row + 1)).filter(|at| texts.is_valid(*at)).map(|at| texts.value(at));
                ask.holds(values)
            }
            Self::Flag(flags) => is_set(flags, row),
            Self::Never => false,
        }
    }
}

impl Ask {
    fn holds<'v>(&self, mut values: impl Iterator<Item = &'v str> + Clone) -> bool {
        match self {
            Self::Sigma(tests) => tests.hold(values),
            Self::Equal(texts) => values.any(|value| texts.iter().any(|text| text == value)),
            Self::Set => false,
        }
    }
}
