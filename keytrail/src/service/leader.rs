//! The one replica at a time that evaluates: drives the engine over the inbox, and commits what it found together with how
//! far it came, under an epoch that a successor's commit ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use keytrail_model::{Entry, EntryBody, EventBatch, Finding, Micros};
use keytrail_store::{Checkpoint, InboxRow, Lake, Lease, Save, Saved, Store, StoreError, entry};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::engine::{Arrived, Engine};
use super::lease::{Holding, keep};
use super::settings::Settings;
use super::shared::{Shared, Stop};
use super::stages::Stages;
use super::upkeep::Upkeep;
use super::watermark::Lanes;
use super::{late, metrics};
use crate::commands::counted;

pub const SHARD: &str = "detector";
const VERSION: i64 = 1;
/// Rows of the inbox that are looked at in one turn.
const PAGE: u32 = 64;
/// How long it learns, or evaluates, before it sees what else is to be done; a row is done whole.
const TURN: Duration = Duration::from_millis(250);
/// How often findings are told that waited for event time: a finding that grows is told once then, however often it grew.
const TELL: Duration = Duration::from_millis(500);
/// How long nothing is looked for when nothing is said.
const NAP: Duration = Duration::from_millis(250);
/// Bytes of records that wait for the lake in memory; with their columns, and while they are written, several times that.
const LAKE_BYTES: usize = 8 << 20;
const RETRY: Duration = Duration::from_secs(1);

pub struct Leader {
    pub store: Store,
    pub lake: Lake,
    pub settings: Arc<Settings>,
    pub shared: Arc<Shared>,
    pub stages: watch::Receiver<Arc<Stages>>,
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    Superseded,
    /// Everything there was is done.
    Drained,
}

/// One term of leading.
struct Term<'a> {
    of: &'a Leader,
    lease: Lease,
    engine: Engine,
    kept: Vec<EventBatch>,
    bytes: usize,
    saved: Instant,
    told: Instant,
    /// When something was last evaluated.
    evaluated: Instant,
    upkeep: Upkeep,
    stuck: Stuck,
    asked: Option<Instant>,
    stop: Stop,
}

/// Where event time stands, since when, and where each lane stood then.
struct Stuck {
    at: Option<Micros>,
    since: Instant,
    lanes: Lanes,
}

impl Stuck {
    fn over(engine: &Engine) -> Self {
        Self { at: engine.watermark(), since: Instant::now(), lanes: engine.lanes().clone() }
    }
}

