//! A Pub/Sub subscription, by streaming pull. A message is recognised by its id.
//!
//! Leases are extended by the client library for as long as a receipt is open. How much waits is known to Google's
//! monitoring only, so there is no lag here.

mod access;
mod feed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use google_cloud_pubsub::model::{Message, SeekRequest};
use google_cloud_pubsub::subscriber::handler::Handler;
use keytrail_model::Micros;
use serde::Deserialize;

use super::durations::duration;
use super::{Check, Delivery, Extent, Gap, Lag, Listing, Messages, Part, Receipt, Source, SourceError, Surroundings};
use crate::Limits;
use access::Reach;
use feed::{Flow, Intake, Pulled};

/// How long acknowledgements may take that the provider confirms.
const CONFIRM_WITHIN: Duration = Duration::from_mins(1);

/// How long a stream takes to close.
const CLOSING: Duration = Duration::from_millis(500);

/// Messages of one delivery, at the very most.
const BATCH_MAX: usize = 10_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PubsubConfig {
    /// `projects/P/subscriptions/S`.
    pub subscription: String,
    /// Of a private endpoint, or of the emulator on this machine.
    pub endpoint: Option<String>,
    /// Messages of one delivery, at most.
    pub batch: usize,
    /// How long a delivery waits for more.
    pub linger: String,
    /// Messages that may be open at once.
    pub in_flight: u32,
    /// The same in bytes.
    pub in_flight_bytes: u32,
    /// How long a stream may be silent before it is opened anew.
    pub stall: String,
    pub exactly_once: ExactlyOnce,
}

/// Whether the provider's own exactly-once delivery is asked for. Nothing is read twice without it either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExactlyOnce {
    /// As the subscription has it.
    #[default]
    Auto,
    /// `check` tells where the subscription has it not.
    Required,
}

impl Default for PubsubConfig {
    fn default() -> Self {
        Self {
            subscription: String::new(),
            endpoint: None,
            batch: 1000,
            linger: "200ms".to_owned(),
            in_flight: 10_000,
            in_flight_bytes: 64 << 20,
            stall: "60s".to_owned(),
            exactly_once: ExactlyOnce::Auto,
        }
    }
}

pub struct Pubsub {
    subscription: String,
    /// The part of its name that origins begin with.
    short: String,
    batch: usize,
    linger: Duration,
    exactly_once: ExactlyOnce,
    limits: Limits,
    intake: Intake,
    /// Pulled, but not yet handed over: kept here so that nothing is lost when `next` is dropped.
    gathered: Vec<Pulled>,
    open: HashMap<Receipt, Held>,
    last: Receipt,
}

/// What stands behind a receipt.
struct Held {
    handlers: Vec<Handler>,
    bytes: usize,
}

impl Pubsub {
    pub async fn open(name: &str, config: &PubsubConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let short = access::short_name(name, &config.subscription)?;
        if config.batch == 0 || config.batch > BATCH_MAX || config.in_flight == 0 || config.in_flight_bytes == 0 {
            return Err(SourceError::config(
                name,
                format!("`batch` is 1 to {BATCH_MAX}, `in_flight` and `in_flight_bytes` are at least 1"),
            ));
        }
        let flow = Flow {
            subscription: config.subscription.clone(),
            messages: config.in_flight as usize,
            bytes: config.in_flight_bytes as usize,
            stall: duration(name, "stall", &config.stall)?,
        };
        let reach = Reach::new(name, config.endpoint.as_deref(), around)?;
        Ok(Self {
            subscription: config.subscription.clone(),
            short,
            batch: config.batch,
            linger: duration(name, "linger", &config.linger)?,
            exactly_once: config.exactly_once,
            limits: around.limits.clone(),
            intake: Intake::new(reach, flow).await?,
            gathered: Vec::new(),
            open: HashMap::new(),
            last: 0,
        })
    }

    /// What comes soon after the first of a delivery goes with it.
    async fn gather(&mut self) {
        let until = tokio::time::Instant::now() + self.linger;
        while self.gathered.len() < self.batch {
            let Some(pulled) = self.intake.more(until).await else { return };
            self.gathered.push(pulled);
        }
    }

