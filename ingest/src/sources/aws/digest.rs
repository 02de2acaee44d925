//! One of CloudTrail's digest files: what it says, and whether CloudTrail signed it.
//!
//! The signature stands in the object's metadata and covers the digest's end, place and content, and the signature before.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use ring::digest::{Context, SHA256, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;

use super::keys::PublicKey;

/// The fields that are used.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Digest {
    pub(super) digest_end_time: String,
    digest_s3_bucket: String,
    digest_s3_object: String,
    digest_public_key_fingerprint: String,
    pub(super) previous_digest_s3_bucket: Option<String>,
    pub(super) previous_digest_s3_object: Option<String>,
    pub(super) previous_digest_hash_value: Option<String>,
    pub(super) previous_digest_signature: Option<String>,
    #[serde(default)]
    pub(super) log_files: Vec<LogFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogFile {
    pub(super) s3_bucket: String,
    pub(super) s3_object: String,
    pub(super) hash_value: String,
    pub(super) hash_algorithm: String,
}

/// A digest that its signature vouches for.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) digest: Digest,
    pub(super) signature: String,
    /// Of its content as it lies there and unpacked: which of them the next one repeats is not documented.
    pub(super) hashes: [String; 2],
}

/// The content of a digest file and its metadata, as they lie in the bucket.
pub(super) struct Stored<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) packed: &'a [u8],
    pub(super) signature: Option<&'a str>,
    pub(super) algorithm: Option<&'a str>,
}

/// The digest, or why it proves nothing.
pub(super) fn verify(stored: &Stored<'_>, keys: &[PublicKey], most: usize) -> Result<Signed, String> {
    let content = unpacked(stored.packed, most)?;
    let digest: Digest = serde_json::from_slice(&content).map_err(|fault| format!("it is no digest ({fault})"))?;
    if (digest.digest_s3_bucket.as_str(), digest.digest_s3_object.as_str()) != (stored.bucket, stored.key) {
        let place = format!("s3://{}/{}", digest.digest_s3_bucket, digest.digest_s3_object);
        return Err(format!("it was moved: it was written to {place}"));
    }
    let signature = stored.signature.ok_or("its metadata has no signature")?;
    if let Some(other) = stored.algorithm.filter(|algorithm| *algorithm != "SHA256withRSA") {
        return Err(format!("it is signed by {other}, which is not known here"));
    }
    let hash = hex(digest_of(&content).as_ref());
    let previous = digest.previous_digest_signature.as_deref().unwrap_or("null");
    let signed = format!("{}\n{}/{}\n{hash}\n{previous}", digest.digest_end_time, stored.bucket, stored.key);
    let bytes = unhex(signature).ok_or("its signature is not hexadecimal")?;
    let wanted = digest.digest_public_key_fingerprint.as_str();
    let mut known = keys.iter().filter(|key| key.fingerprint.as_deref().is_none_or(|known| known == wanted)).peekable();
    if known.peek().is_none() {
        return Err(format!("the public key `{wanted}` that it names is not known"));
    }
    let verifies = |key: &PublicKey| {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key.der).verify(signed.as_bytes(), &bytes).is_ok()
    };
    if !known.any(verifies) {
        return Err("its signature does not verify: it was changed, or CloudTrail did not write it".to_owned());
    }
    let hashes = [hash, hex(digest_of(stored.packed).as_ref())];
    Ok(Signed { digest, signature: signature.to_ascii_lowercase(), hashes })
}

fn digest_of(bytes: &[u8]) -> ring::digest::Digest {
    digest(&SHA256, bytes)
}

fn unpacked(packed: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let read = MultiGzDecoder::new(packed).take(limit.saturating_add(1)).read_to_end(&mut content);
    match read {
        Ok(_) if content.len() > most => Err(format!("it unpacks to more than {most} bytes")),
        Ok(_) => Ok(content),
        Err(fault) => Err(format!("it cannot be unpacked ({fault})")),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits?;
    let pairs = (pairs.len() % 2 == 0)
        .then(|| pairs.chunks(2).map(|pair| pair.iter().fold(0, |high, low| high * 16 + low)).collect::<Vec<u32>>());
    pairs?.into_iter().map(|value| u8::try_from(value).ok()).collect()
}

/// The hash of a log file's content, unpacked as it comes.
pub(super) struct Hashing {
    to: To,
}

enum To {
    /// Nothing came yet.
    Start,
    Packed(Box<flate2::write::MultiGzDecoder<Sum>>),
    Plain(Sum),
}

struct Sum(Context);

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { to: To::Start }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.to, To::Start) && !bytes.is_empty() {
            let sum = Sum(Context::new(&SHA256));
            self.to = match bytes.first() {
                Some(0x1F) => To::Packed(Box::new(flate2::write::MultiGzDecoder::new(sum))),
                _ => To::Plain(sum),
            };
        }
        match &mut self.to {
            To::Start => Ok(()),
            To::Packed(unpack) => unpack.write_all(bytes),
            To::Plain(sum) => sum.write_all(bytes),
        }
    }

    pub(super) fn finish(self) -> io::Result<String> {
        let sum = match self.to {
            To::Start => Sum(Context::new(&SHA256)),
            To::Packed(unpack) => unpack.finish()?,
            To::Plain(sum) => sum,
        };
        Ok(hex(sum.0.finish().as_ref()))
    }
}
