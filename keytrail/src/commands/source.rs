//! `keytrail source`: what the sources of the configuration have, may do and lack.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use keytrail_ingest::sources::{Lag, Source};
use keytrail_model::{Micros, did_you_mean};
use serde_json::json;

use super::run::told;
use crate::cli::{Global, Source as Command, service::Period};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::{self, Rows, note};
use crate::pack::Pack;
use crate::service::reconcile::{Found, reconcile};
use crate::service::settings::Settings;
use crate::service::taker::known;
use crate::service::{again, sources};

const DAY: i64 = 86_400 * Micros::SECOND;

type Sources = BTreeMap<String, Box<dyn Source>>;

pub async fn run(global: &Global, command: Command) -> Result<()> {
    let config = Config::load(global)?;
    if config.sources.is_empty() {
        bail!("no source is configured: add one under `sources:` in the configuration");
    }
    match command {
        Command::List => list(global, &config).await,
        Command::Check { name } => check(global, &mut open(&config, name.as_deref()).await?).await,
        Command::Lag { name } => lag(global, &config, &mut open(&config, name.as_deref()).await?).await,
        Command::Reconcile { name, period } => {
            let opened = open(&config, name.as_deref()).await?;
            hold_against(global, &config, opened, period).await
        }
        Command::Backfill { name, period } => {
            let (since, until) = times(&config, period)?;
            let source = one(&config, &name).await?;
            let pack = Pack::with(&config.rule_set(&crate::cli::RuleSet::default()))?;
            let taken = again::backfill(&config, &pack, (&name, source), (since, until)).await?;
            note(global, &format!("{taken} records taken in; a running service evaluates them"));
            Ok(())
        }
        Command::ReplayRejects { name } => {
            let source = one(&config, &name).await?;
            let pack = Pack::with(&config.rule_set(&crate::cli::RuleSet::default()))?;
            let taken = again::replay_rejects(&config, &pack, (&name, source)).await?;
            note(global, &format!("{taken} records taken in again; a running service evaluates them"));
            Ok(())
        }
    }
}

async fn open(config: &Config, name: Option<&str>) -> Result<Sources> {
    let mut config = config.clone();
    if let Some(name) = name {
        let near = did_you_mean(name, config.sources.keys().map(String::as_str));
        config.sources.retain(|known, _| known == name);
        if config.sources.is_empty() {
            bail!("no source is called `{name}`{near}");
        }
    }
    sources(&config, "command").await
}

async fn one(config: &Config, name: &str) -> Result<Box<dyn Source>> {
    let opened = open(config, Some(name)).await?;
    opened.into_values().next().ok_or_else(|| anyhow!("no source is called `{name}`"))
}

async fn list(global: &Global, config: &Config) -> Result<()> {
    let store = config.open_store(None).await?;
    let totals = store.ledger_totals().await?;
    let mut rows = Rows::new(&["source", "origins", "done", "events", "rejects", "last"]);
    for name in config.sources.keys() {
        let total = totals.iter().find(|total| total.source == *name);
        let count = |of: fn(&keytrail_store::LedgerTotal) -> u64| json!(total.map_or(0, of));
        let last = json!(total.map(|total| total.last.to_string()));
        let (origins, done) = (count(|total| total.origins), count(|total| total.done));
        rows.push([json!(name), origins, done, count(|total| total.events), count(|total| total.rejects), last]);
    }
    output::print(&rows, global)
}

/// What is missing ends with 4: a provider refused.
pub async fn check(global: &Global, opened: &mut Sources) -> Result<()> {
    let mut missing = 0;
    for (name, source) in opened {
        for check in source.check().await {
            missing += usize::from(check.fault.is_some());
            told(global, &format!("{name}: {}", check.what), check.fault.as_deref());
        }
    }
    if missing > 0 { Err(Failure::Refused(format!("{missing} things are missing")).into()) } else { Ok(()) }
}

async fn lag(global: &Global, config: &Config, opened: &mut Sources) -> Result<()> {
    let store = config.open_store(None).await?;
    let mut rows = Rows::new(&["source", "waiting", "oldest_seconds", "fault"]);
    for (name, source) in opened {
        if source.resumes() {
            source.resume(known(&store, name).await?);
        }
        let (lag, fault) = match source.lag().await {
            Ok(lag) => (lag, None),
            Err(fault) => (Lag::default(), Some(fault.to_string())),
        };
        let oldest = lag.oldest.map(|oldest| oldest.as_secs());
        rows.push([json!(name), json!(lag.waiting), json!(oldest), json!(fault)]);
    }
    output::print(&rows, global)
}

fn times(config: &Config, period: Period) -> Result<(Micros, Micros)> {
    let now = (Settings::of(config)?.now)();
    let until = period.until.unwrap_or(now);
    let since = period.since.unwrap_or(Micros(now.0 - DAY));
    if since >= until {
        bail!("--since {since} is not before --until {until}");
    }
    Ok((since, until))
}

async fn hold_against(global: &Global, config: &Config, opened: Sources, period: Period) -> Result<()> {
    let (since, until) = times(config, period)?;
    let store = config.open_store(None).await?;
    let mut rows = Rows::new(&["source", "listed", "taken_in", "gaps", "provable", "said"]);
    let mut gaps = 0;
    for (name, mut source) in opened {
        let Found { listed, taken, gaps: missing, provable, said, .. } =
            reconcile((&name, source.as_mut()), &store, (since, until)).await?;
        gaps += missing.len();
        for gap in &missing {
            note(global, &format!("gap in {name}: {}", gap.said()));
        }
        rows.push([json!(name), json!(listed), json!(taken), json!(missing.len()), json!(provable), json!(said)]);
    }
    output::print(&rows, global)?;
    match gaps {
        0 => Ok(()),
        gaps => Err(Failure::Found(format!("{gaps} gaps; `keytrail source backfill` fills what can be filled")).into()),
    }
}
