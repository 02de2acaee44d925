//! Opening a store, and the one way to begin writing to it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Transaction};

use crate::StoreError;
use crate::place::{Engine, Place, is_address};

/// How long a commit waits for another process to finish its own; `place.rs` tells the databases the same.
const BUSY: Duration = Duration::from_secs(15);

/// How often a store that another process is just making is tried again, and after how long.
const TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The lock that every writing transaction takes on `PostgreSQL`; "keytrail" in ASCII.
const WRITING: i64 = 0x6b65_7974_7261_696c;

/// A transaction that writes.
pub(crate) type Tx = Transaction<'static, Any>;

/// The journal and its views. Clones share the same connections.
#[derive(Clone)]
pub struct Store {
    pub(crate) pool: AnyPool,
    pub(crate) path: String,
    pub(crate) engine: Engine,
}

/// Without the pool, whose options hold the password.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store at `path`, makes it when there is none, and brings an older one up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, "").await
    }

    /// The same for a path or a `postgres://` address. Behind one address may be many replicas.
    pub async fn connect(place: &str) -> Result<Self, StoreError> {
        if is_address(place) { Self::reach(&Place::postgres(place)?).await } else { Self::open(Path::new(place)).await }
    }

    /// A store that is gone when it is dropped.
    pub async fn memory() -> Result<Self, StoreError> {
        install_default_drivers();
        let place = Place::memory()?;
        let store = Self::pooled(&place).await?;
        let mut connection = store.pool.acquire().await.map_err(|error| place.sql(error))?;
        migrate(&place, &mut connection).await?;
        Ok(store)
    }

    /// Deletes the store at `path` with its side files; nothing to delete is fine. For a demo that starts afresh.
    pub fn remove(path: &Path) -> Result<(), StoreError> {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::Sql { path: path.display().to_string(), source: sqlx::Error::Io(error) });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes what is pending into the one file and lets go of it.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// `setup` is told to each connection after the usual.
    pub(crate) async fn open_with(path: &Path, setup: &str) -> Result<Self, StoreError> {
        let place = Place::file(path, setup)?;
        // SQLite turns a new file to WAL without waiting its turn: who comes second is told "busy" at once.
        for _ in 0..TRIES {
            match Self::reach(&place).await {
                Err(StoreError::Busy { .. }) => tokio::time::sleep(TRY_AGAIN).await,
                done => return done,
            }
        }
        Self::reach(&place).await
    }

    /// The first connection is made by itself: a pool tries again for long where there is nothing to wait for.
    async fn reach(place: &Place) -> Result<Self, StoreError> {
        install_default_drivers();
        let first = tokio::time::timeout(BUSY, AnyConnection::connect_with(&place.options)).await;
        let mut first = first.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| place.sql(error))?;
        sqlx::raw_sql(place.setup()).execute(&mut first).await.map_err(|error| place.sql(error))?;
        migrate(place, &mut first).await?;
        let store = Self::pooled(place).await?;
        first.close().await.map_err(|error| place.sql(error))?;
        Ok(store)
    }

    async fn pooled(place: &Place) -> Result<Self, StoreError> {
        let told = place.clone();
        let mut options = AnyPoolOptions::new()
            .max_connections(place.connections)
            .min_connections(1)
            .acquire_timeout(BUSY * 2)
            // SQLite ends a transaction itself where the disk is full, and the connection's count of them is wrong from then
            // on: it begins no other.
            .before_acquire(|connection, _| {
                let clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(clean) })
            })
            .after_connect(move |connection, _| {
                let setup = told.setup();
                Box::pin(async move { sqlx::raw_sql(setup).execute(connection).await.map(drop) })
            });
        if place.engine == Engine::Sqlite {
            // A memory store lives as long as its connection: none may be closed for being idle or old.
            options = options.idle_timeout(None).max_lifetime(None);
        }
        let pool = options.connect_with(place.options.clone()).await.map_err(|error| place.sql(error))?;
        Ok(Self { pool, path: place.name.clone(), engine: place.engine })
    }

    /// Writers take turns: what one of them numbers is seen before the next one numbers anything.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let mut tx = self.pool.begin_with(self.engine.begin()).await.map_err(|error| self.sql(error))?;
        turn(self.engine, &mut tx).await.map_err(|error| self.sql(error))?;
        Ok(tx)
    }

    pub(crate) fn sql(&self, error: sqlx::Error) -> StoreError {
        StoreError::sql(self.engine, &self.path, error)
    }
}

async fn turn(engine: Engine, tx: &mut AnyConnection) -> sqlx::Result<()> {
    if engine == Engine::Postgres {
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITING).execute(tx).await?;
    }
    Ok(())
}

/// One transaction around all of it: two processes that make the same store take turns.
pub(crate) async fn migrate(place: &Place, connection: &mut AnyConnection) -> Result<(), StoreError> {
    migrate_to(place, connection, place.engine.schema()).await
}

pub(crate) async fn migrate_to(place: &Place, connection: &mut AnyConnection, version: i64) -> Result<(), StoreError> {
    let begun = connection.begin_with(place.engine.begin()).await;
    let mut tx = begun.map_err(|error| place.sql(error))?;
    turn(place.engine, &mut tx).await.map_err(|error| place.sql(error))?;
    let foreign = sqlx::query_scalar(place.engine.foreign()).fetch_one(&mut *tx).await;
    let foreign: i64 = foreign.map_err(|error| place.sql(error))?;
    if foreign > 0 {
        return Err(StoreError::not_a_store(place.engine, &place.name));
    }
    let done = place.engine.migrator(version).run(&mut *tx).await;
    done.map_err(|error| StoreError::migrate(place, version, error))?;
    tx.commit().await.map_err(|error| place.sql(error))
}
