//! Cutting the buffer into chunks at line ends: a bad, endless or half line loses only itself.

use std::ops::Range;

use keytrail_model::Place;

use super::shape::{elements, may_hold_records, value_end};
use super::{Framing, Reader};
use crate::{Chunk, Span};

/// How much of a line that is not held is kept for its reject.
const HEAD_BYTES: usize = 2048;

/// A line too long to be held: only its place, its length and its first bytes are kept.
pub(super) struct Dropped {
    place: Place,
    length: usize,
    head: Vec<u8>,
}

impl Reader {
    pub(super) fn cut_lines(&mut self) {
        if !self.pass_dropped() {
            return;
        }
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        let end = match memchr::memrchr(b'\n', fresh) {
            _ if self.ended => self.buffer.len(),
            Some(newline) => self.searched + newline + 1,
            None => 0,
        };
        let (bytes, byte) = self.take(end);
        let spans = self.line_spans(&bytes, byte);
        self.hand_on(bytes, spans);
        self.begin_dropped();
    }

    /// The first `end` bytes of the buffer, and their offset in the input.
    pub(super) fn take(&mut self, end: usize) -> (Vec<u8>, u64) {
        let rest = self.buffer.split_off(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let byte = self.byte;
        self.byte += end as u64;
        (bytes, byte)
    }

    pub(super) fn hand_on(&mut self, bytes: Vec<u8>, spans: Vec<Span>) {
        if !spans.is_empty() {
            self.ready.push_back(Ok(Chunk::of(&*self.origin, bytes, spans)));
        }
    }

    fn line_spans(&mut self, bytes: &[u8], byte: u64) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let rest = bytes.get(start..).unwrap_or_default();
            let end = start + memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            self.lines += 1;
            let line = trimmed(bytes, start..end);
            let place = Place { part: 0, line: Some(self.lines), record: None, byte: byte + line.start as u64 };
            let last = end == bytes.len();
            let cut = last && self.cut_short(bytes, &line);
            if !line.is_empty() && !cut {
                self.line_span(bytes, line, place, &mut spans);
            }
            start = end;
        }
        spans
    }

    /// A line that is unfinished because the file could not be read further is told of with the file.
    fn cut_short(&self, bytes: &[u8], line: &Range<usize>) -> bool {
        let text = bytes.get(line.clone()).unwrap_or_default();
        self.ended && self.broken.is_some() && value_end(text, 0) != Some(text.len()) && !may_hold_records(text)
    }

    fn line_span(&mut self, bytes: &[u8], line: Range<usize>, place: Place, spans: &mut Vec<Span>) {
        let text = bytes.get(line.clone()).unwrap_or_default();
        if let Some(reason) = self.too_long("line", text, text.len()) {
            self.reject(place, reason);
            return;
        }
        let Some(parts) = elements(text) else {
            spans.push(Span { start: line.start, end: line.end, place });
            return;
        };
        spans.extend((1..).zip(parts).map(|(record, part)| Span {
            start: line.start + part.start,
            end: line.start + part.end,
            place: Place { record: Some(record), byte: place.byte + part.start as u64, ..place },
        }));
    }

    /// `length` may be more than what is held of the text.
    pub(super) fn too_long(&self, what: &str, text: &[u8], length: usize) -> Option<String> {
        let (max, name) = match may_hold_records(text) {
            true => (self.limits.document_bytes_max, "document_bytes_max"),
            false => (self.limits.record_bytes_max, "record_bytes_max"),
        };
        let reason = || {
            format!(
                "{what} of {length} bytes is longer than the limit of {max}; raise `{name}` if it is a genuine record"
            )
        };
        (length > max).then(reason)
    }

    /// The rest of the buffer holds no newline; once it is too long it is let go.
    fn begin_dropped(&mut self) {
        self.searched = self.buffer.len();
        if self.too_long("line", &self.buffer, self.buffer.len()).is_none() {
            return;
        }
        let place = Place { part: 0, line: Some(self.lines + 1), record: None, byte: self.byte };
        let (bytes, _) = self.take(self.buffer.len());
        let head = bytes.get(..HEAD_BYTES).unwrap_or(&bytes).to_vec();
        self.searched = 0;
        self.framing = Framing::Lines { dropped: Some(Dropped { place, length: bytes.len(), head }) };
    }

    /// Goes on to the end of a line that was let go. False while it lasts.
    fn pass_dropped(&mut self) -> bool {
        let Framing::Lines { dropped } = &mut self.framing else { return true };
        let Some(mut line) = dropped.take() else { return true };
        let newline = memchr::memchr(b'\n', &self.buffer);
        line.length += newline.unwrap_or(self.buffer.len());
        self.take(newline.map_or(self.buffer.len(), |newline| newline + 1));
        if newline.is_none() && !self.ended {
            self.framing = Framing::Lines { dropped: Some(line) };
            return false;
        }
        self.lines += 1;
        let reason = self.too_long("line", &line.head, line.length).unwrap_or_default();
        self.reject(line.place, reason);
        true
    }
}

fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = bytes.get(range.clone()).unwrap_or_default();
    let start = range.end - text.trim_ascii_start().len();
    start..start + text.trim_ascii().len()
}
