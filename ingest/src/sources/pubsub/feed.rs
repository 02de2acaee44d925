//! The stream of a subscription, and the watch over it.
//!
//! Nobody outside Google's monitoring knows whether messages wait on a silent stream. So a silent one is replaced: a new
//! stream costs next to nothing, and what it brings at once tells that the old one had stalled.

use std::time::Duration;

use google_cloud_pubsub::Error;
use google_cloud_pubsub::client::Subscriber;
use google_cloud_pubsub::model::Message;
use google_cloud_pubsub::subscriber::MessageStream;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::access::{self, Reach};
use crate::sources::SourceError;

pub(super) type Pulled = (Message, Handler);

/// Handed from the stream's task to the source; the rest waits with the provider.
const READY_MAX: usize = 256;

/// A message is held for as long as its commit takes, by far longer than any should.
const LEASE_MAX: Duration = Duration::from_hours(24);

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a new stream brings within this time had waited before.
const SOON: Duration = Duration::from_secs(10);

pub(super) struct Flow {
    pub(super) subscription: String,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) stall: Duration,
}

/// One stream. What it has pulled is given back when it is dropped; what was handed over can still be answered.
pub(super) struct Feed {
    ready: mpsc::Receiver<Result<Pulled, Error>>,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Intake {
    pub(super) reach: Reach,
    subscriber: Subscriber,
    flow: Flow,
    feed: Option<Feed>,
    /// Handed over and not answered.
    messages: usize,
    bytes: usize,
    /// When something last came, or a stream was opened.
    heard: Instant,
    /// When the stream took the place of a silent one, until it is known whether that one had stalled.
    replaced: Option<Instant>,
    failures: u32,
    again_at: Instant,
    replacements: u64,
}

impl Intake {
    pub(super) async fn new(reach: Reach, flow: Flow) -> Result<Self, SourceError> {
        let now = Instant::now();
        Ok(Self {
            subscriber: reach.subscriber().await?,
            reach,
            flow,
            feed: None,
            messages: 0,
            bytes: 0,
            heard: now,
            replaced: None,
            failures: 0,
            again_at: now,
            replacements: 0,
        })
    }

    /// How often a silent stream was replaced.
    #[cfg(test)]
    pub(super) fn replacements(&self) -> u64 {
        self.replacements
    }

    pub(super) fn answered(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
        // The provider could not send while too much was open: silence counts from here.
        self.heard = self.heard.max(Instant::now());
    }

    /// Ends the stream. What it had ready is given back when this is dropped.
    pub(super) fn close(&mut self) -> Option<Feed> {
        let feed = self.feed.take()?;
        feed.task.abort();
        Some(feed)
    }

    /// Waits for a message. Holds nothing while it waits.
    pub(super) async fn first(&mut self, until: Instant) -> Result<Option<Pulled>, SourceError> {
        loop {
            if self.feed.is_none() && self.again_at > Instant::now() {
                sleep_until(self.again_at.min(until)).await;
                if self.again_at > until {
                    return Ok(None);
                }
            }
            let alarm = self.alarm();
            let end = alarm.map_or(until, |alarm| alarm.min(until));
            match timeout_at(end, self.feed().ready.recv()).await {
                Ok(Some(Ok(pulled))) => return Ok(Some(self.took(pulled))),
                Ok(Some(Err(fault))) => return Err(self.broke(&fault)),
                Ok(None) => self.ended(),
                Err(_) if alarm.is_some_and(|alarm| alarm <= Instant::now()) => self.replace().await?,
                Err(_) => return Ok(None),
            }
        }
    }

    /// One more, where it comes by then. A fault is left for `first` to find.
    pub(super) async fn more(&mut self, until: Instant) -> Option<Pulled> {
        let feed = self.feed.as_mut()?;
        match timeout_at(until, feed.ready.recv()).await.ok()?? {
            Ok(pulled) => Some(self.took(pulled)),
            Err(fault) => {
                tracing::warn!("{}", self.broke(&fault));
                None
            }
        }
    }

    fn took(&mut self, pulled: Pulled) -> Pulled {
        let now = Instant::now();
        if self.replaced.take().is_some_and(|at| now < at + SOON) {
            tracing::warn!("the stream of {} had stalled: a new one brings messages", self.flow.subscription);
        }
        (self.heard, self.failures) = (now, 0);
        self.messages += 1;
        self.bytes += pulled.0.data.len();
        pulled
    }

    /// When silence becomes suspicious; never while the provider must not send.
    fn alarm(&self) -> Option<Instant> {
        let full = self.messages >= self.flow.messages || self.bytes >= self.flow.bytes;
        (!full).then(|| self.heard + self.flow.stall)
    }

    fn feed(&mut self) -> &mut Feed {
        let (subscriber, flow) = (&self.subscriber, &self.flow);
        self.feed.get_or_insert_with(|| {
            self.heard = Instant::now();
            open(subscriber, flow)
        })
    }

    /// Asks whether the subscription is there, then has a new stream take over.
    async fn replace(&mut self) -> Result<(), SourceError> {
        tracing::debug!("nothing on {} for {:?}: its stream is opened anew", self.flow.subscription, self.flow.stall);
        // Forgotten first, so that the silence is not asked about again should this be dropped while it waits.
        self.feed = None;
        self.replacements += 1;
        if let Err(fault) = access::reachable(&self.reach, &self.flow.subscription).await {
            self.later();
            return Err(fault);
        }
        // Its connection may be what is dead.
        self.subscriber = self.reach.subscriber().await?;
        self.replaced = Some(Instant::now());
        Ok(())
    }

    fn broke(&mut self, fault: &Error) -> SourceError {
        self.feed = None;
        self.later();
        access::fault(&format!("pulling from {}", self.flow.subscription), fault)
    }

    fn ended(&mut self) {
        tracing::warn!("the stream of {} ended: it is opened anew", self.flow.subscription);
        self.feed = None;
        self.later();
    }

    fn later(&mut self) {
        let rest = RETRY_FIRST.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.again_at = Instant::now() + rest;
    }
}

fn open(subscriber: &Subscriber, flow: &Flow) -> Feed {
    let stream = subscriber
        .subscribe(flow.subscription.clone())
        .set_max_outstanding_messages(i64::try_from(flow.messages).unwrap_or(i64::MAX))
        .set_max_outstanding_bytes(i64::try_from(flow.bytes).unwrap_or(i64::MAX))
        .set_max_lease(LEASE_MAX)
        .build();
    let (sender, ready) = mpsc::channel(READY_MAX);
    Feed { ready, task: tokio::spawn(pump(stream, sender)) }
}

/// A task of its own, since opening a stream takes as long as the first message does.
async fn pump(mut stream: MessageStream, sender: mpsc::Sender<Result<Pulled, Error>>) {
    while let Some(pulled) = stream.next().await {
        let last = pulled.is_err();
        if sender.send(pulled).await.is_err() || last {
            return;
        }
    }
}
