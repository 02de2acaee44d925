//! A mapping made ready to run: its field plan, and a planned DataFusion expression for each event column.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringViewBuilder, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{FileError, RawPath, schema};
use keytrail_sql::{Name, Planner, SqlError, evaluate, schema_of};

use crate::{Condition, FieldPlan, Mapping};

pub(crate) struct SourcePlan {
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) fields: FieldPlan,
    /// Column of the field plan and what must hold there.
    pub(crate) recognise: Vec<Vec<(usize, Condition)>>,
    pub(crate) redact: Vec<usize>,
    raw_schema: SchemaRef,
    /// One for each event column, in schema order.
    columns: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// Raw columns that rules read, appended to the event columns.
    rule_columns: Vec<usize>,
    out_schema: SchemaRef,
}

impl SourcePlan {
    /// Plans a mapping together with the raw paths that rules read from its source.
    pub(crate) fn new(
        mapping: Arc<Mapping>,
        rule_paths: &BTreeSet<RawPath>,
        wanted: &dyn Fn(&str) -> bool,
        planner: &Planner,
    ) -> Result<Self, Vec<FileError>> {
        let paths: Vec<RawPath> = mapping.paths().into_iter().chain(rule_paths.iter().cloned()).collect();
        let paths: Vec<RawPath> = paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let index = |path: &RawPath| paths.iter().position(|known| known == path).unwrap_or_default();
        let raw_schema = schema_of(&paths.iter().cloned().map(Name::Raw).collect::<Vec<_>>());
        let columns = plan_columns(&mapping, &raw_schema, wanted, planner)?;
        let rule_columns: Vec<usize> = rule_paths.iter().map(index).collect();
        Ok(Self {
            recognise: mapping
                .recognise
                .iter()
                .map(|shape| shape.iter().map(|(path, is)| (index(path), is.clone())).collect())
                .collect(),
            redact: mapping.redact.iter().map(index).collect(),
            fields: FieldPlan::new(&paths),
            out_schema: out_schema(&raw_schema, &rule_columns),
            mapping,
            raw_schema,
            columns,
            rule_columns,
        })
    }

    /// Raw columns to event columns. A row that cannot be evaluated is left out; its index and the reason are returned.
    pub(crate) fn events(&self, raw: Vec<ArrayRef>, record: &ArrayRef) -> (RecordBatch, Vec<(usize, String)>) {
        let rows = RecordBatchOptions::new().with_row_count(Some(record.len()));
        let whole = match RecordBatch::try_new_with_options(self.raw_schema.clone(), raw, &rows) {
            Ok(whole) => whole,
            Err(error) => return self.nothing(record.len(), &error.to_string()),
        };
        match self.event_batch(&whole, record) {
            Ok(batch) => drop_timeless(batch),
            Err(_) => self.row_by_row(&whole, record),
        }
    }

    /// No events, and every row rejected with the reason.
    pub(crate) fn nothing(&self, rows: usize, reason: &str) -> (RecordBatch, Vec<(usize, String)>) {
        let bad = (0..rows).map(|row| (row, reason.to_owned())).collect();
        (RecordBatch::new_empty(self.out_schema.clone()), bad)
    }

    fn event_batch(&self, raw: &RecordBatch, record: &ArrayRef) -> Result<RecordBatch, SqlError> {
        let mut out = Vec::with_capacity(self.out_schema.fields().len());
        for (field, expr) in schema::FIELDS.iter().zip(&self.columns) {
            out.push(match (field.name, expr) {
                ("source", _) => repeat(&self.mapping.source, raw.num_rows()),
                ("provider", _) => repeat(&self.mapping.provider, raw.num_rows()),
                ("raw", _) => record.clone(),
                (_, Some(expr)) => evaluate(expr, raw)?,
                (_, None) => new_null_array(&field.kind.arrow(), raw.num_rows()),
            });
        }
        out.extend(self.rule_columns.iter().map(|&column| raw.column(column).clone()));
        RecordBatch::try_new(self.out_schema.clone(), out).map_err(|error| SqlError::Plan(error.to_string()))
    }

    /// The slow way, taken when an expression failed on some row: finds the rows that do it.
    fn row_by_row(&self, raw: &RecordBatch, record: &ArrayRef) -> (RecordBatch, Vec<(usize, String)>) {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for row in 0..raw.num_rows() {
            match self.event_batch(&raw.slice(row, 1), &record.slice(row, 1)) {
                Ok(batch) => {
                    let (batch, timeless) = drop_timeless(batch);
                    good.push(batch);
                    bad.extend(timeless.into_iter().map(|(_, reason)| (row, reason)));
                }
                Err(error) => bad.push((row, format!("mapping `{}` fails on it: {error}", self.mapping.source))),
            }
        }
        let batch = arrow::compute::concat_batches(&self.out_schema, &good);
        (batch.unwrap_or_else(|_| RecordBatch::new_empty(self.out_schema.clone())), bad)
    }
}

fn plan_columns(
    mapping: &Mapping,
    raw_schema: &SchemaRef,
    wanted: &dyn Fn(&str) -> bool,
    planner: &Planner,
) -> Result<Vec<Option<Arc<dyn PhysicalExpr>>>, Vec<FileError>> {
    let mut errors = Vec::new();
    let mut planned = Vec::new();
    for field in schema::FIELDS {
        let written = mapping.columns.iter().find(|(name, ..)| *name == field.name);
        let expr =
            written.filter(|_| field.name == "time" || wanted(field.name)).and_then(|(name, expression, line)| {
                let expr = planner.plan(expression, raw_schema, &field.kind.arrow());
                let fail = |error| FileError::new(&mapping.file, Some(*line), format!("column `{name}`: {error}"));
                expr.map_err(|error| errors.push(fail(error))).ok()
            });
        planned.push(expr);
    }
    if errors.is_empty() { Ok(planned) } else { Err(errors) }
}

fn out_schema(raw: &SchemaRef, rule_columns: &[usize]) -> SchemaRef {
    let mut fields: Vec<Arc<ArrowField>> = schema::schema().fields().iter().map(nullable).collect();
    fields.extend(rule_columns.iter().filter_map(|&column| raw.fields().get(column).cloned()));
    Arc::new(Schema::new(fields))
}

/// Rows without a time are dropped after evaluation, so until then every column may be null.
fn nullable(field: &Arc<ArrowField>) -> Arc<ArrowField> {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

fn repeat(text: &str, rows: usize) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
    (0..rows).for_each(|_| builder.append_value(text));
    Arc::new(builder.finish())
}

fn drop_timeless(batch: RecordBatch) -> (RecordBatch, Vec<(usize, String)>) {
    let time = batch.column(0);
    if time.null_count() == 0 {
        return (batch, Vec::new());
    }
    let timed = BooleanArray::from((0..time.len()).map(|row| time.is_valid(row)).collect::<Vec<_>>());
    let reason = "it has no time that can be read: an event needs one";
    let bad = (0..time.len()).filter(|&row| time.is_null(row)).map(|row| (row, reason.to_owned())).collect();
    let kept = filter_record_batch(&batch, &timed).unwrap_or_else(|_| batch.slice(0, 0));
    (kept, bad)
}
