//! The one place with unsafe code: an array of text views that is not checked a second time.
//!
//! Arrow checks every view's bounds, prefix and UTF-8 again when an array is made, which for the raw record alone is
//! every byte of the input. `DESIGN.md` has the figure. Debug builds, and so all tests, take the checked way.

use std::sync::Arc;

use arrow::array::StringViewArray;
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::error::ArrowError;

/// Views that `columns` made with `make_view` from a range of one of `buffers`, whose text was found to be UTF-8 by
/// `check_text`, or written by `unescape`, and whose ends stand at ASCII characters.
#[expect(unsafe_code, reason = "measured: a third of the time spent on columns")]
pub(crate) fn string_views(
    views: ScalarBuffer<u128>,
    buffers: Arc<[Buffer]>,
    nulls: Option<NullBuffer>,
) -> Result<StringViewArray, ArrowError> {
    if cfg!(debug_assertions) {
        return StringViewArray::try_new(views, buffers, nulls);
    }
    // SAFETY: every view is the result of `make_view` on bytes that were read out of the buffer that it names, at the
    // offset that it names (`Texts::push`, `Columns::raw`), or the default view, which is the empty text. The bytes are
    // UTF-8: whole documents pass `check_text` before they are scanned, a slot begins and ends at a quote, bracket or
    // other ASCII character of its document, and redaction writes ASCII over whole values. Buffers are not changed
    // afterwards: they are made from the chunk once it is finished.
    Ok(unsafe { StringViewArray::new_unchecked(views, buffers, nulls) })
}
