//! Reading records back out of the lake, as the lines that they once were, for who evaluates rules over them.

use std::collections::VecDeque;
use std::io::{self, Read};

use arrow::array::{AsArray, RecordBatch};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Lake, LakeError, LakeFile};

/// Rows that are unpacked at a time.
const ROWS: usize = 1024;

/// The records of one file as JSON lines, unpacked as they are read.
pub struct Records {
    rows: ParquetRecordBatchReader,
    ready: VecDeque<u8>,
}

impl Lake {
    /// The redacted records of a file, each on a line of its own.
    pub fn records(&self, file: &LakeFile) -> Result<Records, LakeError> {
        // Called from the threads of a run too, which have no runtime of their own.
        let bytes = tokio::task::block_in_place(|| self.runtime.block_on(self.bytes(file)))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|fault| file.unreadable(&fault))?;
        let raw = ProjectionMask::columns(builder.parquet_schema(), ["raw"]);
        let rows = builder.with_projection(raw).with_batch_size(ROWS).build();
        Ok(Records { rows: rows.map_err(|fault| file.unreadable(&fault))?, ready: VecDeque::new() })
    }

    /// All events of a file.
    pub(super) async fn batches(&self, file: &LakeFile) -> Result<Vec<RecordBatch>, LakeError> {
        let bytes = self.bytes(file).await?;
        let rows = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(ParquetRecordBatchReaderBuilder::build);
        let rows = rows.map_err(|fault| file.unreadable(&fault))?;
        rows.collect::<Result<_, _>>().map_err(|fault| file.unreadable(&fault))
    }

    async fn bytes(&self, file: &LakeFile) -> Result<Bytes, LakeError> {
        let bytes = async { self.store.get(&file.path).await?.bytes().await };
        bytes.await.map_err(|fault| self.fault("read", fault))
    }
}

impl LakeFile {
    fn unreadable(&self, fault: &impl std::fmt::Display) -> LakeError {
        LakeError::Read { file: self.name().to_owned(), fault: fault.to_string() }
    }
}

impl Records {
    /// False at the end.
    fn unpack(&mut self) -> io::Result<bool> {
        let Some(batch) = self.rows.next() else { return Ok(false) };
        let batch = batch.map_err(io::Error::other)?;
        let records = batch.columns().first().and_then(|column| column.as_string_view_opt());
        for record in records.into_iter().flatten() {
            // A line break stands only between the tokens of a record, where a blank does as well.
            let flat = |byte: u8| if byte == b'\n' || byte == b'\r' { b' ' } else { byte };
            self.ready.extend(record.unwrap_or("null").bytes().map(flat));
            self.ready.push_back(b'\n');
        }
        Ok(true)
    }
}

impl Read for Records {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            if !self.unpack()? {
                return Ok(0);
            }
        }
        self.ready.read(into)
    }
}
