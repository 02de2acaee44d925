//! The reference tables that a rule may join as of an event's time: one list of columns, from which Arrow schemas, docs
//! and messages about unknown names come. What stands in them comes from lineage, or from a rule's test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringViewBuilder, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use serde_json::{Map, Value};

use crate::{Micros, did_you_mean, schema::Kind};

#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
}

#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub doc: &'static str,
    /// How many of the first columns say what a row is about: a later row about the same takes the place of an earlier
    /// one. With none, every row stands for itself and for ever.
    pub key: usize,
    /// The columns that name what a row is about, by kind and id: rows can be asked for by these. Where the kind is
    /// always the same, no column tells it.
    pub ids: &'static [(Option<&'static str>, &'static str)],
    pub columns: &'static [Column],
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Cell {
    Text(crate::Text),
    Number(f64),
    Time(Micros),
}

/// Which rows of a table are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    All,
    /// Those about one of these ids, by kind.
    About(BTreeMap<String, BTreeSet<String>>),
}

impl Asked {
    /// The kind of what is asked for by its id alone.
    pub const ANY: &str = "";

    #[must_use]
    pub fn nothing() -> Self {
        Self::About(BTreeMap::new())
    }

    pub fn ask(&mut self, kind: &str, id: &str) {
        let Self::About(about) = self else { return };
        if !about.contains_key(kind) {
            about.insert(kind.to_owned(), BTreeSet::new());
        }
        if let Some(ids) = about.get_mut(kind).filter(|ids| !ids.contains(id)) {
            ids.insert(id.to_owned());
        }
    }

    #[must_use]
    pub fn wants(&self, kind: &str, id: &str) -> bool {
        self.ids(kind).is_none_or(|mut sets| sets.any(|ids| ids.contains(id)))
    }

    /// Whether anything of this kind is asked for.
    #[must_use]
    pub fn wants_any(&self, kind: &str) -> bool {
        self.ids(kind).is_none_or(|mut sets| sets.next().is_some())
    }

    /// The ids of this kind that are asked for; `None` where all are.
    #[must_use]
    pub fn of(&self, kind: &str) -> Option<BTreeSet<&str>> {
        Some(self.ids(kind)?.flatten().map(String::as_str).collect())
    }

    fn ids(&self, kind: &str) -> Option<impl Iterator<Item = &BTreeSet<String>>> {
        let Self::About(about) = self else { return None };
        Some([kind, Self::ANY].into_iter().filter_map(|kind| about.get(kind)))
    }
}

/// A row of a table, in the order of its columns. Nothing in `since` means known from the beginning.
pub type Row = Vec<Option<Cell>>;

const fn column(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, doc }
}

use Kind::{Number, Text, Time};

/// The column of every table that says from when on a row is known; it stands last.
pub const SINCE: &str = "since";
const KNOWN: Column = column(SINCE, Time, "from when on the row is known; null for what the inventory declares");

#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    Table {
        name: "credentials",
        doc: "one row for each credential that was declared, or seen issued or used",
        key: 1,
        ids: &[(None, "credential")],
        columns: &[
            column("credential", Text, "its id, never its value"),
            column("kind", Text, "its kind, where it was seen issued"),
            column("lifetime", Text, "static, derived_from_static, ephemeral or unknown, where it was seen issued"),
            column("created", Time, "when it was issued, else when the inventory says it was created"),
            column("created_by", Text, "the actor that issued it"),
            column("parent", Text, "the credential that it was issued with"),
            column("issued_for", Text, "name of the principal that it was issued for"),
            column("owner", Text, "id of the owner that the inventory declares"),
            column("first_seen", Time, "when it was first used"),
            KNOWN,
        ],
    },
    Table {
        name: "owners",
        doc: "one row for each credential, principal or agent of which something says whose it is",
        key: 2,
        ids: &[(Some("subject_kind"), "subject")],
        columns: &[
            column("subject_kind", Text, "credential, principal or agent"),
            column("subject", Text, "id of what is owned"),
            column("owner", Text, "owner id"),
            column("name", Text, "the owner's name"),
            column("email", Text, "where tickets go"),
            column("basis", Text, "the best evidence: lease, inventory, tag, principal, creator, principal_creator"),
            column("confidence", Number, "0 to 1"),
            KNOWN,
        ],
    },
    Table {
        name: "edges",
        doc: "one row for each thing that something has to do with another; a row stays",
        key: 0,
        ids: &[(Some("from_kind"), "from_id"), (Some("to_kind"), "to_id")],
        columns: &[
            column("from_kind", Text, "owner, agent, principal or credential"),
            column("from_id", Text, "its id"),
            column("edge", Text, "owns, uses, issued, created or called"),
            column("to_kind", Text, "agent, principal, credential or tool"),
            column("to_id", Text, "its id"),
            column("basis", Text, "declared or observed"),
            KNOWN,
        ],
    },
];

