//! A piece of input: its bytes, and where each document in them begins and ends.

use std::ops::Range;
use std::sync::Arc;

use keytrail_model::Place;

/// One document of a chunk: a JSON line, a top-level document or an element of a top-level array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub place: Place,
}

impl Span {
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

#[derive(Clone, Debug)]
pub struct Chunk {
    pub origin: Arc<str>,
    /// Mutable on purpose: secrets are overwritten in place before any view is made.
    pub bytes: Vec<u8>,
    pub spans: Vec<Span>,
}

impl Chunk {
    #[must_use]
    pub fn document(&self, span: &Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }
}
