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

/// A log source's day with more than one small file.
#[derive(Clone, Debug)]
pub struct Scattered {
    folder: (String, Micros),
    small: Vec<LakeFile>,
    large: Vec<LakeFile>,
}

impl Lake {
    /// Gathers every day.
    pub async fn compact(&self) -> Result<Compacted, LakeError> {
        let mut done = Compacted::default();
        for day in self.scattered().await? {
            let Compacted { before, after, copies } = self.gather(&day, u64::MAX).await?;
            done = Compacted { before: done.before + before, after: done.after + after, copies: done.copies + copies };
        }
        Ok(done)
    }

    /// The days that could be gathered.
    pub async fn scattered(&self) -> Result<Vec<Scattered>, LakeError> {
        let mut days: BTreeMap<(String, Micros), Vec<LakeFile>> = BTreeMap::new();
        for file in self.files(Micros(i64::MIN), Micros(i64::MAX)).await? {
            days.entry((file.log.clone(), file.day)).or_default().push(file);
        }
        let days = days.into_iter().map(|(folder, files)| {
            let (small, large) = files.into_iter().partition(|file| file.bytes < SMALL);
            Scattered { folder, small, large }
        });
        Ok(days.filter(|day| day.small.len() > 1).collect())
    }

    /// Puts the small files of a day together, the new ones first: who is stopped in between leaves copies, which the next
    /// time takes out. Copies of what stands in large files are found where those are not more than so many bytes.
    pub async fn gather(&self, day: &Scattered, compared_max: u64) -> Result<Compacted, LakeError> {
        let Scattered { folder, small, large } = day;
        let (mut done, mut seen) = (Compacted::default(), HashSet::new());
        let compared = large.iter().map(|file| file.bytes).sum::<u64>() <= compared_max;
        for file in large.iter().filter(|_| compared) {
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
        Ok(done)
    }
}

/// Which rows hold a record that was not seen before. A row without its record is never a copy.
fn fresh(batch: &RecordBatch, seen: &mut HashSet<u128>) -> Vec<bool> {
    let records = batch.column_by_name("raw").and_then(|column| column.as_string_view_opt());
    let mut records = records.into_iter().flatten();
    let mut fresh = || records.next().flatten().is_none_or(|record| id(record).is_none_or(|id| seen.insert(id)));
    (0..batch.num_rows()).map(|_| fresh()).collect()
}

fn id(record: &str) -> Option<u128> {
    u128::from_str_radix(stable_id("", &[record]).trim_start_matches('-'), 16).ok()
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
