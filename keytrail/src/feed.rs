//! Reads inputs chunk by chunk and hands the chunks out: to one taker on this thread, or to several on threads of theirs.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use keytrail_ingest::{Chunk, Limits};
use keytrail_model::Reject;

use crate::pipeline::Input;

/// A chunk, or a part of the input that could not be read.
pub type Item = Result<Chunk, Reject>;

/// Chunks that wait for each thread: enough that none starves, few enough that memory stays flat.
const WAITING: usize = 2;

/// Reads every input; one of the takers gets each item.
pub fn feed<F>(inputs: &[Input], limits: &Limits, bar: &ProgressBar, mut takers: Vec<F>) -> Result<()>
where
    F: FnMut(Item) -> Result<()> + Send,
{
    if let [only] = takers.as_mut_slice() {
        return feed_one(inputs, limits, bar, only);
    }
    let (sender, receiver) = sync_channel(WAITING * takers.len().max(1));
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let receiver = &receiver;
        let threads: Vec<_> = takers.into_iter().map(|taker| scope.spawn(move || drain(receiver, taker))).collect();
        let read = feed_one(inputs, limits, bar, &mut |item| {
            sender.send(item).map_err(|_| anyhow!("a worker stopped before the input ended"))
        });
        drop(sender);
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        read
    })
}

/// After a failure the rest is taken and dropped, so that the reader is not left waiting.
fn drain(receiver: &Mutex<Receiver<Item>>, mut taker: impl FnMut(Item) -> Result<()>) -> Result<()> {
    let mut failure = None;
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(item) if failure.is_none() => failure = taker(item).err(),
            Ok(_) => {}
            Err(_) => return failure.map_or(Ok(()), Err),
        }
    }
}

/// Reads every input on this thread.
pub fn feed_one(
    inputs: &[Input],
    limits: &Limits,
    bar: &ProgressBar,
    take: &mut dyn FnMut(Item) -> Result<()>,
) -> Result<()> {
    for input in inputs {
        let mut reader = match input.open(limits) {
            Ok(reader) => reader,
            // One file that cannot be opened is set aside like a record; the only one is an error.
            Err(error) if inputs.len() > 1 => {
                take(Err(input.unopened(&error)))?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut before = 0;
        while let Some(next) = reader.next() {
            take(next)?;
            bar.inc(reader.bytes_read().saturating_sub(before));
            before = reader.bytes_read();
        }
    }
    Ok(())
}
