//! One object as it is pulled: asked for when its first chunk is, and never held whole.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use keytrail_model::{Place, Reject};
use object_store::{Error, GetOptions, ObjectStore};
use tokio::runtime::Handle;

use super::Item;
use crate::sources::BROKEN;
use crate::{Chunk, Limits, Reader};

/// Pulled on a thread that may block.
pub(super) struct Reading {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    item: Item,
    limits: Limits,
    state: State,
    /// Why the store gave no more; told apart from what is wrong with the object itself.
    fault: Fault,
}

enum State {
    Unread,
    Open(Reader),
    Done,
}

type Arriving = BoxStream<'static, Result<Bytes, Error>>;
type Fault = Arc<Mutex<Option<String>>>;

impl Reading {
    pub(super) fn new(store: Arc<dyn ObjectStore>, runtime: Handle, item: Item, limits: Limits) -> Self {
        Self { store, runtime, item, limits, state: State::Unread, fault: Fault::default() }
    }

    fn open(&self) -> Result<Reader, Reject> {
        let options = GetOptions { if_match: self.item.meta.e_tag.clone(), ..GetOptions::default() };
        let asked = self.store.get_opts(&self.item.meta.location, options);
        let got = match self.runtime.block_on(asked) {
            Ok(got) => got,
            // It would be so the next time: what replaced it is listed as another.
            Err(Error::NotFound { .. }) => return Err(self.reject("it was deleted after it was listed".to_owned())),
            Err(Error::Precondition { .. }) => {
                return Err(
                    self.reject("it was replaced after it was listed: what is there now is read by itself".to_owned())
                );
            }
            Err(fault) => return Err(self.reject(format!("{BROKEN}{fault}"))),
        };
        self.over(got.into_stream())
    }

    fn over(&self, stream: Arriving) -> Result<Reader, Reject> {
        let fault = Arc::clone(&self.fault);
        let body = Body { stream, ready: Bytes::new(), runtime: self.runtime.clone(), fault };
        let reader = Reader::reading(&self.item.origin, body, self.item.meta.size, &self.limits);
        reader.map_err(|fault| self.reject(format!("{BROKEN}{fault}")))
    }

    /// Reads what arrives here instead.
    #[cfg(test)]
    pub(super) fn start_with(&mut self, stream: Arriving) {
        self.state = State::Open(self.over(stream).expect("a reader"));
    }

    fn reject(&self, reason: String) -> Reject {
        let position = Place::default().within(self.item.origin.as_str());
        Reject { position, reason, record: String::new() }
    }

    fn told(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Iterator for Reading {
    type Item = Result<Chunk, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Unread) {
            match self.open() {
                Ok(reader) => self.state = State::Open(reader),
                Err(reject) => {
                    self.state = State::Done;
                    return Some(Err(reject));
                }
            }
        }
        let State::Open(reader) = &mut self.state else { return None };
        let read = reader.next();
        if matches!(read, Some(Ok(_))) {
            return read;
        }
        match self.told() {
            Some(fault) => {
                self.state = State::Done;
                Some(Err(self.reject(format!("{BROKEN}{fault}"))))
            }
            None => read,
        }
    }
}

/// What arrives, as something that blocks until it does.
struct Body {
    stream: Arriving,
    ready: Bytes,
    runtime: Handle,
    fault: Fault,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(bytes)) => self.ready = bytes,
                Some(Err(fault)) => {
                    *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.to_string());
                    return Err(io::Error::other(fault));
                }
            }
        }
        let count = self.ready.len().min(into.len());
        self.ready.split_to(count).copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
