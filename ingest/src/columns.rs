//! Rows into Arrow columns. A text is a view that points into the chunk's own buffer: nothing is copied but what had
//! escapes, which goes unescaped into one second buffer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, ListArray, NullBufferBuilder, StringViewArray, make_view,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use keytrail_model::Want;

use crate::Span;
use crate::plan::FieldPlan;
use crate::scan::{Row, Slot, unescape};
use crate::trusted::string_views;

const CHUNK: u32 = 0;
const UNESCAPED: u32 = 1;

/// Grows by one row for each `push`; column `i` is path `i` of the plan.
pub struct Columns {
    columns: Vec<Column>,
    unescaped: Vec<u8>,
}

enum Column {
    Text(Texts),
    List(Lists),
    Flag(BooleanBufferBuilder),
}

struct Texts {
    views: Vec<u128>,
    nulls: NullBufferBuilder,
}

struct Lists {
    texts: Texts,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Columns {
    #[must_use]
    pub fn new(plan: &FieldPlan, capacity: usize) -> Self {
        let columns = plan.wants().iter().map(|want| Column::new(*want, capacity)).collect();
        Self { columns, unescaped: Vec::new() }
    }

    /// Appends a row that was scanned from `chunk`.
    pub fn push(&mut self, row: &Row, chunk: &[u8]) {
        for item in &row.items {
            if let Some(Column::List(lists)) = self.columns.get_mut(item.column as usize) {
                lists.texts.push(item.slot, chunk, &mut self.unescaped);
            }
        }
        for (column, slot) in self.columns.iter_mut().zip(&row.slots) {
            match column {
                Column::Text(texts) => texts.push(*slot, chunk, &mut self.unescaped),
                Column::List(lists) => lists.end_row(*slot),
                Column::Flag(flags) => flags.append(*slot == Slot::Reached),
            }
        }
    }

    /// The columns so far, over the chunk that every row was scanned from; afterwards this is empty again.
    pub fn finish(&mut self, chunk: &Buffer) -> Result<Vec<ArrayRef>, ArrowError> {
        let unescaped = Buffer::from_vec(std::mem::take(&mut self.unescaped));
        let buffers: Arc<[Buffer]> = Arc::from([chunk.clone(), unescaped]);
        self.columns.iter_mut().map(|column| column.finish(&buffers)).collect()
    }

    /// Each record's own bytes as a text column.
    pub fn raw(chunk: &Buffer, spans: &[Span]) -> Result<ArrayRef, ArrowError> {
        let view = |span: &Span| {
            let record = chunk.get(span.range()).unwrap_or_default();
            make_view(record, CHUNK, u32::try_from(span.start).unwrap_or(u32::MAX))
        };
        let views: Vec<u128> = spans.iter().map(view).collect();
        Ok(Arc::new(string_views(views.into(), Arc::from([chunk.clone()]), None)?))
    }
}

impl Column {
    fn new(want: Want, capacity: usize) -> Self {
        match want {
            Want::Text => Self::Text(Texts::new(capacity)),
            Want::List | Want::Any => {
                let mut ends = Vec::with_capacity(capacity + 1);
                ends.push(0);
                Self::List(Lists { texts: Texts::new(0), ends, nulls: NullBufferBuilder::new(capacity) })
            }
            Want::Present => Self::Flag(BooleanBufferBuilder::new(capacity)),
        }
    }

    fn finish(&mut self, buffers: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(texts) => Arc::new(texts.finish(buffers)?),
            Self::List(lists) => Arc::new(lists.finish(buffers)?),
            Self::Flag(flags) => Arc::new(BooleanArray::new(finish_flags(flags), None)),
        })
    }
}

fn finish_flags(flags: &mut BooleanBufferBuilder) -> BooleanBuffer {
    flags.finish()
}

impl Texts {
    fn new(capacity: usize) -> Self {
        Self { views: Vec::with_capacity(capacity), nulls: NullBufferBuilder::new(capacity) }
    }

