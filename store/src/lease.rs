//! Leases: who owns what, by rows that compare no clocks. The holder raises `beat`; who sees the same (epoch, beat) for
//! longer than the lease time, by its own monotonic clock, may claim. A commit under a lease checks its epoch (`shard.rs`).
//!
//! These statements do not take the writers' turn: a beat must not wait behind a long commit.

use sqlx::{AnyConnection, Executor};

use crate::text::key;
use crate::{Store, StoreError};

/// One lease as it stood when it was read or taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is owned.
    pub name: String,
    /// Who owns it; empty when it was released.
    pub holder: String,
    /// Raised by each claim.
    pub epoch: i64,
    /// Raised by the holder; -1 when it was released and may be claimed at once.
    pub beat: i64,
}

impl Lease {
    /// Nobody holds it: claim it at once.
    pub fn is_free(&self) -> bool {
        self.beat < 0
    }
}

type Row = (String, String, i64, i64);

impl Store {
    /// The lease as it stands now; `None` when nobody ever claimed it.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        let select = sqlx::query_as("SELECT name, holder, epoch, beat FROM lease WHERE name = $1").bind(key(name));
        let row: Option<Row> = select.fetch_optional(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(row.map(lease))
    }

    /// Every lease, by name.
    pub async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let select = sqlx::query_as("SELECT name, holder, epoch, beat FROM lease ORDER BY name");
        let rows: Vec<Row> = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(rows.into_iter().map(lease).collect())
    }

    /// Takes the lease if it still stands as `seen` (`None`: if there is none). `None` when another was faster.
    pub async fn claim(&self, name: &str, holder: &str, seen: Option<&Lease>) -> Result<Option<Lease>, StoreError> {
        let new = "INSERT INTO lease (name, holder, epoch, beat) VALUES ($1, $2, 1, 0) \
                   ON CONFLICT (name) DO NOTHING RETURNING name, holder, epoch, beat";
        let over = "UPDATE lease SET holder = $2, epoch = epoch + 1, beat = 0 \
                    WHERE name = $1 AND epoch = $3 AND beat = $4 RETURNING name, holder, epoch, beat";
        let claim = match seen {
            None => sqlx::query_as(new).bind(key(name)).bind(key(holder)),
            Some(seen) => sqlx::query_as(over).bind(key(name)).bind(key(holder)).bind(seen.epoch).bind(seen.beat),
        };
        // All rows and not the first: the answer is to come after the commit.
        let rows: Vec<Row> = claim.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(rows.into_iter().next().map(lease))
    }

    /// Says that the holder lives. `None` when it was superseded.
    pub async fn beat(&self, held: &Lease) -> Result<Option<Lease>, StoreError> {
        let row = raise(&self.pool, held).await.map_err(|error| self.sql(error))?;
        Ok(row.map(lease))
    }

    /// Lets go, so that the next one may claim at once; nothing is done when it was superseded.
    pub async fn release(&self, held: &Lease) -> Result<(), StoreError> {
        let sql = "UPDATE lease SET holder = '', beat = -1 WHERE name = $1 AND epoch = $2 AND holder = $3";
        let update = sqlx::query(sql).bind(key(&held.name)).bind(held.epoch).bind(key(&held.holder));
        update.execute(&self.pool).await.map(drop).map_err(|error| self.sql(error))
    }
}

/// Whether the lease is still this holder's. It is a beat too: the row stays locked until the commit, so that nobody can
/// claim between the check and the commit.
pub(crate) async fn holds(tx: &mut AnyConnection, held: &Lease) -> sqlx::Result<bool> {
    raise(tx, held).await.map(|row| row.is_some())
}

async fn raise<'c>(executor: impl Executor<'c, Database = sqlx::Any>, held: &Lease) -> sqlx::Result<Option<Row>> {
    let sql = "UPDATE lease SET beat = beat + 1 WHERE name = $1 AND epoch = $2 AND holder = $3 \
               RETURNING name, holder, epoch, beat";
    let update = sqlx::query_as(sql).bind(key(&held.name)).bind(held.epoch).bind(key(&held.holder));
    let rows: Vec<Row> = update.fetch_all(executor).await?;
    Ok(rows.into_iter().next())
}

fn lease((name, holder, epoch, beat): Row) -> Lease {
    Lease { name, holder, epoch, beat }
}
