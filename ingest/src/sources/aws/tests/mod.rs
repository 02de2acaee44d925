//! Amazon's transports against servers on loopback: S3 and SQS by moto, and fakes for what moto does not do.

mod broken;
mod digests;
mod lookup;
mod notices;
mod proxy;
mod queue;
use crate::sources::server;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use aws_sdk_sqs::Client;
use keytrail_model::{Micros, Reject};
use object_store::aws::AmazonS3;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::json;

use super::access::Access;
use super::objects::path_of;
use super::{Sqs, SqsConfig, now};
use crate::Limits;
use crate::sources::{Delivery, Source, SourceError, Surroundings};
use server::Server;

const SECOND: Duration = Duration::from_secs(1);

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (environment, limits) = (environment.collect::<BTreeMap<_, _>>(), Limits::default());
    Surroundings { environment, limits, allow_static_key: true, replica: "test".to_owned() }
}

fn known() -> Surroundings {
    around(&[("AWS_ACCESS_KEY_ID", "made-up"), ("AWS_SECRET_ACCESS_KEY", "made-up"), ("AWS_REGION", "us-east-1")])
}

/// A bucket and a queue.
struct World {
    server: Server,
    endpoint: String,
    queue_url: String,
    client: Client,
    store: AmazonS3,
}

impl World {
    async fn start(untested: &str) -> Option<Self> {
        let server = Server::start("s3.py", &[], untested)?;
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        let access = Access::open("test", None, Some(&endpoint), &known()).await.expect("access");
        let (client, store) = (Client::new(&access.config), access.bucket("bucket", None).expect("a bucket"));
        let made = client.create_queue().queue_name("notices").send().await.expect("a queue");
        let queue_url = made.queue_url.expect("an address");
        Some(Self { server, endpoint, queue_url, client, store })
    }

    fn config(&self) -> SqsConfig {
        SqsConfig {
            queue_url: self.queue_url.clone(),
            endpoint: Some(self.endpoint.clone()),
            wait: Some("1s".to_owned()),
            ..SqsConfig::default()
        }
    }

    async fn open(&self) -> Sqs {
        Sqs::open("test", &self.config(), &known()).await.expect("a source")
    }

    /// The object's etag.
    async fn put(&self, key: &str, bytes: impl Into<PutPayload>) -> String {
        self.store.put(&path_of(key), bytes.into()).await.expect("put");
        let etag = self.store.head(&path_of(key)).await.expect("there").e_tag.expect("an etag");
        etag.trim_matches('"').to_owned()
    }

    async fn send(&self, body: impl ToString) {
        let sent = self.client.send_message().queue_url(&self.queue_url).message_body(body.to_string());
        sent.send().await.expect("sent");
    }

    /// Puts an object and tells the queue.
    async fn announce(&self, key: &str, bytes: impl Into<PutPayload>) -> String {
        let etag = self.put(key, bytes).await;
        self.send(notice(key, &etag)).await;
        format!("s3://bucket/{key}#{etag}")
    }
}

fn notice(key: &str, etag: &str) -> serde_json::Value {
    let s3 = json!({"bucket": {"name": "bucket"}, "object": {"key": key.replace(' ', "+"), "eTag": etag}});
    json!({"Records": [{"eventName": "ObjectCreated:Put", "awsRegion": "us-east-1", "s3": s3}]})
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

/// What a part held: its origin, its records, and what was rejected.
type Read = (String, Vec<String>, Vec<Reject>);

async fn read(delivery: Delivery) -> Vec<Read> {
    let reading = tokio::task::spawn_blocking(move || delivery.parts.into_iter().map(read_part).collect());
    reading.await.expect("read")
}

fn read_part(part: crate::sources::Part) -> Read {
    let (mut records, mut rejects) = (Vec::new(), Vec::new());
    for chunk in part.chunks {
        match chunk {
            Ok(chunk) => {
                assert_eq!(chunk.origins, part.origin.as_str().into());
                let text = |span| String::from_utf8_lossy(chunk.document(span)).into_owned();
                records.extend(chunk.spans.iter().map(text));
            }
            Err(reject) => rejects.push(reject),
        }
    }
    (part.origin, records, rejects)
}

/// What comes next, read and acknowledged.
async fn take(source: &mut dyn Source) -> Result<Option<Vec<Read>>, SourceError> {
    let Some(delivery) = source.next(3 * SECOND).await? else { return Ok(None) };
    let receipt = delivery.receipt;
    let parts = read(delivery).await;
    source.ack(receipt).await?;
    Ok(Some(parts))
}

/// All that comes until nothing does.
async fn drain(source: &mut dyn Source) -> Vec<Read> {
    let mut all = Vec::new();
    while let Some(parts) = take(source).await.expect("it comes") {
        all.extend(parts);
    }
    all
}

fn hour(from: i64, to: i64) -> (Micros, Micros) {
    let hour = 3600 * Micros::SECOND;
    (Micros(now().0 + from * hour), Micros(now().0 + to * hour))
}