impl Leader {
    pub async fn run(mut self, mut stop: Stop) -> Result<()> {
        let mut holding = Holding::new(&self.store, SHARD, &self.settings.replica, self.settings.lease);
        loop {
            let Some(lease) = holding.acquire(&mut stop).await else { return Ok(()) };
            let beats = tokio::spawn(keep(self.store.clone(), lease.clone(), self.settings.lease));
            self.shared.leads.store(true, Ordering::Relaxed);
            let ended = self.term(lease.clone(), &mut stop).await;
            self.shared.leads.store(false, Ordering::Relaxed);
            self.shared.slowest(None);
            beats.abort();
            match ended {
                Ok(Ended::Superseded) => {
                    self.shared.evaluates(None);
                    warn!("another replica took over; its state is current, ours is dropped");
                }
                Ok(Ended::Stopped | Ended::Drained) => {
                    self.store.release(&lease).await?;
                    return Ok(());
                }
                // Another build leads, or will: what this one would make of the state is not asked for.
                Err(error) if matches!(error.downcast_ref(), Some(StoreError::NewerState { .. })) => {
                    self.store.release(&lease).await?;
                    return Err(error);
                }
                // The state of this term may be half: the next one begins from what was committed.
                Err(error) if !self.settings.once || error.downcast_ref::<StoreError>().is_some() => {
                    warn!("evaluation is begun anew from the last checkpoint: {error:#}");
                    self.shared.evaluates(Some((format!("{error:#}"), (self.settings.now)())));
                    tokio::select! { () = sleep(RETRY) => {}, () = stop.wait() => {} }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn term(&mut self, lease: Lease, stop: &mut Stop) -> Result<Ended> {
        let stages = Arc::clone(&self.stages.borrow_and_update());
        let mut engine = Engine::new(stages, self.settings.lateness.clone())?;
        if let Some(checkpoint) = self.store.restore(SHARD).await?.filter(|checkpoint| !checkpoint.body.is_empty()) {
            engine.restore(&checkpoint.body)?;
            for (last, ids) in self.store.seen(SHARD).await? {
                engine.seen.restore(last, &ids);
            }
            engine.forget();
            info!(cursor = checkpoint.cursor, "goes on from the last checkpoint");
        }
        let now = Instant::now();
        let mut term = Term {
            of: self,
            lease,
            stuck: Stuck::over(&engine),
            engine,
            kept: Vec::new(),
            bytes: 0,
            saved: now,
            told: now,
            evaluated: now,
            upkeep: Upkeep::new(),
            asked: None,
            stop: stop.clone(),
        };
        term.run(stop).await
    }
}

impl Term<'_> {
    async fn run(&mut self, stop: &mut Stop) -> Result<Ended> {
        let mut stages = self.of.stages.clone();
        loop {
            if stop.is_set() {
                return Ok(if self.checkpoint(true).await? { Ended::Stopped } else { Ended::Superseded });
            }
            if stages.has_changed().unwrap_or(false) {
                self.engine.reload(Arc::clone(&stages.borrow_and_update()))?;
                info!("evaluates with the new rules");
            }
            // A run over what is there learns all of it first, as a scan does. Else what can be evaluated is, before more
            // is learnt: what is known ahead of its time takes memory.
            let learns = self.of.settings.once;
            let evaluated = if learns { 0 } else { self.evaluate().await? };
            let read = if evaluated == 0 { self.read().await? } else { 0 };
            if evaluated > 0 {
                self.evaluated = Instant::now();
                // What sources gave meanwhile was not looked at.
                self.stuck.since = self.evaluated;
            }
            if !learns && self.told.elapsed() >= TELL && !self.tell(false).await? {
                return Ok(Ended::Superseded);
            }
            let busy = read + evaluated > 0;
            let due = !learns && self.saved.elapsed() >= self.of.settings.checkpoint_every;
            if due && !self.checkpoint(false).await? {
                return Ok(Ended::Superseded);
            }
            if self.upkeep.is_due() && !self.keep_up().await? {
                return Ok(Ended::Superseded);
            }
            if !busy && self.of.settings.once && self.is_drained().await? {
                return self.drain().await;
            }
            self.look().await?;
            if !busy {
                let arrived = timeout(NAP, self.of.shared.arrived.notified());
                tokio::select! { _ = arrived => {}, () = stop.wait() => {} }
            }
        }
    }

    /// Learns from the next rows of the inbox.
    async fn read(&mut self) -> Result<usize> {
        // Rows that wait are few enough to be remembered, however many there are on the disk.
        let rows = self.of.store.inbox_index(self.engine.cursor(), PAGE).await?;
        let (began, mut read) = (Instant::now(), 0);
        for row in rows.iter().take_while(|_| began.elapsed() < TURN) {
            read += 1;
            let arrived = arrived(row);
            if row.tick {
                self.engine.tick(&arrived);
                continue;
            }
            let body = self.body(row.seq).await?;
            tokio::task::block_in_place(|| self.engine.arrive(&arrived, &body))?;
        }
        Ok(read)
    }

    async fn body(&self, seq: i64) -> Result<Vec<u8>> {
        self.of.store.inbox_body(seq).await?.with_context(|| format!("row {seq} of the inbox is gone"))
    }

    async fn evaluate(&mut self) -> Result<usize> {
        let (began, mut evaluated) = (Instant::now(), 0);
        for seq in self.engine.ready().iter().take_while(|_| began.elapsed() < TURN) {
            evaluated += 1;
            let body = self.body(*seq).await?;
            let (batches, bytes) = tokio::task::block_in_place(|| self.engine.evaluate(*seq, &body))?;
            self.bytes += bytes;
            self.kept.extend(batches);
            if self.bytes >= LAKE_BYTES {
                self.write_lake().await?;
            }
        }
        Ok(evaluated)
    }

    /// Ahead of the checkpoint: who begins anew from the last one writes copies, and copies are known as such.
    async fn write_lake(&mut self) -> Result<()> {
        let mut writer = self.of.lake.writer();
        for batch in std::mem::take(&mut self.kept) {
            writer.add(&batch).await?;
        }
        writer.finish().await?;
        self.bytes = 0;
        Ok(())
    }

    /// Commits the findings that are news; false when another leads.
    async fn tell(&mut self, all: bool) -> Result<bool> {
        self.told = Instant::now();
        let entries = self.news(all)?;
        if entries.is_empty() {
            return Ok(true);
        }
        let began = Instant::now();
        let saved = self.of.store.emit(&self.lease, &entries).await?;
        metrics::committed("findings", began.elapsed());
        Ok(matches!(saved, Saved::Done(_)))
    }

    fn news(&mut self, all: bool) -> Result<Vec<Entry>> {
        let news = tokio::task::block_in_place(|| self.engine.settle(all));
        metrics::engine(&mut self.engine);
        let stages = Arc::clone(&self.of.stages.borrow());
        entries(news, &stages)
    }

    /// Commits how far it came. The lake's files stand before that: what is evaluated is in it.
    #[tracing::instrument(level = "info", skip_all)]
    async fn checkpoint(&mut self, all: bool) -> Result<bool> {
        let entries = self.news(all)?;
        self.write_lake().await?;
        let forget = self.engine.repeats_known();
        let seen = self.engine.seen.turn();
        self.engine.forget();
        let body = tokio::task::block_in_place(|| self.engine.save())?;
        let (cursor, floor) = (self.engine.cursor(), self.engine.floor());
        let checkpoint = Checkpoint { shard: SHARD.to_owned(), cursor, floor, version: VERSION, body };
        let credentials = counted(&std::mem::take(&mut self.engine.census));
        let save = Save {
            checkpoint: &checkpoint,
            seen,
            forget_seen_before: forget,
            entries: &entries,
            credentials: &credentials,
        };
        let began = Instant::now();
        let saved = self.of.store.save(&self.lease, &save).await?;
        metrics::committed("checkpoint", began.elapsed());
        self.saved = Instant::now();
        let at = (self.of.settings.now)();
        self.of.shared.checkpoint.store(u64::try_from(at.0).unwrap_or(0), Ordering::Relaxed);
        metrics::checkpoint(at.0 as f64 / 1e6);
        if !matches!(saved, Saved::Done(_)) {
            return Ok(false);
        }
        self.of.shared.evaluates(None);
        self.put_right().await
    }

    /// Events that came too late are in the lake by now: what they change is found there.
    async fn put_right(&mut self) -> Result<bool> {
        let stages = Arc::clone(&self.of.stages.borrow());
        while self.engine.detector().late_since().is_some() && !self.stop.is_set() {
            let around = (&self.of.lake, &self.of.store);
            let changed = late::put_right(&mut self.engine, around, &stages, &self.of.settings, &self.stop).await?;
            if !matches!(self.of.store.emit(&self.lease, &changed).await?, Saved::Done(_)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A piece of the lake's upkeep, while this is still who evaluates.
    async fn keep_up(&mut self) -> Result<bool> {
        let lease = self.of.store.lease(SHARD).await?;
        if lease.is_none_or(|lease| lease.epoch != self.lease.epoch) {
            return Ok(false);
        }
        let reach = self.of.stages.borrow().plan.reach();
        let begins = self.engine.settled().map(|settled| self.of.settings.lake_begins(settled, reach));
        self.upkeep.turn(&self.of.lake, &self.of.settings, begins.unwrap_or(Micros(i64::MIN))).await;
        // Event time stood still meanwhile, and no source is to blame.
        self.stuck.since = Instant::now();
        Ok(true)
    }

    /// Which source is waited for, and a tick for one that has gone silent.
    async fn look(&mut self) -> Result<()> {
        if self.asked.is_some_and(|asked| asked.elapsed() < RETRY) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        self.of.shared.slowest(self.waits_for());
        let stands = self.engine.watermark() == self.stuck.at;
        if stands && self.stuck.since.elapsed() < self.of.settings.stall {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.stuck, Stuck::over(&self.engine)).lanes;
        let Some(slowest) = self.engine.slowest().filter(|_| stands) else { return Ok(()) };
        let lanes = self.engine.lanes().standing_since(&before, slowest);
        warn!(source = slowest, ?lanes, "gave no sign of life for too long; event time goes on without it");
        Ok(self.of.store.tick(slowest, &lanes, (self.of.settings.now)()).await?)
    }

    /// The source that has to give something so that more can be evaluated; none while there is something to evaluate.
    fn waits_for(&self) -> Option<&str> {
        let fed = self.evaluated.elapsed() < RETRY || !self.engine.ready().is_empty();
        self.engine.slowest().filter(|_| self.of.settings.once || !fed)
    }

    /// Sources are asked first: what they gave before they said so is in the inbox by then.
    async fn is_drained(&self) -> Result<bool> {
        if !self.of.shared.all_exhausted() {
            return Ok(false);
        }
        Ok(self.of.store.inbox_index(self.engine.cursor(), 1).await?.is_empty())
    }

    /// The state is kept as it is, so that another run can go on; what is still open is told as if nothing more came.
    async fn drain(&mut self) -> Result<Ended> {
        self.engine.last();
        while !self.engine.ready().is_empty() {
            self.evaluate().await?;
            let due = self.saved.elapsed() >= self.of.settings.checkpoint_every;
            if !self.tell(false).await? || (due && !self.checkpoint(false).await?) {
                return Ok(Ended::Superseded);
            }
        }
        if !self.checkpoint(false).await? {
            return Ok(Ended::Superseded);
        }
        self.engine.end();
        let entries = self.news(true)?;
        match self.of.store.emit(&self.lease, &entries).await? {
            Saved::Done(_) => Ok(Ended::Drained),
            Saved::Superseded => bail!("another replica evaluates the same store; stop it, or leave out --once"),
        }
    }
}

fn arrived(row: &InboxRow) -> Arrived<'_> {
    Arrived { seq: row.seq, source: &row.source, lane: &row.lane, first: row.first, last: row.last }
}

/// Findings and what would be done about them.
pub fn entries(findings: Vec<Finding>, stages: &Stages) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for finding in findings {
        // Of the others the early version was counted.
        if stages.is_settled(&finding.rule) {
            metrics::found(&finding);
        }
        let at = finding.last_seen;
        let actions = stages.actions(&finding);
        entries.push(entry(at, EntryBody::Finding(Box::new(finding)))?);
        for action in actions {
            entries.push(entry(at, EntryBody::Planned(Box::new(action)))?);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
