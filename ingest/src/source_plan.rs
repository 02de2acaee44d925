//! A mapping made ready to run: its field plan, and a planned DataFusion expression for each event column.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, StringViewBuilder, UInt32Array, new_empty_array, new_null_array,
};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, is_not_null, take, take_record_batch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow::error::ArrowError;
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
    /// Which of them every event needs; the others are computed for the rows that a rule matched.
    eager: Vec<bool>,
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
        let columns = plan_columns(&mapping, &raw_schema, planner)?;
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
            eager: schema::FIELDS.iter().map(|field| wanted(field.name)).collect(),
            rule_columns,
        })
    }

    /// Raw columns to event columns. A row that cannot be evaluated is left out; its index and the reason are returned.
    pub(crate) fn events(&self, raw: Vec<ArrayRef>, record: ArrayRef) -> (Mapped, Rejected) {
        let rows = RecordBatchOptions::new().with_row_count(Some(record.len()));
        match RecordBatch::try_new_with_options(self.raw_schema.clone(), raw, &rows) {
            Ok(columns) => self.mapped(Raw { columns, record }),
            Err(error) => self.nothing(record.len(), &error.to_string()),
        }
    }

    fn mapped(&self, raw: Raw) -> (Mapped, Rejected) {
        let rows = raw.record.len();
        let mapped = self.time(&raw).and_then(|time| {
            let (raw, time, bad) = raw.timed(time)?;
            let batch = self.event_batch(&raw, &time, &|column| self.is_eager(column))?;
            Ok((Mapped { batch, raw }, bad))
        });
        mapped.unwrap_or_else(|_| self.row_by_row(&raw, rows))
    }

    /// No events, and every row rejected with the reason.
    pub(crate) fn nothing(&self, rows: usize, reason: &str) -> (Mapped, Rejected) {
        let bad = (0..rows).map(|row| (row, reason.to_owned())).collect();
        (self.empty(), bad)
    }

    fn empty(&self) -> Mapped {
        let columns = RecordBatch::new_empty(self.raw_schema.clone());
        let raw = Raw { columns, record: new_empty_array(&DataType::Utf8View) };
        Mapped { batch: RecordBatch::new_empty(self.out_schema.clone()), raw }
    }

    /// Every column of some rows. A value that fails to evaluate is null here: its row is an event already.
    pub(crate) fn complete(&self, raw: &Raw, rows: &[u32]) -> Result<RecordBatch, SqlError> {
        let raw = raw.take(rows)?;
        let time = self.time(&raw)?;
        self.event_batch(&raw, &time, &|_| true)
    }

    fn is_eager(&self, column: usize) -> bool {
        self.eager.get(column).copied().unwrap_or_default()
    }

    fn time(&self, raw: &Raw) -> Result<ArrayRef, SqlError> {
        let time = schema::FIELDS.iter().position(|field| field.name == "time").unwrap_or_default();
        match self.columns.get(time) {
            Some(Some(expr)) => evaluate(expr, &raw.columns),
            _ => Ok(new_null_array(&schema::Kind::Time.arrow(), raw.record.len())),
        }
    }

    fn event_batch(&self, raw: &Raw, time: &ArrayRef, wanted: &dyn Fn(usize) -> bool) -> Result<RecordBatch, SqlError> {
        let rows = raw.record.len();
        let mut out = Vec::with_capacity(self.out_schema.fields().len());
        for (index, (field, expr)) in schema::FIELDS.iter().zip(&self.columns).enumerate() {
            out.push(match (field.name, expr) {
                ("time", _) => time.clone(),
                ("source", _) => repeat(&self.mapping.source, rows),
                ("provider", _) => repeat(&self.mapping.provider, rows),
                ("raw", _) => raw.record.clone(),
                (_, Some(expr)) if wanted(index) => evaluate(expr, &raw.columns)?,
                _ => new_null_array(&field.kind.arrow(), rows),
            });
        }
        out.extend(self.rule_columns.iter().map(|&column| raw.columns.column(column).clone()));
        RecordBatch::try_new(self.out_schema.clone(), out).map_err(plan_error)
    }

    /// The slow way, taken when an expression failed on some row: finds the rows that do it.
    fn row_by_row(&self, raw: &Raw, rows: usize) -> (Mapped, Rejected) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let one = raw.slice(row);
            let event = self.time(&one).and_then(|time| {
                if time.is_null(0) {
                    return Ok(None);
                }
                self.event_batch(&one, &time, &|column| self.is_eager(column)).map(Some)
            });
            match event {
                Ok(Some(batch)) => good.push((batch, one)),
                Ok(None) => bad.push((row, TIMELESS.to_owned())),
                Err(error) => bad.push((row, format!("mapping `{}` fails on it: {error}", self.mapping.source))),
            }
        }
        (self.joined(&good).unwrap_or_else(|_| self.empty()), bad)
    }

    fn joined(&self, good: &[(RecordBatch, Raw)]) -> Result<Mapped, ArrowError> {
        let batch = concat_batches(&self.out_schema, good.iter().map(|(batch, _)| batch))?;
        let columns = concat_batches(&self.raw_schema, good.iter().map(|(_, raw)| &raw.columns))?;
        let records: Vec<&dyn Array> = good.iter().map(|(_, raw)| raw.record.as_ref()).collect();
        let record = if records.is_empty() { new_empty_array(&DataType::Utf8View) } else { concat(&records)? };
        Ok(Mapped { batch, raw: Raw { columns, record } })
    }
}

