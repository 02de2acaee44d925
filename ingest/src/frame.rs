//! From a file's bytes to chunks of whole documents, in order and with bounded memory.
//!
//! JSON lines, concatenated or pretty-printed documents, or one large array; the start of the file decides. A bad line
//! loses only itself. Knows no envelope and no field: what stands in a document is not looked at here.

mod cut;
mod documents;
mod input;
mod shape;

use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use keytrail_model::{Place, Reject};

use crate::{Chunk, Limits, ReadError};
use cut::Dropped;
use documents::Documents;
use input::Input;
pub(crate) use shape::{elements, elements_under};

/// Enough to tell lines from documents, however small the chunks are.
const HEAD_BYTES: usize = 64 << 10;

/// The most that is set aside for a long line before it is there.
const ROOM_BYTES: usize = 32 << 20;

/// Pulls the chunks of one file. What was read before a fault is handed on before the reject that tells of it.
pub struct Reader {
    origin: Arc<str>,
    input: Input,
    limits: Limits,
    framing: Framing,
    /// Read but not yet handed on.
    buffer: Vec<u8>,
    /// How much of it is known to hold no newline.
    searched: usize,
    /// Of the buffer's first byte, in the decompressed input.
    byte: u64,
    /// Lines and documents before it.
    lines: u64,
    documents: u64,
    ended: bool,
    /// Why reading stopped early.
    broken: Option<String>,
    done: bool,
    ready: VecDeque<Result<Chunk, Reject>>,
}

enum Framing {
    Unknown,
    Lines { dropped: Option<Dropped> },
    Documents(Documents),
}

impl Reader {
    /// Compression is told by the first bytes, not by the name.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, ReadError> {
        let origin = path.display().to_string();
        let input = Input::open(path, limits.inflate_ratio_max)
            .map_err(|fault| ReadError::Io { path: origin.clone(), fault })?;
        Ok(Self::new(&origin, input, limits))
    }

    /// The same over bytes that are already here, such as a message.
    pub fn over(origin: &str, bytes: Vec<u8>, limits: &Limits) -> Result<Self, ReadError> {
        let input = Input::over(bytes, limits.inflate_ratio_max)
            .map_err(|fault| ReadError::Io { path: origin.to_owned(), fault })?;
        Ok(Self::new(origin, input, limits))
    }

    /// The same over what unpacks as it is read; `size` is that of the packed form.
    pub fn reading(
        origin: &str,
        from: impl Read + Send + 'static,
        size: u64,
        limits: &Limits,
    ) -> Result<Self, ReadError> {
        let input = Input::new(from, size, limits.inflate_ratio_max)
            .map_err(|fault| ReadError::Io { path: origin.to_owned(), fault })?;
        Ok(Self::new(origin, input, limits))
    }

    fn new(origin: &str, input: Input, limits: &Limits) -> Self {
        Self {
            origin: origin.into(),
            input,
            limits: limits.clone(),
            framing: Framing::Unknown,
            buffer: Vec::new(),
            searched: 0,
            byte: 0,
            lines: 0,
            documents: 0,
            ended: false,
            broken: None,
            done: false,
            ready: VecDeque::new(),
        }
    }

    /// Bytes taken from the file so far, before decompression; of what unpacks as it is read, no more than its size.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.input.bytes_read().min(self.input.size)
    }

    /// The file's size, before decompression.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.input.size
    }

    fn step(&mut self) {
        self.fill();
        if matches!(self.framing, Framing::Unknown) && !self.begin() {
            self.done = true;
            return;
        }
        match self.framing {
            Framing::Lines { .. } => self.cut_lines(),
            Framing::Documents(state) => self.cut_documents(state),
            Framing::Unknown => {}
        }
        if self.ended {
            self.done = true;
            self.tell_broken();
        }
    }

    fn fill(&mut self) {
        let least = if matches!(self.framing, Framing::Unknown) { HEAD_BYTES } else { 1 };
        // A line longer than a chunk gets all the room that it may take at once: growing step by step leaves as much behind.
        let room = self.limits.record_bytes_max.min(ROOM_BYTES).saturating_sub(self.buffer.len());
        if matches!(self.framing, Framing::Lines { .. }) && self.buffer.len() >= self.limits.chunk_bytes && room > 0 {
            self.buffer.reserve_exact(room + self.limits.chunk_bytes);
        }
        match self.input.fill(&mut self.buffer, self.limits.chunk_bytes.max(least)) {
            Ok(ended) => self.ended = ended,
            Err(fault) => {
                self.ended = true;
                self.broken = Some(input::remedy(&fault));
            }
        }
    }

    /// Looks at the start of the file. False when it is no text that we read.
    fn begin(&mut self) -> bool {
        if let Some(reason) = input::foreign(&self.buffer) {
            self.reject(Place::default(), reason);
            return false;
        }
        if self.buffer.starts_with(input::UTF8_MARK) {
            self.buffer.drain(..input::UTF8_MARK.len());
            self.byte = input::UTF8_MARK.len() as u64;
        }
        self.framing = match shape::is_lines(&self.buffer) {
            true => Framing::Lines { dropped: None },
            false => Framing::Documents(Documents::default()),
        };
        true
    }

    fn tell_broken(&mut self) {
        let Some(reason) = self.broken.take() else { return };
        let place = Place { byte: self.byte, ..Place::default() };
        self.reject(place, reason);
    }

    /// Its bytes are not kept: what cannot be read whole cannot be redacted for certain.
    fn reject(&mut self, place: Place, reason: String) {
        let position = place.within(&self.origin);
        self.ready.push_back(Err(Reject { position, reason, record: String::new() }));
    }
}

impl Iterator for Reader {
    type Item = Result<Chunk, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.done {
                return None;
            }
            self.step();
        }
    }
}

#[cfg(test)]
mod tests;
