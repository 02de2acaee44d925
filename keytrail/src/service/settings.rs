//! What the service is told by the configuration, in the units that it works with, and the clock that it goes by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use keytrail_ingest::sources::read_duration;
use keytrail_model::Micros;

use crate::config::{Config, expanded};

/// How late events of a source are unless it says: CloudTrail's objects come within some 15 minutes, streams in less; what
/// is asked for by the window comes after the window and its overlap.
const LATENESS_WINDOWS: Duration = Duration::from_mins(30);
const LATENESS_OBJECTS: Duration = Duration::from_mins(15);
const LATENESS_STREAMS: Duration = Duration::from_mins(2);

#[derive(Clone, Debug)]
pub struct Settings {
    /// Who this replica is.
    pub replica: String,
    /// By source, in microseconds.
    pub lateness: BTreeMap<String, i64>,
    pub checkpoint_every: Duration,
    pub lease: Duration,
    /// Beyond so many packed bytes in the inbox, sources wait.
    pub inbox_bytes_max: u64,
    /// After so long without a sign of life a source no longer holds event time back.
    pub stall: Duration,
    /// How far back late events are put right.
    pub reevaluate: i64,
    /// How long a day of the lake is kept, and how large it may grow.
    pub lake_keep: Option<i64>,
    pub lake_bytes_max: Option<u64>,
    pub out: PathBuf,
    /// A run over what is there, which no clock moves on.
    pub once: bool,
    pub now: fn() -> Micros,
}

impl Settings {
    pub fn of(config: &Config) -> Result<Self> {
        let run = &config.run;
        if config.sources.is_empty() {
            bail!(
                "no source is configured: add one under `sources:`, such as `drop: {{files: {{at: /var/log/audit}}}}`"
            );
        }
        let lateness = config.sources.iter().map(|(name, source)| {
            let said = source.lateness.as_deref().map(|text| duration(&format!("sources.{name}.lateness"), text));
            let usual = if source.cloudtrail.is_some() || source.github.is_some() {
                LATENESS_WINDOWS
            } else if source.kafka.is_some() || source.pubsub.is_some() || source.http.is_some() {
                LATENESS_STREAMS
            } else {
                LATENESS_OBJECTS
            };
            Ok((name.clone(), micros(said.transpose()?.unwrap_or(usual))))
        });
        let reevaluate = micros(duration("run.reevaluate", &run.reevaluate)?);
        let lake_keep = config.lake.keep.as_deref().map(|text| duration("lake.keep", text).map(micros)).transpose()?;
        if let (Some(keep), Some(said)) = (lake_keep, &config.lake.keep)
            && keep < reevaluate
        {
            let again = &run.reevaluate;
            bail!(
                "`lake.keep: {said}` is less than `run.reevaluate: {again}`, for which late events are put right from the lake"
            );
        }
        Ok(Self {
            replica: run.replica.as_deref().map(expanded).filter(|name| !name.is_empty()).unwrap_or_else(nameless),
            lateness: lateness.collect::<Result<_>>()?,
            checkpoint_every: duration("run.checkpoint_every", &run.checkpoint_every)?,
            lease: duration("run.lease", &run.lease)?,
            inbox_bytes_max: run.inbox_bytes_max,
            stall: duration("run.stall", &run.stall)?,
            reevaluate,
            lake_keep,
            lake_bytes_max: config.lake.bytes_max,
            out: config.out.clone(),
            once: false,
            now,
        })
    }

    /// Before this time days of the lake may have been deleted; never so near that late events could not be put right that
    /// reach so far back from where events are settled.
    #[must_use]
    pub fn lake_begins(&self, settled: Micros, reach: i64) -> Micros {
        let now = (self.now)().0;
        let needed = settled.0.min(now).saturating_sub(self.reevaluate.saturating_add(reach));
        Micros(match (self.lake_keep, self.lake_bytes_max) {
            (None, None) => i64::MIN,
            (Some(keep), None) => needed.min(now.saturating_sub(keep)),
            (_, Some(_)) => needed,
        })
    }
}

/// Told from other replicas, also from those in other containers whose processes have the same number.
fn nameless() -> String {
    format!("keytrail-{}-{:x}", std::process::id(), now().0)
}

/// `250ms`, `30s`, `15m`, `12h`, `7d`.
pub fn duration(key: &str, text: &str) -> Result<Duration> {
    read_duration(text).with_context(|| format!("`{key}: {text}` is no duration; write one such as 30s, 15m or 7d"))
}

#[must_use]
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The wall clock. It dates what is written down and moves idle sources on; it never decides what is found.
fn now() -> Micros {
    #[expect(clippy::disallowed_methods, reason = "the service's one clock")]
    let now = jiff::Timestamp::now();
    Micros(now.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_told() {
        assert_eq!(duration("x", "15m").ok(), Some(Duration::from_mins(15)));
        assert_eq!(duration("x", "1.5s").ok(), Some(Duration::from_millis(1500)));
        let error = duration("run.lease", "15").expect_err("an error").to_string();
        assert_eq!(error, "`run.lease: 15` is no duration; write one such as 30s, 15m or 7d");
    }
}
