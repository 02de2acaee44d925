//! What one event holds at the places that a clause reads. Raw values come from the redacted record, where a key that is
//! absent and one that is null can be told apart.

use arrow::array::Array;
use keytrail_model::schema::{self, Kind};
use keytrail_model::{EventBatch, RawPath, Segment};
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
    /// The place is a row of a reference table, which is not joined here.
    Joined,
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => to.serialize_str("absent"),
            Self::Null => to.serialize_str("null"),
            Self::Record => to.serialize_str("record"),
            Self::Joined => to.serialize_str("joined"),
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

    /// A name that a dialect may have explained: one place or several.
    pub(super) fn read_as(&self, name: &str, places: &[Name]) -> Vec<Read> {
        let mut reads: Vec<Read> = Vec::new();
        for place in places {
            let read = Read { name: name.to_owned(), at: written(place), found: self.found(place) };
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
        reads
    }

    fn found(&self, name: &Name) -> Found {
        match name {
            Name::Event("raw") => Found::Record,
            Name::Event(column) => self.column(column),
            Name::Raw(path) => self.raw(path),
            Name::Joined { .. } => Found::Joined,
        }
    }

    fn column(&self, name: &str) -> Found {
        let (events, row) = (self.events, self.row);
        if events.column(name).is_none_or(|column| column.is_null(row)) {
            return Found::Null;
        }
        let values = match schema::find(name).map(|field| field.kind) {
            Some(Kind::Time) => vec![events.time(row).to_string()],
            Some(Kind::Texts) => events.texts(name, row),
            Some(Kind::Flag) => events.flag(name, row).map(|flag| flag.to_string()).into_iter().collect(),
            Some(Kind::Number) => events.number(name, row).map(|number| number.to_string()).into_iter().collect(),
            _ => events.text(name, row).map(str::to_owned).into_iter().collect(),
        };
        Found::Values(bounded(values))
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

/// A path without what is wanted of it: people know it by its keys.
fn written(name: &Name) -> String {
    name.column().trim_end_matches(['?']).trim_end_matches("[*]").to_owned()
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
