//! Taking in once more: what reconcile finds missing, and what became rejects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use keytrail_ingest::sources::{Gap, Source};
use keytrail_model::Micros;
use keytrail_store::{FORGOTTEN, Store};
use tokio::sync::watch;
use tracing::warn;

use super::reconcile::{Missing, reconcile};
use super::settings::Settings;
use super::shared::{Shared, Stop};
use super::stages::Stages;
use super::taker::Taker;
use crate::config::Config;
use crate::pack::Pack;

/// How long nothing must come before it is over.
const QUIET: Duration = Duration::from_secs(5);

/// Takes in the gaps of a period; of a source without a list, all of it. How many records came.
pub async fn backfill(
    config: &Config,
    pack: &Pack,
    (name, mut source): (&str, Box<dyn Source>),
    (since, until): (Micros, Micros),
) -> Result<u64> {
    let store = config.open_store(None).await?;
    let found = reconcile((name, source.as_mut()), &store, (since, until)).await?;
    let mut gaps: Vec<Gap> = found.gaps.into_iter().filter_map(gap).collect();
    if !found.provable {
        gaps.push(Gap { origin: String::new(), range: None, since, until });
    }
    if gaps.is_empty() {
        return Ok(0);
    }
    take(config, pack, (name, source), store, &gaps, false).await
}

fn gap(missing: Missing) -> Option<Gap> {
    match missing {
        Missing::Gap(gap) => Some(gap),
        Missing::Broken(_) => None,
    }
}

/// Takes in again every origin of which something became a reject, and can be had again. What was read of it before is
/// known by its id.
pub async fn replay_rejects(config: &Config, pack: &Pack, (name, source): (&str, Box<dyn Source>)) -> Result<u64> {
    let store = config.open_store(None).await?;
    let gaps = rejected(&store, name).await?;
    if gaps.is_empty() {
        bail!("nothing that `{name}` delivered became a reject");
    }
    take(config, pack, (name, source), store, &gaps, true).await
}

async fn rejected(store: &Store, name: &str) -> Result<Vec<Gap>> {
    let (mut gaps, mut after) = (Vec::new(), None);
    loop {
        let page = store.ledger(name, after.as_deref(), 10_000).await?;
        let Some(last) = page.last() else { return Ok(gaps) };
        after = Some(last.origin.clone());
        let rejected = page.into_iter().filter(|mark| mark.rejects > 0 && mark.origin != FORGOTTEN);
        gaps.extend(rejected.map(|mark| {
            let range = (!mark.done).then_some((0, mark.position));
            Gap { origin: mark.origin, range, since: Micros(0), until: Micros(i64::MAX) }
        }));
    }
}

async fn take(
    config: &Config,
    pack: &Pack,
    (name, mut source): (&str, Box<dyn Source>),
    store: Store,
    gaps: &[Gap],
    again: bool,
) -> Result<u64> {
    let settings = Arc::new(Settings::of(config)?);
    store.reserve(&[super::leader::SHARD.to_owned()]).await?;
    let (_keep, stages) = watch::channel(Arc::new(Stages::build(pack, config.limits.limits())?));
    let gone: BTreeSet<String> = source.refill(gaps).await?.into_iter().collect();
    if let Some(first) = gone.first() {
        let (count, all) = (gone.len(), gaps.len());
        let fault = format!("{count} of {all} cannot be had from `{name}` again, such as {first}");
        if count == all {
            bail!("{fault}");
        }
        warn!("{fault}");
    }
    let shared = Arc::new(Shared::of(std::iter::once(name.to_owned())));
    let mut taker = Taker::new(name.to_owned(), source, store, (settings, shared), stages)?;
    taker.again = again;
    let (_set, stop) = Stop::new();
    taker.run_until_quiet(stop, QUIET).await
}
