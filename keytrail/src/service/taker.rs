//! Takes in what one source delivers: reads it from where the ledger says, commits what came of it in steps, and
//! acknowledges once all of it is committed.

mod extent;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use keytrail_ingest::Chunk;
use keytrail_ingest::sources::{BROKEN, Delivery, Extent, Part, Resumed, Source, SourceError};
use keytrail_model::{EntryBody, Micros, Reject};
use keytrail_store::{Expected, Intake, Mark, Store, StoreError, TakenIn, entry};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, info, info_span, warn};

use self::extent::{alone, beginning, first_byte, gone, last_byte, resolved, rest_of};
use super::metrics;
use super::reading::{Counted, Reading};
use super::reconcile::{Before, reconcile};
use super::settings::Settings;
use super::shared::{Shared, Stop, Trouble};
use super::stages::Stages;
use super::watermark::UNSEEN;

/// How long a source is waited for before it counts as idle.
const WAIT: Duration = Duration::from_secs(1);
/// Bytes that are read as one chunk where many small parts come: what is done once for a chunk weighs by far more than what
/// is done once for an event.
pub const TOGETHER: usize = 1 << 20;
/// Packed bytes that are committed at once.
const STEP: usize = 4 << 20;
/// How long a source that does not know its end must be silent to count as idle, and a lane while others give something:
/// after a stop, what waits there comes with a delay, and must not come too late.
const SILENCE: Duration = Duration::from_secs(10);
/// How often a source is asked how far behind it is, and is held against its provider's list.
const ASK_LAG: Duration = Duration::from_mins(1);
const RECONCILE: Duration = Duration::from_hours(1);
/// How long a message is remembered that came: by far longer than one whose acknowledgement was lost takes to come again.
const REMEMBERED: i64 = 7 * 86_400 * Micros::SECOND;
/// How far back it is held against the list: a day, and where it begins or something is missing, a week.
const LISTED: i64 = 86_400 * Micros::SECOND;
const LISTED_MOST: i64 = 7 * LISTED;
/// Faults in a row that end a run over what is there.
const FAULTS: u32 = 5;
const TICK: Duration = Duration::from_secs(2);
/// While the inbox is full, still one delivery this often: what waits for event time may wait for this very source.
const TRICKLE: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Rejects of one step that are kept one by one.
const REJECTS_KEPT: usize = 1_000;

/// One source and what reads it.
pub struct Taker {
    pub name: String,
    pub source: Box<dyn Source>,
    pub store: Store,
    pub settings: Arc<Settings>,
    pub shared: Arc<Shared>,
    pub stages: watch::Receiver<Arc<Stages>>,
    reading: Reading,
    ticked: Option<Instant>,
    /// When something came last.
    came: Instant,
    /// The lanes that are known to be there, and when something of each came last.
    lanes: BTreeMap<String, Instant>,
    asked: Option<Instant>,
    reconciled: Instant,
    /// From when on it is held against the list the next time, where that is more than a day, and never from before it
    /// was first read.
    listed_from: Option<Micros>,
    first: Micros,
    missing: Before,
    forgot: Instant,
    faults: u32,
    backoff: Duration,
    /// Records that were taken in.
    taken: u64,
    /// Whether pieces are read whatever the ledger says, and leave it as it is: they are read once more.
    pub again: bool,
}

/// What is committed at once.
#[derive(Default)]
struct Step {
    intake: Intake,
    together: Together,
    bytes: usize,
    events: u64,
    arrived: Option<Instant>,
}

/// Small parts of one lane that are read as one chunk, and how far each of them was read then.
#[derive(Default)]
struct Together {
    lane: String,
    chunks: Vec<Chunk>,
    marks: Vec<Mark>,
    bytes: usize,
}

impl Taker {
    pub fn new(
        name: String,
        source: Box<dyn Source>,
        store: Store,
        (settings, shared): (Arc<Settings>, Arc<Shared>),
        mut stages: watch::Receiver<Arc<Stages>>,
    ) -> Result<Self> {
        let reading = Reading::over(&stages.borrow_and_update())?;
        let now = Instant::now();
        let first = (settings.now)();
        Ok(Self {
            name,
            source,
            store,
            settings,
            shared,
            stages,
            reading,
            ticked: None,
            came: now,
            lanes: BTreeMap::new(),
            asked: None,
            reconciled: now,
            listed_from: None,
            first,
            missing: Before::default(),
            forgot: now,
            faults: 0,
            backoff: BACKOFF,
            taken: 0,
            again: false,
        })
    }

