//! The lake put in order by who evaluates, and so by one replica alone: small files become large ones, and days that outlived
//! their time go.

use std::time::Duration;

use anyhow::Result;
use keytrail_model::Micros;
use keytrail_store::{Compacted, Lake};
use tokio::time::Instant;
use tracing::{info, warn};

use super::settings::Settings;
use crate::commands::lake::{EVERYTHING, outlived};

/// How often. A checkpoint every half minute leaves a hundred files of each log source until then.
const EVERY: Duration = Duration::from_hours(1);

pub struct Upkeep {
    last: Instant,
}

impl Upkeep {
    #[must_use]
    pub fn new() -> Self {
        Self { last: Instant::now() }
    }

    /// When it is due. What fails is told and tried again the next time: the lake is as good as it was.
    pub async fn when_due(&mut self, lake: &Lake, settings: &Settings) {
        if self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        if let Err(fault) = in_order(lake, settings).await {
            warn!("the lake cannot be put in order: {fault:#}");
        }
    }
}

async fn in_order(lake: &Lake, settings: &Settings) -> Result<()> {
    let Compacted { before, after, copies } = lake.compact().await?;
    info!(before, after, copies, "small files of the lake became larger ones");
    let now = (settings.now)().0;
    let until = settings.lake_keep.map(|keep| Micros(now.saturating_sub(keep)));
    let mut old = outlived(lake.files(EVERYTHING.0, EVERYTHING.1).await?, until, settings.lake_bytes_max);
    // What late events are put right from is never too much: without it, findings would seem to have been wrong.
    let needed = Micros(now.saturating_sub(settings.reevaluate));
    old.retain(|file| file.last() < needed);
    if !old.is_empty() {
        lake.delete(&old).await?;
        info!(files = old.len(), last_day = old.last().map(|file| file.date()), "days of the lake outlived their time");
    }
    Ok(())
}
