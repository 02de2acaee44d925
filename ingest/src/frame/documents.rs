//! Cutting the buffer into chunks at the ends of documents: concatenated, pretty-printed, or in a top-level array.

use std::ops::Range;

use keytrail_model::Place;

use super::shape::{Split, may_hold_records, skip_space, value_end};
use super::{Framing, Reader};
use crate::Span;

/// How often an open document is given up for one that begins on a later line. Bounds the work on a hopeless file.
const RESTARTS_MAX: usize = 16;

/// Where the cutting stands. Places are in the buffer.
#[derive(Clone, Copy, Default)]
pub(super) struct Documents {
    in_array: bool,
    at: usize,
    open: Option<(usize, Split)>,
    restarts: usize,
}

impl Reader {
    pub(super) fn cut_documents(&mut self, mut state: Documents) {
        let ranges: Vec<_> = std::iter::from_fn(|| state.next(&self.buffer, self.ended)).collect();
        let end = state.open.map_or(state.at, |(start, _)| start);
        let (bytes, byte) = self.take(end);
        state.shift(end);
        self.framing = Framing::Documents(state);
        let spans = ranges.into_iter().filter_map(|range| self.document_span(&bytes, range, byte)).collect();
        self.hand_on(bytes, spans);
        self.give_up_when_too_long();
    }

    fn document_span(&mut self, bytes: &[u8], range: Range<usize>, byte: u64) -> Option<Span> {
        self.documents += 1;
        let place = Place { part: 0, line: None, record: Some(self.documents), byte: byte + range.start as u64 };
        let text = bytes.get(range.clone()).unwrap_or_default();
        if let Some(reason) = self.too_long("document", text, text.len()) {
            self.reject(place, reason);
            return None;
        }
        Some(Span { start: range.start, end: range.end, place })
    }

    /// An unfinished document is held in the buffer, so it must not grow for ever.
    fn give_up_when_too_long(&mut self) {
        if self.buffer.len() <= self.limits.document_bytes_max {
            return;
        }
        let place = Place { part: 0, line: None, record: Some(self.documents + 1), byte: self.byte };
        let max = self.limits.document_bytes_max;
        let reason = format!(
            "document is longer than the limit of {max} bytes, the rest of the file is not read; raise \
             `document_bytes_max` or split the file into one record a line"
        );
        self.take(self.buffer.len());
        self.reject(place, reason);
        self.done = true;
    }
}

impl Documents {
    fn next(&mut self, buffer: &[u8], ended: bool) -> Option<Range<usize>> {
        loop {
            if let Some((start, split)) = self.open.take() {
                return self.close(buffer, start, split, ended);
            }
            self.at = skip_space(buffer, self.at);
            match buffer.get(self.at)? {
                b',' => self.at += 1,
                b']' => {
                    self.in_array = false;
                    self.at += 1;
                }
                b'[' if !self.in_array => {
                    self.in_array = true;
                    self.at += 1;
                }
                b'{' | b'[' => self.open = Some((self.at, Split::from(self.at))),
                _ => return self.other(buffer, ended),
            }
        }
    }

    fn close(&mut self, buffer: &[u8], start: usize, mut split: Split, ended: bool) -> Option<Range<usize>> {
        let end = match split.advance(buffer) {
            Some(end) => end,
            None if ended => self.give_up(buffer, start),
            None => {
                self.open = Some((start, split));
                return None;
            }
        };
        self.at = end;
        let text = buffer.get(start..end).unwrap_or_default();
        Some(start..start + text.trim_ascii_end().len())
    }

    /// Where a document that never closes is taken to end: before the next line that begins with one.
    fn give_up(&mut self, buffer: &[u8], start: usize) -> usize {
        let text = buffer.get(start..).unwrap_or_default();
        if self.restarts == RESTARTS_MAX || may_hold_records(text) {
            return buffer.len();
        }
        self.restarts += 1;
        let begins = |&newline: &usize| matches!(text.get(newline + 1), Some(b'{' | b'['));
        memchr::memchr_iter(b'\n', text).find(begins).map_or(buffer.len(), |newline| start + newline + 1)
    }

    /// Not an object or array: an element of its own, or garbage up to the end of the line.
    fn other(&mut self, buffer: &[u8], ended: bool) -> Option<Range<usize>> {
        let start = self.at;
        let value = value_end(buffer, start).filter(|_| self.in_array);
        let line = || memchr::memchr(b'\n', buffer.get(start..)?).map(|newline| start + newline);
        let end = value.or_else(line).filter(|end| *end < buffer.len()).or(ended.then_some(buffer.len()))?;
        self.at = end;
        let text = buffer.get(start..end).unwrap_or_default();
        Some(start..start + text.trim_ascii_end().len())
    }

    fn shift(&mut self, by: usize) {
        self.at = self.at.saturating_sub(by);
        self.open = self.open.map(|(start, split)| (start - by, split.shifted(by)));
    }
}
