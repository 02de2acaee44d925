//! Transports: each file here brings records from one kind of place and knows how to tell that place "done".
//!
//! A source hands over what it has under a receipt, and acknowledges a receipt only when it is told that all of it is
//! committed. What was handed over before is recognised by origin and position, never by the source's own memory.

pub mod aws;
mod config;
mod durations;
pub mod files;
pub mod github;
pub mod http;
pub mod kafka;
mod messages;
pub mod objects;
pub mod pubsub;
mod secret;
#[cfg(test)]
#[path = "../../../tests/servers/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use keytrail_model::{Micros, Reject};

use crate::Chunk;

pub use config::{SourceConfig, Surroundings, open};
pub use durations::read as read_duration;
pub use messages::Messages;
pub use secret::same_secret;

/// Starts the reason of a reject that stands for a delivery which broke off: it is given back and not committed.
pub const BROKEN: &str = "broken off: ";

/// By how much the clock of who writes a record may be ahead.
pub const SKEW: i64 = 60 * Micros::SECOND;

const MONTH: i64 = 30 * 86_400 * Micros::SECOND;

/// What a source knows a delivery by.
pub type Receipt = u64;

/// What a source hands over at once.
pub struct Delivery {
    pub receipt: Receipt,
    pub parts: Vec<Part>,
}

/// One object, page, run of messages or piece of a file.
pub struct Part {
    /// What the ledger knows it by, unique within the source: `s3://bucket/key#etag`, `audit/3`, `push/2026-11-25.ndjson`.
    pub origin: String,
    pub extent: Extent,
    /// Of a source whose parts run side by side, such as the partitions of a topic, which of them; else empty. Event
    /// time moves on in each of them by itself.
    pub lane: String,
    pub chunks: Chunks,
}

/// Read as it is pulled: an object is never held whole. Pulling may block.
pub type Chunks = Box<dyn Iterator<Item = Result<Chunk, Reject>> + Send>;

/// How much of its origin a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it: it comes whole or is read again from its start. The `byte` of a record's place says how far it got.
    Whole,
    /// A piece of what goes on growing, from one position to the next; the `byte` of each record's place lies within.
    Piece { from: i64, to: i64 },
    /// The same of a log that was made anew: what is known of how far it was read holds no longer.
    Anew { from: i64, to: i64 },
    /// The same of a log of which the provider does not know how far it was read: from its oldest on, when it went up to
    /// `end`, its first record `written` then. The ledger may know it, or another of that name from before.
    Oldest { from: i64, to: i64, end: i64, written: Option<Micros> },
}

/// A transport. One task owns it and calls it; what must go on meanwhile (extending a lease, heartbeats) it does itself.
#[async_trait]
pub trait Source: Send {
    /// Waits for what comes next; `None` when nothing came within `wait`. Never loses what it took when it is dropped
    /// while waiting.
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError>;

    /// All of it is committed: it need not come again.
    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError>;

    /// It could not be committed: let it come again, soon.
    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError>;

    /// The lanes that there are, whether or not they gave something yet: event time waits for each of them until it gives
    /// something or is idle. Empty where parts do not run side by side.
    fn lanes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The lanes that have nothing to give right now: event time may move on without them.
    fn idle(&self) -> Vec<String> {
        vec![String::new()]
    }

    /// Whether it knows when nothing is left. Of one that does not, silence has to last before it is believed.
    fn knows_its_end(&self) -> bool {
        false
    }

    /// Whether nothing is known that is still to be handed over, for a run that ends. Asked when nothing came.
    fn exhausted(&self) -> bool {
        !self.idle().is_empty()
    }

    /// How the origins begin that name what comes once, and again only soon: the ledger need not know them for good.
    fn forgets(&self) -> Option<String> {
        None
    }

    /// Whether it wants to be told at its start what the ledger knows, to go on from there and not from the beginning.
    fn resumes(&self) -> bool {
        false
    }

    /// What the ledger knows.
    fn resume(&mut self, _known: Vec<Resumed>) {}

    /// When something of it was last taken in, before this start: what came since is still to be read.
    fn left_off(&mut self, _at: Micros) {}

    /// What it may and may not do, each with the remedy.
    async fn check(&mut self) -> Vec<Check>;

