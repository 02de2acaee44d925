//! Writing events into the lake: gathered by log source and day, and put down in files that are worth opening.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use keytrail_model::{EventBatch, Micros, schema, stable_id};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{DAY, Lake, LakeError, date};

/// Rows that wait before the fullest folder gets a file: some 60 MB of CloudTrail.
pub(super) const WAITING: usize = 50_000;
/// The same in bytes, for records that are longer than most.
const WAITING_BYTES: usize = 128 << 20;
/// Small enough that who reads one back holds little of it.
const ROW_GROUP: usize = 8_192;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    pub events: u64,
    pub files: u64,
    pub bytes: u64,
}

pub struct Writer<'a> {
    lake: &'a Lake,
    waiting: BTreeMap<(String, Micros), Vec<RecordBatch>>,
    rows: usize,
    bytes: usize,
    wrote: Wrote,
}

impl Lake {
    #[must_use]
    pub fn writer(&self) -> Writer<'_> {
        Writer { lake: self, waiting: BTreeMap::new(), rows: 0, bytes: 0, wrote: Wrote::default() }
    }
}

impl Writer<'_> {
    pub async fn add(&mut self, events: &EventBatch) -> Result<(), LakeError> {
        let days = by_day(events).map_err(LakeError::arrow)?;
        for (day, batch) in days {
            self.rows += batch.num_rows();
            self.bytes += batch.get_array_memory_size();
            self.waiting.entry((events.source.to_string(), day)).or_default().push(batch);
        }
        while self.rows >= WAITING || self.bytes >= WAITING_BYTES {
            let fullest =
                self.waiting.iter().max_by_key(|(_, batches)| bytes(batches)).map(|(folder, _)| folder.clone());
            let Some(fullest) = fullest else { break };
            self.put(&fullest).await?;
        }
        Ok(())
    }

    /// Puts down what still waits.
    pub async fn finish(mut self) -> Result<Wrote, LakeError> {
        while let Some(folder) = self.waiting.keys().next().cloned() {
            self.put(&folder).await?;
        }
        Ok(self.wrote)
    }

    async fn put(&mut self, folder: &(String, Micros)) -> Result<(), LakeError> {
        let batches = self.waiting.remove(folder).unwrap_or_default();
        self.rows -= rows(&batches);
        self.bytes -= bytes(&batches);
        let (_, written) = self.lake.put(folder, &batches).await?;
        self.wrote.events += rows(&batches) as u64;
        self.wrote.files += 1;
        self.wrote.bytes += written;
        Ok(())
    }
}

impl Lake {
    /// One file with these events: where it is, and its bytes.
    pub(super) async fn put(
        &self,
        folder: &(String, Micros),
        batches: &[RecordBatch],
    ) -> Result<(Path, u64), LakeError> {
        let bytes = encode(batches).map_err(LakeError::Write)?;
        let (log, day) = (format!("log={}", folder.0), format!("day={}", date(folder.1)));
        let name = format!("{}.parquet", name(batches));
        let parts = ["events".to_owned(), log, day, name];
        let path = parts.into_iter().fold(self.root.clone(), Path::join);
        let size = bytes.len() as u64;
        let put = self.store.put(&path, PutPayload::from(bytes)).await;
        put.map_err(|fault| self.fault("written", fault))?;
        Ok((path, size))
    }
}

fn bytes(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::get_array_memory_size).sum()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The same records in the same order have the same name, whenever they are written.
fn name(batches: &[RecordBatch]) -> String {
    let texts = |name: &str| {
        let columns = batches.iter().filter_map(|batch| batch.column_by_name(name)?.as_string_view_opt());
        columns.flat_map(|column| column.iter().map(Option::unwrap_or_default)).collect::<Vec<_>>()
    };
    stable_id("events", &[texts("event_id"), texts("raw")].concat())
}

fn encode(batches: &[RecordBatch]) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), event_schema(), Some(properties))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}

/// The column without the chunk that its texts point into: a row that waits long would keep a megabyte.
fn apart(column: &ArrayRef) -> ArrayRef {
    if let Some(texts) = column.as_string_view_opt() {
        return Arc::new(texts.gc());
    }
    match column.as_list_opt::<i32>() {
        Some(lists) => match (lists.values().as_string_view_opt(), column.data_type()) {
            (Some(texts), DataType::List(field)) => {
                let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
                Arc::new(ListArray::new(Arc::clone(field), offsets, Arc::new(texts.gc()), nulls))
            }
            _ => Arc::clone(column),
        },
        None => Arc::clone(column),
    }
}

/// The event columns alone: raw columns differ between log sources and rule sets, and `raw` holds what they hold.
pub fn event_columns(events: &EventBatch) -> Result<RecordBatch, ArrowError> {
    let columns = events.batch.columns().get(..schema::FIELDS.len()).unwrap_or_default().to_vec();
    RecordBatch::try_new(event_schema(), columns)
}

/// Each day's rows apart.
fn by_day(events: &EventBatch) -> Result<Vec<(Micros, RecordBatch)>, ArrowError> {
    let batch = event_columns(events)?;
    let batch = RecordBatch::try_new(event_schema(), batch.columns().iter().map(apart).collect())?;
    let days: Vec<Micros> = (0..events.rows()).map(|row| events.time(row).bucket(DAY)).collect();
    let mut distinct = days.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if let [day] = distinct.as_slice() {
        return Ok(vec![(*day, batch)]);
    }
    let of = |day: Micros| {
        let rows: BooleanArray = days.iter().map(|known| Some(*known == day)).collect();
        filter_record_batch(&batch, &rows).map(|batch| (day, batch))
    };
    distinct.into_iter().map(of).collect()
}

/// The columns of a file: those of every event, any of which may be null.
#[must_use]
pub fn event_schema() -> SchemaRef {
    let nullable = |field: &arrow::datatypes::FieldRef| field.as_ref().clone().with_nullable(true);
    Schema::new(schema::schema().fields().iter().map(nullable).collect::<Vec<_>>()).into()
}
