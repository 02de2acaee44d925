//! The joins of one rule over one log source: which events have joined rows that satisfy its WHERE, and which is the
//! first such row of each. Combinations are tried a chunk at a time, and no further once an event has matched.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::tables::{self, Asked, Table};
use keytrail_model::{EventBatch, Micros};
use keytrail_sql::{Expression, Join, Name, Planner, Select, SqlError, evaluate, evaluate_flags};

use crate::reference::{Questions, Reference};

/// How many combinations of an event and joined rows are judged at once.
const CHUNK: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Joining {
    joins: Vec<Planned>,
    /// The joined columns that the rule reads.
    reads: Vec<Joined>,
    /// The event columns that ON and WHERE read.
    events: Vec<String>,
    /// Those, then the joined ones.
    schema: SchemaRef,
    whole: Option<Arc<dyn PhysicalExpr>>,
    /// A batch's columns, then the joined ones.
    wide: SchemaRef,
}

#[derive(Debug)]
struct Planned {
    table: &'static Table,
    inner: bool,
    on: Vec<(usize, Arc<dyn PhysicalExpr>)>,
}

#[derive(Debug)]
struct Joined {
    /// Which of the rule's joins.
    join: usize,
    table: &'static Table,
    column: usize,
    field: FieldRef,
}

/// For each event that matched, in order: its row, and the row that each join found.
#[derive(Default)]
struct Hits {
    rows: Vec<u32>,
    joined: Vec<Vec<Option<u32>>>,
}

impl Joining {
    /// Also gives the part of WHERE that needs no joined row.
    pub(crate) fn new<'a>(
        select: &'a Select,
        shown: impl Iterator<Item = &'a Expression>,
        batch: &SchemaRef,
        planner: &Planner,
    ) -> Result<(Self, Option<Expr>), SqlError> {
        let named: BTreeSet<&Name> = select.filter.iter().chain(shown).flat_map(|shown| &shown.names).collect();
        let reads: Vec<Joined> = named.into_iter().filter_map(|name| Joined::of(name, &select.joins)).collect();
        let wide = with_joined(batch, &reads);
        let filter = select.filter.as_ref().map(|filter| planner.predicate(filter, &wide)).transpose()?;
        let mut events: BTreeSet<String> = select.on().flat_map(|value| &value.names).map(Name::column).collect();
        events.extend(filter.iter().flat_map(|filter| filter.column_refs()).map(|column| column.name.clone()));
        events.retain(|name| batch.column_with_name(name).is_some());
        let fields = events.iter().filter_map(|name| batch.field_with_name(name).ok().cloned());
        let narrow: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let joins = select.joins.iter().map(|join| Planned::new(join, &narrow, planner));
        let joins = joins.collect::<Result<_, _>>()?;
        let schema = with_joined(&narrow, &reads);
        let whole = filter.as_ref().map(|filter| planner.physical(filter, &schema)).transpose()?;
        let alone = filter.as_ref().and_then(|filter| of_events(filter, batch));
        Ok((Self { joins, reads, events: events.into_iter().collect(), schema, whole, wide }, alone))
    }

    /// A batch's columns, then the joined ones: what the rule's evidence is planned over.
    pub(crate) fn wide(&self) -> &SchemaRef {
        &self.wide
    }

    /// The events, of those in `rows`, that have joined rows which satisfy WHERE.
    pub(crate) fn pass(&self, events: &EventBatch, rows: &[u32], reference: &Reference) -> Result<Vec<u32>, SqlError> {
        self.first(events, rows, reference).map(|hits| hits.rows)
    }

    /// The batch with the joined columns behind its own, filled at `rows` from the first joined rows that match.
    pub(crate) fn widen(
        &self,
        events: &EventBatch,
        rows: &[u32],
        reference: &Reference,
    ) -> Result<EventBatch, SqlError> {
        let hits = self.first(events, rows, reference)?;
        let mut places: Vec<Vec<Option<u32>>> = vec![vec![None; events.rows()]; self.joins.len()];
        for (places, joined) in places.iter_mut().zip(&hits.joined) {
            for (row, found) in hits.rows.iter().zip(joined) {
                if let Some(place) = places.get_mut(*row as usize) {
                    *place = *found;
                }
            }
        }
        let mut columns = events.batch.columns().to_vec();
        for column in self.columns(&places, reference) {
            columns.push(column.map_err(plan)?);
        }
        let batch = RecordBatch::try_new(with_joined(events.batch.schema_ref(), &self.reads), columns).map_err(plan)?;
        Ok(EventBatch { batch, ..events.clone() })
    }

    fn first(&self, events: &EventBatch, rows: &[u32], reference: &Reference) -> Result<Hits, SqlError> {
        let narrow = self.narrow(&events.batch, rows)?;
        let keys = self.joins.iter().map(|join| join.keys(&narrow)).collect::<Result<Vec<_>, _>>()?;
        let mut search = Search::new(self, reference, narrow, rows.len());
        for (at, row) in rows.iter().enumerate() {
            let time = events.time(*row as usize);
            let each = self.joins.iter().zip(&keys);
            let found: Vec<_> = each.map(|(join, keys)| join.rows((keys, at), time, reference)).collect();
            search.event(at, &found)?;
        }
        search.judge()?;
        Ok(search.hits(rows))
    }

    /// Adds what these events ask the tables for.
    pub(crate) fn ask(&self, events: &RecordBatch, asked: &mut Questions) -> Result<(), SqlError> {
        let rows: Vec<u32> = (0u32..).take(events.num_rows()).collect();
        let narrow = self.narrow(events, &rows)?;
        self.joins.iter().try_for_each(|join| join.ask(&narrow, asked))
    }

    /// The event columns that ON and WHERE read, at some rows.
    fn narrow(&self, batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, SqlError> {
        let indices = UInt32Array::from(rows.to_vec());
        let mut columns = Vec::with_capacity(self.events.len());
        for name in &self.events {
            let column = batch.column_by_name(name);
            let column = column.ok_or_else(|| SqlError::Plan(format!("column `{name}` is not in the batch")))?;
            columns.push(take(column, &indices, None).map_err(plan)?);
        }
        let fields = self.schema.fields().iter().take(columns.len()).cloned().collect::<Vec<_>>();
        assemble(Arc::new(Schema::new(fields)), columns, rows.len())
    }

    /// The joined columns, at the rows that each join found.
    fn columns(&self, found: &[Vec<Option<u32>>], reference: &Reference) -> Vec<Result<ArrayRef, ArrowError>> {
        let column = |read: &Joined| {
            let rows = found.get(read.join).map(Vec::as_slice).unwrap_or_default();
            match reference.column(read.table, read.column) {
                Some(column) => take(column, &UInt32Array::from(rows.to_vec()), None),
                None => Ok(new_null_array(read.field.data_type(), rows.len())),
            }
        };
        self.reads.iter().map(column).collect()
    }
}

