//! Taking in what a source delivered: findings, records that wait for their shard, and how far the source was read, in one
//! transaction. Two readers of the same piece commit it once.

use std::collections::{BTreeMap, HashSet};

use keytrail_model::{Entry, EntryBody, Micros};
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::open::Tx;
use crate::text::binds;
use crate::{Committed, Mark, Store, StoreError, inbox, ledger};

/// How many findings one statement asks for.
const ASKED: usize = 500;

/// What must stand in the ledger for an origin when its piece is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No row: nothing of it was taken in yet.
    New,
    /// A row at this position: what the reader read from.
    At(i64),
    /// No row, or one that is not done, at any position.
    Open,
}

impl Expected {
    fn holds(self, mark: Option<&Mark>) -> bool {
        match self {
            Self::New => mark.is_none(),
            Self::At(position) => mark.is_some_and(|mark| mark.position == position),
            Self::Open => mark.is_none_or(|mark| !mark.done),
        }
    }
}

/// Records that wait for the shard of their lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which shards they are for.
    pub lane: String,
    /// Event time of the earliest.
    pub first: Micros,
    /// Event time of the latest.
    pub last: Micros,
    /// How many.
    pub events: u64,
    /// The records, in the caller's encoding.
    pub body: Vec<u8>,
}

/// One step of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intake {
    /// The source's name.
    pub source: String,
    /// The caller's clock, for the ledger.
    pub at: Micros,
    /// What the reader saw of each origin before; if the ledger has moved on since, nothing is committed.
    pub expected: Vec<(String, Expected)>,
    /// How far each origin was read now; an origin that is not expected is written whatever stands there.
    pub marks: Vec<Mark>,
    /// What waits for a shard.
    pub held: Vec<Held>,
    /// Findings, rejects and the like.
    pub entries: Vec<Entry>,
    /// Findings whose final version comes later: appended only where the finding is not known yet.
    pub early: Vec<Entry>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenIn {
    /// All of it was committed.
    Done(Committed),
    /// Nothing was committed. These are the rows of the expected origins as they are now.
    Moved(BTreeMap<String, Mark>),
}

impl Store {
    /// Commits one step of a source, if its origins still stand where the reader saw them.
    pub async fn take_in(&self, intake: &Intake) -> Result<TakenIn, StoreError> {
        let mut tx = self.begin().await?;
        let origins: Vec<String> = intake.expected.iter().map(|(origin, _)| origin.clone()).collect();
        let now = ledger::marks(&mut tx, &intake.source, &origins).await.map_err(|error| self.sql(error))?;
        if !intake.expected.iter().all(|(origin, expected)| expected.holds(now.get(origin))) {
            tx.rollback().await.map_err(|error| self.sql(error))?;
            return Ok(TakenIn::Moved(now));
        }
        let mut done = Committed::default();
        self.append_all(&mut tx, &intake.entries, &mut done).await?;
        self.append_early(&mut tx, &intake.early, &mut done).await?;
        let written = ledger::write(&mut tx, &intake.source, intake.at, &intake.marks).await;
        written.map_err(|error| self.sql(error))?;
        let held = inbox::hold(&mut tx, &intake.source, &intake.held).await;
        held.map_err(|error| self.sql(error))?;
        self.finish(tx, done).await.map(TakenIn::Done)
    }

    /// A finding that is known, from this step too, is passed over: what is known is as new or newer.
    async fn append_early(&self, tx: &mut Tx, entries: &[Entry], done: &mut Committed) -> Result<(), StoreError> {
        let ids: Vec<&str> = entries.iter().filter_map(finding_of).collect();
        let mut known = known(tx, &ids).await.map_err(|error| self.sql(error))?;
        for entry in entries {
            if finding_of(entry).is_some_and(|id| !known.insert(id.to_owned())) {
                done.repeated += 1;
            } else {
                self.append_all(tx, std::slice::from_ref(entry), done).await?;
            }
        }
        Ok(())
    }
}

fn finding_of(entry: &Entry) -> Option<&str> {
    match &entry.body {
        EntryBody::Finding(finding) => Some(&finding.id),
        _ => None,
    }
}

/// Which of these findings there are.
async fn known(connection: &mut AnyConnection, ids: &[&str]) -> sqlx::Result<HashSet<String>> {
    let mut known = HashSet::new();
    for ids in ids.chunks(ASKED) {
        let sql = format!("SELECT id FROM finding WHERE id IN ({})", binds(1, ids.len()));
        let mut select = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
        for id in ids {
            select = select.bind(*id);
        }
        known.extend(select.fetch_all(&mut *connection).await?);
    }
    Ok(known)
}