/// Rows that became no event, and why.
pub(crate) type Rejected = Vec<(usize, String)>;

const TIMELESS: &str = "it has no time that can be read: an event needs one";

/// Events and the raw columns that they were made from.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) batch: RecordBatch,
    pub(crate) raw: Raw,
}

/// The raw columns of some records, and the records themselves.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    columns: RecordBatch,
    record: ArrayRef,
}

impl Raw {
    /// Without the rows that have no time; those are rejects.
    fn timed(&self, time: ArrayRef) -> Result<(Self, ArrayRef, Rejected), SqlError> {
        if time.null_count() == 0 {
            return Ok((self.clone(), time, Vec::new()));
        }
        let keep = is_not_null(&time).map_err(plan_error)?;
        let bad = (0..time.len()).filter(|&row| time.is_null(row)).map(|row| (row, TIMELESS.to_owned())).collect();
        let columns = filter_record_batch(&self.columns, &keep).map_err(plan_error)?;
        let record = filter(&self.record, &keep).map_err(plan_error)?;
        Ok((Self { columns, record }, filter(&time, &keep).map_err(plan_error)?, bad))
    }

    fn take(&self, rows: &[u32]) -> Result<Self, SqlError> {
        let rows = UInt32Array::from(rows.to_vec());
        let columns = take_record_batch(&self.columns, &rows).map_err(plan_error)?;
        Ok(Self { columns, record: take(&self.record, &rows, None).map_err(plan_error)? })
    }

    fn slice(&self, row: usize) -> Self {
        Self { columns: self.columns.slice(row, 1), record: self.record.slice(row, 1) }
    }
}

fn plan_error(error: ArrowError) -> SqlError {
    SqlError::Plan(error.to_string())
}

fn plan_columns(
    mapping: &Mapping,
    raw_schema: &SchemaRef,
    planner: &Planner,
) -> Result<Vec<Option<Arc<dyn PhysicalExpr>>>, Vec<FileError>> {
    let mut errors = Vec::new();
    let mut planned = Vec::new();
    for field in schema::FIELDS {
        let written = mapping.columns.iter().find(|(name, ..)| *name == field.name);
        planned.push(written.and_then(|(name, expression, line)| {
            let expr = planner.plan(expression, raw_schema, &field.kind.arrow());
            let fail = |error| FileError::new(&mapping.file, Some(*line), format!("column `{name}`: {error}"));
            expr.map_err(|error| errors.push(fail(error))).ok()
        }));
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