/// The table of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

impl Table {
    /// The column of that name and where it stands.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<(usize, &'static Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// `, did you mean X?` for a name that is no column.
    #[must_use]
    pub fn hint(&self, name: &str) -> String {
        did_you_mean(name, self.columns.iter().map(|column| column.name))
    }

    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| Field::new(column.name, column.kind.arrow(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Rows as Arrow columns. A cell of another kind than its column's is null.
    ///
    /// # Errors
    /// Never for rows of this table; Arrow says what it cannot put together.
    pub fn batch(&self, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter().enumerate().map(|(at, column)| array(column.kind, rows, at));
        RecordBatch::try_new(self.schema(), arrays.collect())
    }

    /// A row as a rule's test writes it.
    ///
    /// # Errors
    /// Says which column does not exist, or which value is not of its kind.
    pub fn row(&self, written: &Map<String, Value>) -> Result<Row, String> {
        let mut row: Row = vec![None; self.columns.len()];
        for (name, value) in written {
            let found = self.column(name).zip(self.column(name).and_then(|(at, _)| row.get_mut(at)));
            let Some(((_, column), place)) = found else {
                return Err(format!("table {} has no column `{name}`{}", self.name, self.hint(name)));
            };
            *place = cell(column, value)?;
        }
        Ok(row)
    }
}

/// Rows put together block by block, so that never all of them stand beside their columns.
#[derive(Debug)]
pub struct Rows {
    table: &'static Table,
    rows: Vec<Row>,
    blocks: Vec<Result<RecordBatch, ArrowError>>,
}

impl Rows {
    const BLOCK: usize = 4096;

    #[must_use]
    pub fn of(table: &'static Table) -> Self {
        Self { table, rows: Vec::new(), blocks: Vec::new() }
    }

    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
        if self.rows.len() == Self::BLOCK {
            self.close();
        }
    }

    /// # Errors
    /// As of `Table::batch`.
    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        self.close();
        concat_batches(&self.table.schema(), &self.blocks.into_iter().collect::<Result<Vec<_>, _>>()?)
    }

    fn close(&mut self) {
        self.blocks.push(self.table.batch(&self.rows));
        self.rows.clear();
    }
}

fn cell(column: &Column, value: &Value) -> Result<Option<Cell>, String> {
    let cell = match (column.kind, value) {
        (_, Value::Null) => return Ok(None),
        (Time, Value::String(text)) => Micros::parse(text).map(Cell::Time),
        (Number, value) => value.as_f64().map(Cell::Number),
        (Text, Value::String(text)) => Some(Cell::Text(text.as_str().into())),
        (Text, Value::Number(_) | Value::Bool(_)) => Some(Cell::Text(value.to_string().into())),
        _ => None,
    };
    let wrong = || format!("column `{}` is a {}, and {value} is none", column.name, column.kind.name());
    cell.map(Some).ok_or_else(wrong)
}

fn array(kind: Kind, rows: &[Row], at: usize) -> ArrayRef {
    let cells = rows.iter().map(|row| row.get(at).and_then(Option::as_ref));
    match kind {
        Time => {
            let times = cells.map(|cell| if let Some(Cell::Time(time)) = cell { Some(time.0) } else { None });
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        Number => {
            let numbers = cells.map(|cell| if let Some(Cell::Number(number)) = cell { Some(*number) } else { None });
            Arc::new(numbers.collect::<Float64Array>())
        }
        _ => {
            let texts = cells.map(|cell| if let Some(Cell::Text(text)) = cell { Some(text.as_str()) } else { None });
            // Actors, kinds and parents repeat.
            let mut column = StringViewBuilder::new().with_deduplicate_strings();
            texts.for_each(|text| column.append_option(text));
            Arc::new(column.finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_ends_with_since_and_every_column_is_documented() {
        for table in TABLES {
            assert_eq!(table.columns.last().map(|column| column.name), Some(SINCE), "{}", table.name);
            assert!(table.columns.iter().all(|column| !column.doc.is_empty()), "{}", table.name);
        }
    }

    #[test]
    fn a_written_row_is_checked_and_becomes_arrow() {
        let table = find("credentials").expect("a table");
        let row = |value: Value| table.row(value.as_object().expect("an object"));
        let good = row(serde_json::json!({"credential": "c", "created": "2026-11-03"})).expect("a row");
        assert_eq!(table.batch(&[good]).map(|batch| batch.num_rows()).ok(), Some(1));
        let wrong = row(serde_json::json!({"credentail": "c"}));
        assert_eq!(wrong, Err("table credentials has no column `credentail`, did you mean `credential`?".to_owned()));
        let wrong = row(serde_json::json!({"created": "soon"}));
        assert_eq!(wrong, Err("column `created` is a time, and \"soon\" is none".to_owned()));
    }
}
