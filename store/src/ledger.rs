//! The ledger: how far each origin of each source was taken in. Rows move only in `intake.rs`, with what was read.

use std::collections::BTreeMap;

use keytrail_model::Micros;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::text::{amount, binds, count, key, values};
use crate::{Store, StoreError};

/// How far one origin was taken in: a file, an object, a partition, a page of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which one, unique within its source.
    pub origin: String,
    /// Where to read on, in the source's own measure.
    pub position: i64,
    /// Nothing more will come of it.
    pub done: bool,
    /// What this step adds when written; the total when read.
    pub events: u64,
    /// What this step adds when written; the total when read.
    pub rejects: u64,
    /// When it was last written, by the writer's clock; the step says it when written.
    pub at: Micros,
}

/// The ledger of one source in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerTotal {
    /// Which source.
    pub source: String,
    /// Origins known.
    pub origins: u64,
    /// Origins of which nothing more will come.
    pub done: u64,
    /// Events taken in.
    pub events: u64,
    /// Records that could not be read.
    pub rejects: u64,
    /// When the row was written that was longest not, and when one was last, by the caller's clock.
    pub first: Micros,
    pub last: Micros,
}

/// Origin, position, done, events, rejects, when it was last written.
type Row = (String, i64, i64, i64, i64, i64);

/// How many origins one statement asks for or writes.
const CHUNK: usize = 500;

/// How many rows are forgotten in one transaction.
const FORGET: u64 = 2_000;

/// The row that counts what rows counted which are forgotten.
pub const FORGOTTEN: &str = "(forgotten)";

const TOTALS: &str = "SELECT source, count(*), CAST(sum(done) AS BIGINT), CAST(sum(events) AS BIGINT), \
                      CAST(sum(rejects) AS BIGINT), min(at), max(at)";
const HEAD: &str = "INSERT INTO ledger (source, origin, position, done, events, rejects, at) VALUES";
const TAIL: &str = "ON CONFLICT (source, origin) DO UPDATE SET position = excluded.position, done = excluded.done, \
                    events = ledger.events + excluded.events, rejects = ledger.rejects + excluded.rejects, \
                    at = excluded.at";

impl Store {
    /// The rows of those `origins` that have one, by origin.
    pub async fn marks(&self, source: &str, origins: &[String]) -> Result<BTreeMap<String, Mark>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(|error| self.sql(error))?;
        marks(&mut connection, source, origins).await.map_err(|error| self.sql(error))
    }

    /// The rows of a source in the order of origins, those after `after_origin`.
    pub async fn ledger(&self, source: &str, after_origin: Option<&str>, limit: u32) -> Result<Vec<Mark>, StoreError> {
        let sql = "SELECT origin, position, done, events, rejects, at FROM ledger \
                   WHERE source = $1 AND ($2 IS NULL OR origin > $2) ORDER BY origin LIMIT $3";
        let select = sqlx::query_as(sql).bind(key(source)).bind(after_origin.map(key)).bind(i64::from(limit));
        let rows: Vec<Row> = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(rows.into_iter().map(mark).collect())
    }

    /// Every source's totals, by source.
    pub async fn ledger_totals(&self) -> Result<Vec<LedgerTotal>, StoreError> {
        let sql = format!("{TOTALS} FROM ledger GROUP BY source ORDER BY source");
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.pool).await;
        Ok(rows.map_err(|error| self.sql(error))?.into_iter().map(total).collect())
    }

    /// The totals of one source; `None` where nothing of it was taken in.
    pub async fn ledger_total(&self, source: &str) -> Result<Option<LedgerTotal>, StoreError> {
        let sql = format!("{TOTALS} FROM ledger WHERE source = $1 GROUP BY source");
        let row = sqlx::query_as(AssertSqlSafe(sql)).bind(key(source)).fetch_optional(&self.pool).await;
        Ok(row.map_err(|error| self.sql(error))?.map(total))
    }

    /// Forgets how far an origin was read, so that it is read again.
    pub async fn reopen(&self, source: &str, origin: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE ledger SET position = 0, done = 0, events = 0, rejects = 0 WHERE source = $1 AND origin = $2";
        let done = sqlx::query(sql).bind(key(source)).bind(key(origin)).execute(&mut *tx).await;
        done.map_err(|error| self.sql(error))?;
        tx.commit().await.map_err(|error| self.sql(error))
    }

    /// Deletes the rows that are done, were last written before `before` and whose origins begin so; says how many. What
    /// they counted stays counted, in one row.
    pub async fn forget_done(&self, source: &str, begins: &str, before: Micros) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            // A few at a time: whoever commits meanwhile waits for no more than that.
            let mut tx = self.begin().await?;
            let gone = forget(&mut tx, source, begins, before).await.map_err(|error| self.sql(error))?;
            tx.commit().await.map_err(|error| self.sql(error))?;
            forgotten += gone;
            if gone < FORGET {
                return Ok(forgotten);
            }
        }
    }
}

