//! What a message in the queue says: which objects came, or an event itself; in whichever wrapping.
//!
//! Reads words only; asks nobody.

use serde_json::{Map, Value};

/// Wrappings within each other: an event in a notification is one.
const DEPTH: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Objects that came; empty where the message is about none that we read.
    Objects(Vec<Announced>),
    /// A record of its own.
    Event(Vec<u8>),
    /// What it is instead, as one lower-case sentence.
    Unknown(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) bucket: String,
    pub(super) key: String,
    /// Without quotes; where it is unknown, whatever stands there now is meant.
    pub(super) etag: Option<String>,
    /// As the notice tells it.
    pub(super) size: Option<u64>,
    pub(super) region: Option<String>,
}

impl Announced {
    /// What the ledger knows it by.
    pub(super) fn origin(&self) -> String {
        origin(&self.bucket, &self.key, self.etag.as_deref())
    }

    /// The object that an origin names.
    pub(super) fn parse(origin: &str) -> Option<Self> {
        let (place, etag) = origin.strip_prefix("s3://")?.rsplit_once('#')?;
        let (bucket, key) = place.split_once('/')?;
        let etag = (etag != MISSING).then(|| etag.to_owned());
        Some(Self { bucket: bucket.to_owned(), key: key.to_owned(), etag, ..Self::default() })
    }
}

/// Stands for the etag of an object that should be there and is not.
pub(super) const MISSING: &str = "missing";

pub(super) fn origin(bucket: &str, key: &str, etag: Option<&str>) -> String {
    format!("s3://{bucket}/{key}#{}", etag.unwrap_or(MISSING))
}

/// What kind of object a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Digest,
    /// A folder's marker, or what AWS Config leaves.
    Other,
}

pub(super) fn kind(key: &str) -> Kind {
    let mut parts = key.split('/');
    if parts.clone().any(|part| part == "CloudTrail-Digest") {
        return if key.ends_with('/') { Kind::Other } else { Kind::Digest };
    }
    let config = parts.any(|part| part == "AWSLogs") && parts.any(|part| part == "Config");
    if config || key.is_empty() || key.ends_with('/') { Kind::Other } else { Kind::Log }
}

pub(super) fn read(body: &[u8]) -> Notice {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(notice)) => told(&notice, body, DEPTH),
        Ok(_) => {
            Notice::Unknown("the message is JSON but no object; let S3, SNS or EventBridge write to the queue".into())
        }
        Err(fault) => {
            Notice::Unknown(format!("the message is not JSON ({fault}); let S3, SNS or EventBridge write to it"))
        }
    }
}

fn told(notice: &Map<String, Value>, body: &[u8], depth: usize) -> Notice {
    let text = |name: &str| notice.get(name).and_then(Value::as_str);
    if let Some(records) = notice.get("Records").and_then(Value::as_array)
        && records.iter().any(|record| record.get("s3").is_some())
    {
        return Notice::Objects(records.iter().filter_map(announced).filter(worth).collect());
    }
    if text("Event") == Some("s3:TestEvent") {
        return Notice::Objects(Vec::new());
    }
    if text("Type").is_some() && text("TopicArn").is_some() {
        return wrapped(text("Type"), text("Message"), depth);
    }
    if let (Some(bucket), Some(keys)) = (text("s3Bucket"), notice.get("s3ObjectKey").and_then(Value::as_array)) {
        let keys = keys.iter().filter_map(Value::as_str);
        let objects = keys.map(|key| Announced { bucket: bucket.into(), key: key.into(), ..Announced::default() });
        return Notice::Objects(objects.filter(worth).collect());
    }
    if text("source") == Some("aws.s3") && notice.get("detail").is_some_and(|detail| detail.get("object").is_some()) {
        return Notice::Objects(bridged(notice).filter(worth).into_iter().collect());
    }
    Notice::Event(body.to_vec())
}

/// What a topic of SNS hands on.
fn wrapped(kind: Option<&str>, message: Option<&str>, depth: usize) -> Notice {
    match (kind, message) {
        (Some("Notification"), Some(message)) if depth > 0 => match serde_json::from_str::<Value>(message) {
            Ok(Value::Object(inner)) => told(&inner, message.as_bytes(), depth - 1),
            _ => Notice::Unknown(
                "the notification of SNS holds no JSON; name a topic that S3 or CloudTrail writes to".into(),
            ),
        },
        (Some("SubscriptionConfirmation"), _) => {
            Notice::Unknown("the topic of SNS waits for its subscription to be confirmed".into())
        }
        _ => Notice::Unknown("the notification of SNS is of a kind that says nothing about objects".into()),
    }
}

fn worth(object: &Announced) -> bool {
    kind(&object.key) == Kind::Log
}

/// One record of S3's own notification.
fn announced(record: &Value) -> Option<Announced> {
    let event = record.get("eventName").and_then(Value::as_str).unwrap_or_default();
    let came = event.trim_start_matches("s3:").starts_with("ObjectCreated");
    let (bucket, object) = (record.pointer("/s3/bucket/name")?.as_str()?, record.pointer("/s3/object")?);
    came.then_some(Announced {
        bucket: bucket.to_owned(),
        key: decoded(object.get("key")?.as_str()?),
        etag: etag(object.get("eTag")),
        size: object.get("size").and_then(Value::as_u64),
        region: record.get("awsRegion").and_then(Value::as_str).map(str::to_owned),
    })
}

/// EventBridge's notice of an object. Its keys are as they are.
fn bridged(notice: &Map<String, Value>) -> Option<Announced> {
    let (detail, text) = (notice.get("detail")?, |name: &str| notice.get(name).and_then(Value::as_str));
    let object = detail.get("object")?;
    (text("detail-type") == Some("Object Created")).then_some(Announced {
        bucket: detail.pointer("/bucket/name")?.as_str()?.to_owned(),
        key: object.get("key")?.as_str()?.to_owned(),
        etag: etag(object.get("etag")),
        size: object.get("size").and_then(Value::as_u64),
        region: text("region").map(str::to_owned),
    })
}

fn etag(value: Option<&Value>) -> Option<String> {
    let bare = value?.as_str()?.trim_matches('"');
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// A key as a form writes it: `+` for a blank, `%` and two digits for other characters.
fn decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        match (byte, escaped(rest.clone())) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(value)) => {
                bytes.push(value);
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of the next two hexadecimal digits.
fn escaped(mut ahead: std::str::Bytes<'_>) -> Option<u8> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (high, low) = (digit(ahead.next())?, digit(ahead.next())?);
    u8::try_from(high * 16 + low).ok()
}
