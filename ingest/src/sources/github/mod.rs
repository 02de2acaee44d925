//! GitHub's audit log through its REST API, in windows of five minutes that are each read once.
//!
//! A window is handed over when it is older than `overlap`, and its pages are asked for only when they are read. So what
//! the ledger already knows costs nothing, and no cursor of GitHub's needs to be kept.

mod access;
mod api;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keytrail_model::Micros;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::durations::{duration, now};
use super::{
    Check, Delivery, Extent, Gap, Lag, Listing, Part, Receipt, Resumed, Source, SourceError, Surroundings, first_undone,
};
use api::Api;
use records::{Records, Window};

const WIDTH: i64 = 300 * Micros::SECOND;
const DAY: i64 = 86_400 * Micros::SECOND;

/// How far back it begins where nothing is said: over a weekend.
const BACK: i64 = 3 * DAY;

/// GitHub keeps nothing that is older.
const KEPT: i64 = 180 * DAY;

/// Windows that may be open at once.
const OPEN_MAX: usize = 16;

/// Gaps that may wait at once.
const GAPS_MAX: usize = 10_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GithubConfig {
    /// Whose log it is: this or `org`.
    pub enterprise: Option<String>,
    pub org: Option<String>,
    /// Of GitHub Enterprise Server: `https://HOST/api/v3`.
    pub api: String,
    /// A personal access token, which is a static key. Read anew when it is refused.
    pub token_file: Option<PathBuf>,
    /// The same in an environment variable of this name.
    pub token_env: Option<String>,
    /// A GitHub App, whose tokens live for an hour.
    pub app: Option<AppConfig>,
    pub include: Include,
    /// How long a window rests that could not be read.
    pub every: String,
    /// How long after a window's end an event of it may still appear.
    pub overlap: String,
    /// Records of one request, 1 to 100.
    pub page: u32,
    /// Where to begin, RFC 3339; where it is left out three days before the start, or where it left off.
    pub since: Option<Micros>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    pub id: u64,
    pub installation: u64,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

/// Which events: of the web interface and the API, of git, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Include {
    Web,
    Git,
    #[default]
    All,
}

impl Include {
    fn word(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Git => "git",
            Self::All => "all",
        }
    }
}

impl Default for GithubConfig {
    fn default() -> Self {
        Self {
            enterprise: None,
            org: None,
            api: "https://api.github.com".to_owned(),
            token_file: None,
            token_env: None,
            app: None,
            include: Include::All,
            every: "60s".to_owned(),
            overlap: "5m".to_owned(),
            page: 100,
            since: None,
        }
    }
}

pub struct Github {
    api: Arc<Api>,
    runtime: Handle,
    every: Duration,
    overlap: i64,
    clock: fn() -> Micros,
    /// Whether it is said where to begin.
    begins: bool,
    /// Start of the next window that was never handed over.
    next: Micros,
    /// Windows that were given back, and until when they rest.
    again: BTreeSet<Micros>,
    rest_until: Instant,
    /// Starts of windows that are asked for once more, from and to.
    gaps: VecDeque<(Micros, Micros)>,
    open: BTreeMap<Receipt, Micros>,
    last: Receipt,
}

impl Github {
    pub fn open(name: &str, config: &GithubConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let runtime = Handle::try_current().map_err(|fault| SourceError::config(name, fault.to_string()))?;
        let overlap = duration(name, "overlap", &config.overlap)?;
        let now = now();
        let begin = config.since.unwrap_or(Micros(now.0 - BACK));
        Ok(Self {
            api: Arc::new(Api::new(name, config, around)?),
            runtime,
            every: duration(name, "every", &config.every)?,
            overlap: i64::try_from(overlap.as_micros()).unwrap_or(KEPT),
            clock: self::now,
            begins: config.since.is_some(),
            next: Micros(begin.0.max(now.0 - KEPT)).bucket(WIDTH),
            again: BTreeSet::new(),
            rest_until: Instant::now(),
            gaps: VecDeque::new(),
            open: BTreeMap::new(),
            last: 0,
        })
    }

    /// When the next window that was never handed over will be old enough.
    fn due(&self) -> Micros {
        Micros(self.next.0.saturating_add(WIDTH).saturating_add(self.overlap))
    }