    /// How far behind it is, as its provider tells.
    async fn lag(&mut self) -> Result<Lag, SourceError>;

    /// What the provider says there is of this time, to be held against the ledger.
    async fn listing(&mut self, since: Micros, until: Micros) -> Result<Listing, SourceError>;

    /// Has `next` hand these over again, whatever was acknowledged. Gives the origins of those that cannot be had again.
    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError>;
}

/// What the ledger knows of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    pub origin: String,
    pub position: i64,
    pub done: bool,
    /// When it was last taken in.
    pub at: Micros,
}

/// Of windows of that width, each known by an origin that tells its start, the first that is not done, within a month
/// before the last that is: what is left open from before, somebody asked for only a part of.
fn first_undone(known: &[Resumed], started: impl Fn(&str) -> Option<Micros>, width: i64) -> Option<Micros> {
    let done: BTreeSet<Micros> =
        known.iter().filter(|known| known.done).filter_map(|known| started(&known.origin)).collect();
    let last = *done.last()?;
    let recent = || done.range(Micros(last.0 - MONTH)..);
    let hole = recent().zip(recent().skip(1)).find(|(left, right)| right.0 - left.0 > width);
    Some(Micros(hole.map_or(last, |(left, _)| *left).0 + width))
}

/// One thing that a source needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Such as `sqs:ReceiveMessage on arn:aws:sqs:…`.
    pub what: String,
    /// Why it does not hold and what to do about it.
    pub fault: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages, objects or bytes that wait, as the provider counts.
    pub waiting: Option<u64>,
    /// Age of the oldest that waits.
    pub oldest: Option<Duration>,
}

/// What a provider says there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Every origin, and how sure the list is.
    Objects { objects: Vec<Listed>, proof: Proof },
    /// Logs that grow: origin, oldest position that is still kept, and the next one to be written.
    Ranges(Vec<(String, i64, i64)>),
    /// Of both kinds.
    Both { objects: Vec<Listed>, ranges: Vec<(String, i64, i64)> },
    /// There is no list; the reason is one lower-case sentence.
    NotProvable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub origin: String,
    pub bytes: u64,
    pub at: Micros,
}

/// What a list was checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Such as `24 digest files, chained and signed`.
    pub holds: Vec<String>,
    /// What does not: a digest that is missing or does not verify, an object that is not what its digest says.
    pub broken: Vec<String>,
}

/// Something that a provider has and the ledger has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub origin: String,
    /// Of a log that grows, the positions that are missing.
    pub range: Option<(i64, i64)>,
    /// The time that is asked for, where a provider is asked by time.
    pub since: Micros,
    pub until: Micros,
}

/// Why a source gives nothing. Each message says what was tried and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It may be different the next time: the service tries again, later and later.
    #[error("{what}: {fault}")]
    Unreachable { what: String, fault: String },
    /// It stays so until somebody changes something; tried again all the same.
    #[error("{what} is not allowed: {fault}")]
    Denied { what: String, fault: String },
    /// The configuration cannot work.
    #[error("source `{name}`: {fault}")]
    Config { name: String, fault: String },
}

impl SourceError {
    #[must_use]
    pub fn unreachable(what: impl Into<String>, fault: impl ToString) -> Self {
        Self::Unreachable { what: what.into(), fault: fault.to_string() }
    }

    #[must_use]
    pub fn config(name: &str, fault: impl Into<String>) -> Self {
        Self::Config { name: name.to_owned(), fault: fault.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_window_that_is_not_done_is_the_one_to_go_on_with() {
        let window = |at: &i64, done| Resumed { origin: at.to_string(), position: 1, done, at: Micros(0) };
        let undone = |done: &[i64]| {
            let known: Vec<Resumed> = done.iter().map(|at| window(at, true)).chain([window(&1_000, false)]).collect();
            first_undone(&known, |origin| origin.parse().ok().map(Micros), 5).map(|at| at.0)
        };
        assert_eq!(undone(&[]), None);
        assert_eq!(undone(&[10, 5, 0]), Some(15));
        assert_eq!(undone(&[0, 5, 20, 25]), Some(10), "however much was asked for since");
        let long_ago = -MONTH - 100;
        assert_eq!(undone(&[long_ago, 0, 5, 10]), Some(15), "a time that was asked for by itself");
    }
}
