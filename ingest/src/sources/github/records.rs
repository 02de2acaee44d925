//! The records of one window, page by page as they are read.

use std::collections::HashSet;
use std::sync::Arc;

use keytrail_model::{Micros, Place, Reject};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::api::Api;
use crate::frame::elements;
use crate::sources::BROKEN;
use crate::{Chunk, Span};

/// Pages of one window, at most: a million records in five minutes.
const PAGES_MAX: u32 = 10_000;

/// From its start to before its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start: Micros,
    pub(super) end: Micros,
}

/// Asks GitHub when it is pulled, which must be on a thread that may block.
pub(super) struct Records {
    api: Arc<Api>,
    runtime: Handle,
    window: Window,
    origin: Arc<str>,
    after: Option<String>,
    cursors: HashSet<String>,
    ids: HashSet<String>,
    /// Of the records handed over.
    number: u64,
    pages: u32,
    done: bool,
}

/// What tells records apart. Times are milliseconds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    #[serde(rename = "@timestamp")]
    at: Option<i64>,
    created_at: Option<i64>,
    #[serde(rename = "_document_id")]
    id: Option<String>,
}

impl Head {
    /// The range asked for includes its end, which the next window begins with. Dropped here only where every time in it
    /// says so: what GitHub counts to this window for another reason would be lost.
    fn is_of_next(&self, window: &Window) -> bool {
        let next = window.end.0 / 1000..window.end.0 / 1000 + 1000;
        let times = [self.at, self.created_at];
        times.iter().any(Option::is_some) && times.iter().flatten().all(|time| next.contains(time))
    }
}

impl Records {
    pub(super) fn new(api: Arc<Api>, runtime: Handle, window: Window, origin: &str) -> Self {
        Self {
            api,
            runtime,
            window,
            origin: origin.into(),
            after: None,
            cursors: HashSet::new(),
            ids: HashSet::new(),
            number: 0,
            pages: 0,
            done: false,
        }
    }

    fn step(&mut self) -> Result<Option<Chunk>, String> {
        let asked = self.api.page(&self.window, self.after.as_deref(), self.api.page_size());
        let page = self.runtime.block_on(asked).map_err(|fault| fault.to_string())?;
        self.pages += 1;
        match page.next {
            None => self.done = true,
            Some(_) if self.pages >= PAGES_MAX => return Err(format!("it has more than {PAGES_MAX} pages")),
            Some(next) if !self.cursors.insert(next.clone()) => {
                return Err("GitHub gave the same cursor twice, so what follows cannot be read".to_owned());
            }
            next => self.after = next,
        }
        self.chunk(page.body)
    }

    fn chunk(&mut self, bytes: Vec<u8>) -> Result<Option<Chunk>, String> {
        let found = elements(&bytes).ok_or("GitHub's answer is not a JSON array")?;
        let mut spans = Vec::with_capacity(found.len());
        for range in found {
            // What is no record is told as such further on.
            let head: Head =
                bytes.get(range.clone()).and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default();
            let repeated = head.id.as_ref().is_some_and(|id| self.ids.contains(id));
            if repeated || head.is_of_next(&self.window) {
                continue;
            }
            self.ids.extend(head.id);
            self.number += 1;
            // All in one place: asked again, what comes where may be another event, so it is read whole or not at all.
            let place = Place { record: Some(self.number), ..Place::default() };
            spans.push(Span { start: range.start, end: range.end, place });
        }
        Ok((!spans.is_empty()).then(|| Chunk::of(&*self.origin, bytes, spans)))
    }

    fn broken(&mut self, fault: &str) -> Reject {
        self.done = true;
        let place = Place { byte: self.number, ..Place::default() };
        Reject { position: place.within(&*self.origin), reason: format!("{BROKEN}{fault}"), record: String::new() }
    }
}

impl Iterator for Records {
    type Item = Result<Chunk, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            match self.step() {
                Ok(Some(chunk)) => return Some(Ok(chunk)),
                Ok(None) => {}
                Err(fault) => return Some(Err(self.broken(&fault))),
            }
        }
        None
    }
}