    fn pick(&mut self) -> Option<Micros> {
        if self.open.len() >= OPEN_MAX {
            return None;
        }
        if self.rest_until <= Instant::now()
            && let Some(start) = self.again.pop_first()
        {
            return Some(start);
        }
        if let Some((from, to)) = self.gaps.front_mut() {
            let start = *from;
            from.0 += WIDTH;
            if from >= to {
                self.gaps.pop_front();
            }
            return Some(start);
        }
        if self.due() > (self.clock)() {
            return None;
        }
        let start = self.next;
        self.next.0 += WIDTH;
        Some(start)
    }

    fn deliver(&mut self, start: Micros) -> Delivery {
        self.last += 1;
        self.open.insert(self.last, start);
        let origin = origin(start);
        let window = Window { start, end: Micros(start.0 + WIDTH) };
        let records = Records::new(Arc::clone(&self.api), self.runtime.clone(), window, &origin);
        let part = Part { origin, extent: Extent::Whole, lane: String::new(), chunks: Box::new(records) };
        Delivery { receipt: self.last, parts: vec![part] }
    }

    /// Until when there is surely nothing to pick.
    fn quiet_until(&self, until: Instant) -> Instant {
        if self.open.len() >= OPEN_MAX {
            return until;
        }
        let wait = u64::try_from(self.due().0 - (self.clock)().0).unwrap_or(0).max(1000);
        let due = Instant::now() + Duration::from_micros(wait);
        let rested = if self.again.is_empty() { until } else { self.rest_until };
        due.min(rested).min(until)
    }
}

fn origin(start: Micros) -> String {
    format!("audit-log/{start}")
}

fn started(origin: &str) -> Option<Micros> {
    origin.strip_prefix("audit-log/").and_then(Micros::parse).map(|start| start.bucket(WIDTH))
}

/// The windows that touch a gap; of one that names its window, that one.
fn windows(gap: &Gap) -> (Micros, Micros) {
    match started(&gap.origin) {
        Some(start) => (start, Micros(start.0 + WIDTH)),
        None => (gap.since.bucket(WIDTH), gap.until),
    }
}

#[async_trait]
impl Source for Github {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let until = Instant::now() + wait;
        loop {
            // While GitHub has asked for rest, a window could only fail.
            let resting = self.api.resting_until().filter(|rest| *rest > Instant::now());
            let pause = match resting {
                Some(rest) => rest.min(until),
                None => match self.pick() {
                    Some(start) => return Ok(Some(self.deliver(start))),
                    None => self.quiet_until(until),
                },
            };
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
        if let Some(start) = self.open.remove(&receipt) {
            self.again.insert(start);
            self.rest_until = Instant::now() + self.every;
        }
        Ok(())
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn idle(&self) -> Vec<String> {
        let behind = !self.again.is_empty() || !self.gaps.is_empty() || self.due() <= (self.clock)();
        if behind { Vec::new() } else { vec![String::new()] }
    }

    fn resumes(&self) -> bool {
        !self.begins
    }

    /// The first window that was not read, though it be longer ago.
    fn resume(&mut self, known: Vec<Resumed>) {
        let oldest = Micros((self.clock)().0 - KEPT).bucket(WIDTH);
        if let Some(undone) = first_undone(&known, started, WIDTH) {
            self.next = self.next.min(undone.max(oldest));
        }
    }

    async fn check(&mut self) -> Vec<Check> {
        let what = format!("GET {}", self.api.place());
        let start = Micros((self.clock)().0 - WIDTH).bucket(WIDTH);
        let asked = self.api.page(&Window { start, end: Micros(start.0 + WIDTH) }, None, 1).await;
        vec![Check { what, fault: asked.err().map(|fault| fault.to_string()) }]
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        let waiting = self.again.iter().chain(self.open.values());
        let oldest = waiting.min().copied().unwrap_or(self.next).min(self.next);
        let age = u64::try_from((self.clock)().0.saturating_sub(oldest.0)).unwrap_or(0);
        Ok(Lag { waiting: None, oldest: Some(Duration::from_micros(age)) })
    }

    async fn listing(&mut self, _since: Micros, _until: Micros) -> Result<Listing, SourceError> {
        Ok(Listing::NotProvable(
            "the audit log gives no count and no digest that what was read could be held against".into(),
        ))
    }

    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        if self.gaps.len() + gaps.len() > GAPS_MAX {
            return Err(SourceError::unreachable("refill", format!("more than {GAPS_MAX} gaps wait: ask for fewer")));
        }
        // What is still to come is not asked for twice.
        let ranges = gaps.iter().map(windows).map(|(from, to)| (from, to.min(self.next)));
        self.gaps.extend(ranges.filter(|(from, to)| from < to));
        Ok(Vec::new())
    }
}