impl Planned {
    fn new(join: &Join, narrow: &SchemaRef, planner: &Planner) -> Result<Self, SqlError> {
        let mut on = Vec::with_capacity(join.on.len());
        for (column, value) in &join.on {
            let at = join.table.column(column).map_or(0, |(at, _)| at);
            on.push((at, planner.plan(value, narrow, &DataType::Utf8View)?));
        }
        Ok(Self { table: join.table, inner: join.inner, on })
    }

    /// What each event gives for the columns in ON.
    fn keys(&self, narrow: &RecordBatch) -> Result<Vec<(usize, StringViewArray)>, SqlError> {
        let mut keys = Vec::with_capacity(self.on.len());
        for (column, value) in &self.on {
            let array = evaluate(value, narrow)?;
            let texts = array.as_string_view_opt().cloned();
            let wrong = || SqlError::Type { got: array.data_type().to_string(), want: "text".to_owned() };
            keys.push((*column, texts.ok_or_else(wrong)?));
        }
        Ok(keys)
    }

    /// By the first id that ON holds, and its kind where ON holds that too; without an id, anything may be meant.
    fn ask(&self, narrow: &RecordBatch, asked: &mut Questions) -> Result<(), SqlError> {
        let of_table = asked.entry(self.table.name).or_insert_with(Asked::nothing);
        let keys = self.keys(narrow)?;
        let given = |name: &str| {
            let (column, _) = self.table.column(name)?;
            keys.iter().find(|(at, _)| *at == column).map(|(_, texts)| texts)
        };
        let about = |(kind, id): &(Option<&str>, &str)| Some((kind.and_then(given), given(id)?));
        let Some((kinds, ids)) = self.table.ids.iter().find_map(about) else {
            *of_table = Asked::All;
            return Ok(());
        };
        for (row, id) in ids.iter().enumerate() {
            let kind = kinds.map_or(Some(Asked::ANY), |kinds| kinds.is_valid(row).then(|| kinds.value(row)));
            if let Some((kind, id)) = kind.zip(id) {
                of_table.ask(kind, id);
            }
        }
        Ok(())
    }

