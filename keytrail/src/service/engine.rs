//! What evaluates every rule over what was taken in: learns from records as they come, evaluates them once event time has
//! passed them, and gives findings. A value: no I/O, no clock; saved and restored it goes on as if nothing had been.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, BufWriter, IntoInnerError};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use keytrail_detect::{Anew, Detector, REPEATS, RuleFailure, Saved};
use keytrail_ingest::{Normalised, Normaliser};
use keytrail_lineage::{Enricher, Facts, LIFE};
use keytrail_model::{EventBatch, Finding, Micros};
use serde::{Deserialize, Serialize};

use super::held::unpack;
use super::seen::{Seen, id_of};
use super::stages::Stages;
use super::watermark::Lanes;
use crate::census::Census;
use crate::pipeline::join;

/// Records in the store that wait for event time to pass them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    first: i64,
    last: i64,
}

/// One row of the inbox as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    pub seq: i64,
    pub source: &'a str,
    pub lane: &'a str,
    pub first: Micros,
    pub last: Micros,
}

/// What was counted since the last time.
#[derive(Debug, Default)]
pub struct Counts {
    /// Evaluated, by log source.
    pub events: BTreeMap<String, u64>,
    pub late: u64,
    pub duplicates: u64,
}

#[derive(Serialize, Deserialize)]
struct State<'a> {
    progress: Saved<'a>,
    facts: Cow<'a, Facts>,
    lanes: Cow<'a, Lanes>,
    waiting: Cow<'a, BTreeMap<i64, Waiting>>,
    cursor: i64,
    reached: Option<Micros>,
}

pub struct Engine {
    stages: Arc<Stages>,
    learner: Normaliser,
    reader: Normaliser,
    enricher: Enricher,
    detector: Detector,
    lanes: Lanes,
    lateness: BTreeMap<String, i64>,
    waiting: BTreeMap<i64, Waiting>,
    cursor: i64,
    /// The latest event that was evaluated.
    reached: Option<Micros>,
    pub seen: Seen,
    pub census: Census,
    pub counts: Counts,
    flow: Flow,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// Not in this run: up to the latest event, everything has its turn.
    Last,
    /// Never: everything is over.
    Ended,
}

impl Engine {
    /// `lateness` by source, in microseconds.
    pub fn new(stages: Arc<Stages>, lateness: BTreeMap<String, i64>) -> Result<Self> {
        Ok(Self {
            learner: stages.learner()?,
            reader: stages.reader()?,
            enricher: stages.enricher.clone(),
            detector: Detector::over(Arc::clone(&stages.plan)),
            stages,
            lanes: Lanes::default(),
            lateness,
            waiting: BTreeMap::new(),
            cursor: 0,
            reached: None,
            seen: Seen::default(),
            census: Census::default(),
            counts: Counts::default(),
            flow: Flow::Open,
        })
    }

    /// Goes on from a state that was saved.
    pub fn restore(&mut self, body: &[u8]) -> Result<()> {
        let unpacked = BufReader::new(zstd::Decoder::new(body)?);
        let state: State<'_> = serde_json::from_reader(unpacked).context("the saved state")?;
        self.detector.restore(state.progress)?;
        self.enricher.learn(state.facts.into_owned());
        (self.lanes, self.waiting) = (state.lanes.into_owned(), state.waiting.into_owned());
        (self.cursor, self.reached) = (state.cursor, state.reached);
        Ok(())
    }

    /// Its state, packed as it is written: the whole of it is many times as large.
    pub fn save(&self) -> Result<Vec<u8>> {
        let state = State {
            progress: self.detector.save(),
            facts: Cow::Borrowed(self.enricher.facts()),
            lanes: Cow::Borrowed(&self.lanes),
            waiting: Cow::Borrowed(&self.waiting),
            cursor: self.cursor,
            reached: self.reached,
        };
        let mut packed = BufWriter::new(zstd::Encoder::new(Vec::new(), 1)?);
        serde_json::to_writer(&mut packed, &state)?;
        let packed = packed.into_inner().map_err(IntoInnerError::into_error)?;
        Ok(packed.finish()?)
    }

