//! The lake put in order by who evaluates, and so by one replica alone: small files become large ones, and days that outlived
//! their time go. A day of a log source at a time, so that evaluation goes on in between.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use keytrail_model::Micros;
use keytrail_store::{Compacted, Lake, LakeFile, Scattered};
use tokio::time::Instant;
use tracing::{info, warn};

use super::settings::Settings;
use crate::commands::lake::{EVERYTHING, outlived};

/// How often. A checkpoint every half minute leaves a hundred files of each log source until then.
const EVERY: Duration = Duration::from_hours(1);
/// Bytes of large files that small ones are compared with: copies of what stands in more are left to `lake compact`.
const COMPARED: u64 = 64 << 20;

pub struct Upkeep {
    last: Instant,
    todo: VecDeque<Scattered>,
}

impl Upkeep {
    #[must_use]
    pub fn new() -> Self {
        Self { last: Instant::now(), todo: VecDeque::new() }
    }

    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.todo.is_empty() || self.last.elapsed() >= EVERY
    }

    /// Its next piece. Days before `begins` may go. What fails is told and tried again the next time: the lake is as good
    /// as it was.
    pub async fn turn(&mut self, lake: &Lake, settings: &Settings, begins: Micros) {
        if let Err(fault) = self.piece(lake, settings, begins).await {
            warn!("the lake cannot be put in order: {fault:#}");
            self.todo.clear();
        }
    }

    async fn piece(&mut self, lake: &Lake, settings: &Settings, begins: Micros) -> Result<()> {
        if let Some(day) = self.todo.pop_front() {
            let Compacted { before, after, copies } = lake.gather(&day, COMPARED).await?;
            info!(before, after, copies, "small files of the lake became larger ones");
            return Ok(());
        }
        self.last = Instant::now();
        let until = settings.lake_keep.map(|keep| Micros((settings.now)().0.saturating_sub(keep)));
        let mut old = outlived(lake.files(EVERYTHING.0, EVERYTHING.1).await?, until, settings.lake_bytes_max);
        old.retain(|file| file.last() < begins);
        if !old.is_empty() {
            lake.delete(&old).await?;
            info!(files = old.len(), last_day = old.last().map(LakeFile::date), "days of the lake outlived their time");
        }
        self.todo = lake.scattered().await?.into();
        Ok(())
    }
}
