//! Pages of CloudTrail's LookupEvents, asked for as they are pulled and no faster than CloudTrail allows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::error::ProvideErrorMetadata;
use aws_sdk_cloudtrail::operation::lookup_events::LookupEventsOutput;
use aws_sdk_cloudtrail::types::Event;
use keytrail_model::{Micros, Place, Reject};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::access::fault;
use super::keys::seconds;
use super::objects::reject;
use crate::sources::{BROKEN, SourceError};
use crate::{Chunk, Span};

pub(super) const WHAT: &str = "cloudtrail:LookupEvents on *";

/// Two requests a second are allowed in an account and region; other readers want some as well.
const PACE: Duration = Duration::from_millis(550);

/// A page has at most 50 events.
const PAGE: i32 = 50;

/// More pages than this hold more events than an account makes in a window.
const PAGES: usize = 20_000;

/// How often a throttled request is made again; the first pause.
const TRIES: u32 = 7;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Lookup {
    client: Client,
    /// When the next request may be made.
    turn: Turn<Option<Instant>>,
    /// What went wrong while pages were pulled, for who asks next.
    trouble: Mutex<Option<SourceError>>,
}

impl Lookup {
    pub(super) fn new(client: Client) -> Self {
        Self { client, turn: Turn::default(), trouble: Mutex::default() }
    }

    pub(super) fn trouble(&self) -> Option<SourceError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// One page of the events from `since` to before `until`; both ends count for CloudTrail, which knows whole seconds.
    pub(super) async fn page(
        &self,
        (since, until): (Micros, Micros),
        most: i32,
        token: Option<String>,
    ) -> Result<LookupEventsOutput, SourceError> {
        let mut tries = 0;
        loop {
            self.wait().await;
            let last = Micros(until.0.saturating_sub(Micros::SECOND));
            let ask = self.client.lookup_events().start_time(seconds(since)).end_time(seconds(last));
            match ask.max_results(most).set_next_token(token.clone()).send().await {
                Ok(page) => return Ok(page),
                Err(error) if throttled(error.code()) && tries < TRIES => {
                    sleep(PAUSE * 2_u32.pow(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(fault(WHAT, &error)),
            }
        }
    }

    async fn wait(&self) {
        let mut turn = self.turn.lock().await;
        if let Some(at) = *turn {
            sleep_until(at).await;
        }
        *turn = Some(Instant::now() + PACE);
    }
}

fn throttled(code: Option<&str>) -> bool {
    matches!(code, Some("ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded"))
}

/// The events of one window, a page at a time. CloudTrail is not asked before the first is pulled.
pub(super) struct Pages {
    lookup: Arc<Lookup>,
    runtime: Handle,
    origin: Arc<str>,
    window: (Micros, Micros),
    next: Next,
    pages: usize,
    /// Events so far.
    number: u64,
    ready: VecDeque<Result<Chunk, Reject>>,
}

enum Next {
    First,
    After(String),
    None,
}

impl Pages {
    /// Called within the runtime that asks.
    pub(super) fn new(lookup: &Arc<Lookup>, origin: &str, window: (Micros, Micros)) -> Self {
        let (lookup, runtime, ready) = (Arc::clone(lookup), Handle::current(), VecDeque::new());
        Self { lookup, runtime, origin: origin.into(), window, next: Next::First, pages: 0, number: 0, ready }
    }

    fn pull(&mut self, token: Option<String>) {
        let (answer, said) = oneshot::channel();
        let (lookup, window, asked) = (Arc::clone(&self.lookup), self.window, token.clone());
        self.runtime.spawn(async move { drop(answer.send(lookup.page(window, PAGE, asked).await)) });
        self.pages += 1;
        match said.blocking_recv() {
            Ok(Ok(page)) => {
                let more = page.next_token.filter(|next| !next.is_empty());
                self.add(&page.events.unwrap_or_default());
                match more {
                    Some(next) if Some(&next) == token.as_ref() => {
                        self.break_off("the same page came again".to_owned());
                    }
                    Some(_) if self.pages >= PAGES => self.break_off(format!("it has more than {PAGES} pages")),
                    Some(next) => self.next = Next::After(next),
                    None => {}
                }
            }
            Ok(Err(fault)) => {
                self.break_off(fault.to_string());
                *self.lookup.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            }
            Err(_) => self.break_off("the service is ending".to_owned()),
        }
    }

    fn break_off(&mut self, why: String) {
        self.ready.push_back(Err(reject(&self.origin, format!("{BROKEN}{why}"))));
    }

    fn add(&mut self, events: &[Event]) {
        let mut chunk = Chunk::of(&*self.origin, Vec::new(), Vec::new());
        for event in events {
            // All in one place: asked again, what comes where may be another event, so it is read whole or not at all.
            let place = Place { record: Some(self.number), ..Place::default() };
            self.number += 1;
            let Some(record) = event.cloud_trail_event() else {
                let reason = "CloudTrail gave an event without its record; look it up by its id".to_owned();
                let position = place.within(&self.origin);
                self.ready.push_back(Err(Reject { position, reason, record: String::new() }));
                continue;
            };
            let start = chunk.bytes.len();
            chunk.bytes.extend_from_slice(record.as_bytes());
            chunk.spans.push(Span { start, end: chunk.bytes.len(), place });
            chunk.bytes.push(b'\n');
        }
        if !chunk.spans.is_empty() {
            self.ready.push_front(Ok(chunk));
        }
    }
}

impl Iterator for Pages {
    type Item = Result<Chunk, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match std::mem::replace(&mut self.next, Next::None) {
                Next::First => self.pull(None),
                Next::After(token) => self.pull(Some(token)),
                Next::None => return None,
            }
        }
    }
}