    /// Until it is stopped. What the source cannot do is told and tried again; nothing ends it.
    pub async fn run(mut self, mut stop: Stop) -> Result<()> {
        self.begin(&mut stop).await?;
        while !stop.is_set() {
            if let Err(error) = self.turn(&mut stop).await {
                self.fails(error)?;
                let pause = self.backoff;
                self.backoff = (pause * 2).min(BACKOFF_MAX);
                tokio::select! { () = sleep(pause) => {}, () = stop.wait() => {} }
            }
        }
        Ok(())
    }

    /// Until nothing came for so long; how many records were taken in.
    pub async fn run_until_quiet(mut self, mut stop: Stop, quiet: Duration) -> Result<u64> {
        let mut since = Instant::now();
        let mut before = 0;
        while since.elapsed() < quiet || !self.source.exhausted() {
            self.turn(&mut stop).await?;
            if self.taken > before {
                (before, since) = (self.taken, Instant::now());
            }
        }
        Ok(self.taken)
    }

    async fn begin(&mut self, stop: &mut Stop) -> Result<()> {
        while !stop.is_set()
            && let Err(error) = self.go_on().await
        {
            self.fails(error.into())?;
            tokio::select! { () = sleep(BACKOFF) => {}, () = stop.wait() => {} }
        }
        Ok(())
    }

    /// Tells what failed; of a run over what is there, too many in a row end it.
    fn fails(&mut self, error: anyhow::Error) -> Result<()> {
        self.failed(&error);
        self.faults += 1;
        match self.settings.once && self.faults >= FAULTS {
            true => Err(error.context(format!("source `{}` gives nothing", self.name))),
            false => Ok(()),
        }
    }

    /// Tells the source how far it came before.
    async fn go_on(&mut self) -> Result<(), StoreError> {
        if let Some(total) = self.store.ledger_total(&self.name).await? {
            self.source.left_off(total.last);
            (self.first, self.listed_from) = (total.first, Some(total.first));
        }
        if self.source.resumes() {
            self.source.resume(known(&self.store, &self.name).await?);
        }
        Ok(())
    }

    fn failed(&self, error: &anyhow::Error) {
        let kind = match error.downcast_ref::<SourceError>() {
            Some(SourceError::Denied { .. }) => "denied",
            Some(SourceError::Config { .. }) => "config",
            Some(SourceError::Unreachable { .. }) => "unreachable",
            None => "store",
        };
        metrics::source_error(&self.name, kind);
        self.shared.trouble(&self.name, Some(Trouble { said: format!("{error:#}") }));
        warn!(source = self.name, kind, "{error:#}");
    }

    async fn turn(&mut self, stop: &mut Stop) -> Result<()> {
        if self.stages.has_changed().unwrap_or(false) {
            self.reading = Reading::over(&self.stages.borrow_and_update())?;
            info!(source = self.name, "reads with the new rules");
        }
        self.room(stop).await;
        // With nothing in hand: an answer may take its time.
        tokio::select! { () = self.ask() => {}, () = stop.wait() => return Ok(()) };
        let next = tokio::select! { next = self.source.next(WAIT) => next?, () = stop.wait() => return Ok(()) };
        self.shared.trouble(&self.name, None);
        (self.backoff, self.faults) = (BACKOFF, 0);
        match next {
            Some(delivery) => {
                let span = info_span!("delivery", source = self.name);
                self.deliver(delivery).instrument(span).await?;
                self.tick(false).await
            }
            None => self.idle().await,
        }
    }

    /// Waits while the inbox is full.
    async fn room(&mut self, stop: &mut Stop) {
        let since = Instant::now();
        while self.shared.is_full(&self.name, self.settings.inbox_bytes_max) && since.elapsed() < TRICKLE {
            tokio::select! { () = sleep(WAIT / 10) => {}, () = stop.wait() => return }
        }
    }

    /// Lets event time go on where nothing comes.
    async fn idle(&mut self) -> Result<()> {
        let silent = self.source.knows_its_end() || self.came.elapsed() >= SILENCE;
        self.shared.exhausted(&self.name, silent && self.source.exhausted());
        self.shared.progress(&self.name, (self.settings.now)());
        self.look_for_gaps(false).await;
        self.name_lanes().await?;
        self.tick(silent).await
    }

