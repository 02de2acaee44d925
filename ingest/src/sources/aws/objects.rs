//! Objects in S3: opened by key and etag, so that what is read is what was announced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keytrail_model::{Place, Reject};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore};

use super::access::{Access, causes, store_fault};
use super::notify::Announced;
use super::partition;
use super::stream::{Source, Streamed};
use crate::sources::{Chunks, Extent, Part, SourceError};
use crate::{Limits, ReadError};

/// Clients of buckets that are kept; more buckets than that are rare, and a client is made in no time.
const STORES: usize = 256;

type Stores = HashMap<(String, Option<String>), Arc<AmazonS3>>;

pub(super) struct Objects {
    pub(super) access: Access,
    pub(super) limits: Limits,
    stores: Mutex<Stores>,
}

impl Objects {
    pub(super) fn new(access: Access, limits: &Limits) -> Self {
        Self { access, limits: limits.clone(), stores: Mutex::default() }
    }

    pub(super) fn store(&self, bucket: &str, region: Option<&str>) -> Result<Arc<AmazonS3>, SourceError> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (bucket.to_owned(), region.map(str::to_owned));
        if let Some(known) = stores.get(&key) {
            return Ok(Arc::clone(known));
        }
        if stores.len() >= STORES {
            stores.clear();
        }
        let made = Arc::new(self.access.bucket(bucket, region)?);
        stores.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// `s3:GetObject on arn:aws:s3:::bucket/key`.
    pub(super) fn what(&self, action: &str, bucket: &str, key: &str) -> String {
        format!("{action} on arn:{}:s3:::{bucket}/{key}", partition(&self.access.region))
    }

    /// Asks for the object and hands on its bytes as they are pulled. What is gone is a part that says so.
    pub(super) async fn part(&self, at: &Announced) -> Result<Part, SourceError> {
        let path = Path::parse(&at.key).ok().filter(|path| path.as_ref() == at.key);
        let Some(path) = path else {
            return Ok(without(at, "its key cannot be asked for: it has an empty part; copy it to another key"));
        };
        let store = self.store(&at.bucket, at.region.as_deref())?;
        let options = GetOptions { if_match: at.etag.as_deref().map(quoted), ..GetOptions::default() };
        match store.get_opts(&path, options).await {
            Ok(got) => self.opened(at, store, got),
            Err(object_store::Error::Precondition { .. }) => {
                Ok(without(at, "it was overwritten before it was read; what stands there now comes by its own notice"))
            }
            Err(fault @ object_store::Error::NotFound { .. }) if !causes(&fault).contains("NoSuchBucket") => {
                Ok(without(at, "it was deleted before it was read; restore it and hand it over again"))
            }
            Err(fault) => Err(store_fault(self.what("s3:GetObject", &at.bucket, &at.key), &fault)),
        }
    }

    fn opened(&self, at: &Announced, store: Arc<AmazonS3>, got: GetResult) -> Result<Part, SourceError> {
        let (size, path) = (got.meta.size, got.meta.location.clone());
        if let Some(told) = at.size.filter(|told| *told != size) {
            let fault = format!("it has {size} bytes and its notice tells of {told}; it is asked for again");
            return Err(SourceError::unreachable(self.what("s3:GetObject", &at.bucket, &at.key), fault));
        }
        let etag = got.meta.e_tag.clone().map(|etag| etag.trim_matches('"').to_owned());
        let origin = Announced { etag: etag.clone(), ..at.clone() }.origin();
        let source = Source { store, path, etag: etag.as_deref().map(quoted), size };
        let chunks = Streamed::new(&origin, source, got.into_stream(), &self.limits);
        Ok(Part { origin, extent: Extent::Whole, lane: String::new(), chunks: Box::new(chunks) })
    }
}

/// A key that came from S3 itself, as it is.
pub(super) fn path_of(key: &str) -> Path {
    Path::parse(key).unwrap_or_else(|_| Path::from(key))
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// A part that is nothing but why.
fn without(at: &Announced, why: &str) -> Part {
    let reason = format!("the object `{}` of the bucket `{}` was not read: {why}", at.key, at.bucket);
    rejected(&at.origin(), reason)
}

pub(super) fn rejected(origin: &str, reason: String) -> Part {
    let chunks: Chunks = Box::new(std::iter::once(Err(reject(origin, reason))));
    Part { origin: origin.to_owned(), extent: Extent::Whole, lane: String::new(), chunks }
}

pub(super) fn reject(origin: &str, reason: String) -> Reject {
    Reject { position: Place::default().within(origin), reason, record: String::new() }
}

/// A fault of what is read, not of the way to it.
pub(super) fn unreadable(origin: &str, fault: &ReadError) -> Reject {
    reject(origin, fault.to_string())
}
