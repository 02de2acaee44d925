//! Chunks of documents to batches of events: redaction, recognition, envelopes, scan, mapping.
//!
//! A record cannot fail its batch: it becomes an event, a reject with position and reason, or is counted as unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::Buffer;
use keytrail_model::{EventBatch, FileError, Origins, Place, Position, RawPath, Reject};
use keytrail_sql::{Planner, SqlError};
use serde::de::IgnoredAny;

use crate::frame::elements_under;
use crate::source_plan::SourcePlan;
use crate::{
    Chunk, Columns, Condition, Envelope, Fault, FieldPlan, Limits, Mapping, Redactor, Row, Slot, Span, Unwrapped,
    check_text, redact_range, scan,
};

/// What enabled rules and outputs need of the events.
#[derive(Clone, Debug, Default)]
pub struct Needed {
    /// Event columns that every event needs; `None` stands for all. The others are null until `Normaliser::complete`.
    pub columns: Option<BTreeSet<String>>,
    /// Raw paths that rules read, by log source.
    pub paths: BTreeMap<String, BTreeSet<RawPath>>,
}

/// A shape of record that no mapping knows: its top-level keys, how many, and where the first stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub first: Position,
    pub count: u64,
}

/// What became of the chunks so far.
#[derive(Debug, Default)]
pub struct Normalised {
    pub batches: Vec<EventBatch>,
    /// What the batches were made from, one for each, to complete them with.
    pub sources: Vec<Unfinished>,
    pub rejects: Vec<Reject>,
    /// Records that a mapping ignores, by the mapping's reason.
    pub ignored: BTreeMap<String, u64>,
    /// By top-level keys.
    pub unknown: BTreeMap<String, Unknown>,
    /// How many records of each part of a chunk are rejected or unknown.
    pub bad: BTreeMap<u32, u64>,
    /// How many secrets were overwritten.
    pub redacted: u64,
}

/// The records behind a batch.
#[derive(Debug)]
pub struct Unfinished {
    source: usize,
    buffer: Buffer,
    spans: Vec<Span>,
}

/// Envelopes inside envelopes end here.
const NESTING_MAX: usize = 4;
/// Shapes of unknown records told apart; the rest are counted together.
const SHAPES_MAX: usize = 1000;
/// How much of a reject is kept.
const REJECT_BYTES: usize = 4096;

pub struct Normaliser {
    sources: Arc<[SourcePlan]>,
    envelopes: Arc<[Envelope]>,
    redactor: Arc<Redactor>,
    limits: Limits,
    rows: Vec<Row>,
    /// The source and the envelope that fitted last: logs come in runs.
    last_source: usize,
    last_envelope: usize,
}

/// The bytes in work and what was found in them.
struct Work {
    origins: Origins,
    bytes: Vec<u8>,
    /// How many documents there are: as many events, most often.
    documents: usize,
    found: Vec<Option<Found>>,
}

/// Rows of one source in one buffer.
struct Found {
    columns: Columns,
    spans: Vec<Span>,
}

impl Found {
    fn new(fields: &FieldPlan, capacity: usize) -> Self {
        Self { columns: Columns::new(fields, capacity), spans: Vec::with_capacity(capacity) }
    }
}

impl Normaliser {
    /// Plans every mapping for what is needed.
    pub fn new(mappings: &[Arc<Mapping>], needed: &Needed, limits: Limits) -> Result<Self, Vec<FileError>> {
        let planner = Planner::new();
        let none = BTreeSet::new();
        let mut sources = Vec::new();
        let mut errors = Vec::new();
        for mapping in mappings {
            let paths = needed.paths.get(&mapping.source).unwrap_or(&none);
            match SourcePlan::new(mapping.clone(), paths, needed.columns.as_ref(), &planner) {
                Ok(source) => sources.push(source),
                Err(more) => errors.extend(more),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut envelopes: Vec<Envelope> = mappings.iter().flat_map(|mapping| mapping.envelopes.clone()).collect();
        envelopes.sort_by(|left, right| left.as_str().cmp(right.as_str()));
        envelopes.dedup_by(|left, right| left.as_str() == right.as_str());
        let rows = sources.iter().map(|source| Row::new(&source.hot.fields)).collect();
        let redactor = Arc::new(Redactor::new());
        let (sources, envelopes) = (sources.into(), envelopes.into());
        Ok(Self { sources, envelopes, redactor, limits, rows, last_source: 0, last_envelope: 0 })
    }

    /// Another one for another worker: the same plans, its own scratch.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            sources: Arc::clone(&self.sources),
            envelopes: Arc::clone(&self.envelopes),
            redactor: Arc::clone(&self.redactor),
            limits: self.limits.clone(),
            rows: self.sources.iter().map(|source| Row::new(&source.hot.fields)).collect(),
            last_source: self.last_source,
            last_envelope: self.last_envelope,
        }
    }

    /// Normalises one chunk; what it held is added to `out`.
    pub fn normalise(&mut self, mut chunk: Chunk, out: &mut Normalised) {
        let spans = std::mem::take(&mut chunk.spans);
        self.buffer(chunk.origins, chunk.bytes, &spans, 0, out);
    }

