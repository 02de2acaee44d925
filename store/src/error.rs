//! What can go wrong with a store, each with the path and what to do about it.

use sqlx::migrate::MigrateError;

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
    pub(crate) fn sql(path: &str, source: sqlx::Error) -> Self {
        let code = source.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
        let path = path.to_owned();
        // The low byte of an extended result code is the primary one: https://www.sqlite.org/rescode.html
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy { path },
            Some(3 | 8 | 14) => Self::ReadOnly { path },
            Some(13) => Self::Full { path },
            Some(26) => Self::NotADatabase { path },
            Some(11) => Self::Damaged { path, detail: source.to_string() },
            _ => Self::Sql { path, source },
        }
    }

    pub(crate) fn migrate(path: &str, known: i64, source: MigrateError) -> Self {
        let path = path.to_owned();
        match source {
            MigrateError::VersionMissing(found) => Self::NewerSchema { path, found, known },
            MigrateError::VersionMismatch(version) => Self::OtherSchema { path, version },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => Self::sql(&path, source),
            other => Self::Sql { path, source: other.into() },
        }
    }
}
