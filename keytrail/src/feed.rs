//! Reads inputs chunk by chunk and hands the chunks out, numbered: to one taker on this thread, or to several on threads
//! of theirs, which take turns at the reader.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use keytrail_ingest::{Chunk, Limits, Reader};
use keytrail_model::Reject;

use crate::pipeline::Input;

/// A chunk, or a part of the input that could not be read, and which one of all it is.
pub struct Item {
    pub number: usize,
    pub read: Result<Chunk, Reject>,
}

/// All inputs as one row of chunks. The same inputs give the same row.
pub struct Feed<'a> {
    inputs: &'a [Input],
    limits: &'a Limits,
    bar: &'a ProgressBar,
    /// Inputs opened so far.
    opened: usize,
    reader: Option<Reader>,
    bytes: u64,
    number: usize,
}

impl<'a> Feed<'a> {
    #[must_use]
    pub fn new(inputs: &'a [Input], limits: &'a Limits, bar: &'a ProgressBar) -> Self {
        Self { inputs, limits, bar, opened: 0, reader: None, bytes: 0, number: 0 }
    }

    /// How many chunks were handed out.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(reader) = &mut self.reader {
                let next = reader.next();
                self.bar.inc(reader.bytes_read().saturating_sub(self.bytes));
                self.bytes = reader.bytes_read();
                match next {
                    Some(read) => return Ok(Some(self.numbered(read))),
                    None => self.reader = None,
                }
            }
            let Some(input) = self.inputs.get(self.opened) else { return Ok(None) };
            self.opened += 1;
            self.bytes = 0;
            match input.open(self.limits) {
                Ok(reader) => self.reader = Some(reader),
                // One file that cannot be opened is set aside like a record; the only one is an error.
                // A file of the lake may be out of reach now and not the second time: half of it would pass for all.
                Err(error) if self.inputs.len() > 1 && !matches!(input, Input::Lake(..)) => {
                    return Ok(Some(self.numbered(Err(input.unopened(&error)))));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn numbered(&mut self, read: Result<Chunk, Reject>) -> Item {
        self.number += 1;
        Item { number: self.number - 1, read }
    }

    /// Hands out chunks on this thread until so many were in all. False when there are no more.
    pub fn hand_out(&mut self, until: usize, take: &mut dyn FnMut(Item) -> Result<()>) -> Result<bool> {
        while self.number < until {
            match self.next()? {
                Some(item) => take(item)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The same to several takers, each on a thread.
    pub fn share<F>(&mut self, until: usize, mut takers: Vec<F>) -> Result<bool>
    where
        F: FnMut(Item) -> Result<()> + Send,
    {
        if let [only] = takers.as_mut_slice() {
            return self.hand_out(until, only);
        }
        let feed = Mutex::new(self);
        let next = || {
            let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
            if feed.number < until { feed.next() } else { Ok(None) }
        };
        let drain = |mut taker: F| {
            while let Some(item) = next()? {
                taker(item)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = takers.into_iter().map(|taker| scope.spawn(|| drain(taker))).collect();
            let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a worker panicked"))?);
            ended.collect::<Result<()>>()
        })?;
        let feed = feed.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(feed.number >= until)
    }
}
