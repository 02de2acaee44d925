//! Holding a lease: claimed when its holder has not moved for long enough by our own clock, and kept by moving.

use std::time::Duration;

use keytrail_store::{Lease, Store, StoreError};
use tokio::time::{Instant, sleep};

use super::metrics;
use super::shared::Stop;

/// One lease and what was seen of it.
pub struct Holding {
    store: Store,
    name: String,
    holder: String,
    patience: Duration,
    seen: Option<(Lease, Instant)>,
}

impl Holding {
    #[must_use]
    pub fn new(store: &Store, name: &str, holder: &str, patience: Duration) -> Self {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        Self { store: store.clone(), name, holder, patience, seen: None }
    }

    /// Waits until it is ours; `None` when it is time to stop.
    pub async fn acquire(&mut self, stop: &mut Stop) -> Option<Lease> {
        metrics::lease(&self.name, false);
        while !stop.is_set() {
            match self.attempt().await {
                Ok(Some(lease)) => {
                    tracing::info!(lease = self.name, epoch = lease.epoch, "holds the lease");
                    metrics::lease(&self.name, true);
                    return Some(lease);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(lease = self.name, "{error}"),
            }
            tokio::select! { () = sleep(self.patience / 8) => {}, () = stop.wait() => {} }
        }
        None
    }

    async fn attempt(&mut self) -> Result<Option<Lease>, StoreError> {
        let now = self.store.lease(&self.name).await?;
        if let Some(lease) = &now {
            let moved = self.seen.as_ref().is_none_or(|(known, _)| known != lease);
            if moved {
                self.seen = Some((lease.clone(), Instant::now()));
            }
            let rests = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() >= self.patience);
            if !lease.is_free() && lease.holder != self.holder && !rests {
                return Ok(None);
            }
        }
        self.store.claim(&self.name, &self.holder, now.as_ref()).await
    }
}

/// Moves it as often as it takes to keep it, until somebody else has it.
pub async fn keep(store: Store, mut lease: Lease, patience: Duration) {
    loop {
        sleep(patience / 4).await;
        match store.beat(&lease).await {
            Ok(Some(beaten)) => lease = beaten,
            Ok(None) => {
                metrics::lease(&lease.name, false);
                return tracing::warn!(lease = lease.name, "another replica took over");
            }
            Err(error) => tracing::warn!(lease = lease.name, "{error}"),
        }
    }
}
