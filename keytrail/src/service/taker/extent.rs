//! What a part is by what the ledger knows of its origin, and which of its records are new.

use keytrail_ingest::Chunk;
use keytrail_ingest::sources::{Chunks, Extent, SKEW};
use keytrail_model::{Place, Reject};
use keytrail_store::Mark;
use tracing::{info, warn};

use super::TOGETHER;

/// Of a log that its provider begins at the oldest, whether the ledger knows this one or another of that name: one that
/// was longer, or was read before the first record of this one was written.
pub(super) fn resolved(extent: Extent, mark: Option<&Mark>) -> Extent {
    let Extent::Oldest { from, to, end, written } = extent else { return extent };
    let Some(Mark { origin, position, at, .. }) = mark else { return Extent::Piece { from, to } };
    let later = from < *position && written.is_some_and(|written| written.0 > at.0.saturating_add(SKEW));
    if *position > end || later {
        warn!(origin, position, end, "was made anew; it is read from its oldest on");
        return Extent::Anew { from, to };
    }
    info!(origin, position, "the group knows nothing of it; the ledger does, and what was read is passed over");
    Extent::Piece { from, to }
}

/// From where a part is read; `None` where all of it is there already.
pub(super) fn beginning(extent: Extent, mark: Option<&Mark>) -> Option<i64> {
    match (extent, mark) {
        (Extent::Whole, Some(mark)) => (!mark.done).then_some(mark.position),
        (Extent::Piece { from, to }, Some(mark)) => (mark.position < to).then(|| mark.position.max(from)),
        (Extent::Whole, None) => Some(0),
        (Extent::Piece { from, .. }, None) | (Extent::Anew { from, .. } | Extent::Oldest { from, .. }, _) => Some(from),
    }
}

pub(super) fn gone(origin: &str, from: i64, to: i64) -> Reject {
    let place = Place { byte: u64::try_from(from).unwrap_or_default(), ..Place::default() };
    let reason = format!(
        "positions {from} to {to} were gone before they were read; keep the log longer, or read faster, and look for another copy of them"
    );
    Reject { position: place.within(origin.to_owned()), reason, record: String::new() }
}

/// Without what was committed before.
pub(super) fn rest_of(mut chunk: Chunk, at: i64) -> Chunk {
    chunk.spans.retain(|span| i64::try_from(span.place.byte).unwrap_or(i64::MAX) >= at);
    chunk
}

pub(super) fn first_byte(chunk: &Chunk) -> Option<i64> {
    chunk.spans.first().and_then(|span| i64::try_from(span.place.byte).ok())
}

pub(super) fn last_byte(chunk: &Chunk) -> Option<i64> {
    chunk.spans.last().and_then(|span| i64::try_from(span.place.byte).ok())
}

/// The only chunk of a part, where that is all it holds and small; else all of them.
pub(super) fn alone(mut chunks: Chunks) -> Result<Chunk, Chunks> {
    match chunks.next() {
        Some(Ok(chunk)) if chunk.bytes.len() <= TOGETHER => match chunks.next() {
            None => Ok(chunk),
            second => Err(Box::new([Ok(chunk)].into_iter().chain(second).chain(chunks))),
        },
        None => Err(Box::new(std::iter::empty())),
        first => Err(Box::new(first.into_iter().chain(chunks))),
    }
}
