//! Files of a folder, as they come and as they grow: lines are followed, everything else is read once it rests.
//!
//! A file is known by its inode and how it begins, so one that was renamed is not read again and one that was replaced is.

mod tail;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use keytrail_model::{Micros, stable_id};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::durations::duration;
use super::{
    Check, Delivery, Extent, Gap, Lag, Listed, Listing, Part, Proof, Receipt, Source, SourceError, Surroundings,
};
use crate::{Limits, Reader, expand};
use tail::{Begins, Piece};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// A folder, a file or a glob.
    pub at: String,
    /// How often it is looked through.
    #[serde(default = "one")]
    pub every: String,
    /// How long a file that is no plain lines must rest before it is read, and a last line without its end.
    #[serde(default = "five")]
    pub settle: String,
    /// Whether names tell files apart, because who writes them never uses one twice.
    #[serde(skip)]
    pub named: bool,
}

fn one() -> String {
    "1s".to_owned()
}

fn five() -> String {
    "5s".to_owned()
}

/// What is known of one file.
#[derive(Clone, Debug)]
struct Known {
    path: PathBuf,
    bytes: u64,
    /// Since when it has this size.
    since: Instant,
    /// What was handed over; of a file that is read whole, all or nothing.
    position: u64,
    /// Line breaks before the position.
    lines: u64,
    whole: bool,
}

pub struct Files {
    name: String,
    at: String,
    every: Duration,
    settle: Duration,
    named: bool,
    limits: Limits,
    known: BTreeMap<String, Known>,
    /// From the ledger.
    resumed: BTreeMap<String, (i64, bool)>,
    open: BTreeMap<Receipt, (String, u64, u64)>,
    receipts: Receipt,
    looked: Option<Instant>,
    /// Whether something is there that does not rest yet.
    waiting: bool,
}

impl Files {
    pub fn open(name: &str, config: &FilesConfig, around: &Surroundings) -> Result<Self, SourceError> {
        Ok(Self {
            name: name.to_owned(),
            at: config.at.clone(),
            every: duration(name, "every", &config.every)?,
            settle: duration(name, "settle", &config.settle)?,
            named: config.named,
            limits: around.limits.clone(),
            known: BTreeMap::new(),
            resumed: BTreeMap::new(),
            open: BTreeMap::new(),
            receipts: 0,
            looked: None,
            waiting: false,
        })
    }

    /// Looks through the folder; it may be missing for a while.
    fn look(&mut self) -> Result<(), SourceError> {
        let place = Path::new(&self.at);
        let files = match expand(std::slice::from_ref(&self.at)) {
            Ok(files) => files.files,
            Err(_) if self.at.contains(['*', '?', '[']) => Vec::new(),
            Err(fault) => return Err(SourceError::unreachable(format!("`{}`", place.display()), fault)),
        };
        let now = Instant::now();
        self.looked = Some(now);
        self.waiting = false;
        let mut here = Vec::new();
        for path in files {
            // A file may go between listing and looking; the next look tells.
            let Ok(Some(begins)) = Begins::of(&path) else {
                // An empty one holds nothing back: a writer that died may have left it.
                self.waiting |= path.metadata().is_ok_and(|about| about.len() > 0);
                continue;
            };
            let id = if self.named { name_of(&path) } else { begins.id() };
            self.note(id.clone(), path, &begins, now);
            here.push(id);
        }
        self.known.retain(|id, _| here.contains(id));
        Ok(())
    }

    fn note(&mut self, id: String, path: PathBuf, begins: &Begins, now: Instant) {
        if let Some(known) = self.known.get_mut(&id) {
            known.path = path;
            if known.bytes != begins.bytes {
                (known.bytes, known.since) = (begins.bytes, now);
            }
            return;
        }
        let (position, done) = self.resumed.get(&id).copied().unwrap_or_default();
        let position = if done { begins.bytes } else { u64::try_from(position).unwrap_or_default() };
        let whole = !begins.lines;
        let position = if whole && !done { 0 } else { position };
        let lines = if whole { 0 } else { tail::lines_before(&path, position) };
        self.known.insert(id, Known { path, bytes: begins.bytes, since: now, position, lines, whole });
    }

    /// Files that were handed over to where they ended when they were last looked at, all of it acknowledged, and how far.
    pub(super) fn spent(&self) -> Vec<(PathBuf, u64)> {
        let open: Vec<&String> = self.open.values().map(|(id, ..)| id).collect();
        let spent = self.known.iter().filter(|(id, known)| known.position >= known.bytes && !open.contains(id));
        spent.map(|(_, known)| (known.path.clone(), known.position)).collect()
    }

    /// The next piece of the first file that has one.
    fn take(&mut self) -> Result<Option<Delivery>, SourceError> {
        let settle = self.settle;
        let mut waiting = false;
        let mut found = None;
        for (id, known) in &mut self.known {
            if known.position >= known.bytes {
                continue;
            }
            let rests = known.since.elapsed() >= settle;
            found = if known.whole {
                rests.then(|| whole(id, known, &self.limits)).transpose()?
            } else {
                piece(id, known, &self.limits, rests)?
            };
            if found.is_some() {
                break;
            }
            waiting = true;
        }
        self.waiting |= waiting;
        let Some((part, id, before, lines)) = found else { return Ok(None) };
        self.receipts += 1;
        self.open.insert(self.receipts, (id, before, lines));
        Ok(Some(Delivery { receipt: self.receipts, parts: vec![part] }))
    }
}