    /// The rows that belong to an event. A null equals nothing.
    fn rows(
        &self,
        (keys, at): (&[(usize, StringViewArray)], usize),
        time: Micros,
        reference: &Reference,
    ) -> Vec<Option<u32>> {
        let on = keys.iter().map(|(column, texts)| texts.is_valid(at).then(|| (*column, texts.value(at))));
        let on = on.collect::<Option<Vec<_>>>();
        let found = on.map(|on| reference.rows(self.table, &on, time)).unwrap_or_default();
        if found.is_empty() && !self.inner { vec![None] } else { found.into_iter().map(Some).collect() }
    }
}

impl Joined {
    fn of(name: &Name, joins: &[Join]) -> Option<Self> {
        let Name::Joined { alias, table, column } = name else { return None };
        let join = joins.iter().position(|join| join.alias == *alias)?;
        let table = tables::find(table)?;
        let field = Arc::new(Field::new(name.column(), name.data_type(), true));
        Some(Self { join, table, column: table.column(column)?.0, field })
    }
}

/// Combinations of events and joined rows, judged a chunk at a time.
struct Search<'a> {
    joining: &'a Joining,
    reference: &'a Reference,
    narrow: RecordBatch,
    /// Of each combination, the event, and by join the row.
    at: Vec<u32>,
    joined: Vec<Vec<Option<u32>>>,
    /// By event: the first combination that satisfies WHERE.
    found: Vec<Option<Vec<Option<u32>>>>,
}

impl<'a> Search<'a> {
    fn new(joining: &'a Joining, reference: &'a Reference, narrow: RecordBatch, events: usize) -> Self {
        let joined = vec![Vec::new(); joining.joins.len()];
        Self { joining, reference, narrow, at: Vec::new(), joined, found: vec![None; events] }
    }

    /// Every combination of an event, the rows of the last join varying fastest.
    fn event(&mut self, at: usize, found: &[Vec<Option<u32>>]) -> Result<(), SqlError> {
        let count = found.iter().fold(1usize, |count, rows| count.saturating_mul(rows.len()));
        for number in 0..count {
            self.at.push(u32::try_from(at).unwrap_or(u32::MAX));
            let mut rest = number;
            for (rows, joined) in found.iter().zip(&mut self.joined).rev() {
                joined.push(rows.get(rest % rows.len()).copied().flatten());
                rest /= rows.len();
            }
            if self.at.len() >= CHUNK {
                self.judge()?;
                if self.found.get(at).is_some_and(Option::is_some) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), SqlError> {
        let (at, joined) =
            (std::mem::take(&mut self.at), self.joined.iter_mut().map(std::mem::take).collect::<Vec<_>>());
        let holds = self.holds(&at, &joined)?;
        for (number, event) in at.iter().enumerate().filter(|(number, _)| holds.get(*number) == Some(&true)) {
            if let Some(place @ None) = self.found.get_mut(*event as usize) {
                *place = Some(joined.iter().map(|rows| rows.get(number).copied().flatten()).collect());
            }
        }
        Ok(())
    }

    fn holds(&self, at: &[u32], joined: &[Vec<Option<u32>>]) -> Result<Vec<bool>, SqlError> {
        let Some(whole) = &self.joining.whole else { return Ok(vec![true; at.len()]) };
        let indices = UInt32Array::from(at.to_vec());
        let events = self.narrow.columns().iter().map(|column| take(column, &indices, None));
        let columns = events.chain(self.joining.columns(joined, self.reference)).collect::<Result<_, _>>();
        let flags =
            evaluate_flags(whole, &assemble(Arc::clone(&self.joining.schema), columns.map_err(plan)?, at.len())?)?;
        Ok(flags.iter().map(|flag| flag == Some(true)).collect())
    }

    fn hits(self, rows: &[u32]) -> Hits {
        let mut hits = Hits { rows: Vec::new(), joined: vec![Vec::new(); self.joining.joins.len()] };
        for (row, found) in rows.iter().zip(self.found) {
            let Some(found) = found else { continue };
            hits.rows.push(*row);
            hits.joined.iter_mut().zip(found).for_each(|(joined, found)| joined.push(found));
        }
        hits
    }
}

/// The part of a predicate that reads events only.
fn of_events(filter: &Expr, batch: &SchemaRef) -> Option<Expr> {
    let alone = |part: &&Expr| part.column_refs().iter().all(|column| batch.column_with_name(&column.name).is_some());
    split_conjunction(filter).into_iter().filter(alone).cloned().reduce(Expr::and)
}

fn with_joined(schema: &SchemaRef, reads: &[Joined]) -> SchemaRef {
    let fields = schema.fields().iter().cloned().chain(reads.iter().map(|read| Arc::clone(&read.field)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn assemble(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(plan)
}

fn plan(error: ArrowError) -> SqlError {
    SqlError::Plan(error.to_string())
}

#[cfg(test)]
mod tests;
