//! What lies in the folders that the configuration names, by the time at which it was written.
//!
//! Where folders are by day, only those near the time are opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use keytrail_model::Micros;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ListResult, ObjectStore};

use super::access::store_fault;
use super::keys::Keys;
use super::notify::{Kind, kind, origin};
use super::objects::Objects;
use super::sqs::Folder;
use super::{partition, proof};
use crate::sources::{Listed, Listing, Proof, SourceError};

/// Folders that are listed at a time.
const AT_ONCE: usize = 8;

const DAY: i64 = 86_400 * Micros::SECOND;

/// How much later than its day an object may be written, and how much before.
const NEAR: (i64, i64) = (2 * DAY, DAY);

/// The last digests of a time are written after it.
const DIGESTS_LATE: i64 = 2 * 3600 * Micros::SECOND;

/// One object that lies there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: String,
    pub(super) etag: Option<String>,
    pub(super) bytes: u64,
    pub(super) at: Micros,
}

impl Found {
    fn listed(&self, bucket: &str) -> Listed {
        Listed { origin: origin(bucket, &self.key, self.etag.as_deref()), bytes: self.bytes, at: self.at }
    }
}

pub(super) async fn all(
    objects: &Objects,
    list: &[Folder],
    keys: Option<&Keys>,
    (since, until): (Micros, Micros),
) -> Result<Listing, SourceError> {
    let (mut listed, mut proof) = (BTreeMap::new(), Proof::default());
    let days = [Micros(since.0.saturating_sub(NEAR.0)), Micros(until.0.saturating_add(NEAR.1))].map(day);
    let late = Micros(until.0.saturating_add(DIGESTS_LATE));
    let keys = match keys {
        Some(keys) => Some(keys.within(Micros(since.0.saturating_sub(DAY)), late).await?),
        None => None,
    };
    for folder in list {
        let mut found = walk(objects, folder, prefix(folder)?, &days, keys.is_some()).await?;
        if let (Some(_), Some(beside)) = (&keys, beside(folder)) {
            found.extend(walk(objects, folder, Some(beside), &days, true).await?);
        }
        let logs = found.iter().filter(|found| kind(&found.key) == Kind::Log && (since..until).contains(&found.at));
        let logs = logs.map(|found| found.listed(&folder.bucket));
        listed.extend(logs.map(|one| (one.origin.clone(), one)));
        if let Some(keys) = &keys {
            let missing = proof::prove(objects, folder, &found, (keys, since, late), &mut proof).await?;
            listed.extend(missing.into_iter().map(|one| (one.origin.clone(), one)));
        }
    }
    Ok(Listing::Objects { objects: listed.into_values().collect(), proof })
}

/// The folder itself, or none for the whole bucket.
pub(super) fn prefix(folder: &Folder) -> Result<Option<Path>, SourceError> {
    let path = Path::parse(&folder.prefix).map_err(|fault| {
        let what = format!("the folder `{}` of the bucket `{}`", folder.prefix, folder.bucket);
        SourceError::unreachable(what, format!("{fault}; write it as `AWSLogs/111122223333`"))
    })?;
    Ok((!path.as_ref().is_empty()).then_some(path))
}

/// Where the digests of a folder of logs are, if not in it.
fn beside(folder: &Folder) -> Option<Path> {
    let parts: Vec<&str> = folder.prefix.split('/').collect();
    let there = parts.contains(&"CloudTrail").then(|| {
        let digests = parts.iter().map(|part| if *part == "CloudTrail" { "CloudTrail-Digest" } else { *part });
        digests.collect::<Vec<_>>().join("/")
    })?;
    Path::parse(there).ok()
}

/// `2026/11/25`.
fn day(at: Micros) -> String {
    at.to_string().chars().take(10).map(|c| if c == '-' { '/' } else { c }).collect()
}

/// Everything below a folder, but for days that are not near.
async fn walk(
    objects: &Objects,
    folder: &Folder,
    from: Option<Path>,
    days: &[String; 2],
    digests: bool,
) -> Result<Vec<Found>, SourceError> {
    let store = objects.store(&folder.bucket, folder.region.as_deref())?;
    let what = format!("s3:ListBucket on arn:{}:s3:::{}", partition(&objects.access.region), folder.bucket);
    let (mut found, mut level) = (Vec::new(), vec![from]);
    while !level.is_empty() {
        let pages = stream::iter(std::mem::take(&mut level)).map(|path| list(Arc::clone(&store), path));
        let mut pages = pages.buffer_unordered(AT_ONCE);
        while let Some((path, page)) = pages.try_next().await.map_err(|fault| store_fault(&what, &fault))? {
            let marker = |at: &Path| path.as_ref() == Some(at);
            let here = page.objects.into_iter().filter(|object| !marker(&object.location));
            found.extend(here.map(|object| Found {
                key: object.location.to_string(),
                etag: object.e_tag.map(|etag| etag.trim_matches('"').to_owned()),
                bytes: object.size,
                at: Micros(object.last_modified.timestamp_micros()),
            }));
            let below = page.common_prefixes.into_iter();
            let below = below.filter(|path| wanted(path.as_ref(), digests) && near(path.as_ref(), days));
            level.extend(below.map(Some));
        }
    }
    Ok(found)
}

async fn list(store: Arc<AmazonS3>, path: Option<Path>) -> object_store::Result<(Option<Path>, ListResult)> {
    let page = store.list_with_delimiter(path.as_ref()).await?;
    Ok((path, page))
}

fn wanted(path: &str, digests: bool) -> bool {
    match kind(&format!("{path}/x")) {
        Kind::Log => true,
        Kind::Digest => digests,
        Kind::Other => false,
    }
}

/// Whether a folder may hold objects of these days: true for all that are not folders of a year, month or day.
fn near(path: &str, [first, last]: &[String; 2]) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    if !parts.contains(&"AWSLogs") {
        return true;
    }
    let number = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
    let date = match parts.as_slice() {
        [.., y, m, d] if number(y, 4) && number(m, 2) && number(d, 2) => format!("{y}/{m}/{d}"),
        [.., y, m] if number(y, 4) && number(m, 2) => format!("{y}/{m}"),
        [.., y] if number(y, 4) => (*y).to_owned(),
        _ => return true,
    };
    let cut = |day: &String| day.chars().take(date.len()).collect::<String>();
    (cut(first)..=cut(last)).contains(&date)
}
