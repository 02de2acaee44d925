//! A mapping made ready to run: what is read of every record, and what more is read of those that a rule matched.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use keytrail_model::{FileError, RawPath};
use keytrail_sql::{Planner, SqlError};

use crate::layout::{Layout, Rejected};
use crate::scan::scan;
use crate::{Columns, Condition, Limits, Mapping, Row, Span};

pub(crate) struct SourcePlan {
    pub(crate) mapping: Arc<Mapping>,
    /// Column of the field plan and what must hold there.
    pub(crate) recognise: Vec<Vec<(usize, Condition)>>,
    pub(crate) redact: Vec<usize>,
    /// What every event needs.
    pub(crate) hot: Layout,
    /// Every column; `None` when every event has them.
    whole: Option<Layout>,
}

impl SourcePlan {
    /// Plans a mapping together with the raw paths that rules read from its source. `wanted` says which columns every
    /// event needs; `None` stands for all.
    pub(crate) fn new(
        mapping: Arc<Mapping>,
        rule_paths: &BTreeSet<RawPath>,
        wanted: Option<&BTreeSet<String>>,
        planner: &Planner,
    ) -> Result<Self, Vec<FileError>> {
        let hot = Layout::new(&mapping, rule_paths, wanted, planner)?;
        let whole = wanted.map(|_| Layout::new(&mapping, rule_paths, None, planner)).transpose()?;
        let index = |path: &RawPath| hot.position(path);
        let shape =
            |shape: &Vec<(RawPath, Condition)>| shape.iter().map(|(path, is)| (index(path), is.clone())).collect();
        Ok(Self {
            recognise: mapping.recognise.iter().map(shape).collect(),
            redact: mapping.redact.iter().map(index).collect(),
            hot,
            whole,
            mapping,
        })
    }

    /// Scanned columns to events. A row that cannot be evaluated is left out; its index and the reason are returned.
    pub(crate) fn events(&self, mut columns: Columns, buffer: &Buffer, spans: &[Span]) -> (RecordBatch, Rejected) {
        let raw = columns.finish(buffer).and_then(|raw| self.hot.raw(raw, buffer, spans));
        match raw {
            Ok(raw) => self.hot.events(&self.mapping, &raw),
            Err(error) => self.hot.nothing(spans.len(), &error.to_string()),
        }
    }

    /// Some records with all columns, read a second time. A record that cannot be read whole, which the first reading
    /// did not notice because it looked at less, keeps what stands before its fault.
    pub(crate) fn complete(&self, buffer: &Buffer, spans: &[Span], limits: &Limits) -> Result<RecordBatch, SqlError> {
        let layout = self.whole.as_ref().unwrap_or(&self.hot);
        let mut row = Row::new(&layout.fields);
        let mut columns = Columns::new(&layout.fields, spans.len());
        for span in spans {
            scan(buffer, span.range(), &layout.fields, limits, &mut row).ok();
            columns.push(&row, buffer);
        }
        let plan = |error: arrow::error::ArrowError| SqlError::Plan(error.to_string());
        let raw = columns.finish(buffer).and_then(|raw| layout.raw(raw, buffer, spans)).map_err(plan)?;
        layout.complete(&self.mapping, &raw)
    }
}
