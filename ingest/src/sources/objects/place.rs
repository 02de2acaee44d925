//! Where the objects are, and listing them.

use std::sync::Arc;

use futures_util::TryStreamExt;
use keytrail_model::{Micros, static_key_of};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::Item;
use crate::sources::{SourceError, Surroundings};

/// Objects of one listing: what is known of each stays in memory.
const OBJECTS_MAX: usize = 200_000;

/// Folders below this are listed without looking at their names.
const DEPTH_MAX: usize = 8;

pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) url: Url,
    root: Path,
    /// What stands before a key: `s3://bucket/`.
    base: String,
}

impl Place {
    pub(super) fn open(name: &str, at: &str, around: &Surroundings) -> Result<Self, SourceError> {
        let fault = |fault: String| SourceError::config(name, format!("`at: {at}` {fault}"));
        let url = url(at).map_err(&fault)?;
        if let Some(variable) = static_key(url.scheme(), around) {
            return Err(SourceError::config(
                name,
                format!(
                    "{variable} holds a key that does not expire: use a role, workload identity or a managed identity, or allow static keys"
                ),
            ));
        }
        let opened = object_store::parse_url_opts(&url, around.environment.clone());
        let (store, root) = opened.map_err(|error| fault(format!("cannot be used: {error}")))?;
        let base = format!("{}://{}/", url.scheme(), url.host_str().unwrap_or_default());
        Ok(Self { store: Arc::from(store), url, root, base })
    }

    fn item(&self, meta: ObjectMeta) -> Item {
        let version = match &meta.e_tag {
            Some(tag) => tag.trim_matches('"').to_owned(),
            None => format!("{}-{}", meta.size, meta.last_modified.timestamp_micros()),
        };
        Item { origin: format!("{}{}#{version}", self.base, meta.location), meta }
    }

    fn fault(&self, what: &str, error: &object_store::Error) -> SourceError {
        let what = format!("{what} {}", self.url);
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                SourceError::Denied {
                    what,
                    fault: format!("the identity that this runs as needs to list and get: {error}"),
                }
            }
            _ => SourceError::unreachable(what, error),
        }
    }

    pub(super) async fn first(&self) -> Result<Option<ObjectMeta>, SourceError> {
        self.store.list(Some(&self.root)).try_next().await.map_err(|error| self.fault("listing", &error))
    }

    /// Oldest first. Where folders are named `YYYY/MM/DD`, those of days before both times are passed by.
    pub(super) async fn list(&self, since: Micros, or: Micros) -> Result<Vec<Item>, SourceError> {
        let cutoff = day(since.min(or));
        let (mut found, mut folders) = (Vec::new(), vec![(self.root.clone(), String::new(), 0)]);
        while let Some((folder, date, depth)) = folders.pop() {
            if date.len() == "2026/11/25".len() || depth == DEPTH_MAX {
                self.whole(&folder, &mut found).await?;
                continue;
            }
            let level = self.store.list_with_delimiter(Some(&folder)).await;
            let level = level.map_err(|error| self.fault("listing", &error))?;
            found.extend(level.objects);
            self.bounded(found.len())?;
            for child in level.common_prefixes {
                let date = dated(&date, child.filename().unwrap_or_default());
                if date.is_empty() || cutoff.get(..date.len()).is_none_or(|cutoff| date.as_str() >= cutoff) {
                    folders.push((child, date, depth + 1));
                }
            }
        }
        // An empty one is a folder's marker.
        found.retain(|meta| meta.size > 0);
        found.sort_by(|left, right| (left.last_modified, &left.location).cmp(&(right.last_modified, &right.location)));
        Ok(found.into_iter().map(|meta| self.item(meta)).collect())
    }

    async fn whole(&self, folder: &Path, found: &mut Vec<ObjectMeta>) -> Result<(), SourceError> {
        let mut listed = self.store.list(Some(folder));
        while let Some(meta) = listed.try_next().await.map_err(|error| self.fault("listing", &error))? {
            found.push(meta);
            self.bounded(found.len())?;
        }
        Ok(())
    }

    fn bounded(&self, count: usize) -> Result<(), SourceError> {
        match count > OBJECTS_MAX {
            true => Err(SourceError::unreachable(
                format!("listing {}", self.url),
                format!("more than {OBJECTS_MAX} objects: lower `days`, or write a longer prefix"),
            )),
            false => Ok(()),
        }
    }

    /// The object that an origin names, as it is now.
    pub(super) async fn named(&self, origin: &str) -> Result<Option<Item>, SourceError> {
        let key = origin.strip_prefix(&self.base).and_then(|rest| rest.rsplit_once('#')).map(|(key, _)| key);
        let location = key.and_then(|key| Path::parse(key).ok()).filter(|path| path.prefix_matches(&self.root));
        let Some(location) = location else { return Ok(None) };
        match self.store.head(&location).await {
            Ok(meta) => Ok(Some(self.item(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(fault) => Err(SourceError::unreachable(origin, fault)),
        }
    }
}

/// `2026`, then `2026/11`, then `2026/11/25`; empty where the name goes on with no date.
fn dated(date: &str, name: &str) -> String {
    let digits = |count: usize| name.len() == count && name.bytes().all(|byte| byte.is_ascii_digit());
    match date.len() {
        0 if digits(4) && name.starts_with("20") => name.to_owned(),
        4 | 7 if digits(2) => format!("{date}/{name}"),
        _ => String::new(),
    }
}

pub(super) fn day(at: Micros) -> String {
    at.to_string().chars().take("2026-11-25".len()).collect::<String>().replace('-', "/")
}

fn url(at: &str) -> Result<Url, String> {
    let url = match Url::parse(at) {
        Ok(url) if url.scheme().len() > 1 => url,
        _ if at.is_empty() => return Err("must name a place".to_owned()),
        _ => {
            let whole = std::path::absolute(at).map_err(|fault| format!("is no folder: {fault}"))?;
            Url::from_directory_path(whole).map_err(|()| "is no folder".to_owned())?
        }
    };
    if url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must hold nothing that could be a secret: such come from the environment".to_owned());
    }
    match url.scheme() {
        "file" | "s3" | "gs" | "az" => Ok(url),
        _ => Err("must be a folder or begin with s3://, gs:// or az://".to_owned()),
    }
}

fn static_key(scheme: &str, around: &Surroundings) -> Option<&'static str> {
    let settings = around.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if around.allow_static_key { None } else { static_key_of(scheme, settings) }
}