    fn buffer(&mut self, origins: Origins, mut bytes: Vec<u8>, spans: &[Span], nesting: usize, out: &mut Normalised) {
        out.redacted += self.redactor.redact(&mut bytes);
        let found = self.sources.iter().map(|_| None).collect();
        let mut work = Work { origins, bytes, documents: spans.len(), found };
        for span in spans {
            self.document(&mut work, span, nesting, out);
        }
        self.finish(work, out);
    }

    fn document(&mut self, work: &mut Work, span: &Span, nesting: usize, out: &mut Normalised) {
        let text = check_text(work.bytes.get(span.range()).unwrap_or_default());
        match text.and_then(|()| self.recognise(work, span)) {
            Ok(Some(source)) => self.take(work, span, source, out),
            Ok(None) if self.unwrap(work, span, nesting, out) => {}
            Ok(None) => unknown(work, span, out),
            Err(_) if self.pick_apart(work, span, nesting, out) => {}
            Err(fault) => reject(work, span, &fault, out),
        }
    }

    /// One bad record must not hide the others of its envelope: tells the elements apart by their brackets alone, and
    /// lets each stand or fall by itself.
    fn pick_apart(&mut self, work: &mut Work, span: &Span, nesting: usize, out: &mut Normalised) -> bool {
        if nesting >= NESTING_MAX {
            return false;
        }
        let keys: Vec<&str> = self.envelopes.iter().filter_map(Envelope::plain_key).collect();
        let document = work.bytes.get(span.range()).unwrap_or_default();
        let Some((ranges, broken)) = elements_under(document, &keys) else { return false };
        for element in numbered(&ranges, span, true) {
            self.document(work, &element, nesting + 1, out);
        }
        if let Some(byte) = broken {
            let reason = "the document is truncated or damaged here; the records before this were read, send the whole file for the rest".to_owned();
            reject(work, span, &Fault { byte, reason }, out);
        }
        true
    }

    /// The source whose conditions hold; its row is left filled.
    fn recognise(&mut self, work: &Work, span: &Span) -> Result<Option<usize>, Fault> {
        let mut first_fault = None;
        let last = self.last_source;
        let order = std::iter::once(last).chain((0..self.sources.len()).filter(move |&index| index != last));
        for index in order {
            let (Some(source), Some(row)) = (self.sources.get(index), self.rows.get_mut(index)) else { continue };
            match scan(&work.bytes, span.range(), &source.hot.fields, &self.limits, row) {
                Ok(()) if holds(source, row, &work.bytes) => {
                    self.last_source = index;
                    return Ok(Some(index));
                }
                Ok(()) => {}
                // A key that stands twice matters only to the source that reads it, so the others are asked first.
                Err(fault) => drop(first_fault.get_or_insert(fault)),
            }
        }
        first_fault.map_or(Ok(None), Err)
    }

    fn take(&mut self, work: &mut Work, span: &Span, index: usize, out: &mut Normalised) {
        let (Some(source), Some(row)) = (self.sources.get(index), self.rows.get(index)) else { return };
        if let Some(reason) = &source.mapping.ignore {
            *out.ignored.entry(reason.clone()).or_default() += 1;
            return;
        }
        for range in source.redact.iter().flat_map(|&column| row.ranges(column)).collect::<Vec<_>>() {
            redact_range(&mut work.bytes, range);
            out.redacted += 1;
        }
        let Some(found) = work.found.get_mut(index) else { return };
        let capacity = work.documents;
        let found = found.get_or_insert_with(|| Found::new(&source.hot.fields, capacity));
        found.columns.push(row, &work.bytes);
        found.spans.push(*span);
    }

    /// Opens the envelope that fits, if one does, and goes on with what is inside.
    fn unwrap(&mut self, work: &mut Work, span: &Span, nesting: usize, out: &mut Normalised) -> bool {
        if nesting >= NESTING_MAX {
            return false;
        }
        let last = self.last_envelope;
        let order = std::iter::once(last).chain((0..self.envelopes.len()).filter(move |&index| index != last));
        let mut first_fault = None;
        for index in order {
            let Some(envelope) = self.envelopes.get(index) else { continue };
            match envelope.unwrap(work.bytes.get(span.range()).unwrap_or_default(), &self.limits) {
                Ok(Some(inside)) => {
                    self.last_envelope = index;
                    self.inside(work, span, inside, nesting, out);
                    return true;
                }
                Ok(None) => {}
                Err(fault) => drop(first_fault.get_or_insert(fault)),
            }
        }
        if let Some(fault) = &first_fault {
            reject(work, span, fault, out);
        }
        first_fault.is_some()
    }

    fn inside(&mut self, work: &mut Work, span: &Span, inside: Unwrapped, nesting: usize, out: &mut Normalised) {
        let spans = numbered(&inside.ranges, span, inside.decoded.is_none());
        match inside.decoded {
            Some(bytes) => self.buffer(work.origins.clone(), bytes, &spans, nesting + 1, out),
            None => spans.iter().for_each(|element| self.document(work, element, nesting + 1, out)),
        }
        if let Some(fault) = inside.fault {
            reject(work, span, &fault, out);
        }
    }