type Found = (Part, String, u64, u64);

fn whole(id: &str, known: &mut Known, limits: &Limits) -> Result<Found, SourceError> {
    let fault = |fault| SourceError::unreachable(format!("`{}`", known.path.display()), fault);
    let reader = Reader::open(&known.path, limits).map_err(fault)?;
    known.position = known.bytes;
    let part = Part { origin: id.to_owned(), extent: Extent::Whole, lane: String::new(), chunks: Box::new(reader) };
    Ok((part, id.to_owned(), 0, 0))
}

fn piece(id: &str, known: &mut Known, limits: &Limits, rests: bool) -> Result<Option<Found>, SourceError> {
    let fault = |fault| SourceError::unreachable(format!("`{}`", known.path.display()), fault);
    let read = Piece::read(&known.path, known.position, known.lines, limits, rests).map_err(fault)?;
    let Some(read) = read else { return Ok(None) };
    let (before, lines) = (known.position, known.lines);
    (known.position, known.lines) = (read.to, known.lines + read.lines);
    let at = |position: u64| i64::try_from(position).unwrap_or(i64::MAX);
    let extent = Extent::Piece { from: at(before), to: at(read.to) };
    let chunks = Box::new(read.chunks.into_iter());
    let part = Part { origin: id.to_owned(), extent, lane: String::new(), chunks };
    Ok(Some((part, id.to_owned(), before, lines)))
}

#[async_trait]
impl Source for Files {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let every = self.every;
        let until = Instant::now() + wait;
        loop {
            if let Some(delivery) = self.take()? {
                return Ok(Some(delivery));
            }
            let due = self.looked.map_or_else(Instant::now, |looked| looked + every);
            if due > until {
                sleep(until - Instant::now()).await;
                return Ok(None);
            }
            sleep(due.saturating_duration_since(Instant::now())).await;
            self.look()?;
            if let Some(delivery) = self.take()? {
                return Ok(Some(delivery));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        self.open.remove(&receipt);
        Ok(())
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        let Some((id, before, lines)) = self.open.remove(&receipt) else { return Ok(()) };
        if let Some(known) = self.known.get_mut(&id) {
            (known.position, known.lines) = (before, lines);
        }
        Ok(())
    }

    /// A file that does not rest yet may hold what is next.
    fn knows_its_end(&self) -> bool {
        true
    }

    fn idle(&self) -> Vec<String> {
        if self.waiting { Vec::new() } else { vec![String::new()] }
    }

    fn exhausted(&self) -> bool {
        !self.waiting && self.looked.is_some()
    }

    fn resumes(&self) -> bool {
        true
    }

    fn resume(&mut self, known: Vec<super::Resumed>) {
        self.resumed = known.into_iter().map(|known| (known.origin, (known.position, known.done))).collect();
    }

    async fn check(&mut self) -> Vec<Check> {
        let what = format!("read `{}`", self.at);
        let fault = self.look().err().map(|error| error.to_string());
        let unreadable = self.known.values().find_map(|known| {
            let fault = std::fs::File::open(&known.path).err()?;
            Some(format!("`{}`: {fault}; let this user read it", known.path.display()))
        });
        vec![Check { what, fault: fault.or(unreadable) }]
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        self.look()?;
        let waiting = self.known.values().map(|known| known.bytes.saturating_sub(known.position)).sum();
        Ok(Lag { waiting: Some(waiting), oldest: None })
    }

    async fn listing(&mut self, _since: Micros, _until: Micros) -> Result<Listing, SourceError> {
        self.look()?;
        let at = Micros(0);
        let listed = |(id, known): (&String, &Known)| {
            (known.whole).then(|| Listed { origin: id.clone(), bytes: known.bytes, at })
        };
        let growing = self.known.iter().filter(|(_, known)| !known.whole);
        let end = |known: &Known| i64::try_from(known.bytes).unwrap_or(i64::MAX);
        let ranges: Vec<(String, i64, i64)> = growing.map(|(id, known)| (id.clone(), 0, end(known))).collect();
        let objects: Vec<Listed> = self.known.iter().filter_map(listed).collect();
        Ok(match (objects.is_empty(), ranges.is_empty()) {
            (_, true) => Listing::Objects { objects, proof: Proof::default() },
            (true, false) => Listing::Ranges(ranges),
            (false, false) => Listing::Both { objects, ranges },
        })
    }

    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        self.look()?;
        let mut gone = Vec::new();
        for gap in gaps {
            let Some(known) = self.known.get_mut(&gap.origin) else {
                gone.push(gap.origin.clone());
                continue;
            };
            known.position = gap.range.map_or(0, |(from, _)| u64::try_from(from).unwrap_or_default());
            known.lines = if known.whole { 0 } else { tail::lines_before(&known.path, known.position) };
        }
        Ok(gone)
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("name", &self.name).field("at", &self.at).finish_non_exhaustive()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file is known by.
fn identity(device: u64, inode: u64, made: u128, head: &[u8]) -> String {
    let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
    stable_id("file", &[&device.to_string(), &inode.to_string(), &made.to_string(), &hex])
}

#[cfg(test)]
mod tests;
