//! CloudTrail's LookupEvents: management events of the last 90 days, in windows that every replica and restart names alike.
//!
//! A window is handed over once late events are in it; its pages are asked for only by who wants to read them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_sdk_cloudtrail::{Client, config::Builder};
use keytrail_model::Micros;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::access::Access;
use super::lookup::{Lookup, Pages, WHAT};
use super::{length, now};
use crate::sources::{
    Check, Delivery, Extent, Gap, Lag, Listing, Part, Receipt, Resumed, Source, SourceError, Surroundings, first_undone,
};

const WINDOW: i64 = 300 * Micros::SECOND;

/// CloudTrail keeps what it lets look up for so long.
const KEPT: i64 = 90 * 86_400 * Micros::SECOND;

/// After a window could not be committed.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudTrailConfig {
    pub region: String,
    /// Another address than Amazon's.
    pub endpoint: Option<String>,
    /// How often it is looked for what is new; 1 m.
    pub every: Option<String>,
    /// How long after its end a window is read, so that late events are in it; 15 m.
    pub overlap: Option<String>,
    /// How far back the first window lies, at most 90 days, which is also the default.
    pub start: Option<String>,
    /// The same as a time.
    pub since: Option<Micros>,
}

/// The event history of one region.
pub struct CloudTrail {
    name: String,
    region: String,
    lookup: Arc<Lookup>,
    every: Duration,
    overlap: i64,
    /// Whether it is said at which time to begin.
    begins: bool,
    /// Start of the next window.
    at: Micros,
    /// Windows that are to come again, and not before when.
    again: VecDeque<(Instant, Micros)>,
    open: HashMap<Receipt, Micros>,
    receipts: Receipt,
}

impl CloudTrail {
    pub async fn open(name: &str, config: &CloudTrailConfig, around: &Surroundings) -> Result<Self, SourceError> {
        if config.region.is_empty() {
            return Err(SourceError::config(
                name,
                "no `region`; CloudTrail keeps a history for each, such as `eu-west-1`",
            ));
        }
        let bound = |least, most| (Duration::from_secs(least), Duration::from_secs(most));
        let every = config.every.as_deref();
        let every = length(name, "every", every, Duration::from_mins(1), bound(1, 3600))?;
        let overlap = config.overlap.as_deref();
        let overlap = length(name, "overlap", overlap, Duration::from_mins(15), bound(0, 86_400))?;
        let days = 90 * 86_400;
        let start = length(name, "start", config.start.as_deref(), Duration::from_secs(days), bound(0, days))?;
        let access = Access::open(name, Some(&config.region), config.endpoint.as_deref(), around).await?;
        let quiet = Builder::from(&access.config).retry_config(RetryConfig::disabled()).build();
        let since = config.since.unwrap_or_else(|| Micros(now().0 - micros(start)));
        Ok(Self {
            name: name.to_owned(),
            region: config.region.clone(),
            lookup: Arc::new(Lookup::new(Client::from_conf(quiet))),
            every,
            overlap: micros(overlap),
            begins: config.since.is_some(),
            at: first(since),
            again: VecDeque::new(),
            open: HashMap::new(),
            receipts: 0,
        })
    }

    fn deliver(&mut self, start: Micros) -> Delivery {
        self.receipts += 1;
        self.open.insert(self.receipts, start);
        let origin = format!("lookup/{}/{start}", self.region);
        let pages = Pages::new(&self.lookup, &origin, (start, Micros(start.0 + WINDOW)));
        let part = Part { origin, extent: Extent::Whole, lane: String::new(), chunks: Box::new(pages) };
        Delivery { receipt: self.receipts, parts: vec![part] }
    }

    /// The next window that can be read now.
    fn due(&mut self) -> Option<Micros> {
        if self.again.front().is_some_and(|(from, _)| *from <= Instant::now()) {
            return self.again.pop_front().map(|(_, window)| window);
        }
        let window = self.at;
        let due = window.0 + WINDOW + self.overlap <= now().0;
        due.then(|| {
            self.at = Micros(window.0 + WINDOW);
            window
        })
    }

    /// The start of the window that is meant.
    fn started(&self, origin: &str) -> Option<Micros> {
        let (region, start) = origin.strip_prefix("lookup/")?.split_once('/')?;
        Micros::parse(start).filter(|_| region == self.region).map(|start| start.bucket(WINDOW))
    }

    /// The windows of a time.
    fn windows(&self, since: Micros, until: Micros) -> Result<Vec<Micros>, SourceError> {
        // What may still change is left to when its time has come.
        let over = Micros(now().0 - self.overlap - WINDOW);
        let (since, until) = (first(since), until.min(over));
        if since >= until {
            let fault = format!(
                "nothing of that time can be had of CloudTrail in {}: it keeps 90 days, and what is younger than \
                 `overlap` and five minutes is read when its time has come",
                self.region
            );
            return Err(SourceError::config(&self.name, fault));
        }
        Ok((since.0..until.0).step_by(usize::try_from(WINDOW).unwrap_or(usize::MAX)).map(Micros).collect())
    }
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// The first window that may hold something: nothing is kept from before.
fn first(since: Micros) -> Micros {
    let oldest = Micros(now().0 - KEPT + WINDOW);
    since.max(oldest).bucket(WINDOW)
}

#[async_trait]
impl Source for CloudTrail {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let until = Instant::now() + wait;
        loop {
            if let Some(trouble) = self.lookup.trouble() {
                return Err(trouble);
            }
            if let Some(window) = self.due() {
                return Ok(Some(self.deliver(window)));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let again = self.again.front().map_or(self.every, |(at, _)| at.saturating_duration_since(Instant::now()));
            sleep(left.min(self.every).min(again)).await;
        }
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        self.open.remove(&receipt);
        Ok(())
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        if let Some(window) = self.open.remove(&receipt) {
            self.again.push_back((Instant::now() + AGAIN, window));
        }
        Ok(())
    }

    fn resumes(&self) -> bool {
        !self.begins
    }

    /// The first window that was not read, though it be longer ago.
    fn resume(&mut self, known: Vec<Resumed>) {
        if let Some(undone) = first_undone(&known, |origin| self.started(origin), WINDOW) {
            self.at = self.at.min(first(undone));
        }
    }

    async fn check(&mut self) -> Vec<Check> {
        let until = now().bucket(WINDOW);
        let said = self.lookup.page((Micros(until.0 - WINDOW), until), 1, None).await;
        vec![Check { what: WHAT.to_owned(), fault: said.err().map(|fault| fault.to_string()) }]
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        let behind = (now().0 - self.overlap - self.at.0).div_euclid(WINDOW).max(0);
        let waiting = u64::try_from(behind).unwrap_or_default() + self.again.len() as u64;
        let oldest =
            (behind > 0).then(|| Duration::from_micros(u64::try_from(now().0 - self.at.0).unwrap_or_default()));
        Ok(Lag { waiting: Some(waiting), oldest })
    }

    async fn listing(&mut self, _since: Micros, _until: Micros) -> Result<Listing, SourceError> {
        let why =
            "CloudTrail's event history keeps no list; deliver a trail to S3 with log file validation to prove it";
        Ok(Listing::NotProvable(why.to_owned()))
    }

    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        let mut gone = Vec::new();
        for gap in gaps {
            let windows = match self.started(&gap.origin) {
                Some(start) => vec![start],
                None if gap.origin.is_empty() => self.windows(gap.since, gap.until)?,
                None => {
                    gone.push(gap.origin.clone());
                    continue;
                }
            };
            self.again.extend(windows.into_iter().map(|window| (Instant::now(), window)));
        }
        Ok(gone)
    }
}