    fn deliver(&mut self) -> Delivery {
        self.last += 1;
        let mut held = Held { handlers: Vec::new(), bytes: 0 };
        let mut seen = std::collections::HashSet::new();
        let mut parts = Vec::new();
        for (message, handler) in self.gathered.drain(..) {
            held.bytes += message.data.len();
            held.handlers.push(handler);
            // A second copy in the same delivery is answered with the first.
            if seen.insert(message.message_id.clone()) {
                parts.push(part(&self.short, message, &self.limits));
            }
        }
        self.open.insert(self.last, held);
        Delivery { receipt: self.last, parts }
    }

    fn take(&mut self, receipt: Receipt) -> Vec<Handler> {
        let Some(held) = self.open.remove(&receipt) else { return Vec::new() };
        self.intake.answered(held.handlers.len(), held.bytes);
        held.handlers
    }
}

/// The stream is closed before what is open is given back, which the server would send into the closing stream else and
/// hold there until its deadline is over.
impl Drop for Pubsub {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let open = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.open), self.intake.close());
        drop(runtime.spawn(async move {
            tokio::time::sleep(CLOSING).await;
            drop(open);
        }));
    }
}

/// Unpacked only when it is read.
fn part(short: &str, message: Message, limits: &Limits) -> Part {
    let origin = format!("{short}/{}", message.message_id);
    let (name, limits) = (origin.clone(), limits.clone());
    let chunks = std::iter::once_with(move || {
        let mut messages = Messages::new(&name, &limits);
        messages.add(0, &message.data);
        messages
    });
    Part { origin, extent: Extent::Whole, lane: String::new(), chunks: Box::new(chunks.flatten()) }
}

/// An error where it was not confirmed: then it may come again, and is recognised.
async fn confirmed(handler: Handler) -> Result<(), String> {
    match handler {
        Handler::ExactlyOnce(handler) => handler.confirmed_ack().await.map_err(|fault| fault.to_string()),
        other => {
            other.ack();
            Ok(())
        }
    }
}

#[async_trait]
impl Source for Pubsub {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let until = tokio::time::Instant::now() + wait;
        if self.gathered.is_empty() {
            let Some(first) = self.intake.first(until).await? else { return Ok(None) };
            self.gathered.push(first);
        }
        self.gather().await;
        Ok(Some(self.deliver()))
    }

    fn forgets(&self) -> Option<String> {
        Some(format!("{}/", self.short))
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        let handlers = self.take(receipt);
        let total = handlers.len();
        let what = format!("acknowledging on {}", self.subscription);
        let Ok(answers) = tokio::time::timeout(CONFIRM_WITHIN, join_all(handlers.into_iter().map(confirmed))).await
        else {
            return Err(SourceError::unreachable(
                what,
                format!("no answer within {}s: what comes again is recognised", CONFIRM_WITHIN.as_secs()),
            ));
        };
        let faults: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
        let Some(first) = faults.first() else { return Ok(()) };
        let of = faults.len();
        Err(SourceError::unreachable(what, format!("{of} of {total} not confirmed, they may come again: {first}")))
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        self.take(receipt).into_iter().for_each(Handler::nack);
        Ok(())
    }

    async fn check(&mut self) -> Vec<Check> {
        let mut checks = access::subscription_checks(&self.intake.reach, &self.subscription, self.exactly_once).await;
        checks.extend(access::permission_checks(&self.intake.reach, &self.subscription).await);
        checks
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        Ok(Lag::default())
    }

    async fn listing(&mut self, _since: Micros, _until: Micros) -> Result<Listing, SourceError> {
        Ok(Listing::NotProvable(
            "a subscription tells only what waits, and keeps no list of what it has delivered".into(),
        ))
    }

    /// Seeks to the start of the oldest gap: a message is published after the event it tells of. What was acknowledged
    /// comes again only where the subscription or its topic retains it.
    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        let Some(since) = gaps.iter().map(|gap| gap.since).min() else { return Ok(Vec::new()) };
        let what = format!("seeking {} to {since}", self.subscription);
        let request = serde_json::json!({ "subscription": self.subscription, "time": since.to_string() });
        let request: SeekRequest =
            serde_json::from_value(request).map_err(|fault| SourceError::unreachable(&what, fault))?;
        access::retains(&self.intake.reach, &self.subscription, since).await?;
        let sent = self.intake.reach.admin().await?.seek().with_request(request).send();
        let answer = tokio::time::timeout(access::ANSWER_WITHIN, sent).await;
        match answer {
            Ok(Ok(_)) => Ok(Vec::new()),
            Ok(Err(fault)) => Err(access::fault(&what, &fault)),
            Err(_) => Err(SourceError::unreachable(what, "no answer in time")),
        }
    }
}
