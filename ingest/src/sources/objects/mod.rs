//! Files that an exporter writes into object storage and tells nobody of, found by listing.
//!
//! Names need not come in order, so no marker is kept: each round lists everything of the last days, and what was done
//! before is recognised by its origin. Younger objects than `settle` are left for the next round.

mod place;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keytrail_model::Micros;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::durations::{duration, now};
use super::{
    Check, Delivery, Extent, Gap, Lag, Listed, Listing, Part, Proof, Receipt, Source, SourceError, Surroundings,
};
use crate::Limits;
use place::Place;
use reading::Reading;

const DAY: i64 = 86_400 * Micros::SECOND;

/// Objects of one delivery: many exporters write small ones.
const BATCH: usize = 16;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectsConfig {
    /// `s3://`, `gs://` or `az://` and the prefix, or a folder.
    pub at: String,
    /// How often it is listed.
    pub every: String,
    /// Takes nothing that was written before; the first round goes back as far, whatever `days` says.
    pub since: Option<Micros>,
    /// How old an object must be.
    pub settle: String,
    /// How far back each round looks.
    pub days: u32,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self { at: String::new(), every: "60s".to_owned(), since: None, settle: "60s".to_owned(), days: 3 }
    }
}

/// One object as it was listed.
#[derive(Clone, Debug)]
struct Item {
    origin: String,
    meta: ObjectMeta,
}

impl Item {
    fn written(&self) -> Micros {
        Micros(self.meta.last_modified.timestamp_micros())
    }
}

pub struct Objects {
    place: Place,
    runtime: Handle,
    limits: Limits,
    every: Duration,
    settle: i64,
    back: i64,
    /// Older objects are never taken.
    since: Option<Micros>,
    /// Until the first round is through, which goes back as far as `since`, and further where it was at rest for long.
    first: bool,
    /// When something was last taken in.
    left_off: Option<Micros>,
    list_at: Instant,
    rest_until: Instant,
    queue: VecDeque<Item>,
    /// Of the last listing, those that were handed over or wait to be.
    known: HashSet<String>,
    open: BTreeMap<Receipt, Vec<Item>>,
    last: Receipt,
}

impl Objects {
    pub fn open(name: &str, config: &ObjectsConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let runtime = Handle::try_current().map_err(|fault| SourceError::config(name, fault.to_string()))?;
        if !(1..=366).contains(&config.days) {
            return Err(SourceError::config(name, format!("`days: {}` must be 1 to 366", config.days)));
        }
        let settle = duration(name, "settle", &config.settle)?;
        Ok(Self {
            place: Place::open(name, &config.at, around)?,
            runtime,
            limits: around.limits.clone(),
            every: duration(name, "every", &config.every)?,
            settle: i64::try_from(settle.as_micros()).unwrap_or(DAY),
            back: i64::from(config.days) * DAY,
            since: config.since,
            first: true,
            left_off: None,
            list_at: Instant::now(),
            rest_until: Instant::now(),
            queue: VecDeque::new(),
            known: HashSet::new(),
            open: BTreeMap::new(),
            last: 0,
        })
    }

    /// Changes nothing before the list is whole.
    async fn round(&mut self) -> Result<(), SourceError> {
        let now = now();
        let from = self.left_off.filter(|left_off| self.first && *left_off < now).unwrap_or(now);
        let back = Micros(from.0 - self.back);
        let since = self.since.map_or(back, |since| if self.first { since } else { since.max(back) });
        let mut listed = self.place.list(since, back).await?;
        listed.retain(|item| item.written() >= since && item.written().0 <= now.0 - self.settle);
        let present: HashSet<String> = listed.iter().map(|item| item.origin.clone()).collect();
        listed.retain(|item| !self.known.contains(&item.origin));
        self.queue.extend(listed);
        self.known = present;
        self.first = false;
        self.list_at = Instant::now() + self.every;
        Ok(())
    }

    fn deliver(&mut self) -> Delivery {
        self.last += 1;
        let items: Vec<Item> = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        let parts = items.iter().map(|item| self.part(item)).collect();
        self.open.insert(self.last, items);
        Delivery { receipt: self.last, parts }
    }

    fn part(&self, item: &Item) -> Part {
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.place.store);
        let chunks = Reading::new(store, self.runtime.clone(), item.clone(), self.limits.clone());
        Part { origin: item.origin.clone(), extent: Extent::Whole, lane: String::new(), chunks: Box::new(chunks) }
    }

    /// What was written within this time.
    async fn within(&self, since: Micros, until: Micros) -> Result<Vec<Item>, SourceError> {
        // An object may stand in the folder of an earlier day than it was written on.
        let mut listed = self.place.list(Micros(since.0.saturating_sub(self.back)), Micros(i64::MAX)).await?;
        listed.retain(|item| item.written() >= since && item.written() < until);
        Ok(listed)
    }
}

#[async_trait]
impl Source for Objects {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let until = Instant::now() + wait;
        loop {
            let now = Instant::now();
            if !self.queue.is_empty() && self.rest_until <= now {
                return Ok(Some(self.deliver()));
            }
            if self.queue.is_empty() && self.list_at <= now {
                self.round().await?;
                continue;
            }
            let pause = if self.queue.is_empty() { self.list_at } else { self.rest_until }.min(until);
            sleep_until(pause).await;
            if pause >= until {
                return Ok(None);
            }
        }
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        self.open.remove(&receipt);
        Ok(())
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        for item in self.open.remove(&receipt).into_iter().flatten().rev() {
            self.queue.push_front(item);
            self.rest_until = Instant::now() + self.every;
        }
        Ok(())
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn idle(&self) -> Vec<String> {
        if self.queue.is_empty() { vec![String::new()] } else { Vec::new() }
    }

    fn left_off(&mut self, at: Micros) {
        self.left_off = Some(at);
    }

    async fn check(&mut self) -> Vec<Check> {
        let what = |verb: &str| format!("{verb} {}", self.place.url);
        let first = match self.place.first().await {
            Ok(first) => first,
            Err(fault) => return vec![Check { what: what("listing"), fault: Some(fault.to_string()) }],
        };
        let listing = Check { what: what("listing"), fault: None };
        let Some(first) = first else { return vec![listing] };
        let read = self.place.store.head(&first.location).await;
        let fault = read.err().map(|fault| {
            format!("an object cannot be read, the identity that this runs as needs to get objects: {fault}")
        });
        vec![listing, Check { what: what("reading"), fault }]
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        let waiting = self.queue.iter().chain(self.open.values().flatten());
        let oldest = waiting.map(Item::written).min();
        let age = oldest.and_then(|oldest| u64::try_from(now().0 - oldest.0).ok()).map(Duration::from_micros);
        Ok(Lag { waiting: Some(self.queue.len() as u64), oldest: age })
    }

    async fn listing(&mut self, since: Micros, until: Micros) -> Result<Listing, SourceError> {
        let listed = self.within(since, until).await?.into_iter();
        let objects = listed.map(|item| Listed { bytes: item.meta.size, at: item.written(), origin: item.origin });
        Ok(Listing::Objects { objects: objects.collect(), proof: Proof::default() })
    }

    /// By origin, else everything that was written in the gap's time.
    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for gap in gaps {
            if gap.origin.is_empty() {
                found.extend(self.within(gap.since, gap.until).await?);
                continue;
            }
            match self.place.named(&gap.origin).await? {
                Some(item) => found.push(item),
                None => gone.push(gap.origin.clone()),
            }
        }
        self.queue.extend(found);
        Ok(gone)
    }
}