pub(crate) async fn marks(
    connection: &mut AnyConnection,
    source: &str,
    origins: &[String],
) -> sqlx::Result<BTreeMap<String, Mark>> {
    let mut marks = BTreeMap::new();
    for origins in origins.chunks(CHUNK) {
        let asked: BTreeMap<String, &String> = origins.iter().map(|origin| (key(origin), origin)).collect();
        let list = binds(2, asked.len());
        let sql = format!(
            "SELECT origin, position, done, events, rejects, at FROM ledger WHERE source = $1 AND origin IN ({list})"
        );
        let mut select = sqlx::query_as(AssertSqlSafe(sql)).persistent(false).bind(key(source));
        for origin in asked.keys() {
            select = select.bind(origin.clone());
        }
        let rows: Vec<Row> = select.fetch_all(&mut *connection).await?;
        for row in rows {
            let mut mark = mark(row);
            // A key may be shorter than the origin: the caller gets what it asked for.
            if let Some(origin) = asked.get(&mark.origin) {
                mark.origin.clone_from(origin);
            }
            marks.insert(mark.origin.clone(), mark);
        }
    }
    Ok(marks)
}

async fn forget(connection: &mut AnyConnection, source: &str, begins: &str, before: Micros) -> sqlx::Result<u64> {
    let sql = "DELETE FROM ledger WHERE source = $1 AND origin IN (SELECT origin FROM ledger WHERE source = $1 \
               AND at < $2 AND done = 1 AND substr(origin, 1, length($3)) = $3 AND origin <> $4 LIMIT $5) \
               RETURNING events, rejects";
    let delete = sqlx::query_as(sql).bind(key(source)).bind(before.0).bind(begins).bind(FORGOTTEN).bind(amount(FORGET));
    let gone: Vec<(i64, i64)> = delete.fetch_all(&mut *connection).await?;
    let sum = |of: fn(&(i64, i64)) -> i64| count(gone.iter().map(of).sum());
    let (events, rejects) = (sum(|row| row.0), sum(|row| row.1));
    if !gone.is_empty() {
        let all = Mark { origin: FORGOTTEN.to_owned(), done: true, events, rejects, ..Mark::default() };
        write(connection, source, before, &[all]).await?;
    }
    Ok(gone.len() as u64)
}

pub(crate) async fn write(
    connection: &mut AnyConnection,
    source: &str,
    at: Micros,
    marks: &[Mark],
) -> sqlx::Result<()> {
    let marks: Vec<(String, Mark)> = merged(marks).into_iter().collect();
    for marks in marks.chunks(CHUNK) {
        let mut insert = sqlx::query(values(HEAD, marks.len(), 7, TAIL)).persistent(false);
        for (origin, mark) in marks {
            insert = insert.bind(key(source)).bind(origin).bind(mark.position).bind(i64::from(mark.done));
            insert = insert.bind(amount(mark.events)).bind(amount(mark.rejects)).bind(at.0);
        }
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// One statement writes no row twice: of an origin named more than once the last position stands, and counts add up.
fn merged(marks: &[Mark]) -> BTreeMap<String, Mark> {
    let mut merged: BTreeMap<String, Mark> = BTreeMap::new();
    for mark in marks {
        let (events, rejects) =
            merged.get(&key(&mark.origin)).map_or((0, 0), |earlier| (earlier.events, earlier.rejects));
        let events = mark.events.saturating_add(events);
        let rejects = mark.rejects.saturating_add(rejects);
        merged.insert(key(&mark.origin), Mark { events, rejects, ..mark.clone() });
    }
    merged
}

fn total((source, origins, done, events, rejects, first, last): (String, i64, i64, i64, i64, i64, i64)) -> LedgerTotal {
    let (origins, done, events, rejects) = (count(origins), count(done), count(events), count(rejects));
    LedgerTotal { source, origins, done, events, rejects, first: Micros(first), last: Micros(last) }
}

fn mark((origin, position, done, events, rejects, at): Row) -> Mark {
    Mark { origin, position, done: done != 0, events: count(events), rejects: count(rejects), at: Micros(at) }
}
