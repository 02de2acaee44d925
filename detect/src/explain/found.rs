//! What one event holds at the places that a clause reads. Raw values come from the redacted record, where a key that is
//! absent and one that is null can be told apart.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use keytrail_model::{EventBatch, Micros, RawPath, Segment};
use keytrail_sql::Name;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// How many values of one place are shown, and how much of each.
const VALUES_MAX: usize = 10;
const LETTERS_MAX: usize = 200;

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The key is not in the record.
    Absent,
    Null,
    Values(Vec<String>),
    /// The place is the whole record.
    Record,
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => to.serialize_str("absent"),
            Self::Null => to.serialize_str("null"),
            Self::Record => to.serialize_str("record"),
            Self::Values(values) => to.collect_seq(values),
        }
    }
}

/// A place that a clause reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Read {
    /// As the rule names it.
    pub name: String,
    /// The event column or raw path that this means.
    pub at: String,
    pub found: Found,
}

/// One event, its record parsed.
pub(super) struct Event<'a> {
    pub(super) events: &'a EventBatch,
    pub(super) row: usize,
    record: Value,
}

impl<'a> Event<'a> {
    pub(super) fn new(events: &'a EventBatch, row: usize) -> Self {
        let record = events.text("raw", row).and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        Self { events, row, record }
    }

    /// A name that stands for itself.
    pub(super) fn read(&self, name: &Name) -> Read {
        let at = written(name);
        Read { name: at.clone(), at, found: self.found(name) }
    }

    /// A name that a dialect may have explained.
    pub(super) fn read_as(&self, name: &str, place: &Name) -> Read {
        Read { name: name.to_owned(), at: written(place), found: self.found(place) }
    }

    fn found(&self, name: &Name) -> Found {
        match name {
            Name::Event("raw") => Found::Record,
            Name::Raw(path) => self.raw(path),
            name => self.events.column(&name.column()).map_or(Found::Null, |column| in_column(column, self.row)),
        }
    }

    fn raw(&self, path: &RawPath) -> Found {
        let mut reached = Reached::default();
        reached.walk(&self.record, &path.segments);
        match (reached.values.is_empty(), reached.null) {
            (false, _) => Found::Values(bounded(reached.values)),
            (true, true) => Found::Null,
            (true, false) => Found::Absent,
        }
    }
}

/// What a column holds at a row.
pub(super) fn in_column(column: &ArrayRef, row: usize) -> Found {
    if column.is_null(row) {
        return Found::Null;
    }
    let values: Vec<String> = if let Some(texts) = column.as_string_view_opt() {
        vec![texts.value(row).to_owned()]
    } else if let Some(flags) = column.as_boolean_opt() {
        vec![flags.value(row).to_string()]
    } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        vec![numbers.value(row).to_string()]
    } else if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        vec![Micros(times.value(row)).to_string()]
    } else {
        let items = column.as_list_opt::<i32>().map(|lists| lists.value(row));
        let texts = items.as_ref().and_then(|items| items.as_string_view_opt());
        texts.into_iter().flat_map(|texts| texts.iter().flatten()).map(str::to_owned).collect()
    };
    let values = if values.is_empty() { vec!["[]".to_owned()] } else { values };
    Found::Values(bounded(values))
}

/// A path without what is wanted of it: people know it by its keys.
fn written(name: &Name) -> String {
    match name {
        Name::Joined { alias, column, .. } => format!("{alias}.{column}"),
        name => name.column().trim_end_matches('?').trim_end_matches("[*]").to_owned(),
    }
}

#[derive(Default)]
struct Reached {
    values: Vec<String>,
    null: bool,
}

impl Reached {
    /// Crosses arrays wherever they stand.
    fn walk(&mut self, value: &Value, path: &[Segment]) {
        match (value, path) {
            (Value::Array(items), []) if items.is_empty() => self.values.push("[]".to_owned()),
            (Value::Array(items), path) => items.iter().for_each(|item| self.walk(item, path)),
            (Value::Object(keys), [first, rest @ ..]) => {
                if let Some(value) = keys.get(&first.key) {
                    self.walk(value, rest);
                }
            }
            (Value::Null, []) => self.null = true,
            (Value::String(text), []) => self.values.push(text.clone()),
            (other, []) => self.values.push(other.to_string()),
            (_, [..]) => {}
        }
    }
}

fn bounded(values: Vec<String>) -> Vec<String> {
    let more = values.len().saturating_sub(VALUES_MAX);
    let mut shown: Vec<String> = values.into_iter().take(VALUES_MAX).map(cut).collect();
    if more > 0 {
        shown.push(format!("… and {more} more"));
    }
    shown
}

fn cut(value: String) -> String {
    if value.chars().count() <= LETTERS_MAX {
        return value;
    }
    value.chars().take(LETTERS_MAX).chain(['…']).collect()
}