    /// Takes other rules, mappings and inventory from now on.
    pub fn reload(&mut self, stages: Arc<Stages>) -> Result<()> {
        let (learner, reader) = (stages.learner()?, stages.reader()?);
        self.detector.reload(Arc::clone(&stages.plan))?;
        let mut enricher = stages.enricher.clone();
        enricher.learn(self.enricher.facts().clone());
        (self.learner, self.reader, self.enricher, self.stages) = (learner, reader, enricher, stages);
        Ok(())
    }

    /// How far the inbox was looked at.
    #[must_use]
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Everything before it in the inbox is done with.
    #[must_use]
    pub fn floor(&self) -> i64 {
        self.waiting.keys().next().copied().unwrap_or(self.cursor + 1)
    }

    /// How many rows wait for event time.
    #[must_use]
    pub fn waits(&self) -> usize {
        self.waiting.len()
    }

    pub fn tick(&mut self, row: &Arrived<'_>) {
        self.cursor = row.seq;
        self.lanes.note(row.source, row.lane, row.last);
    }

    /// Learns from records that have come; they are evaluated later.
    pub fn arrive(&mut self, row: &Arrived<'_>, body: &[u8]) -> Result<()> {
        let mut found = Normalised::default();
        self.learner.normalise(unpack(body)?, &mut found);
        for batch in &found.batches {
            self.learn_late(batch)?;
            self.enricher.observe(batch);
        }
        self.lanes.note(row.source, row.lane, row.last);
        self.waiting.insert(row.seq, Waiting { first: row.first.0, last: row.last.0 });
        self.cursor = row.seq;
        Ok(())
    }

    /// What is learnt of a time that was evaluated already changes what other events of then, and of later, meant.
    fn learn_late(&mut self, batch: &EventBatch) -> Result<()> {
        let Some(reached) = self.reached else { return Ok(()) };
        let late: Vec<bool> = (0..batch.rows()).map(|row| batch.time(row) <= reached).collect();
        if late.contains(&true) {
            let late = only(batch.clone(), late)?;
            if let Some((first, last)) = late.time_range() {
                let until = reached.min(Micros(last.0.saturating_add(LIFE)));
                let mut apart = self.stages.enricher.clone();
                apart.observe(&late);
                let (facts, known) = (apart.facts(), self.enricher.facts());
                if facts.tell_more_than_uses() || !known.know_uses_of(facts) {
                    self.detector.learnt_late((first, until), facts.tell_more_than_uses());
                }
            }
        }
        Ok(())
    }

    /// No more comes in this run: what is there has its turn. A later run can go on from the state.
    pub fn last(&mut self) {
        self.flow = Flow::Last;
    }

    /// No more is to come: everything is over, for this value of it.
    pub fn end(&mut self) {
        self.flow = Flow::Ended;
    }

    /// How far event time has come.
    #[must_use]
    pub fn watermark(&self) -> Option<Micros> {
        match self.flow {
            Flow::Open => self.lanes.watermark(&self.lateness),
            Flow::Last => self.lanes.latest().map(|at| Micros(at.0.saturating_add(1))),
            Flow::Ended => Some(Micros(i64::MAX)),
        }
    }