    /// Some rows of a batch with all their columns.
    pub fn complete(&self, events: &EventBatch, from: &Unfinished, rows: &[u32]) -> Result<EventBatch, SqlError> {
        let source = self.sources.get(from.source);
        let source = source.ok_or_else(|| SqlError::Plan("a batch of another normaliser".to_owned()))?;
        let spans: Vec<Span> = rows.iter().filter_map(|row| from.spans.get(*row as usize).copied()).collect();
        let places = spans.iter().map(|span| span.place).collect();
        let batch = source.complete(&from.buffer, &spans, &self.limits)?;
        Ok(EventBatch { source: events.source.clone(), origins: events.origins.clone(), batch, places })
    }

    fn kept(&self, origins: &Origins, place: Place, reason: String, record: &[u8]) -> Reject {
        let record = self.redactor.excerpt(record.get(..REJECT_BYTES).unwrap_or(record));
        Reject { position: origins.position(place), reason, record }
    }

    /// Freezes the buffer, makes views into it and evaluates the mappings.
    fn finish(&self, work: Work, out: &mut Normalised) {
        let buffer = Buffer::from_vec(work.bytes);
        for (index, (source, found)) in self.sources.iter().zip(work.found).enumerate() {
            let Some(Found { columns, spans }) = found else { continue };
            let (batch, bad) = source.events(columns, &buffer, &spans);
            let dropped: BTreeSet<usize> = bad.iter().map(|(row, _)| *row).collect();
            out.rejects.extend(bad.into_iter().filter_map(|(row, reason)| {
                let span = spans.get(row)?;
                *out.bad.entry(span.place.part).or_default() += 1;
                let record = buffer.as_slice().get(span.range()).unwrap_or_default();
                Some(self.kept(&work.origins, span.place, reason, record))
            }));
            let (origins, name) = (work.origins.clone(), Arc::from(source.mapping.source.as_str()));
            let kept = spans.iter().enumerate().filter(|(row, _)| !dropped.contains(row));
            let spans: Vec<Span> = kept.map(|(_, span)| *span).collect();
            let places = spans.iter().map(|span| span.place).collect();
            out.batches.push(EventBatch { source: name, origins, batch, places });
            out.sources.push(Unfinished { source: index, buffer: buffer.clone(), spans });
        }
    }
}

fn reject(work: &Work, span: &Span, fault: &Fault, out: &mut Normalised) {
    let place = Place { byte: span.place.byte + fault.byte as u64, ..span.place };
    // Its bytes are not kept: what cannot be read whole cannot be redacted for certain.
    *out.bad.entry(place.part).or_default() += 1;
    let (position, reason) = (work.origins.position(place), fault.reason.clone());
    out.rejects.push(Reject { position, reason, record: String::new() });
}

fn holds(source: &SourcePlan, row: &Row, bytes: &[u8]) -> bool {
    let one = |(column, condition): &(usize, Condition)| {
        let slot = row.slot(*column);
        let value = slot.range().and_then(|range| bytes.get(range)).and_then(|value| std::str::from_utf8(value).ok());
        condition.holds(slot != Slot::Missing, value)
    };
    source.recognise.iter().any(|shape| shape.iter().all(one))
}

/// The elements of an envelope, numbered from one when there are several.
fn numbered(ranges: &[Range<usize>], outer: &Span, same_bytes: bool) -> Vec<Span> {
    let many = ranges.len() > 1 || outer.place.line.is_none();
    let element = |(index, range): (usize, &Range<usize>)| {
        let record = if many && outer.place.record.is_none() { Some(index as u64 + 1) } else { outer.place.record };
        let offset = if same_bytes { outer.start } else { 0 };
        let byte = if same_bytes { outer.place.byte + range.start as u64 } else { outer.place.byte };
        Span { start: offset + range.start, end: offset + range.end, place: Place { record, byte, ..outer.place } }
    };
    ranges.iter().enumerate().map(element).collect()
}

fn unknown(work: &Work, span: &Span, out: &mut Normalised) {
    let document = work.bytes.get(span.range()).unwrap_or_default();
    #[expect(clippy::zero_sized_map_values, reason = "the keys are wanted, the values are skipped unread")]
    let keys = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(document);
    let shape = match keys {
        Ok(keys) => keys.keys().take(12).map(|key| key.chars().take(40).collect()).collect::<Vec<String>>().join(", "),
        Err(_) => "not an object".to_owned(),
    };
    let full = out.unknown.len() >= SHAPES_MAX && !out.unknown.contains_key(&shape);
    let shape = if full { "(other shapes)".to_owned() } else { shape };
    let seen = out.unknown.entry(shape);
    let first = || Unknown { first: work.origins.position(span.place), count: 0 };
    seen.or_insert_with(first).count += 1;
    *out.bad.entry(span.place.part).or_default() += 1;
}