    /// Lets event time go on in the lanes that have nothing to give; unless `all` are silent, in those that have been for
    /// long or are there no more. Of a source without lanes, something just came.
    async fn tick(&mut self, all: bool) -> Result<()> {
        let never = self.settings.once || (!all && self.source.lanes().is_empty());
        if never || self.ticked.is_some_and(|ticked| ticked.elapsed() < TICK) {
            return Ok(());
        }
        let silent = |lane: &String| all || self.lanes.get(lane).is_none_or(|came| came.elapsed() >= SILENCE);
        let lanes: Vec<String> = self.source.idle().into_iter().filter(silent).collect();
        if !lanes.is_empty() {
            self.store.tick(&self.name, &lanes, (self.settings.now)()).await?;
            self.shared.arrived.notify_one();
        }
        self.ticked = Some(Instant::now());
        Ok(())
    }

    /// Tells of lanes that are new, so that event time waits for what they hold.
    async fn name_lanes(&mut self) -> Result<()> {
        let new = |lane: &String| !self.lanes.contains_key(lane);
        let new: Vec<String> = self.source.lanes().into_iter().filter(new).collect();
        if self.settings.once || new.is_empty() {
            return Ok(());
        }
        self.store.tick(&self.name, &new, UNSEEN).await?;
        self.lanes.extend(new.into_iter().map(|lane| (lane, Instant::now())));
        Ok(())
    }

    /// What a provider tells now and then. Not being told is no reason to stop.
    async fn ask(&mut self) {
        if self.settings.once || self.asked.is_some_and(|asked| asked.elapsed() < ASK_LAG) {
            return;
        }
        self.asked = Some(Instant::now());
        match self.source.lag().await {
            Ok(lag) => metrics::lag(&self.name, lag),
            Err(fault) => warn!(source = self.name, "how far behind it is cannot be told: {fault}"),
        }
        // A list can take long to be checked: where something always comes, it is put off, but not for ever.
        self.look_for_gaps(true).await;
        if self.forgot.elapsed() >= RECONCILE {
            self.forgot = Instant::now();
            self.forget().await;
        }
    }

    /// Holds it against its provider's list, if that was not done for long.
    async fn look_for_gaps(&mut self, busy: bool) {
        let every = if busy { RECONCILE * 2 } else { RECONCILE };
        if self.settings.once || self.reconciled.elapsed() < every {
            return;
        }
        self.reconciled = Instant::now();
        // What is on its way is no gap.
        let late = self.settings.lateness.get(&self.name).copied().unwrap_or(0);
        let until = Micros((self.settings.now)().0 - late);
        let day = Micros(until.0 - LISTED);
        let from = self.listed_from.map_or(day, |from| from.min(day)).max(Micros(until.0 - LISTED_MOST));
        let times = (from.max(self.first.min(until)), until);
        match reconcile((&self.name, self.source.as_mut()), &self.store, times).await {
            Ok(found) if found.provable => {
                let gaps = self.missing.gaps(&found, busy);
                // What was missing is looked for again.
                self.listed_from = found.earliest;
                metrics::reconciled(&self.name, &found, gaps);
            }
            Ok(_) => {}
            Err(fault) => warn!(source = self.name, "it cannot be held against its provider's list: {fault:#}"),
        }
    }

