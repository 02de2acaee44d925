//! How records wait in the store for their turn: redacted, packed, each with its place. Read back they are a chunk again,
//! and become the same events.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use keytrail_ingest::{Chunk, Span};
use keytrail_model::{EventBatch, Micros, Place};
use keytrail_store::Held;
use serde::{Deserialize, Serialize};

/// What a chunk of 1 MiB could unpack to at most, records being at most 16 MiB each and 4 MiB together with others.
const UNPACKED_MAX: u64 = 512 << 20;
/// Fast: it is written once and read twice.
const LEVEL: i32 = 1;
/// How far ahead of its arrival an event's time is believed; a wrong clock must not move everybody's.
const AHEAD: i64 = 300 * Micros::SECOND;

/// Length, origin, line, record and byte of a record.
type Placed = (usize, u32, Option<u64>, Option<u64>, u64);

/// Stands before the records, on a line of its own.
#[derive(Serialize, Deserialize)]
struct Head {
    origins: Vec<String>,
    places: Vec<Placed>,
}

/// The events of one chunk; `None` where there are none.
pub fn pack(lane: &str, batches: &[EventBatch], arrived: Micros) -> Result<Option<Held>> {
    let Some(batch) = batches.first() else { return Ok(None) };
    let origins = batch.origins.iter().map(ToString::to_string).collect();
    let (mut places, mut records) = (Vec::new(), Vec::new());
    let (mut first, mut last) = (Micros(i64::MAX), Micros(i64::MIN));
    for batch in batches {
        for row in 0..batch.rows() {
            let raw = batch.text("raw", row).unwrap_or("null");
            let place = batch.places.get(row).copied().unwrap_or_default();
            places.push((raw.len(), place.part, place.line, place.record, place.byte));
            records.extend_from_slice(raw.as_bytes());
            let time = Micros(batch.time(row).0.min(arrived.0.saturating_add(AHEAD)));
            (first, last) = (first.min(time), last.max(time));
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    let events = places.len() as u64;
    let mut bytes = serde_json::to_vec(&Head { origins, places })?;
    bytes.push(b'\n');
    bytes.append(&mut records);
    let body = zstd::bulk::compress(&bytes, LEVEL).context("cannot pack records")?;
    Ok(Some(Held { lane: lane.to_owned(), first, last, events, body }))
}

/// The chunk that it was.
pub fn unpack(body: &[u8]) -> Result<Chunk> {
    let size = zstd::zstd_safe::get_frame_content_size(body).ok().flatten().context("held records of unknown size")?;
    ensure!(size <= UNPACKED_MAX, "held records would be {size} bytes");
    let bytes = zstd::bulk::decompress(body, usize::try_from(size)?)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').context("held records without a head")?;
    let head: Head = serde_json::from_slice(bytes.get(..end).unwrap_or_default())?;
    let mut start = end + 1;
    let mut spans = Vec::with_capacity(head.places.len());
    for (len, part, line, record, byte) in head.places {
        spans.push(Span { start, end: start + len, place: Place { part, line, record, byte } });
        start += len;
    }
    ensure!(start == bytes.len(), "held records are {} bytes, and {start} were written", bytes.len());
    let origins = head.origins.into_iter().map(Arc::from).collect();
    Ok(Chunk { origins, bytes, spans })
}
