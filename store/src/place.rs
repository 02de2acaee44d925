//! Where a store is and how its connections are set up: a file, memory, or a `PostgreSQL` database. Looks before it leaps,
//! so that a wrong path is an explanation and not an error number.

use std::path::Path;

use sqlx::any::AnyConnectOptions;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use url::Url;

use crate::StoreError;

/// Which database speaks; the statements are the same text for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Version, name and text of a migration.
type Step = (i64, &'static str, &'static str);

/// Every version of the schema, oldest first. What was released is never edited: a change is a new file.
const SQLITE: &[Step] = &[
    (1, "journal", include_str!("../migrations/sqlite/0001_journal.sql")),
    (2, "stream", include_str!("../migrations/sqlite/0002_stream.sql")),
    (3, "ledger_by_time", include_str!("../migrations/sqlite/0003_ledger_by_time.sql")),
];
const POSTGRES: &[Step] = &[
    (1, "journal", include_str!("../migrations/postgres/0001_journal.sql")),
    (2, "stream", include_str!("../migrations/postgres/0002_stream.sql")),
    (3, "ledger_by_time", include_str!("../migrations/postgres/0003_ledger_by_time.sql")),
];

/// `FULL`, because a source is told "done" after the commit: a power cut must not take it back.
const SQLITE_SETUP: &str = "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                            PRAGMA foreign_keys = ON; PRAGMA cache_size = -16000;";

/// Every wait has an end, and who freezes inside a transaction does not hold the others for longer than a lease.
const POSTGRES_SETUP: &str = "SET lock_timeout = '15s'; SET statement_timeout = '5min'; \
                              SET idle_in_transaction_session_timeout = '5s'; SET client_min_messages = 'warning';";

impl Engine {
    fn steps(self) -> &'static [Step] {
        match self {
            Self::Sqlite => SQLITE,
            Self::Postgres => POSTGRES,
        }
    }

    /// The newest schema that is known here.
    pub(crate) fn schema(self) -> i64 {
        self.steps().iter().map(|(version, ..)| *version).max().unwrap_or(0)
    }

    /// The steps up to `version`.
    pub(crate) fn migrator(self, version: i64) -> Migrator {
        let steps = self.steps().iter().filter(|(step, ..)| *step <= version);
        let migrations = steps.map(|(version, name, sql)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        // The transaction around all of them has the lock already.
        migrator.set_locking(false);
        migrator
    }

    /// Tables of something else: some are there, and the journal is not.
    pub(crate) fn foreign(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' \
                 AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'journal')"
            }
            Self::Postgres => {
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND NOT EXISTS \
                 (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'journal')"
            }
        }
    }

    /// How a writing transaction begins. On `SQLite` it takes its turn at once, not at its first write.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }
}

/// What it takes to connect.
#[derive(Clone)]
pub(crate) struct Place {
    pub engine: Engine,
    /// What people see: the path, or the address without password and options.
    pub name: String,
    pub options: AnyConnectOptions,
    /// What each new connection is told first.
    pub setup: String,
    pub connections: u32,
}

impl Place {
    pub fn memory() -> Result<Self, StoreError> {
        let options = options("memory", "sqlite::memory:")?;
        let setup = "PRAGMA foreign_keys = ON;".to_owned();
        Ok(Self { engine: Engine::Sqlite, name: "memory".to_owned(), options, setup, connections: 1 })
    }

    /// `setup` is told to each connection after the usual.
    pub fn file(path: &Path, setup: &str) -> Result<Self, StoreError> {
        look(path)?;
        let name = path.display().to_string();
        let options = options(&name, &format!("sqlite://{}?mode=rwc", escaped(path)))?;
        let setup = format!("{SQLITE_SETUP}{setup}");
        Ok(Self { engine: Engine::Sqlite, name, options, setup, connections: 4 })
    }

    pub fn postgres(address: &str) -> Result<Self, StoreError> {
        let bad = |error: url::ParseError| StoreError::BadAddress { reason: error.to_string() };
        let mut url = Url::parse(address).map_err(bad)?;
        if !url.query_pairs().any(|(key, _)| key == "application_name") {
            url.query_pairs_mut().append_pair("application_name", "keytrail");
        }
        let name = shown(&url);
        let options = options(&name, url.as_str())?;
        Ok(Self { engine: Engine::Postgres, name, options, setup: POSTGRES_SETUP.to_owned(), connections: 8 })
    }

    pub fn sql(&self, error: sqlx::Error) -> StoreError {
        StoreError::sql(self.engine, &self.name, error)
    }

    /// The statements that each new connection is told.
    pub fn setup(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.setup.clone())
    }
}

/// Whether `place` is an address and not a path.
pub(crate) fn is_address(place: &str) -> bool {
    place.starts_with("postgres://") || place.starts_with("postgresql://")
}

fn options(name: &str, url: &str) -> Result<AnyConnectOptions, StoreError> {
    url.parse().map_err(|error| StoreError::Sql { path: name.to_owned(), source: error })
}

/// The address without its password and its options, which may hold one.
fn shown(url: &Url) -> String {
    let user = if url.username().is_empty() { String::new() } else { format!("{}@", url.username()) };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{user}{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// The path as it stands in a URL. An absolute one without `..`, because a URL resolves those by text and not by links.
fn escaped(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let absolute = folder.canonicalize().ok().zip(path.file_name()).map(|(folder, name)| folder.join(name));
    let path = absolute.unwrap_or_else(|| path.to_path_buf());
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
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
