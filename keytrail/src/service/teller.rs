//! Takes tickets to owners: follows the journal's findings, one replica at a time. A ticket goes out when a finding joins
//! it, not each time that a count moves; one that could not be delivered is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use keytrail_model::{EntryBody, Micros};
use keytrail_remediate::{Notifier, Ticket, tickets};
use keytrail_store::{Checkpoint, Lease, Save, Saved, Store, TicketState, entry};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::lease::{Holding, keep};
use super::metrics;
use super::settings::Settings;
use super::shared::Stop;
use super::stages::Stages;

const SHARD: &str = "tickets";
const VERSION: i64 = 1;
const PAGE: u32 = 1_000;
const EVERY: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_mins(1);

pub struct Teller {
    pub store: Store,
    pub notifiers: Vec<Box<dyn Notifier>>,
    pub settings: Arc<Settings>,
    pub stages: watch::Receiver<Arc<Stages>>,
}

impl Teller {
    pub async fn run(self, mut stop: Stop) -> Result<()> {
        let mut holding = Holding::new(&self.store, SHARD, &self.settings.replica, self.settings.lease);
        while let Some(lease) = holding.acquire(&mut stop).await {
            let beats = tokio::spawn(keep(self.store.clone(), lease.clone(), self.settings.lease));
            let ended = self.term(&lease, &mut stop).await;
            beats.abort();
            metrics::undelivered(0, None, Micros(0));
            match ended {
                Ok(true) => return Ok(self.store.release(&lease).await?),
                Ok(false) => {}
                Err(error) => {
                    warn!("tickets wait: {error:#}");
                    tokio::select! { () = sleep(EVERY * 4) => {}, () = stop.wait() => {} }
                }
            }
        }
        Ok(())
    }

    /// True when it was stopped, false when another took over.
    async fn term(&self, lease: &Lease, stop: &mut Stop) -> Result<bool> {
        let mut cursor = self.store.restore(SHARD).await?.map_or(0, |checkpoint| checkpoint.cursor);
        let mut retried = Instant::now();
        loop {
            let stopping = stop.is_set();
            let page = self.store.finding_entries_after(cursor, PAGE).await?;
            if let Some((last, _)) = page.last() {
                cursor = *last;
                let ids: BTreeSet<String> = page.into_iter().map(|(_, id)| id).collect();
                if !self.tell(lease, cursor, &ids).await? {
                    return Ok(false);
                }
                continue;
            }
            if stopping {
                return Ok(true);
            }
            if retried.elapsed() >= RETRY {
                retried = Instant::now();
                if !self.retry(lease, cursor).await? {
                    return Ok(false);
                }
            }
            tokio::select! { () = sleep(EVERY) => {}, () = stop.wait() => {} }
        }
    }

    async fn retry(&self, lease: &Lease, cursor: i64) -> Result<bool> {
        let waiting = self.store.undelivered().await?;
        metrics::undelivered(waiting.len(), waiting.iter().map(|ticket| ticket.at).min(), (self.settings.now)());
        let ids: BTreeSet<String> = waiting.into_iter().flat_map(|ticket| ticket.findings).collect();
        if ids.is_empty() { Ok(true) } else { self.tell(lease, cursor, &ids).await }
    }

    async fn tell(&self, lease: &Lease, cursor: i64, changed: &BTreeSet<String>) -> Result<bool> {
        let mut entries = Vec::new();
        // One at a time: all findings of many credentials can be more than memory should hold.
        for (credential, changed) in self.by_credential(changed).await? {
            for ticket in &self.due(credential.as_deref(), &changed).await? {
                if !is_news(ticket, self.store.ticket(&ticket.key).await?.as_ref()) {
                    continue;
                }
                for notifier in &self.notifiers {
                    let told = notifier.upsert(ticket).await.map_err(|error| error.to_string());
                    metrics::ticket(told.is_ok());
                    entries.push(entry(ticket.at, body(ticket, told))?);
                }
            }
        }
        let checkpoint =
            Checkpoint { shard: SHARD.to_owned(), cursor, floor: i64::MAX, version: VERSION, body: Vec::new() };
        let save = Save {
            checkpoint: &checkpoint,
            seen: None,
            forget_seen_before: Micros(i64::MIN),
            entries: &entries,
            credentials: &[],
        };
        Ok(matches!(self.store.save(lease, &save).await?, Saved::Done(_)))
    }

    /// These findings by the credential that they are about.
    async fn by_credential(&self, changed: &BTreeSet<String>) -> Result<BTreeMap<Option<String>, BTreeSet<String>>> {
        let mut by_credential: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
        for id in changed {
            if let Some(finding) = self.store.finding(id).await? {
                by_credential.entry(finding.target.credential).or_default().insert(finding.id);
            }
        }
        Ok(by_credential)
    }

    /// The tickets that these findings of a credential are in, whole.
    async fn due(&self, credential: Option<&str>, changed: &BTreeSet<String>) -> Result<Vec<Ticket>> {
        let mut findings = self.store.findings_with(credential).await?;
        // An indexed credential may be cut, and then stand for another too. Of one that was found early and whose owner is
        // not known yet, its turn will tell.
        findings.retain(|one| one.target.credential.as_deref() == credential && one.ownership.is_some());
        let stages = Arc::clone(&self.stages.borrow());
        let actions: Vec<_> = findings.iter().flat_map(|finding| stages.actions(finding)).collect();
        let tickets = tickets(&findings, &actions, stages.enricher.inventory().fallback());
        Ok(tickets.into_iter().filter(|ticket| ticket.findings.iter().any(|id| changed.contains(id))).collect())
    }
}

/// Whether it was never delivered, or not with all of these findings.
fn is_news(ticket: &Ticket, known: Option<&keytrail_store::Ticket>) -> bool {
    known.is_none_or(|known| {
        matches!(known.state, TicketState::Undelivered { .. })
            || ticket.findings.iter().any(|id| !known.findings.contains(id))
    })
}

fn body(ticket: &Ticket, told: Result<String, String>) -> EntryBody {
    let (key, to, findings) = (ticket.key.clone(), vec![ticket.to.email.clone()], ticket.findings.clone());
    match told {
        Ok(sent) => EntryBody::Ticket { key, to, sent, findings },
        Err(reason) => EntryBody::Undelivered { key, to, reason, findings },
    }
}
