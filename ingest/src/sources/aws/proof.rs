//! Whether CloudTrail's digests vouch for what lies in a folder: each signed, each following the one before, each log
//! file there and unchanged.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use keytrail_model::Micros;
use object_store::aws::AmazonS3;
use object_store::{Attribute, ObjectStoreExt};

use super::access::store_fault;
use super::digest::{Hashing, LogFile, Signed, Stored, verify};
use super::keys::PublicKey;
use super::listing::Found;
use super::notify::{Kind, kind, origin};
use super::objects::{Objects, path_of};
use super::sqs::Folder;
use crate::sources::{Listed, Proof, SourceError};

/// Log files that are read at a time.
const AT_ONCE: usize = 8;

/// A digest names some hundred log files; this is many times the largest.
const DIGEST_BYTES: u64 = 64 << 20;

/// A connection that brings nothing for so long is given up.
const STALL: Duration = Duration::from_secs(30);

/// Adds to `proof`, and gives the log files that should be there and are not.
pub(super) async fn prove(
    objects: &Objects,
    folder: &Folder,
    found: &[Found],
    (keys, since, late): (&[PublicKey], Micros, Micros),
    proof: &mut Proof,
) -> Result<Vec<Listed>, SourceError> {
    let there: HashSet<&str> = found.iter().map(|found| found.key.as_str()).collect();
    let place = format!("s3://{}/{}", folder.bucket, folder.prefix);
    let (mut signed, mut unsigned) = (BTreeMap::new(), HashSet::new());
    let digests = found.iter().filter(|found| kind(&found.key) == Kind::Digest && (since..late).contains(&found.at));
    for one in digests {
        match read(objects, folder, &one.key, keys).await? {
            Ok(digest) => drop(signed.insert(one.key.clone(), digest)),
            Err(why) => {
                proof.broken.push(format!("the digest file s3://{}/{} proves nothing: {why}", folder.bucket, one.key));
                unsigned.insert(one.key.clone());
            }
        }
    }
    if signed.is_empty() && unsigned.is_empty() {
        let why = "switch on log file validation of the trail, or wait an hour for the first";
        proof.broken.push(format!("there is no digest file of this time under {place}; {why}"));
        return Ok(Vec::new());
    }
    let before = proof.broken.len();
    chained(objects, folder, (&signed, &unsigned, &there), proof).await?;
    let how = if proof.broken.len() == before { "signed and chained" } else { "signed" };
    proof.holds.push(format!("{} digest files under {place}, {how}", signed.len()));
    log_files(objects, folder, &signed, proof).await
}

/// One digest, or why it is none.
async fn read(
    objects: &Objects,
    folder: &Folder,
    key: &str,
    keys: &[PublicKey],
) -> Result<Result<Signed, String>, SourceError> {
    let store = objects.store(&folder.bucket, folder.region.as_deref())?;
    let fault = |fault: object_store::Error| store_fault(objects.what("s3:GetObject", &folder.bucket, key), &fault);
    let got = store.get(&path_of(key)).await.map_err(fault)?;
    if got.meta.size > DIGEST_BYTES {
        return Ok(Err(format!("it has {} bytes, more than any digest", got.meta.size)));
    }
    let metadata =
        |name: &'static str| got.attributes.get(&Attribute::Metadata(name.into())).map(|value| value.to_string());
    let (signature, algorithm) = (metadata("signature"), metadata("signature-algorithm"));
    let packed = got.bytes().await.map_err(fault)?;
    let (signature, algorithm) = (signature.as_deref(), algorithm.as_deref());
    let stored = Stored { bucket: &folder.bucket, key, packed: &packed, signature, algorithm };
    Ok(verify(&stored, keys, objects.limits.inflate_max))
}

type Known<'a> = (&'a BTreeMap<String, Signed>, &'a HashSet<String>, &'a HashSet<&'a str>);

async fn chained(
    objects: &Objects,
    folder: &Folder,
    (signed, unsigned, there): Known<'_>,
    proof: &mut Proof,
) -> Result<(), SourceError> {
    let mut stems = HashSet::new();
    for (key, one) in signed {
        let name = format!("s3://{}/{key}", folder.bucket);
        let first = stems.insert(stem(key));
        let digest = &one.digest;
        let Some(previous) = &digest.previous_digest_s3_object else {
            if !first {
                let why = "validation or the trail was off before it";
                proof.broken.push(format!("the digest file {name} follows none, though there are earlier ones: {why}"));
            }
            continue;
        };
        let bucket = digest.previous_digest_s3_bucket.as_deref().unwrap_or(&folder.bucket);
        if let Some(before) = signed.get(previous).filter(|_| bucket == folder.bucket) {
            if !follows(one, before) {
                proof
                    .broken
                    .push(format!("the digest file s3://{bucket}/{previous} is not the one that {name} follows"));
            }
            continue;
        }
        let seen = bucket == folder.bucket && (unsigned.contains(previous) || there.contains(previous.as_str()));
        if !seen && !exists(objects, folder, bucket, previous).await? {
            proof.broken.push(format!("the digest file s3://{bucket}/{previous} is missing: {name} follows it"));
        }
    }
    Ok(())
}

