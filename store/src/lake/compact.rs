//! Makes few large files of many small ones, and one record of several copies.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch};
use arrow::error::ArrowError;
use keytrail_model::{Micros, stable_id};

use super::write::{WAITING, event_schema};
use super::{Lake, LakeError, LakeFile};

/// Files smaller than this are put together, in bytes.
const SMALL: u64 = 4 << 20;

/// What became of the files that were put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub before: u64,
    pub after: u64,
    /// Records that stood there more than once.
    pub copies: u64,
}

impl Lake {
    /// Puts the small files of each log source and day together, the new ones first: who is stopped in between leaves
    /// copies, which the next time takes out.
    pub async fn compact(&self) -> Result<Compacted, LakeError> {
        let mut days: BTreeMap<(String, Micros), Vec<LakeFile>> = BTreeMap::new();
        for file in self.files(Micros(i64::MIN), Micros(i64::MAX)).await? {
            days.entry((file.log.clone(), file.day)).or_default().push(file);
        }
        let mut done = Compacted::default();
        for (folder, files) in days {
            let (small, large): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.bytes < SMALL);
            if small.len() > 1 {
                self.compact_day(&folder, &small, &large, &mut done).await?;
            }
        }
        Ok(done)
    }

    async fn compact_day(
        &self,
        folder: &(String, Micros),
        small: &[LakeFile],
        large: &[LakeFile],
        done: &mut Compacted,
    ) -> Result<(), LakeError> {
        let mut seen = HashSet::new();
        for file in large {
            self.batches(file).await?.iter().for_each(|batch| drop(fresh(batch, &mut seen)));
        }
        let (mut kept, mut written) = (Vec::new(), Vec::new());
        for file in small {
            for batch in self.batches(file).await? {
                let rows = fresh(&batch, &mut seen);
                done.copies += rows.iter().filter(|fresh| !**fresh).count() as u64;
                kept.push(filter_record_batch(&batch, &rows.into()).map_err(LakeError::arrow)?);
            }
            if kept.iter().map(RecordBatch::num_rows).sum::<usize>() >= WAITING {
                written.push(self.put(folder, &in_order(&std::mem::take(&mut kept))?).await?.0);
            }
        }
        if kept.iter().any(|batch| batch.num_rows() > 0) {
            written.push(self.put(folder, &in_order(&kept)?).await?.0);
        }
        let old: Vec<LakeFile> = small.iter().filter(|file| !written.contains(&file.path)).cloned().collect();
        self.delete(&old).await?;
        done.before += small.len() as u64;
        done.after += written.len() as u64;
        Ok(())
    }
}

/// Which rows hold a record that was not seen before. A row without its record is never a copy.
fn fresh(batch: &RecordBatch, seen: &mut HashSet<String>) -> Vec<bool> {
    let records = batch.column_by_name("raw").and_then(|column| column.as_string_view_opt());
    let mut records = records.into_iter().flatten();
    let mut fresh = || records.next().flatten().is_none_or(|record| seen.insert(stable_id("", &[record])));
    (0..batch.num_rows()).map(|_| fresh()).collect()
}

/// By time and event id, so that the same events are the same file whatever files they came from.
fn in_order(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, LakeError> {
    let sorted = || -> Result<RecordBatch, ArrowError> {
        let all = concat_batches(&event_schema(), batches)?;
        let by = ["time", "event_id", "raw"].into_iter().filter_map(|name| all.column_by_name(name).cloned());
        let by: Vec<SortColumn> = by.map(|values| SortColumn { values, options: None }).collect();
        take_record_batch(&all, &lexsort_to_indices(&by, None)?)
    };
    sorted().map(|batch| vec![batch]).map_err(LakeError::arrow)
}
