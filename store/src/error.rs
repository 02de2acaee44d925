//! What can go wrong with a store, each with the path and what to do about it.

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

use crate::place::{Engine, Place};

/// Why a store did not do what it was asked; nothing of that step was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no folder `{folder}` for the store `{path}`: make the folder, or name another path")]
    FolderMissing { path: String, folder: String },
    #[error("store `{path}` is a folder: name a file in it, such as `{path}/keytrail.db`")]
    IsFolder { path: String },
    #[error("store `{path}` cannot be written: make the file and its folder writable, or name another path")]
    ReadOnly { path: String },
    #[error("no space left for the store `{path}`: free some and run it again; nothing of this step was kept")]
    Full { path: String },
    #[error("`{path}` is not a SQLite database: move the file away, or name another path for the store")]
    NotADatabase { path: String },
    #[error("`{path}` is a SQLite database of something else: name another path for the store")]
    NotAStore { path: String },
    #[error("`{path}` holds tables of something else: name an empty database, or an empty schema by `search_path`")]
    NotEmpty { path: String },
    #[error("the store's address cannot be read: {reason}; write postgres://user@host:port/database")]
    BadAddress { reason: String },
    /// Passes: the caller may try again.
    #[error("database `{path}` cannot be reached: {reason}; check that it runs and that the address is right")]
    Unreachable { path: String, reason: String },
    #[error(
        "store `{path}`: the state of shard `{shard}` has version {found}, this keytrail knows {known}: run the newer keytrail"
    )]
    NewerState { path: String, shard: String, found: i64, known: i64 },
    #[error("store `{path}` has schema {found}, this keytrail knows {known}: upgrade keytrail, or name another path")]
    NewerSchema { path: String, found: i64, known: i64 },
    #[error("store `{path}` was made by another build of schema {version}: use that build, or name another path")]
    OtherSchema { path: String, version: i64 },
    #[error("store `{path}` is in use by another process: wait until it is done, or name another path")]
    Busy { path: String },
    #[error("store `{path}` is damaged ({detail}): restore it from a copy, or move it away and scan again")]
    Damaged { path: String, detail: String },
    #[error("`{prefix}` names {count} findings: {candidates}; type more of the id")]
    Ambiguous { prefix: String, count: usize, candidates: String },
    #[error("{what} cannot be written as JSON: {source}")]
    Write { what: String, source: serde_json::Error },
    #[error("store `{path}`: a row of `{table}` cannot be read: {source}; it was written by another version")]
    Read { path: String, table: &'static str, source: serde_json::Error },
    #[error("store `{path}`: {source}")]
    Sql { path: String, source: sqlx::Error },
}

impl StoreError {
    /// Whether the same step may go through a little later.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    pub(crate) fn sql(engine: Engine, path: &str, source: sqlx::Error) -> Self {
        match engine {
            Engine::Sqlite => sqlite(path.to_owned(), source),
            Engine::Postgres => postgres(path.to_owned(), source),
        }
    }

    pub(crate) fn not_a_store(engine: Engine, path: &str) -> Self {
        let path = path.to_owned();
        match engine {
            Engine::Sqlite => Self::NotAStore { path },
            Engine::Postgres => Self::NotEmpty { path },
        }
    }

    pub(crate) fn migrate(place: &Place, known: i64, source: MigrateError) -> Self {
        let path = place.name.clone();
        match source {
            MigrateError::VersionMissing(found) => Self::NewerSchema { path, found, known },
            MigrateError::VersionMismatch(version) => Self::OtherSchema { path, version },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => place.sql(source),
            other => Self::Sql { path, source: other.into() },
        }
    }
}

fn sqlite(path: String, source: sqlx::Error) -> StoreError {
    let code = source.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
    // The low byte of an extended result code is the primary one: https://www.sqlite.org/rescode.html
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => StoreError::Busy { path },
        Some(3 | 8 | 14) => StoreError::ReadOnly { path },
        Some(13) => StoreError::Full { path },
        Some(26) => StoreError::NotADatabase { path },
        Some(11) => StoreError::Damaged { path, detail: source.to_string() },
        _ => StoreError::Sql { path, source },
    }
}

fn postgres(path: String, source: sqlx::Error) -> StoreError {
    let lost = matches!(
        source,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    );
    if lost {
        return StoreError::Unreachable { path, reason: reason(&source) };
    }
    let error = source.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    let code = error.map(|error| error.code().to_owned()).unwrap_or_default();
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match (code.get(..2), code.as_str()) {
        // Connection lost; too many connections; shut down, starting up, or cut off while idle in a transaction.
        (Some("08"), _) | (_, "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03") => {
            StoreError::Unreachable { path, reason: reason(&source) }
        }
        // Serialisation, deadlock, lock timeout, statement timeout.
        (_, "40001" | "40P01" | "55P03" | "57014") => StoreError::Busy { path },
        (_, "53100") => StoreError::Full { path },
        (_, "25006") => StoreError::ReadOnly { path },
        (_, "XX001" | "XX002") => StoreError::Damaged { path, detail: source.to_string() },
        _ => StoreError::Sql { path, source },
    }
}

fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
