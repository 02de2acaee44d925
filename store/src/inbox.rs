//! The inbox: records that wait until the shard of their lane has made them part of its state, and ticks of time between
//! them. Rows go when every shard is past them (`shard.rs`).

use keytrail_model::Micros;
use sqlx::AnyConnection;

use crate::text::{amount, count, key, values};
use crate::{Held, Store, StoreError};

/// A row of the inbox without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Rows become visible in the order of their numbers; numbers may be left out.
    pub seq: i64,
    /// Where it came from.
    pub source: String,
    /// Which shards it is for.
    pub lane: String,
    /// No records, but news of how far time is.
    pub tick: bool,
    /// Event time of the earliest record, or that of the tick.
    pub first: Micros,
    /// Event time of the latest record, or that of the tick.
    pub last: Micros,
    /// How many events the body holds.
    pub events: u64,
    /// Bytes of the body.
    pub size: u64,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxDepth {
    /// Rows, ticks too.
    pub rows: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// One statement holds this many rows, and bodies of about this many bytes, at most (but always one row).
const CHUNK: usize = 64;
const CHUNK_BYTES: usize = 4 << 20;

const RECORDS: i64 = 0;
const TICK: i64 = 1;

const HEAD: &str = "INSERT INTO inbox (source, lane, kind, first, last, events, size, body) VALUES";

type Row = (i64, String, String, i64, i64, i64, i64, i64);

impl Store {
    /// Tells each of the lanes that `source` is at `at`.
    pub async fn tick(&self, source: &str, lanes: &[String], at: Micros) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for lanes in lanes.chunks(CHUNK) {
            let mut insert = sqlx::query(values(HEAD, lanes.len(), 8, "")).persistent(false);
            for lane in lanes {
                insert = insert.bind(key(source)).bind(key(lane)).bind(TICK).bind(at.0).bind(at.0);
                insert = insert.bind(0_i64).bind(0_i64).bind(Vec::new());
            }
            insert.execute(&mut *tx).await.map_err(|error| self.sql(error))?;
        }
        tx.commit().await.map_err(|error| self.sql(error))
    }

    /// The next rows after number `after`, without bodies.
    pub async fn inbox_index(&self, after: i64, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
        let sql = "SELECT seq, source, lane, kind, first, last, events, size FROM inbox \
                   WHERE seq > $1 ORDER BY seq LIMIT $2";
        let select = sqlx::query_as(sql).bind(after).bind(i64::from(limit));
        let rows: Vec<Row> = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        let rows = rows.into_iter().map(|(seq, source, lane, kind, first, last, events, size)| InboxRow {
            seq,
            source,
            lane,
            tick: kind == TICK,
            first: Micros(first),
            last: Micros(last),
            events: count(events),
            size: count(size),
        });
        Ok(rows.collect())
    }

    /// The body of a row; `None` when every shard is past it.
    pub async fn inbox_body(&self, seq: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let select = sqlx::query_scalar("SELECT body FROM inbox WHERE seq = $1").bind(seq);
        select.fetch_optional(&self.pool).await.map_err(|error| self.sql(error))
    }

    /// How much waits, for back-pressure and health.
    pub async fn inbox_depth(&self) -> Result<InboxDepth, StoreError> {
        let sql = "SELECT count(*), CAST(coalesce(sum(events), 0) AS BIGINT), \
                   CAST(coalesce(sum(size), 0) AS BIGINT) FROM inbox";
        let sums: (i64, i64, i64) = sqlx::query_as(sql).fetch_one(&self.pool).await.map_err(|error| self.sql(error))?;
        let (rows, events, bytes) = sums;
        Ok(InboxDepth { rows: count(rows), events: count(events), bytes: count(bytes) })
    }
}

/// Adds rows in the order given.
pub(crate) async fn hold(connection: &mut AnyConnection, source: &str, held: &[Held]) -> sqlx::Result<()> {
    let mut rest = held;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(fitting(rest));
        let mut insert = sqlx::query(values(HEAD, now.len(), 8, "")).persistent(false);
        for row in now {
            let size = i64::try_from(row.body.len()).unwrap_or(i64::MAX);
            insert = insert.bind(key(source)).bind(key(&row.lane)).bind(RECORDS).bind(row.first.0).bind(row.last.0);
            insert = insert.bind(amount(row.events)).bind(size).bind(row.body.as_slice());
        }
        insert.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

/// How many of the first rows go into one statement.
fn fitting(held: &[Held]) -> usize {
    let mut bytes = 0;
    let fits = held.iter().take(CHUNK).take_while(|row| {
        bytes += row.body.len();
        bytes <= CHUNK_BYTES
    });
    fits.count().max(1)
}