    async fn forget(&mut self) {
        let Some(begins) = self.source.forgets() else { return };
        let before = Micros((self.settings.now)().0 - REMEMBERED);
        match self.store.forget_done(&self.name, &begins, before).await {
            Ok(0) => {}
            Ok(gone) => info!(source = self.name, gone, "messages that will not come again are forgotten"),
            Err(fault) => warn!(source = self.name, "old messages cannot be forgotten: {fault}"),
        }
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<()> {
        self.shared.exhausted(&self.name, false);
        let receipt = delivery.receipt;
        let lanes: Vec<String> = delivery.parts.iter().map(|part| part.lane.clone()).collect();
        let done = self.take(delivery).await;
        self.came = Instant::now();
        self.lanes.extend(lanes.into_iter().map(|lane| (lane, self.came)));
        match &done {
            Ok(()) => self.source.ack(receipt).await?,
            Err(_) => self.source.nack(receipt).await?,
        }
        metrics::delivery(&self.name, done.is_ok());
        self.shared.progress(&self.name, (self.settings.now)());
        self.shared.arrived.notify_one();
        done
    }

    async fn take(&mut self, delivery: Delivery) -> Result<()> {
        self.name_lanes().await?;
        let origins: Vec<String> = delivery.parts.iter().map(|part| part.origin.clone()).collect();
        let marks = self.store.marks(&self.name, &origins).await?;
        let mut step = Step { arrived: Some(Instant::now()), ..Step::default() };
        for part in delivery.parts {
            self.part(part, &marks, &mut step).await?;
            if step.bytes >= STEP {
                self.commit(&mut step).await?;
            }
        }
        self.commit(&mut step).await
    }

    async fn part(&mut self, part: Part, marks: &BTreeMap<String, Mark>, step: &mut Step) -> Result<()> {
        let Part { origin, extent, lane, mut chunks } = part;
        let Some((extent, began)) = self.begins(&origin, extent, marks.get(&origin), step).await? else {
            metrics::repeated(&self.name);
            return Ok(());
        };
        let once_more = self.reads_once_more(extent);
        let (mut at, mut counted) = (began, (0, 0));
        if extent == Extent::Whole && at == 0 {
            match tokio::task::block_in_place(|| alone(chunks)) {
                Ok(chunk) => return self.join(step, lane, origin, chunk),
                Err(all) => chunks = all,
            }
        }
        loop {
            let read = tokio::task::block_in_place(|| chunks.next());
            let Some(read) = read else { break };
            let read = match read {
                Err(reject) if reject.reason.starts_with(BROKEN) => {
                    return Err(SourceError::unreachable(reject.position.to_string(), reject.reason).into());
                }
                read => read.map(|chunk| rest_of(chunk, began)),
            };
            let next = read.as_ref().ok().and_then(last_byte).map(|byte| byte + 1);
            let first = read.as_ref().ok().and_then(first_byte);
            if step.bytes >= STEP && !once_more && first.is_some_and(|first| first >= at) {
                step.mark(&origin, at, false, &mut counted);
                self.commit(step).await?;
                step.expect(&origin, Some(at));
            }
            let arrived = (self.settings.now)();
            match read {
                Ok(chunk) => {
                    for (events, rejects) in self.read(chunk, (&lane, arrived), step)?.into_values() {
                        counted = (counted.0 + events, counted.1 + rejects);
                    }
                }
                Err(reject) => {
                    step.reject(reject);
                    counted.1 += 1;
                }
            }
            at = next.map_or(at, |next| next.max(at));
        }
        match extent {
            Extent::Piece { .. } if once_more => {}
            Extent::Whole => step.mark(&origin, at, true, &mut counted),
            Extent::Piece { to, .. } | Extent::Anew { to, .. } | Extent::Oldest { to, .. } => {
                step.mark(&origin, to, false, &mut counted);
            }
        }
        Ok(())
    }

    /// Whether a piece is read whatever the ledger says, and leaves it as it is.
    fn reads_once_more(&self, extent: Extent) -> bool {
        self.again && matches!(extent, Extent::Piece { .. })
    }

    /// What a part is by the ledger, and from where it is read; `None` where all of it is there already.
    async fn begins(
        &mut self,
        origin: &str,
        extent: Extent,
        mark: Option<&Mark>,
        step: &mut Step,
    ) -> Result<Option<(Extent, i64)>> {
        let mut mark = mark.cloned();
        if self.again && extent == Extent::Whole && mark.as_ref().is_some_and(|mark| mark.done && mark.rejects > 0) {
            // It is known as done, and would be passed over.
            self.store.reopen(&self.name, origin).await?;
            mark = Some(Mark::default());
        }
        let extent = resolved(extent, mark.as_ref());
        if self.reads_once_more(extent) {
            return Ok(beginning(extent, None).map(|began| (extent, began)));
        }
        let Some(began) = beginning(extent, mark.as_ref()) else { return Ok(None) };
        step.expect(origin, mark.as_ref().map(|mark| mark.position));
        if let (Extent::Piece { from, .. }, Some(mark)) = (extent, mark)
            && from > mark.position
        {
            // Counted, but not as a reject of this origin: it cannot be read again.
            step.reject(gone(origin, mark.position, from));
            metrics::hole(&self.name);
        }
        Ok(Some((extent, began)))
    }

    /// Puts a part that is one small chunk to the others of its lane.
    fn join(&mut self, step: &mut Step, lane: String, origin: String, chunk: Chunk) -> Result<()> {
        if step.together.lane != lane {
            self.read_together(step)?;
            step.together.lane = lane;
        }
        let position = last_byte(&chunk).map_or(0, |byte| byte + 1);
        step.together.bytes += chunk.bytes.len();
        step.together.chunks.push(chunk);
        step.together.marks.push(Mark { origin, position, done: true, ..Mark::default() });
        if step.together.bytes >= TOGETHER { self.read_together(step) } else { Ok(()) }
    }

    fn read_together(&mut self, step: &mut Step) -> Result<()> {
        let Together { lane, chunks, mut marks, .. } = std::mem::take(&mut step.together);
        if chunks.is_empty() {
            return Ok(());
        }
        let counted = self.read(Chunk::joined(chunks), (&lane, (self.settings.now)()), step)?;
        for (mark, part) in marks.iter_mut().zip(0..) {
            (mark.events, mark.rejects) = counted.get(&part).copied().unwrap_or_default();
        }
        step.intake.marks.append(&mut marks);
        Ok(())
    }

    /// One chunk into the step.
    fn read(&mut self, chunk: Chunk, (lane, arrived): (&str, Micros), step: &mut Step) -> Result<Counted> {
        let read = tokio::task::block_in_place(|| self.reading.chunk(chunk, lane, arrived))?;
        metrics::set_aside(&self.name, read.ignored);
        step.bytes += read.held.as_ref().map_or(0, |held| held.body.len());
        step.events += read.held.as_ref().map_or(0, |held| held.events);
        step.intake.held.extend(read.held);
        read.rejects.into_iter().for_each(|reject| step.reject(reject));
        Ok(read.counted)
    }

    /// Commits what was read so far.
    async fn commit(&mut self, step: &mut Step) -> Result<()> {
        self.read_together(step)?;
        let Step { mut intake, events, arrived, .. } = std::mem::take(step);
        step.arrived = arrived;
        if intake.marks.is_empty() && intake.held.is_empty() {
            return Ok(());
        }
        for finding in self.reading.findings() {
            metrics::found(&finding);
            intake.early.push(entry(finding.last_seen, EntryBody::Finding(Box::new(finding)))?);
        }
        intake.source.clone_from(&self.name);
        intake.at = (self.settings.now)();
        let began = Instant::now();
        let taken = self.store.take_in(&intake).await?;
        metrics::committed("intake", began.elapsed());
        let TakenIn::Done(_) = taken else {
            return Err(anyhow!("another replica took in the same piece; it is asked for again"));
        };
        self.taken += events;
        metrics::taken(&self.name, events, &intake);
        if let (false, Some(arrived)) = (intake.early.is_empty(), arrived) {
            metrics::latency(arrived.elapsed(), intake.early.len());
        }
        Ok(())
    }
}

/// What the ledger knows of a source: origin, position, and whether it is done.
pub async fn known(store: &Store, source: &str) -> Result<Vec<Resumed>, StoreError> {
    let (mut known, mut after) = (Vec::new(), None);
    loop {
        let page = store.ledger(source, after.as_deref(), 10_000).await?;
        let Some(last) = page.last() else { return Ok(known) };
        after = Some(last.origin.clone());
        known.extend(page.into_iter().map(|Mark { origin, position, done, at, .. }| Resumed {
            origin,
            position,
            done,
            at,
        }));
    }
}

impl Step {
    fn expect(&mut self, origin: &str, position: Option<i64>) {
        let expected = position.map_or(Expected::New, Expected::At);
        self.intake.expected.push((origin.to_owned(), expected));
    }

    fn mark(&mut self, origin: &str, position: i64, done: bool, counted: &mut (u64, u64)) {
        let (events, rejects) = std::mem::take(counted);
        self.intake.marks.push(Mark { origin: origin.to_owned(), position, done, events, rejects, ..Mark::default() });
    }

    /// All are counted, so many are kept.
    fn reject(&mut self, reject: Reject) {
        if self.intake.entries.len() < REJECTS_KEPT
            && let Ok(entry) = entry(Micros(0), EntryBody::Rejected(reject))
        {
            self.intake.entries.push(entry);
        }
    }
}

#[cfg(test)]
mod tests;
