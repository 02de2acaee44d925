//! The tables that rules join as of an event's time. Does not change while rules run, so that workers share it.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use keytrail_model::Micros;
use keytrail_model::tables::{Asked, SINCE, Table};

/// By table, which of its rows are asked for.
pub type Questions = BTreeMap<&'static str, Asked>;

/// Without tables every join finds nothing.
#[derive(Debug, Default)]
pub struct Reference {
    tables: BTreeMap<&'static str, Known>,
}

#[derive(Debug)]
struct Known {
    batch: RecordBatch,
    /// When each row counts: from the first on, before the second.
    spans: Vec<(i64, i64)>,
    /// Of each column, the rows in the order of their texts; made when a rule first asks.
    places: Vec<OnceLock<Vec<u32>>>,
}

impl Reference {
    pub fn new(tables: impl IntoIterator<Item = (&'static Table, RecordBatch)>) -> Self {
        let known = tables.into_iter().map(|(table, batch)| (table.name, Known::new(table, batch)));
        Self { tables: known.collect() }
    }

    /// The rows that hold these texts and are known at that time and not yet replaced, in the order of the table.
    pub(crate) fn rows(&self, table: &Table, on: &[(usize, &str)], time: Micros) -> Vec<u32> {
        self.tables.get(table.name).map(|known| known.rows(on, time.0)).unwrap_or_default()
    }

    pub(crate) fn column(&self, table: &Table, at: usize) -> Option<&ArrayRef> {
        let known = self.tables.get(table.name)?;
        known.batch.columns().get(at).filter(|column| !column.is_empty())
    }
}

impl Known {
    fn new(table: &Table, batch: RecordBatch) -> Self {
        let spans = spans(table.key, &batch);
        Self { spans, places: batch.columns().iter().map(|_| OnceLock::new()).collect(), batch }
    }

    fn rows(&self, on: &[(usize, &str)], time: i64) -> Vec<u32> {
        let each = on.iter().map(|(column, text)| self.places(*column, text)).collect::<Option<Vec<_>>>();
        let Some((fewest, others)) = each.and_then(|mut each| {
            each.sort_by_key(|rows| rows.len());
            each.split_first().map(|(first, rest)| (*first, rest.to_vec()))
        }) else {
            return Vec::new();
        };
        let counts = |row: &u32| self.spans.get(*row as usize).is_some_and(|(from, to)| *from <= time && time < *to);
        let everywhere = |row: &u32| others.iter().all(|rows| rows.binary_search(row).is_ok());
        fewest.iter().copied().filter(|row| counts(row) && everywhere(row)).collect()
    }

    /// The rows in which a text stands, in their order.
    fn places(&self, column: usize, text: &str) -> Option<&[u32]> {
        let texts = self.batch.columns().get(column)?.as_string_view_opt()?;
        let of = |row: u32| texts.is_valid(row as usize).then(|| texts.value(row as usize));
        let sort = || {
            let mut rows: Vec<u32> = (0u32..).take(texts.len()).collect();
            rows.sort_by(|left, right| of(*left).cmp(&of(*right)));
            rows
        };
        let rows = self.places.get(column)?.get_or_init(sort);
        let from = rows.partition_point(|row| of(*row) < Some(text));
        let rows = rows.get(from..)?;
        rows.get(..rows.partition_point(|row| of(*row) == Some(text)))
    }
}

/// A row counts from its `since` on, until a later row about the same does.
fn spans(key: usize, batch: &RecordBatch) -> Vec<(i64, i64)> {
    let since = batch.column_by_name(SINCE).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let from = |row: usize| since.filter(|since| since.is_valid(row)).map_or(i64::MIN, |since| since.value(row));
    let mut spans: Vec<(i64, i64)> = (0..batch.num_rows()).map(|row| (from(row), i64::MAX)).collect();
    let mut about: HashMap<Vec<Option<&str>>, Vec<usize>> = HashMap::new();
    let keys: Vec<_> = batch.columns().iter().take(key).filter_map(|column| column.as_string_view_opt()).collect();
    for row in 0..if keys.is_empty() { 0 } else { batch.num_rows() } {
        let same = keys.iter().map(|texts| texts.is_valid(row).then(|| texts.value(row))).collect();
        about.entry(same).or_default().push(row);
    }
    for mut rows in about.into_values() {
        rows.sort_by_key(|row| from(*row));
        for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
            if let Some(span) = spans.get_mut(*row) {
                span.1 = from(*next);
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use keytrail_model::tables::{Cell, Row, find};

    use super::*;

    fn row(table: &Table, cells: &[(&str, &str)], since: Option<i64>) -> Row {
        let mut row: Row = vec![None; table.columns.len()];
        for (name, text) in cells {
            row[table.column(name).expect(name).0] = Some(Cell::Text((*text).into()));
        }
        *row.last_mut().expect("since") = since.map(|at| Cell::Time(Micros(at)));
        row
    }

    #[test]
    fn of_a_credential_the_latest_row_counts_and_none_before_it_is_known() {
        let table = find("credentials").expect("a table");
        let by = |who: &str, since| row(table, &[("credential", "c"), ("created_by", who)], since);
        let rows =
            vec![by("late", Some(20)), by("early", Some(10)), by("first of two", Some(30)), by("last", Some(30))];
        let reference = Reference::new([(table, table.batch(&rows).expect("a batch"))]);
        let at = |time| reference.rows(table, &[(0, "c")], Micros(time));
        assert_eq!([at(9), at(10), at(19), at(20), at(30)], [vec![], vec![1], vec![1], vec![0], vec![3]]);
        assert_eq!(reference.rows(table, &[(0, "other")], Micros(40)), Vec::<u32>::new());
    }

    #[test]
    fn of_edges_all_count_that_hold_every_text() {
        let table = find("edges").expect("a table");
        let edge = |from: &str, to: &str, since| row(table, &[("from_id", from), ("to_id", to)], since);
        let rows = vec![edge("a", "x", Some(5)), edge("a", "y", None), edge("b", "x", None), edge("a", "x", Some(1))];
        let reference = Reference::new([(table, table.batch(&rows).expect("a batch"))]);
        let (from, to) = (table.column("from_id").expect("a column").0, table.column("to_id").expect("a column").0);
        assert_eq!(reference.rows(table, &[(from, "a"), (to, "x")], Micros(5)), [0, 3]);
        assert_eq!(reference.rows(table, &[(from, "a"), (to, "x")], Micros(4)), [3]);
        assert_eq!(reference.rows(table, &[(from, "a")], Micros(0)), [1]);
    }
}
