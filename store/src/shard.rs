//! The state of shards: what a shard knows, up to which row of the inbox it knows it, and what it found, in one transaction
//! that fails if the shard was taken over.

use keytrail_model::{Entry, Micros};
use sqlx::AnyConnection;

use crate::text::key;
use crate::{Committed, CredentialRow, Lease, Store, StoreError, credentials, lease};

/// The version of state that this build writes and the newest that it reads.
pub const STATE_VERSION: i64 = 1;

/// A shard's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The shard's name.
    pub shard: String,
    /// Up to this row of the inbox, the state knows all.
    pub cursor: i64,
    /// The first row of the inbox that the shard may read again; rows that no shard reads again are deleted.
    pub floor: i64,
    /// How `body` is written, see [`STATE_VERSION`].
    pub version: i64,
    /// The state, in the caller's encoding.
    pub body: Vec<u8>,
}

/// What one save commits.
#[derive(Clone, Debug)]
pub struct Save<'a> {
    /// The state, of the shard that it names.
    pub checkpoint: &'a Checkpoint,
    /// Ids of events that were seen, and the event time of the latest.
    pub seen: Option<(Micros, Vec<u8>)>,
    /// Ids whose latest event is older are forgotten.
    pub forget_seen_before: Micros,
    /// What the shard found.
    pub entries: &'a [Entry],
    /// Counted since the last save: added to what is there.
    pub credentials: &'a [CredentialRow],
}

/// What became of a commit under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// All of it was committed.
    Done(Committed),
    /// Another has claimed the lease since; nothing was committed.
    Superseded,
}

impl Store {
    /// Makes rows for shards that have none, so that the inbox is kept for them before they first save.
    pub async fn reserve(&self, shards: &[String]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO shard (name, cursor, floor, version, body) VALUES ($1, 0, 0, 0, $2) \
                   ON CONFLICT (name) DO NOTHING";
        for shard in shards {
            let insert = sqlx::query(sql).bind(key(shard)).bind(Vec::new());
            insert.execute(&mut *tx).await.map_err(|error| self.sql(error))?;
        }
        tx.commit().await.map_err(|error| self.sql(error))
    }

    /// Commits a shard's state with all that follows from it, unless the lease was claimed by another.
    ///
    /// After an error that left the outcome open, restore and compare `cursor` before saving the same again.
    pub async fn save(&self, lease: &Lease, save: &Save<'_>) -> Result<Saved, StoreError> {
        let mut tx = self.begin().await?;
        if !lease::holds(&mut tx, lease).await.map_err(|error| self.sql(error))? {
            tx.rollback().await.map_err(|error| self.sql(error))?;
            return Ok(Saved::Superseded);
        }
        keep(&mut tx, save).await.map_err(|error| self.sql(error))?;
        let mut done = Committed::default();
        self.append_all(&mut tx, save.entries, &mut done).await?;
        clear(&mut tx).await.map_err(|error| self.sql(error))?;
        self.finish(tx, done).await.map(Saved::Done)
    }

    /// Commits entries only, unless the lease was claimed by another.
    pub async fn emit(&self, lease: &Lease, entries: &[Entry]) -> Result<Saved, StoreError> {
        let mut tx = self.begin().await?;
        if !lease::holds(&mut tx, lease).await.map_err(|error| self.sql(error))? {
            tx.rollback().await.map_err(|error| self.sql(error))?;
            return Ok(Saved::Superseded);
        }
        let mut done = Committed::default();
        self.append_all(&mut tx, entries, &mut done).await?;
        self.finish(tx, done).await.map(Saved::Done)
    }

    /// A shard's state as it was last saved; `None` when it never was.
    pub async fn restore(&self, shard: &str) -> Result<Option<Checkpoint>, StoreError> {
        let sql = "SELECT cursor, floor, version, body FROM shard WHERE name = $1 AND version > 0";
        let select = sqlx::query_as(sql).bind(key(shard));
        let row: Option<(i64, i64, i64, Vec<u8>)> =
            select.fetch_optional(&self.pool).await.map_err(|error| self.sql(error))?;
        let Some((cursor, floor, version, body)) = row else { return Ok(None) };
        if version > STATE_VERSION {
            let (path, shard) = (self.path.clone(), shard.to_owned());
            return Err(StoreError::NewerState { path, shard, found: version, known: STATE_VERSION });
        }
        Ok(Some(Checkpoint { shard: shard.to_owned(), cursor, floor, version, body }))
    }

    /// The ids that a shard has seen, in the order in which they were saved, each with the event time of the latest.
    pub async fn seen(&self, shard: &str) -> Result<Vec<(Micros, Vec<u8>)>, StoreError> {
        let select = sqlx::query_as("SELECT last, ids FROM seen WHERE shard = $1 ORDER BY seq").bind(key(shard));
        let rows: Vec<(i64, Vec<u8>)> = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(rows.into_iter().map(|(last, ids)| (Micros(last), ids)).collect())
    }
}

/// State, ids seen, and credentials.
async fn keep(tx: &mut AnyConnection, save: &Save<'_>) -> sqlx::Result<()> {
    let checkpoint = save.checkpoint;
    let sql = "INSERT INTO shard (name, cursor, floor, version, body) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, floor = excluded.floor, \
               version = excluded.version, body = excluded.body";
    let shard = key(&checkpoint.shard);
    let insert = sqlx::query(sql).bind(&shard).bind(checkpoint.cursor).bind(checkpoint.floor);
    insert.bind(checkpoint.version).bind(checkpoint.body.as_slice()).execute(&mut *tx).await?;
    if let Some((last, ids)) = &save.seen {
        let insert = sqlx::query("INSERT INTO seen (shard, last, ids) VALUES ($1, $2, $3)").bind(&shard);
        insert.bind(last.0).bind(ids.as_slice()).execute(&mut *tx).await?;
    }
    let forget = sqlx::query("DELETE FROM seen WHERE shard = $1 AND last < $2").bind(&shard);
    forget.bind(save.forget_seen_before.0).execute(&mut *tx).await?;
    for row in save.credentials {
        credentials::add(tx, row).await?;
    }
    Ok(())
}

/// Deletes what no shard reads again.
async fn clear(tx: &mut AnyConnection) -> sqlx::Result<()> {
    let sql = "DELETE FROM inbox WHERE seq < (SELECT coalesce(min(floor), 0) FROM shard)";
    sqlx::query(sql).execute(tx).await.map(drop)
}
