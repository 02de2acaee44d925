//! The columns of a source's events, some or all: the field plan that finds what they are made of, and a planned
//! DataFusion expression for each.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, StringViewBuilder, new_empty_array, new_null_array,
};
use arrow::buffer::Buffer;
use arrow::compute::{concat_batches, filter, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{FileError, RawPath, schema};
use keytrail_sql::{Name, Planner, SqlError, evaluate, schema_of};

use crate::{Columns, FieldPlan, Mapping, Span};

pub(crate) struct Layout {
    pub(crate) fields: FieldPlan,
    paths: Vec<RawPath>,
    raw_schema: SchemaRef,
    /// One for each event column, in schema order; `None` stays null.
    columns: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// Whether events keep the record itself.
    keeps_record: bool,
    /// Raw columns that rules read, appended to the event columns.
    rule_columns: Vec<usize>,
    out_schema: SchemaRef,
}

/// The raw columns of some records, and the records themselves.
pub(crate) struct Raw {
    columns: RecordBatch,
    record: ArrayRef,
}

/// Rows that became no event, and why.
pub(crate) type Rejected = Vec<(usize, String)>;

const TIMELESS: &str = "it has no time that can be read: an event needs one";

impl Layout {
    /// `wanted` names the event columns; `None` stands for all. The time always is.
    pub(crate) fn new(
        mapping: &Mapping,
        rule_paths: &BTreeSet<RawPath>,
        wanted: Option<&BTreeSet<String>>,
        planner: &Planner,
    ) -> Result<Self, Vec<FileError>> {
        let is_wanted = |name: &str| name == "time" || wanted.is_none_or(|wanted| wanted.contains(name));
        let paths: BTreeSet<RawPath> =
            mapping.paths_of(&is_wanted).into_iter().chain(rule_paths.iter().cloned()).collect();
        let paths: Vec<RawPath> = paths.into_iter().collect();
        let raw_schema = schema_of(&paths.iter().cloned().map(Name::Raw).collect::<Vec<_>>());
        let columns = plan_columns(mapping, &raw_schema, &is_wanted, planner)?;
        let rule_columns: Vec<usize> = rule_paths.iter().map(|path| position(&paths, path)).collect();
        Ok(Self {
            fields: FieldPlan::new(&paths),
            out_schema: out_schema(&raw_schema, &rule_columns),
            keeps_record: is_wanted("raw"),
            paths,
            raw_schema,
            columns,
            rule_columns,
        })
    }

    /// The column of a path that is in the plan.
    pub(crate) fn position(&self, path: &RawPath) -> usize {
        position(&self.paths, path)
    }

    pub(crate) fn raw(&self, columns: Vec<ArrayRef>, buffer: &Buffer, spans: &[Span]) -> Result<Raw, ArrowError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(spans.len()));
        let columns = RecordBatch::try_new_with_options(self.raw_schema.clone(), columns, &rows)?;
        let record = if self.keeps_record {
            Columns::raw(buffer, spans)?
        } else {
            new_null_array(&DataType::Utf8View, spans.len())
        };
        Ok(Raw { columns, record })
    }

    pub(crate) fn events(&self, mapping: &Mapping, raw: &Raw) -> (RecordBatch, Rejected) {
        let mapped = self.time(raw).and_then(|time| {
            if time.null_count() == 0 {
                return Ok((self.batch(mapping, raw, time)?, Vec::new()));
            }
            let (timed, time, bad) = raw.timed(&time)?;
            Ok((self.batch(mapping, &timed, time)?, bad))
        });
        mapped.unwrap_or_else(|_| self.row_by_row(mapping, raw))
    }

    /// No events, and every row rejected with the reason.
    pub(crate) fn nothing(&self, rows: usize, reason: &str) -> (RecordBatch, Rejected) {
        let bad = (0..rows).map(|row| (row, reason.to_owned())).collect();
        (RecordBatch::new_empty(self.out_schema.clone()), bad)
    }

    /// The same for records that are events already: none is left out. What cannot be evaluated stays null.
    pub(crate) fn complete(&self, mapping: &Mapping, raw: &Raw) -> Result<RecordBatch, SqlError> {
        let time = self.time(raw)?;
        let columns = self.columns.iter().zip(schema::FIELDS).map(|(expr, field)| {
            let null = || new_null_array(&field.kind.arrow(), raw.record.len());
            expr.as_ref().map_or_else(null, |expr| evaluate(expr, &raw.columns).unwrap_or_else(|_| null()))
        });
        self.assemble(mapping, raw, time, columns.collect())
    }

    fn time(&self, raw: &Raw) -> Result<ArrayRef, SqlError> {
        match schema::position("time").and_then(|time| self.columns.get(time)) {
            Some(Some(expr)) => evaluate(expr, &raw.columns),
            _ => Ok(new_null_array(&schema::Kind::Time.arrow(), raw.record.len())),
        }
    }

    fn batch(&self, mapping: &Mapping, raw: &Raw, time: ArrayRef) -> Result<RecordBatch, SqlError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (expr, field) in self.columns.iter().zip(schema::FIELDS) {
            columns.push(match expr {
                Some(expr) if field.name != "time" => evaluate(expr, &raw.columns)?,
                _ => new_null_array(&field.kind.arrow(), raw.record.len()),
            });
        }
        self.assemble(mapping, raw, time, columns)
    }

    fn assemble(
        &self,
        mapping: &Mapping,
        raw: &Raw,
        time: ArrayRef,
        mut columns: Vec<ArrayRef>,
    ) -> Result<RecordBatch, SqlError> {
        let rows = raw.record.len();
        let known = [
            ("time", time),
            ("source", repeat(&mapping.source, rows)),
            ("provider", repeat(&mapping.provider, rows)),
            ("raw", raw.record.clone()),
        ];
        for (name, array) in known {
            if let Some(column) = schema::position(name).and_then(|at| columns.get_mut(at)) {
                *column = array;
            }
        }
        columns.extend(self.rule_columns.iter().map(|&column| raw.columns.column(column).clone()));
        RecordBatch::try_new(self.out_schema.clone(), columns).map_err(plan_error)
    }

    /// The slow way, taken when an expression failed on some row: finds the rows that do it.
    fn row_by_row(&self, mapping: &Mapping, raw: &Raw) -> (RecordBatch, Rejected) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for row in 0..raw.record.len() {
            let one = Raw { columns: raw.columns.slice(row, 1), record: raw.record.slice(row, 1) };
            match self.time(&one) {
                Ok(time) if time.is_null(0) => bad.push((row, TIMELESS.to_owned())),
                time => match time.and_then(|time| self.batch(mapping, &one, time)) {
                    Ok(batch) => good.push(batch),
                    Err(error) => bad.push((row, format!("mapping `{}` fails on it: {error}", mapping.source))),
                },
            }
        }
        let batch = concat_batches(&self.out_schema, &good);
        (batch.unwrap_or_else(|_| RecordBatch::new_empty(self.out_schema.clone())), bad)
    }
}

impl Raw {
    /// Without the rows that have no time; those are rejects.
    fn timed(&self, time: &ArrayRef) -> Result<(Self, ArrayRef, Rejected), SqlError> {
        let keep = is_not_null(time).map_err(plan_error)?;
        let bad = (0..time.len()).filter(|&row| time.is_null(row)).map(|row| (row, TIMELESS.to_owned())).collect();
        let columns = filter_record_batch(&self.columns, &keep).map_err(plan_error)?;
        let record = filter(&self.record, &keep).map_err(plan_error)?;
        Ok((Self { columns, record }, filter(time, &keep).map_err(plan_error)?, bad))
    }
}

fn position(paths: &[RawPath], path: &RawPath) -> usize {
    paths.iter().position(|known| known == path).unwrap_or_default()
}

fn plan_error(error: ArrowError) -> SqlError {
    SqlError::Plan(error.to_string())
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
        planned.push(written.filter(|_| wanted(field.name)).and_then(|(name, expression, line)| {
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
    if rows == 0 {
        return new_empty_array(&DataType::Utf8View);
    }
    let mut builder = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
    (0..rows).for_each(|_| builder.append_value(text));
    Arc::new(builder.finish())
}
