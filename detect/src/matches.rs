//! Which rows of one batch passed which filters.

use std::collections::BTreeSet;

use keytrail_sql::SqlError;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Filters in order, each with its rows in order.
    pub(crate) passed: Vec<(u32, Vec<u32>)>,
    /// Filters that failed, and why.
    pub(crate) failed: Vec<(u32, String)>,
}

impl Matches {
    pub(crate) fn push(&mut self, filter: u32, rows: Result<Vec<u32>, SqlError>) {
        match rows {
            Ok(rows) if rows.is_empty() => {}
            Ok(rows) => self.passed.push((filter, rows)),
            Err(error) => self.failed.push((filter, error.to_string())),
        }
    }

    pub(crate) fn sorted(mut self) -> Self {
        self.passed.sort_unstable();
        self.failed.sort_unstable();
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.failed.is_empty()
    }

    /// Every row that some filter passed, in order.
    #[must_use]
    pub fn rows(&self) -> Vec<u32> {
        let rows: BTreeSet<u32> = self.passed.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
        rows.into_iter().collect()
    }

    /// Without the rows that are not to be looked at.
    #[must_use]
    pub fn retain(mut self, wanted: impl Fn(usize) -> bool) -> Self {
        for (_, rows) in &mut self.passed {
            rows.retain(|row| wanted(*row as usize));
        }
        self.passed.retain(|(_, rows)| !rows.is_empty());
        self
    }

    /// The same matches over a batch that holds only `rows`, as `rows()` gave them.
    #[must_use]
    pub fn among(mut self, rows: &[u32]) -> Self {
        let place = |row: u32| u32::try_from(rows.partition_point(|other| *other < row)).unwrap_or(u32::MAX);
        for (_, passed) in &mut self.passed {
            passed.iter_mut().for_each(|row| *row = place(*row));
        }
        self
    }
}
