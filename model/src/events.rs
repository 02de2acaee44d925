//! A batch of events of one log source, and typed access to its columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};

use crate::{Micros, Position, Text, schema};

/// Where one record stood in its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which of the origins that were read together.
    pub part: u32,
    pub line: Option<u64>,
    pub record: Option<u64>,
    pub byte: u64,
}

impl Place {
    /// The place in its origin, as a person can open it.
    #[must_use]
    pub fn within(self, origin: impl Into<Text>) -> Position {
        Position { origin: origin.into(), line: self.line, record: self.record, byte: self.byte }
    }
}

/// Where records that were read together come from: one file most often, or many messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Arc<[Arc<str>]>);

impl Origins {
    /// The place of a record in the one of them that it stood in.
    #[must_use]
    pub fn position(&self, place: Place) -> Position {
        place.within(self.0.get(place.part as usize).map_or("", |origin| origin))
    }

    /// By part.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }
}

impl From<&str> for Origins {
    fn from(origin: &str) -> Self {
        [Arc::from(origin)].into_iter().collect()
    }
}

impl FromIterator<Arc<str>> for Origins {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(origins: I) -> Self {
        Self(origins.into_iter().collect())
    }
}

/// Events of one log source: the columns of `schema()` in order, then one column for each raw path that a rule names.
#[derive(Clone, Debug)]
pub struct EventBatch {
    pub source: Arc<str>,
    pub origins: Origins,
    pub batch: RecordBatch,
    /// One for each row.
    pub places: Vec<Place>,
}

impl EventBatch {
    #[must_use]
    pub fn position(&self, row: usize) -> Position {
        self.origins.position(self.places.get(row).copied().unwrap_or_default())
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ArrayRef> {
        // Event columns stand first and in order; a search through all names would be done for each row.
        let expected = schema::position(name)
            .filter(|at| self.batch.schema_ref().fields().get(*at).is_some_and(|field| field.name() == name));
        match expected {
            Some(at) => self.batch.columns().get(at),
            None => self.batch.column_by_name(name),
        }
    }

    /// Text of a column at a row; `None` when null or when there is no such text column.
    #[must_use]
    pub fn text(&self, name: &str, row: usize) -> Option<&str> {
        let column = self.column(name)?.as_string_view_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    #[must_use]
    pub fn texts(&self, name: &str, row: usize) -> Vec<String> {
        let list = self.column(name).and_then(|column| column.as_list_opt::<i32>()).filter(|list| list.is_valid(row));
        let Some((list, values)) = list.and_then(|list| Some((list, list.values().as_string_view_opt()?))) else {
            return Vec::new();
        };
        // By offsets: slicing the row's list out of the array would allocate.
        let bound = |at: usize| list.value_offsets().get(at).map_or(0, |at| usize::try_from(*at).unwrap_or(0));
        let valid = (bound(row)..bound(row + 1)).filter(|at| values.is_valid(*at));
        valid.map(|at| values.value(at).to_owned()).collect()
    }

    #[must_use]
    pub fn flag(&self, name: &str, row: usize) -> Option<bool> {
        let column = self.column(name)?.as_boolean_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    #[must_use]
    pub fn number(&self, name: &str, row: usize) -> Option<f64> {
        let column = self.column(name)?.as_primitive_opt::<Float64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    /// The earliest and the latest time; `None` of no events.
    #[must_use]
    pub fn time_range(&self) -> Option<(Micros, Micros)> {
        let column = self.column("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
        let times = column.values().iter().copied();
        times.clone().min().zip(times.max()).map(|(first, last)| (Micros(first), Micros(last)))
    }

    /// Event time. Never null: a record without a time is a reject.
    #[must_use]
    pub fn time(&self, row: usize) -> Micros {
        let column = self.column("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        Micros(column.map_or(0, |column| column.value(row)))
    }
}
