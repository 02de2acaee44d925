//! Envelopes: how the records of a document come wrapped, and taking them out.
//!
//! `awslogs.data | base64 | gunzip | json > logEvents[].message | json`: a raw path, decoders, and after `>` the same
//! again inside what was decoded. Without decoders the records are ranges of the document itself.

use std::io::Read;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use keytrail_model::{RawPath, Want, did_you_mean};

use crate::frame::elements;
use crate::scan::{Fault, Row, Slot, scan, unescape};
use crate::{FieldPlan, Limits};

const DECODERS: &[(&str, Decoder)] =
    &[("json", Decoder::Json), ("base64", Decoder::Base64), ("gunzip", Decoder::Gunzip)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoder {
    Json,
    Base64,
    Gunzip,
}

#[derive(Clone, Debug)]
struct Stage {
    plan: FieldPlan,
    decoders: Vec<Decoder>,
}

#[derive(Clone, Debug)]
pub struct Envelope {
    text: String,
    stages: Vec<Stage>,
}

/// The records of one document, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwrapped {
    /// What was decoded, all records one after the other; `None` when the ranges are of the document itself.
    pub decoded: Option<Vec<u8>>,
    pub ranges: Vec<Range<usize>>,
    /// Set when the document broke off or one value did not decode; the records here are those that could be had.
    pub fault: Option<Fault>,
}

impl Envelope {
    /// The error is one lower-case sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stages = text.split('>').map(|stage| Stage::parse(stage, text)).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), stages })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key of an envelope that is nothing but an array under one key, such as `Records[]`.
    pub(crate) fn plain_key(&self) -> Option<&str> {
        let key = self.text.strip_suffix("[]")?;
        (!key.contains(['.', '[', '"', '>', '|'])).then_some(key)
    }

    /// Takes the records out of a document. `None` when this is not how the document is wrapped.
    pub fn unwrap(&self, document: &[u8], limits: &Limits) -> Result<Option<Unwrapped>, Fault> {
        let decodes = self.stages.len() > 1 || self.stages.iter().any(|stage| !stage.decoders.is_empty());
        let mut out = Unwrapped { decoded: decodes.then(Vec::new), ..Unwrapped::default() };
        let found = unwrap_stages(document, &self.stages, limits, &mut out);
        match out.fault.take() {
            Some(fault) if out.ranges.is_empty() => Err(fault),
            fault => Ok(found.then_some(Unwrapped { fault, ..out })),
        }
    }
}

impl Stage {
    fn parse(stage: &str, whole: &str) -> Result<Self, String> {
        let mut parts = stage.split('|').map(str::trim);
        let path = parts.next().and_then(RawPath::parse).filter(|path| matches!(path.want, Want::Text | Want::List));
        let path = path.ok_or_else(|| {
            format!("envelope `{whole}`: `{}` is not a path; write one such as `Records[]`", stage.trim())
        })?;
        let decoders = parts.map(|name| decoder(name, whole)).collect::<Result<_, _>>()?;
        Ok(Self { plan: FieldPlan::new(&[path]), decoders })
    }
}

fn decoder(name: &str, whole: &str) -> Result<Decoder, String> {
    let known = DECODERS.iter().find(|(known, _)| *known == name).map(|(_, decoder)| *decoder);
    known.ok_or_else(|| {
        let near = did_you_mean(name, DECODERS.iter().map(|(known, _)| *known));
        format!("envelope `{whole}`: unknown decoder `{name}`{near}; known are json, base64, gunzip")
    })
}

/// False when the path is not there.
fn unwrap_stages(document: &[u8], stages: &[Stage], limits: &Limits, out: &mut Unwrapped) -> bool {
    let Some((stage, inner)) = stages.split_first() else {
        keep(document, out);
        return true;
    };
    let mut row = Row::new(&stage.plan);
    if let Err(fault) = scan(document, 0..document.len(), &stage.plan, limits, &mut row) {
        out.fault.get_or_insert(fault);
    }
    if out.decoded.is_none() {
        let ranges: Vec<Range<usize>> = row.ranges(0).flat_map(|range| records(document, range)).collect();
        // `"event": "some text"` is a field of the record, not an envelope around one.
        let wraps = ranges.is_empty() || ranges.iter().any(|range| holds_structure(document, range));
        if wraps {
            out.ranges.extend(ranges);
        }
        return wraps && row.slot(0) != Slot::Missing;
    }
    let mut found = row.slot(0) == Slot::Reached && row.items(0).next().is_none();
    let values: Vec<Slot> = if row.slot(0) == Slot::Reached { row.items(0).collect() } else { vec![row.slot(0)] };
    for value in values {
        found |= unwrap_value(document, value, stage, inner, limits, out);
    }
    found
}

fn holds_structure(document: &[u8], range: &Range<usize>) -> bool {
    matches!(document.get(range.start), Some(b'{' | b'['))
}

fn unwrap_value(
    document: &[u8],
    value: Slot,
    stage: &Stage,
    inner: &[Stage],
    limits: &Limits,
    out: &mut Unwrapped,
) -> bool {
    let Some(text) = value.range().and_then(|range| document.get(range)) else { return false };
    let mut bytes = Vec::with_capacity(text.len());
    match value {
        Slot::Escaped { .. } => unescape(text, &mut bytes),
        _ => bytes.extend_from_slice(text),
    }
    for decoder in &stage.decoders {
        let room = limits.inflate_max.saturating_sub(out.decoded.as_ref().map_or(0, Vec::len));
        match decoder.decode(bytes, room) {
            Ok(decoded) => bytes = decoded,
            Err(reason) => {
                let byte = value.range().map_or(0, |range| range.start);
                out.fault.get_or_insert(Fault { byte, reason });
                return true;
            }
        }
    }
    unwrap_stages(&bytes, inner, limits, out)
}

fn keep(record: &[u8], out: &mut Unwrapped) {
    let decoded = out.decoded.get_or_insert_default();
    let base = decoded.len();
    decoded.extend_from_slice(record);
    out.ranges.extend(records(decoded, base..base + record.len()));
}

/// The elements of an array, which `data` is in some logs, else the value itself.
fn records(document: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let parts = document.get(range.clone()).and_then(elements);
    let placed = |part: Range<usize>| part.start + range.start..part.end + range.start;
    parts.map_or_else(|| vec![range.clone()], |parts| parts.into_iter().map(placed).collect())
}

impl Decoder {
    fn decode(self, bytes: Vec<u8>, room: usize) -> Result<Vec<u8>, String> {
        match self {
            // The string was unescaped when it was taken out; what follows scans the text as a document.
            Self::Json => Ok(bytes),
            Self::Base64 => STANDARD
                .decode(bytes.trim_ascii())
                .map_err(|fault| format!("base64 does not decode ({fault}); check the envelope of this log source")),
            Self::Gunzip => gunzip(&bytes, room),
        }
    }
}

fn gunzip(bytes: &[u8], room: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(room as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|fault| format!("gzip does not inflate ({fault}); check the envelope of this log source"))?;
    if out.len() > room {
        return Err(format!(
            "inflates to more than {room} bytes, so it is left alone; raise the limit if it is genuine"
        ));
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
