//! An object's bytes, pulled by who reads records and fetched no faster than that; asked for again where they break off.
//!
//! Holds a few pieces of the network's size, however large the object is.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use keytrail_model::Reject;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::access::plain;
use super::objects::{reject, unreadable};
use crate::sources::BROKEN;
use crate::{Chunk, Limits, Reader};

/// Pieces that wait to be read.
const PIECES: usize = 8;

/// How often one object is asked for again where it broke off.
const RESUMES: u32 = 5;

/// A connection that brings nothing for so long is given up.
const STALL: Duration = Duration::from_secs(30);

pub(super) type Bodies = BoxStream<'static, object_store::Result<Bytes>>;

/// Where the rest of an object is.
pub(super) struct Source {
    pub(super) store: Arc<AmazonS3>,
    pub(super) path: Path,
    /// With its quotes.
    pub(super) etag: Option<String>,
    pub(super) size: u64,
}

/// The chunks of one object. Nothing is fetched before the first is pulled.
pub(super) struct Streamed {
    origin: Arc<str>,
    limits: Limits,
    state: State,
    /// Why the bytes broke off.
    broken: Arc<OnceLock<String>>,
}

enum State {
    Waiting(Box<(Source, Bodies, Handle)>),
    Reading(Box<Reader>),
    Done,
}

impl Streamed {
    /// Called within the runtime that fetches.
    pub(super) fn new(origin: &str, source: Source, bodies: Bodies, limits: &Limits) -> Self {
        let state = State::Waiting(Box::new((source, bodies, Handle::current())));
        Self { origin: origin.into(), limits: limits.clone(), state, broken: Arc::default() }
    }

    fn begin(&mut self, source: Source, bodies: Bodies, runtime: &Handle) -> Result<Reader, Reject> {
        let (send, pieces) = mpsc::channel(PIECES);
        let (size, broken) = (source.size, Arc::clone(&self.broken));
        runtime.spawn(fetch(source, bodies, send));
        let inflow = Inflow { pieces, piece: Bytes::new(), left: size, broken };
        Reader::reading(&self.origin, inflow, size, &self.limits).map_err(|fault| unreadable(&self.origin, &fault))
    }

    /// Where the bytes broke off, that is what is told, whatever the reader made of it.
    fn told(&mut self, next: Option<Result<Chunk, Reject>>) -> Option<Result<Chunk, Reject>> {
        match (next, self.broken.get()) {
            (Some(Ok(chunk)), _) => Some(Ok(chunk)),
            (_, Some(why)) => {
                self.state = State::Done;
                Some(Err(reject(&self.origin, format!("{BROKEN}{why}"))))
            }
            (next, None) => {
                if next.is_none() {
                    self.state = State::Done;
                }
                next
            }
        }
    }
}

impl Iterator for Streamed {
    type Item = Result<Chunk, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match std::mem::replace(&mut self.state, State::Done) {
            State::Done => return None,
            State::Reading(mut reader) => {
                let next = reader.next();
                self.state = State::Reading(reader);
                next
            }
            State::Waiting(begun) => {
                let (source, bodies, runtime) = *begun;
                match self.begin(source, bodies, &runtime) {
                    Ok(mut reader) => {
                        let next = reader.next();
                        self.state = State::Reading(Box::new(reader));
                        next
                    }
                    Err(reject) => Some(Err(reject)),
                }
            }
        };
        self.told(next)
    }
}

/// What the reader reads from.
struct Inflow {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    piece: Bytes,
    left: u64,
    broken: Arc<OnceLock<String>>,
}

impl Inflow {
    fn break_off(&self, why: String) -> io::Error {
        let told = self.broken.get_or_init(|| why);
        io::Error::other(told.clone())
    }
}

impl Read for Inflow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(why)) => return Err(self.break_off(why)),
                None if self.left == 0 => return Ok(0),
                None => return Err(self.break_off(format!("{} bytes are missing at its end", self.left))),
            }
            let got = self.piece.len() as u64;
            if got > self.left {
                return Err(self.break_off(format!("it is longer than the {} bytes that were told", self.left)));
            }
            self.left -= got;
        }
        let count = self.piece.len().min(into.len());
        self.piece.copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Sends the object's bytes on, all of them or why not.
async fn fetch(source: Source, mut bodies: Bodies, send: mpsc::Sender<Result<Bytes, String>>) {
    let (mut at, mut tries) = (0_u64, 0);
    loop {
        let why = match tokio::time::timeout(STALL, bodies.next()).await {
            Ok(Some(Ok(piece))) => {
                at += piece.len() as u64;
                match send.send(Ok(piece)).await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
            _ if at >= source.size => return,
            Ok(None) => "the connection ended".to_owned(),
            Ok(Some(Err(fault))) => plain(&fault),
            Err(_) => format!("nothing came for {STALL:?}"),
        };
        match resume(&source, at, &mut tries, why).await {
            Ok(rest) => bodies = rest,
            Err(why) => {
                let told = format!("of {} bytes {at} came, then {why}; it is read again", source.size);
                // Who reads may have gone away.
                drop(send.send(Err(told)).await);
                return;
            }
        }
    }
}

/// The rest of the object, if it is still the same.
async fn resume(source: &Source, at: u64, tries: &mut u32, mut why: String) -> Result<Bodies, String> {
    while *tries < RESUMES {
        tokio::time::sleep(Duration::from_millis(100 << *tries)).await;
        *tries += 1;
        let range = Some(GetRange::Bounded(at..source.size));
        let options = GetOptions { range, if_match: source.etag.clone(), ..GetOptions::default() };
        match source.store.get_opts(&source.path, options).await {
            Ok(got) => return Ok(got.into_stream()),
            Err(object_store::Error::Precondition { .. }) => return Err("it was overwritten".to_owned()),
            Err(object_store::Error::NotFound { .. }) => return Err("it was deleted".to_owned()),
            Err(fault) => why = plain(&fault),
        }
    }
    Err(why)
}
