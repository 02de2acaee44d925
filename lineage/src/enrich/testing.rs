//! Small event batches for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringViewBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use keytrail_model::schema::{self, Kind};
use keytrail_model::{EventBatch, Place};

/// One event: text columns and list columns by name.
#[derive(Clone, Debug, Default)]
pub struct Row {
    time: i64,
    texts: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
}

impl Row {
    pub fn new(time: i64, event_id: &str) -> Self {
        Self { time, ..Self::default() }.with("event_id", event_id)
    }

    pub fn with(mut self, column: &str, value: &str) -> Self {
        self.texts.insert(column.to_owned(), value.to_owned());
        self
    }

    pub fn list(mut self, column: &str, values: &[&str]) -> Self {
        self.lists.insert(column.to_owned(), values.iter().map(|&value| value.to_owned()).collect());
        self
    }
}

fn texts(rows: &[Row], name: &str) -> ArrayRef {
    let mut builder = StringViewBuilder::new();
    rows.iter().for_each(|row| builder.append_option(row.texts.get(name)));
    Arc::new(builder.finish())
}

fn lists(rows: &[Row], name: &str) -> ArrayRef {
    let mut builder = ListBuilder::new(StringViewBuilder::new());
    for row in rows {
        let values = row.lists.get(name);
        values.into_iter().flatten().for_each(|value| builder.values().append_value(value));
        builder.append(values.is_some());
    }
    Arc::new(builder.finish())
}

/// A batch with the columns that a mapping would fill, and one raw path.
pub fn batch(source: &str, rows: &[Row]) -> EventBatch {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for field in schema::FIELDS.iter().filter(|field| field.filled == schema::Filled::Mapping) {
        fields.push(Field::new(field.name, field.kind.arrow(), true));
        columns.push(match field.kind {
            Kind::Time => {
                let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time));
                Arc::new(times.with_timezone("UTC"))
            }
            Kind::Texts => lists(rows, field.name),
            _ => texts(rows, field.name),
        });
    }
    fields.push(Field::new("userIdentity.type", Kind::Text.arrow(), true));
    columns.push(texts(rows, "userIdentity.type"));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit");
    EventBatch {
        source: source.into(),
        origins: "test.jsonl".into(),
        batch,
        places: vec![Place::default(); rows.len()],
    }
}