    /// The source that holds event time back.
    #[must_use]
    pub fn slowest(&self) -> Option<&str> {
        self.lanes.slowest(&self.lateness)
    }

    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The rows whose turn it is, those that hold others back first.
    #[must_use]
    pub fn ready(&self) -> Vec<i64> {
        let Some(watermark) = self.watermark() else { return Vec::new() };
        let ready = self.waiting.iter().filter(|(_, waiting)| waiting.last < watermark.0);
        let mut ready: Vec<(i64, i64)> = ready.map(|(seq, waiting)| (waiting.first, *seq)).collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Evaluates a row whose turn it is; the events that are new, enriched, for the lake, and the bytes that they hold on
    /// to, which are those of all that came with them.
    pub fn evaluate(&mut self, seq: i64, body: &[u8]) -> Result<(Vec<EventBatch>, usize)> {
        let mut found = Normalised::default();
        let chunk = unpack(body)?;
        let bytes = chunk.bytes.len();
        self.reader.normalise(chunk, &mut found);
        let batches = found.batches.into_iter().map(|batch| self.batch(batch)).collect::<Result<Vec<_>>>()?;
        self.waiting.remove(&seq);
        Ok((batches.into_iter().flatten().collect(), bytes))
    }

    fn batch(&mut self, batch: EventBatch) -> Result<Option<EventBatch>> {
        let new: Vec<bool> =
            (0..batch.rows()).map(|row| self.seen.insert(id_of(&batch, row), batch.time(row))).collect();
        let rows = new.iter().filter(|new| **new).count();
        self.counts.duplicates += (batch.rows() - rows) as u64;
        if rows == 0 {
            return Ok(None);
        }
        let batch = if rows == batch.rows() { batch } else { only(batch, new)? };
        *self.counts.events.entry(batch.source.to_string()).or_default() += rows as u64;
        let batch = self.enricher.enrich(batch).map_err(|error| anyhow!("enrichment failed: {error}"))?;
        self.census.observe(&batch);
        let settled = self.detector.progress().settled().unwrap_or(Micros(i64::MIN));
        self.reached = self.reached.max(batch.time_range().map(|(_, last)| last));
        self.counts.late += (0..batch.rows()).filter(|row| batch.time(*row) < settled).count() as u64;
        join(&mut self.detector, &self.enricher, &batch)?;
        self.detector.evaluate(&batch);
        Ok(Some(batch))
    }

    /// Settles up to where nothing can come any more, and gives what is news; with `all`, everything that changed.
    pub fn settle(&mut self, all: bool) -> Vec<Finding> {
        if let Some(watermark) = self.watermark() {
            let held = self.waiting.values().map(|waiting| waiting.first).min().unwrap_or(i64::MAX);
            let settled = Micros(watermark.0.min(held));
            self.detector.settle(settled);
        }
        let mut news = self.detector.news(all);
        news.iter_mut().for_each(|finding| conclude(&self.enricher, finding));
        news
    }

    /// Forgets what nothing that is still to come can ask for.
    pub fn forget(&mut self) {
        if let Some(settled) = self.settled() {
            self.enricher.forget_before(settled);
            self.enricher.forget_sessions(settled);
        }
        self.seen.forget_before(self.repeats_known());
    }

    /// From when on a record that comes again is known as such.
    #[must_use]
    pub fn repeats_known(&self) -> Micros {
        Micros(self.settled().map_or(i64::MIN, |settled| settled.0.saturating_sub(REPEATS)))
    }

    /// Up to when it is settled.
    #[must_use]
    pub fn settled(&self) -> Option<Micros> {
        self.detector.progress().settled()
    }

    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    #[must_use]
    pub fn failures(&self) -> &BTreeSet<RuleFailure> {
        self.detector.progress().failures()
    }

    /// Groups and lanes that it holds.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.detector.progress().held()
    }

    /// A detector of its own and an enricher that knows the same, to evaluate a past time anew.
    #[must_use]
    pub fn aside(&self, anew: &Anew) -> (Detector, Enricher, Normaliser) {
        (self.detector.aside(anew), self.enricher.clone(), self.reader.fork())
    }

    /// What came late is dealt with; goes on from what another detector made of it, where that reaches to the present.
    pub fn put_right(&mut self, anew: &Anew, done: Option<Detector>) {
        if let Some(detector) = done.filter(|_| anew.live) {
            self.detector.adopt(detector, anew);
        }
        self.detector.forget_late(anew);
    }
}

/// Gives a finding its owner and lineage.
pub fn conclude(enricher: &Enricher, finding: &mut Finding) {
    finding.ownership = Some(enricher.ownership(&finding.target));
    finding.lineage = enricher.lineage(finding);
}

fn only(batch: EventBatch, rows: Vec<bool>) -> Result<EventBatch> {
    let mut keep = rows.iter();
    let places = batch.places.into_iter().filter(|_| keep.next().copied().unwrap_or(false)).collect();
    let kept = filter_record_batch(&batch.batch, &BooleanArray::from(rows))?;
    Ok(EventBatch { batch: kept, places, ..batch })
}
