//! A piece of input: its bytes, and where each document in them begins and ends.

use std::ops::Range;

use keytrail_model::{Origins, Place};

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
    pub origins: Origins,
    /// Mutable on purpose: secrets are overwritten in place before any view is made.
    pub bytes: Vec<u8>,
    pub spans: Vec<Span>,
}

impl Chunk {
    /// Of one origin.
    #[must_use]
    pub fn of(origin: impl Into<Origins>, bytes: Vec<u8>, spans: Vec<Span>) -> Self {
        Self { origins: origin.into(), bytes, spans }
    }

    /// Several as one, each with an origin of its own: what is done once for a chunk is done once for all of them.
    #[must_use]
    pub fn joined(chunks: Vec<Self>) -> Self {
        let origins = chunks.iter().filter_map(|chunk| chunk.origins.iter().next().cloned()).collect();
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        for (part, chunk) in (0..).zip(chunks) {
            let base = bytes.len();
            bytes.extend_from_slice(&chunk.bytes);
            spans.extend(chunk.spans.into_iter().map(|span| Span {
                start: base + span.start,
                end: base + span.end,
                place: Place { part, ..span.place },
            }));
        }
        Self { origins, bytes, spans }
    }

    #[must_use]
    pub fn document(&self, span: &Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }
}