    #[inline]
    fn push(&mut self, slot: Slot, chunk: &[u8], unescaped: &mut Vec<u8>) {
        let view = match slot {
            Slot::Missing | Slot::Null | Slot::Reached => None,
            Slot::Plain { start, .. } => {
                slot.range().and_then(|range| chunk.get(range)).map(|text| make_view(text, CHUNK, start))
            }
            Slot::Escaped { .. } => slot.range().and_then(|range| chunk.get(range)).map(|text| {
                let start = unescaped.len();
                unescape(text, unescaped);
                let text = unescaped.get(start..).unwrap_or_default();
                make_view(text, UNESCAPED, u32::try_from(start).unwrap_or(u32::MAX))
            }),
        };
        self.nulls.append(view.is_some());
        self.views.push(view.unwrap_or_default());
    }

    fn finish(&mut self, buffers: &Arc<[Buffer]>) -> Result<StringViewArray, ArrowError> {
        let views = ScalarBuffer::from(std::mem::take(&mut self.views));
        string_views(views, Arc::clone(buffers), self.nulls.finish())
    }
}

impl Lists {
    fn end_row(&mut self, slot: Slot) {
        self.ends.push(i32::try_from(self.texts.views.len()).unwrap_or(i32::MAX));
        self.nulls.append(slot == Slot::Reached);
    }

    fn finish(&mut self, buffers: &Arc<[Buffer]>) -> Result<ListArray, ArrowError> {
        let values = self.texts.finish(buffers)?;
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let field = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        ListArray::try_new(field, OffsetBuffer::new(ends.into()), Arc::new(values), self.nulls.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use keytrail_model::{Place, RawPath};

    use super::*;
    use crate::{Limits, scan};

    fn columns(records: &[&str], paths: &[&str]) -> (Buffer, Vec<Span>, Vec<ArrayRef>) {
        let chunk = Buffer::from_vec(records.concat().into_bytes());
        let paths: Vec<_> = paths.iter().map(|path| RawPath::parse(path).expect(path)).collect();
        let plan = FieldPlan::new(&paths);
        let (mut row, mut columns, mut spans, mut start) =
            (Row::new(&plan), Columns::new(&plan, records.len()), Vec::new(), 0);
        for record in records {
            let span = Span { start, end: start + record.len(), place: Place::default() };
            scan(&chunk, span.range(), &plan, &Limits::default(), &mut row).expect(record);
            columns.push(&row, &chunk);
            start = span.end;
            spans.push(span);
        }
        let arrays = columns.finish(&chunk).expect("columns");
        (chunk, spans, arrays)
    }

    #[test]
    fn long_texts_point_into_the_chunk_and_escaped_ones_do_not() {
        let long = "arn:aws:iam::111122223333:user/ci-deploy";
        let records = [format!(r#"{{"a":"{long}"}}"#), r#"{"a":"tab\tand more than twelve"}"#.into(), "{}".into()];
        let (chunk, spans, arrays) = columns(&records.each_ref().map(String::as_str), &["a"]);
        let texts = arrays[0].as_string_view();
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some(long), Some("tab\tand more than twelve"), None]);
        assert_eq!(texts.value(0).as_ptr(), chunk[6..].as_ptr());
        let raw = Columns::raw(&chunk, &spans).expect("raw");
        assert_eq!(raw.as_string_view().iter().flatten().collect::<Vec<_>>(), records);
    }

    #[test]
    fn lists_flags_and_numbers() {
        let (_, _, arrays) = columns(
            &[r#"{"r":[{"n":"a"},{"n":null}],"x":1.50}"#, r#"{"r":[],"x":null}"#, r#"{"r":null,"y":[1,[2]]}"#],
            &["r[].n", "x", "x?", "y[*]"],
        );
        let lists = arrays[0].as_list::<i32>();
        assert_eq!((lists.value_length(0), lists.value_length(1), lists.is_null(2)), (2, 0, true));
        assert_eq!(lists.values().as_string_view().iter().collect::<Vec<_>>(), [Some("a"), None]);
        assert_eq!(arrays[1].as_string_view().iter().collect::<Vec<_>>(), [Some("1.50"), None, None]);
        assert_eq!(arrays[2].as_boolean().iter().flatten().collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(
            arrays[3].as_list::<i32>().value(2).as_string_view().iter().flatten().collect::<Vec<_>>(),
            ["1", "2"]
        );
    }
}