fn follows(one: &Signed, before: &Signed) -> bool {
    let same = |left: &str, right: &str| left.eq_ignore_ascii_case(right);
    let signature = one.digest.previous_digest_signature.as_deref().is_some_and(|told| same(told, &before.signature));
    let hash = one.digest.previous_digest_hash_value.as_deref();
    signature && hash.is_none_or(|told| before.hashes.iter().any(|hash| same(told, hash)))
}

/// A digest's name without its time: those of one trail and region share it.
fn stem(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    let name = name.strip_suffix("_backfill.json.gz").unwrap_or(name);
    name.rsplit_once('_').map_or(name, |(stem, _)| stem)
}

async fn exists(objects: &Objects, folder: &Folder, bucket: &str, key: &str) -> Result<bool, SourceError> {
    let store = objects.store(bucket, folder.region.as_deref())?;
    match store.head(&path_of(key)).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(fault) => Err(store_fault(objects.what("s3:GetObject", bucket, key), &fault)),
    }
}

async fn log_files(
    objects: &Objects,
    folder: &Folder,
    signed: &BTreeMap<String, Signed>,
    proof: &mut Proof,
) -> Result<Vec<Listed>, SourceError> {
    let mut reading = Vec::new();
    for one in signed.values() {
        for file in &one.digest.log_files {
            reading.push(checked(objects, folder, file, &one.digest.digest_end_time));
        }
    }
    let (mut checked, mut same, mut missing) = (stream::iter(reading).buffered(AT_ONCE), 0_u64, Vec::new());
    while let Some((file, end, hash)) = checked.next().await {
        let name = format!("s3://{}/{}", file.s3_bucket, file.s3_object);
        match hash? {
            Hash::Is(hash) if hash.eq_ignore_ascii_case(&file.hash_value) => same += 1,
            Hash::Is(_) => {
                proof.broken.push(format!("the log file {name} is not what its digest says: it was changed"));
            }
            Hash::Unreadable(why) => {
                proof.broken.push(format!("the log file {name} is not what its digest says: {why}"));
            }
            Hash::Missing => {
                proof.broken.push(format!("the log file {name} is missing: its digest names it"));
                let (origin, at) = (origin(&file.s3_bucket, &file.s3_object, None), Micros::parse(end));
                missing.push(Listed { origin, bytes: 0, at: at.unwrap_or_default() });
            }
        }
    }
    proof.holds.push(format!("{same} log files are what their digests say"));
    Ok(missing)
}

async fn checked<'a>(
    objects: &Objects,
    folder: &Folder,
    file: &'a LogFile,
    end: &'a str,
) -> (&'a LogFile, &'a str, Result<Hash, SourceError>) {
    (file, end, hashed(objects, folder, file).await)
}

enum Hash {
    Is(String),
    Unreadable(String),
    Missing,
}

async fn hashed(objects: &Objects, folder: &Folder, file: &LogFile) -> Result<Hash, SourceError> {
    if file.hash_algorithm != "SHA-256" {
        return Ok(Hash::Unreadable(format!("it is hashed by {}, which is not known here", file.hash_algorithm)));
    }
    let store: Arc<AmazonS3> = objects.store(&file.s3_bucket, folder.region.as_deref())?;
    let fault = |fault: object_store::Error| {
        store_fault(objects.what("s3:GetObject", &file.s3_bucket, &file.s3_object), &fault)
    };
    let got = match store.get(&path_of(&file.s3_object)).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(Hash::Missing),
        Err(other) => return Err(fault(other)),
    };
    let (mut pieces, mut hashing) = (got.into_stream(), Hashing::new());
    loop {
        match tokio::time::timeout(STALL, pieces.next()).await {
            Ok(Some(Ok(piece))) => {
                if let Err(unread) = hashing.add(&piece) {
                    return Ok(Hash::Unreadable(format!("it cannot be unpacked ({unread})")));
                }
            }
            Ok(Some(Err(other))) => return Err(fault(other)),
            Ok(None) => break,
            Err(_) => {
                let what = objects.what("s3:GetObject", &file.s3_bucket, &file.s3_object);
                return Err(SourceError::unreachable(what, format!("nothing came for {STALL:?}")));
            }
        }
    }
    Ok(hashing.finish().map_or_else(|unread| Hash::Unreadable(format!("it cannot be unpacked ({unread})")), Hash::Is))
}
