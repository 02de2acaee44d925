//! Opening a store: looks before it leaps, so that a wrong path is an explanation and not an error number.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::StoreError;

/// Every version of the schema, oldest first. What was released is never edited: a change is a new file.
const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "journal", include_str!("../migrations/0001_journal.sql"))];

/// How long a commit waits for another process to finish its own.
const BUSY: Duration = Duration::from_secs(15);

/// How often a store that another process is just making is tried again, and after how long.
const TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The journal and its views. Clones share the same connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: SqlitePool,
    pub(crate) path: String,
}

impl Store {
    /// Opens the store at `path`, makes it when there is none, and brings an older one up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, file_options(path)).await
    }

    /// A store that is gone when it is dropped.
    pub async fn memory() -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        Self::connect("memory", options, 1).await
    }

    /// Deletes the store at `path` with its side files; nothing to delete is fine. For a demo that starts afresh.
    pub fn remove(path: &Path) -> Result<(), StoreError> {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::sql(&path.display().to_string(), sqlx::Error::Io(error)));
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

    pub(crate) async fn open_with(path: &Path, options: SqliteConnectOptions) -> Result<Self, StoreError> {
        look(path)?;
        let name = path.display().to_string();
        // SQLite turns a new file to WAL without waiting its turn: who comes second is told "busy" at once.
        for _ in 0..TRIES {
            match Self::connect(&name, options.clone(), 4).await {
                Err(StoreError::Busy { .. }) => tokio::time::sleep(TRY_AGAIN).await,
                done => return done,
            }
        }
        Self::connect(&name, options, 4).await
    }

    async fn connect(path: &str, options: SqliteConnectOptions, connections: u32) -> Result<Self, StoreError> {
        // A memory store lives as long as its connection: none may be closed for being idle or old.
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(BUSY * 2);
        let pool = pool.connect_with(options).await.map_err(|error| StoreError::sql(path, error))?;
        let store = Self { pool, path: path.to_owned() };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // One immediate transaction around all of it: two processes that make the same store take turns.
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.sql(error))?;
        let foreign = "SELECT count(*) FROM sqlite_master WHERE type = 'table' \
                       AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'journal')";
        let foreign: i64 = sqlx::query_scalar(foreign).fetch_one(&mut *tx).await.map_err(|error| self.sql(error))?;
        if foreign > 0 {
            return Err(StoreError::NotAStore { path: self.path.clone() });
        }
        let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0);
        let done = migrator().run(&mut *tx).await;
        done.map_err(|error| StoreError::migrate(&self.path, known, error))?;
        tx.commit().await.map_err(|error| self.sql(error))
    }

    pub(crate) fn sql(&self, error: sqlx::Error) -> StoreError {
        StoreError::sql(&self.path, error)
    }
}

/// `FULL`, because a source is told "done" after the commit: a power cut must not take it back.
pub(crate) fn file_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// `SQLite` says "unable to open database file" to all of these.
fn look(path: &Path) -> Result<(), StoreError> {
    let name = path.display().to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(StoreError::IsFolder { path: name });
    }
    let Ok(about_folder) = folder.metadata() else {
        return Err(StoreError::FolderMissing { path: name, folder: folder.display().to_string() });
    };
    // The folder must be writable even when the file is: the write-ahead log stands beside it.
    let read_only = path.metadata().map_or(about_folder.permissions().readonly(), |about| {
        about.permissions().readonly() || about_folder.permissions().readonly()
    });
    if read_only { Err(StoreError::ReadOnly { path: name }) } else { Ok(()) }
}
