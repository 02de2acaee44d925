//! The lake: normalised events as Parquet, one folder for each log source and day, on a disk or in object storage.
//!
//! A file is written whole or not at all and named by the events that it holds: the same events written again are the
//! same file. Knows no rule; what is written was redacted before.

mod compact;
mod error;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;
use keytrail_model::{Micros, static_key_of};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use url::Url;

pub use compact::{Compacted, Scattered};
pub use error::LakeError;
pub use read::Records;
pub use write::{Writer, Wrote, event_columns, event_schema};

pub(crate) const DAY: i64 = 86_400 * Micros::SECOND;

/// Where events are kept.
#[derive(Clone)]
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    /// Of the lake within the store.
    root: Path,
    url: Url,
    runtime: Handle,
}

/// Its place alone: what opens the store is in the store.
impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// One file of the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeFile {
    path: Path,
    /// The log source.
    pub log: String,
    /// Midnight, UTC.
    pub day: Micros,
    pub bytes: u64,
}

impl LakeFile {
    /// The day as it is written in the file's path.
    #[must_use]
    pub fn date(&self) -> String {
        date(self.day)
    }

    /// The last moment that it can hold an event of.
    #[must_use]
    pub fn last(&self) -> Micros {
        Micros(self.day.0 + DAY - 1)
    }

    /// Its place in the store, as a person finds it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.as_ref()
    }
}

impl Lake {
    /// Opens the lake in a folder or at an `s3://`, `gs://` or `az://` URL. How the
    /// object storage is reached stands in `settings`, named as the provider's own tools name their variables.
    ///
    /// # Errors
    /// Where the place cannot be reached, or would be reached with a key that does not expire and `static_key` does not
    /// allow it.
    pub fn open(place: &str, settings: Vec<(String, String)>, static_key: bool) -> Result<Self, LakeError> {
        let url = match Url::parse(place) {
            Ok(url) if url.scheme().len() > 1 => as_folder(checked(url)?),
            _ => folder(place)?,
        };
        if !static_key {
            let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            static_key_of(url.scheme(), settings).map_or(Ok(()), |name| Err(LakeError::StaticKey { name }))?;
        }
        let opened = object_store::parse_url_opts(&url, settings);
        let (store, root) = opened.map_err(|fault| LakeError::Place { place: place.to_owned(), fault })?;
        let runtime = Handle::current();
        Ok(Self { store: Arc::from(store), root, url, runtime })
    }

    /// Makes its folder, for who writes.
    pub fn make(&self) -> Result<(), LakeError> {
        let Some(folder) = self.folder() else { return Ok(()) };
        std::fs::create_dir_all(&folder)
            .map_err(|fault| LakeError::Folder { place: folder.display().to_string(), fault })
    }

    /// An error where its folder is missing, for who reads.
    pub fn check(&self) -> Result<(), LakeError> {
        match self.folder() {
            Some(folder) if !folder.is_dir() => Err(LakeError::Missing { place: folder.display().to_string() }),
            _ => Ok(()),
        }
    }

    fn folder(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// Where it is, for who registers it as a table.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The files with events of these days, by log source, day and name.
    pub async fn files(&self, since: Micros, until: Micros) -> Result<Vec<LakeFile>, LakeError> {
        let listed = self.store.list(Some(&self.root.clone().join("events")));
        let files = listed.try_filter_map(|meta| async move { Ok(lake_file(meta.location, meta.size)) });
        let mut files: Vec<LakeFile> = files.try_collect().await.map_err(|fault| self.fault("listed", fault))?;
        files.retain(|file| file.day.0.saturating_add(DAY) > since.0 && file.day < until);
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }

    pub async fn delete(&self, files: &[LakeFile]) -> Result<(), LakeError> {
        for file in files {
            self.store.delete(&file.path).await.map_err(|fault| self.fault("deleted from", fault))?;
        }
        Ok(())
    }

    fn fault(&self, what: &'static str, fault: object_store::Error) -> LakeError {
        LakeError::Store { what, place: self.url.to_string(), fault }
    }
}

/// `…/events/log=aws.cloudtrail/day=2026-11-25/x.parquet`.
fn lake_file(path: Path, bytes: u64) -> Option<LakeFile> {
    let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
    let [.., log, day, name] = parts.as_slice() else { return None };
    let (log, day) = (log.strip_prefix("log=")?.to_owned(), Micros::parse(day.strip_prefix("day=")?)?);
    name.ends_with(".parquet").then_some(LakeFile { path, log, day, bytes })
}

pub(crate) fn date(day: Micros) -> String {
    day.to_string().chars().take("2026-11-25".len()).collect()
}

fn folder(place: &str) -> Result<Url, LakeError> {
    let fault = |fault| LakeError::Folder { place: place.to_owned(), fault };
    let whole = std::path::absolute(place).map_err(fault)?;
    Url::from_directory_path(whole).map_err(|()| fault(std::io::ErrorKind::InvalidFilename.into()))
}

/// What joins a file's name to it keeps its last part.
fn as_folder(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}

/// A URL of a kind that is meant, and without anything that could be a secret: such come from the environment.
fn checked(url: Url) -> Result<Url, LakeError> {
    if url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(LakeError::Words);
    }
    match url.scheme() {
        "file" | "s3" | "gs" | "az" => Ok(url),
        other => Err(LakeError::Scheme { scheme: other.to_owned() }),
    }
}
