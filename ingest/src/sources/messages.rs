//! Many small messages put together to chunks of a useful size, each record with the position of its message.

use std::collections::VecDeque;
use std::sync::Arc;

use keytrail_model::{Place, Reject};

use crate::{Chunk, Limits, Reader, Span};

/// The messages of one origin, in order. What is packed is unpacked as it is pulled: never all of it at once.
pub struct Messages {
    origin: Arc<str>,
    limits: Limits,
    chunk: Chunk,
    ready: VecDeque<Result<Chunk, Reject>>,
    /// The first that has to be taken apart, and all behind it.
    waiting: VecDeque<(u64, Vec<u8>)>,
    open: Option<Open>,
}

/// A message that is being taken apart.
struct Open {
    position: u64,
    records: u64,
    reader: Reader,
}

impl Messages {
    #[must_use]
    pub fn new(origin: &str, limits: &Limits) -> Self {
        let chunk = Chunk::of(origin, Vec::new(), Vec::new());
        let (ready, waiting) = (VecDeque::new(), VecDeque::new());
        Self { origin: Arc::from(origin), limits: limits.clone(), chunk, ready, waiting, open: None }
    }

    /// One message, which may be one record, several lines, or packed. `position` tells it from the others of its origin.
    pub fn add(&mut self, position: u64, bytes: &[u8]) {
        match self.waiting.is_empty() && self.is_plain(bytes) {
            true => self.append(bytes, &[(0..bytes.len(), None)], position),
            false => self.waiting.push_back((position, bytes.to_vec())),
        }
    }

    fn is_plain(&self, bytes: &[u8]) -> bool {
        let one = bytes.first() == Some(&b'{') && memchr::memchr(b'\n', bytes).is_none();
        one && bytes.len() <= self.limits.record_bytes_max
    }

    fn take_apart(&mut self, position: u64, bytes: Vec<u8>) {
        if self.is_plain(&bytes) {
            return self.append(&bytes, &[(0..bytes.len(), None)], position);
        }
        match Reader::over(&self.origin, bytes, &self.limits) {
            Ok(reader) => self.open = Some(Open { position, records: 0, reader }),
            Err(fault) => self.reject(Place { byte: position, ..Place::default() }, fault.to_string()),
        }
    }

    /// What comes next of the message that is open.
    fn unpack(&mut self, mut open: Open) {
        match open.reader.next() {
            None => return,
            Some(Ok(chunk)) => {
                let numbers = open.records + 1..;
                let spans: Vec<_> =
                    chunk.spans.iter().zip(numbers).map(|(span, at)| (span.range(), Some(at))).collect();
                open.records += spans.len() as u64;
                self.append(&chunk.bytes, &spans, open.position);
            }
            Some(Err(reject)) => {
                let record = reject.position.line.or(reject.position.record);
                self.reject(Place { record, byte: open.position, ..Place::default() }, reject.reason);
            }
        }
        self.open = Some(open);
    }

    fn reject(&mut self, place: Place, reason: String) {
        let position = place.within(&self.origin);
        self.ready.push_back(Err(Reject { position, reason, record: String::new() }));
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
            self.ready.push_back(Ok(full));
        }
    }
}

impl Iterator for Messages {
    type Item = Result<Chunk, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if let Some(open) = self.open.take() {
                self.unpack(open);
            } else if let Some((position, bytes)) = self.waiting.pop_front() {
                self.take_apart(position, bytes);
            } else {
                self.cut();
                break;
            }
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn messages_keep_their_order_and_are_unpacked_as_they_are_pulled() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..50).for_each(|number| writeln!(packed, "{{\"n\":{number}}}").expect("room"));
        let packed = packed.finish().expect("packed");
        let limits = Limits { chunk_bytes: 64, ..Limits::default() };
        let mut messages = Messages::new("t/0", &limits);
        let bodies: [&[u8]; 5] = [b"{\"a\":1}", &packed, b"{\"b\":1}", &packed[..20], b"{\"c\":1}\n{\"c\":2}"];
        (10..).zip(bodies).for_each(|(position, body)| messages.add(position, body));
        assert!(messages.ready.is_empty(), "nothing is unpacked before it is pulled");
        let (mut got, mut rejects) = (Vec::new(), Vec::new());
        for read in messages.by_ref() {
            match read {
                Ok(chunk) => got.extend(chunk.spans.iter().map(|span| (span.place.byte, span.place.record))),
                Err(reject) => rejects.push(reject.position.byte),
            }
        }
        let unpacked = (1..=50).map(|number| (11, Some(number)));
        // Of the one that is cut, what there is.
        let rest = [(12, None), (13, Some(1)), (14, Some(1)), (14, Some(2))];
        let expected: Vec<_> = std::iter::once((10, None)).chain(unpacked).chain(rest).collect();
        assert_eq!((got, rejects), (expected, vec![13]));
        assert!(messages.next().is_none());
    }
}
