//! Many small messages put together to chunks of a useful size, each record with the position of its message.

use std::sync::Arc;

use keytrail_model::{Place, Reject};

use crate::{Chunk, Limits, Reader, Span};

/// Gathers the messages of one origin.
pub struct Messages {
    origin: Arc<str>,
    limits: Limits,
    chunk: Chunk,
    done: Vec<Result<Chunk, Reject>>,
}

impl Messages {
    #[must_use]
    pub fn new(origin: &str, limits: &Limits) -> Self {
        let chunk = Chunk::of(origin, Vec::new(), Vec::new());
        Self { origin: Arc::from(origin), limits: limits.clone(), chunk, done: Vec::new() }
    }

    /// One message, which may be one record, several lines, or packed. `position` tells it from the others of its origin.
    pub fn add(&mut self, position: u64, bytes: &[u8]) {
        let plain = bytes.first() == Some(&b'{') && memchr::memchr(b'\n', bytes).is_none();
        if plain && bytes.len() <= self.limits.record_bytes_max {
            return self.append(bytes, &[(0..bytes.len(), None)], position);
        }
        let origin = Arc::clone(&self.origin);
        let read = Reader::over(&origin, bytes.to_vec(), &self.limits);
        let mut number = 0;
        for read in read.into_iter().flatten() {
            match read {
                Ok(chunk) => {
                    let mut spans = Vec::new();
                    for span in &chunk.spans {
                        number += 1;
                        spans.push((span.range(), Some(number)));
                    }
                    self.append(&chunk.bytes, &spans, position);
                }
                Err(reject) => {
                    let record = reject.position.line.or(reject.position.record);
                    let place = Place { record, byte: position, ..Place::default() };
                    self.done.push(Err(Reject { position: place.within(&origin), ..reject }));
                }
            }
        }
    }

    fn append(&mut self, bytes: &[u8], spans: &[(std::ops::Range<usize>, Option<u64>)], position: u64) {
        let base = self.chunk.bytes.len();
        self.chunk.bytes.extend_from_slice(bytes);
        self.chunk.bytes.push(b'\n');
        self.chunk.spans.extend(spans.iter().map(|(range, record)| Span {
            start: base + range.start,
            end: base + range.end,
            place: Place { record: *record, byte: position, ..Place::default() },
        }));
        if self.chunk.bytes.len() >= self.limits.chunk_bytes {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let fresh = Chunk::of(&*self.origin, Vec::new(), Vec::new());
        let full = std::mem::replace(&mut self.chunk, fresh);
        if !full.spans.is_empty() {
            self.done.push(Ok(full));
        }
    }

    /// In order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Result<Chunk, Reject>> {
        self.cut();
        self.done
    }
}
